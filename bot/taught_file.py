"""A file that somebody wants to teach, as text, or the reason why it is none. Knows no Discord and no model."""

import unicodedata
from typing import Final, Literal

from charset_normalizer import from_bytes

from models.language.normal_form import normalise

MAX_BYTES: Final = 5 * 2**20

Reason = Literal["name", "size", "empty", "archive", "binary", "encoding"]

_GB18030: Final = frozenset(("gb18030", "gbk", "gb2312"))  # each holds the next
_ARCHIVES: Final = (
    b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07",
    b"\x28\xb5\x2f\xfd",
)  # fmt: skip
_TAR: Final = (257, b"ustar")
_DOCUMENTS: Final = (b"%PDF-", b"{\\rtf", b"\xd0\xcf\x11\xe0", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x7fELF")
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")  # byte order marks of UTF-16 and UTF-32
_MOST_CONTROLS: Final = 0.001  # of the characters; old texts end pages with a form feed


class NotTeachableError(ValueError):
    """No text can be taken from this file. `reason` says what to bring instead."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"refused a file: {reason}")
        self.reason: Reason = reason


def check_outside(name: str, size: int) -> None:
    """What can be said before the file is fetched; `size` in bytes. Raises NotTeachableError."""
    if not name.lower().endswith(".txt"):
        raise NotTeachableError("name")
    if size > MAX_BYTES:
        raise NotTeachableError("size")
    if not size:
        raise NotTeachableError("empty")


def text_of(data: bytes) -> str:
    """The text in the normal form of our models, from UTF-8 or GB18030. Blocks: up to a second for 5 MiB. Raises
    NotTeachableError."""
    if len(data) > MAX_BYTES:
        raise NotTeachableError("size")
    offset, mark = _TAR
    if data.startswith(_ARCHIVES) or data[offset : offset + len(mark)] == mark:
        raise NotTeachableError("archive")
    if data.startswith(_DOCUMENTS):
        raise NotTeachableError("binary")
    if data.startswith(_WIDE):
        raise NotTeachableError("encoding")
    if b"\x00" in data:
        raise NotTeachableError("binary")
    text = _decoded(data)
    controls = sum(char < " " and char not in "\t\n\r\f" for char in text)
    if controls > _MOST_CONTROLS * len(text):
        raise NotTeachableError("binary")
    clean = normalise(text)
    if not any(unicodedata.category(char)[0] == "L" for char in clean):
        raise NotTeachableError("empty")
    return clean


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        found = from_bytes(data).best()
    if found is None:
        raise NotTeachableError("binary")
    if found.encoding not in _GB18030:
        raise NotTeachableError("encoding")
    try:
        return data.decode("gb18030")
    except UnicodeDecodeError:
        raise NotTeachableError("encoding") from None
