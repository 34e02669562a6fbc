"""Text files of an operator's own as the records of a training run. Knows no Discord and no consent: whoever names the
files answers for them.

    DIR/*.txt            each file is one author's
    DIR/AUTHOR/**/*.txt  the files of one author

A line that begins with "# " begins another story with that title; an empty line ends a paragraph. Short paragraphs are
joined to one part, long ones divided at their lines.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from models.language.normal_form import is_chinese
from models.serving.training import TurnRecord

MAX_FILE_BYTES: Final = 64 * 2**20
MIN_PART_CHARS: Final = 200
MAX_PART_CHARS: Final = 1_800

_TITLE: Final = re.compile(r"^# .*$", re.MULTILINE)
_PARAGRAPH: Final = re.compile(r"\n[^\S\n]*\n\s*")


class UnreadableTextError(Exception):
    """A file can't be learned; the message is one sentence that names it."""


def files_of(folder: Path) -> list[Path]:
    """Sorted. Raises UnreadableTextError for a folder without any."""
    found = sorted(path for path in folder.rglob("*.txt") if path.is_file())
    if not found:
        raise UnreadableTextError(f"{folder} holds no .txt file.")
    return found


def check(folder: Path) -> None:
    """Raises UnreadableTextError where `records_of` would."""
    for path in files_of(folder):
        _read(path)


def records_of(folder: Path) -> Iterator[TurnRecord]:
    """Story after story, parents first. Raises UnreadableTextError."""
    for path in files_of(folder):
        inside = path.relative_to(folder)
        author = inside.parts[0] if len(inside.parts) > 1 else inside.stem
        for number, story in enumerate(_stories(_read(path))):
            yield from _turns(story, _key(author), f"{_key(inside.as_posix())}-{number}", path.stat().st_mtime)


def _read(path: Path) -> str:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UnreadableTextError(f"{path} has more than {MAX_FILE_BYTES // 2**20} MiB: divide it.")
    try:
        return path.read_text("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UnreadableTextError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start}).") from error
    except OSError as error:
        raise UnreadableTextError(f"{path} can't be read: {error.strerror}.") from error


def _stories(text: str) -> Iterator[list[str]]:
    for story in _TITLE.split(text):
        if parts := list(_parts(story)):
            yield parts


def _parts(story: str) -> Iterator[str]:
    part = ""
    for paragraph in _PARAGRAPH.split(story.strip()):
        for piece in _pieces(paragraph.strip()):
            if part and (len(part) >= MIN_PART_CHARS or len(part) + len(piece) > MAX_PART_CHARS):
                yield part
                part = ""
            part = f"{part}\n\n{piece}" if part else piece
    if part:
        yield part


def _pieces(paragraph: str) -> Iterator[str]:
    """`paragraph`, cut at ends of sentences where it is too long for one part."""
    while len(paragraph) > MAX_PART_CHARS:
        ends = [found.end() for found in re.finditer(r"[.!?…。！？][\"”’」』]*\s*|\n", paragraph[:MAX_PART_CHARS])]
        cut = ends[-1] if ends else MAX_PART_CHARS
        yield paragraph[:cut].rstrip()
        paragraph = paragraph[cut:].lstrip()
    if paragraph:
        yield paragraph


def _turns(parts: list[str], author: str, story: str, at: float) -> Iterator[TurnRecord]:
    parent = None
    for number, part in enumerate(parts):
        name = f"{story}-{number}"
        language = "zh" if is_chinese(part) else "en"
        yield TurnRecord(id=name, story=story, parent=parent, author=author, text=part, language=language, at=at)
        parent = name


def _key(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
