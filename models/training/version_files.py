"""What may lie in a version's folder, and whether it is still what was put there. Knows no registry and reads no
weights.

Only formats that hold data and no code: a pickle in any guise is refused, by name and by content.
"""

import ast
import hashlib
import json
import os
import re
import stat
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from models.training.journal import make_name_durable

MAX_FILES: Final = 2_000
MAX_BYTES: Final = 64 * 2**30
_MAX_TEXT_BYTES: Final = 256 * 2**20  # read whole to be checked; a tokenizer has about one MiB
_MAX_HEADER_BYTES: Final = 100 * 2**20  # of a safetensors file: the format's own limit
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CHUNK_BYTES: Final = 1 << 20


class RefusedFilesError(Exception):
    """The folder holds what no version may hold; the message is one sentence that names it."""


def check(folder: Path) -> dict[str, Path]:
    """Every file of `folder` by its name within it ("characters/ngram.json"), sorted, when all of them may stay. Raises
    RefusedFilesError for a link, for what is no plain file, for a name that could lead elsewhere or hide, for a format
    that could hold code, for too much of anything and for nothing at all; OSError."""
    if folder.is_symlink() or not folder.is_dir():
        raise RefusedFilesError(f"{folder} is no folder of a candidate.")
    found: dict[str, Path] = {}
    total = 0
    rooms = [folder]
    while rooms:
        room = rooms.pop()
        for path in sorted(room.iterdir()):
            name = path.relative_to(folder).as_posix()
            if not _NAME.fullmatch(path.name) or path.name.endswith("."):
                raise RefusedFilesError(f"{name!r} is no name for a file of a version.")
            info = path.lstat()
            if stat.S_ISDIR(info.st_mode):
                if len(path.relative_to(folder).parts) > 3:
                    raise RefusedFilesError(f"{name} lies too deep.")
                rooms.append(path)
                continue
            if not stat.S_ISREG(info.st_mode):
                raise RefusedFilesError(f"{name} is a link or no plain file.")
            if info.st_nlink != 1:  # somebody could change it under its other name
                raise RefusedFilesError(f"{name} has a second name elsewhere: copy it.")
            total += info.st_size
            found[name] = path
            if len(found) > MAX_FILES or total > MAX_BYTES:
                raise RefusedFilesError(f"{folder} holds more than a version may ({MAX_FILES} files, {MAX_BYTES} B).")
            looks_right = _FORMATS.get(path.suffix)
            if looks_right is None:
                raise RefusedFilesError(f"{name} has a format that no version may hold ({path.suffix or 'none'}).")
            if not looks_right(path, info.st_size):
                raise RefusedFilesError(f"{name} is not what its name says ({path.suffix}).")
    if not found:
        raise RefusedFilesError(f"{folder} holds no file.")
    return dict(sorted(found.items()))


def sums(files: Mapping[str, Path]) -> dict[str, str]:
    """The sha256 of each file, as hexadecimal digits."""
    return {name: _sha256(path) for name, path in files.items()}


def differs(folder: Path, expected: Mapping[str, str], *, besides: str) -> str:
    """Which file is not as it was registered, in words; "" when all are and there is no other one than `besides`."""
    try:
        present = {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
        }
        for name in sorted(present - expected.keys() - {besides}):
            return f"{name} was put there later"
        for name, known in sorted(expected.items()):
            path = folder / name
            if name not in present:
                return f"{name} is missing"
            if path.is_symlink() or _sha256(path) != known:
                return f"{name} was changed"
    except OSError as error:
        return f"{error.filename or folder} can't be read ({error.strerror})"
    return ""


def make_durable(folder: Path, files: Mapping[str, Path]) -> None:
    """On the disk and readable by the owner only, when this returns; `folder` itself stays writable, so that it can
    still be moved."""
    for path in files.values():
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fchmod(descriptor, 0o400)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    for room in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        make_name_durable(room)
        room.chmod(0o500)
    make_name_durable(folder)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _safetensors(path: Path, size: int) -> bool:
    """Eight bytes of header length, the header as a JSON object, then exactly the tensors."""
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            return False
        (length,) = struct.unpack("<Q", start)
        if length > min(size - 8, _MAX_HEADER_BYTES):
            return False
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            return bool(size == 8 + length + max(ends, default=0))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            return False


def _gguf(path: Path, size: int) -> bool:
    with path.open("rb") as file:
        return size > 24 and file.read(4) == b"GGUF"


def _npy(path: Path, _: int) -> bool:
    """An array of plain numbers: the format can also hold objects, as a pickle."""
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            return False
        major, _ = file.read(2) or b"\0\0"
        field = file.read(2 if major == 1 else 4)
        if major not in (1, 2, 3) or len(field) not in (2, 4):
            return False
        try:
            described = ast.literal_eval(file.read(min(int.from_bytes(field, "little"), 65_536)).decode().strip())
            return re.fullmatch(r"[<>|=]?[biufc][0-9]+", described["descr"]) is not None
        except (ValueError, KeyError, TypeError, SyntaxError, MemoryError, RecursionError):
            return False


def _png(path: Path, _: int) -> bool:
    with path.open("rb") as file:
        return file.read(8) == b"\x89PNG\r\n\x1a\n"


def _text(path: Path, size: int) -> bool:
    """UTF-8, which neither a pickle (from protocol 2 on) nor an archive is."""
    if size > _MAX_TEXT_BYTES:
        return False
    content = path.read_bytes()
    if b"\0" in content or content.startswith(b"PK\x03\x04"):
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _json(path: Path, size: int) -> bool:
    if not _text(path, size):
        return False
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return True


_FORMATS: Final[Mapping[str, Callable[[Path, int], bool]]] = {
    ".safetensors": _safetensors,
    ".gguf": _gguf,
    ".npy": _npy,
    ".json": _json,
    ".png": _png,
    **dict.fromkeys((".jsonl", ".md", ".txt", ".tsv", ".csv", ".jinja"), _text),
}
