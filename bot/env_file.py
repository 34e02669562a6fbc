"""The one writer of `.env`: changes one setting and leaves every other byte as it is. Knows no setting's meaning."""

import io
import os
import re
import stat
import tempfile
from pathlib import Path

from dotenv.parser import parse_stream

_PRIVATE = 0o600  # a new file: the token may follow
_INLINE_COMMENT = re.compile(r"[^\S\r\n]+#[^\r\n]*$")


class EnvFileError(Exception):
    """The file can't be read or written; the message is one sentence for the operator."""


def set_in_env_file(path: Path, name: str, value: str) -> None:
    """Give `name` the `value` (no white space, quotes or #) in the file, whole or not at all; its mode stays. A line
    that has it is replaced where it stands, else one is added at the end. Raises EnvFileError."""
    if re.search(r"[\s\"'#]", value):
        raise ValueError(f"{value!r} would need quotes")
    target = path.resolve()  # a link stays a link
    try:
        text = target.read_bytes().decode("utf-8") if target.exists() else ""
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else _PRIVATE
        _replace(target, _with(text, name, value), mode)
    except UnicodeDecodeError:
        raise EnvFileError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise EnvFileError(f"{path} can't be changed ({error.strerror}): write {name}={value} into it.") from error


def _with(text: str, name: str, value: str) -> str:
    pieces: list[str] = []
    found = False
    for binding in parse_stream(io.StringIO(text, newline="")):
        piece = binding.original.string  # with the empty lines before it and the line end behind it
        if binding.key == name:
            found = True
            body = piece.strip()
            start, end = piece.index(body), piece.index(body) + len(body)
            export = "export " if body.startswith("export") else ""
            comment = _INLINE_COMMENT.search(body)
            piece = f"{piece[:start]}{export}{name}={value}{comment[0] if comment else ''}{piece[end:]}"
        pieces.append(piece)
    whole = "".join(pieces)
    if found:
        return whole
    line_end = "\r\n" if "\r\n" in whole else "\n"
    gap = line_end if whole and not whole.endswith("\n") else ""
    return f"{whole}{gap}{name}={value}{line_end}"


def _replace(target: Path, text: str, mode: int) -> None:
    with tempfile.NamedTemporaryFile("wb", dir=target.parent, prefix=".env.", delete=False) as room:
        try:
            room.write(text.encode())
            room.flush()
            os.fsync(room.fileno())
            Path(room.name).chmod(mode)
            Path(room.name).replace(target)
        except BaseException:
            Path(room.name).unlink(missing_ok=True)
            raise
