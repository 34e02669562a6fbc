"""Append-only files of JSON lines that survive a kill and a power cut. Knows no meaning of a line and no lock: whoever
appends holds one.
"""

import logging
import os
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

log = logging.getLogger(__name__)

Line = TypeVar("Line", bound=Struct)


def append(file: Path, *lines: Struct) -> None:
    """Durable when this returns; a reader sees each line whole or not at all. Raises OSError, and then nothing was
    added."""
    described = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = _end_of_whole_lines(descriptor)
        os.ftruncate(descriptor, end)  # what a kill in the middle of a line left
        try:
            written = 0
            while written < len(described):
                written += os.pwrite(descriptor, described[written:], end + written)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)
    make_name_durable(file.parent)


def read(file: Path, kind: type[Line]) -> list[Line]:
    """Every whole line, oldest first. One that is damaged is left out with a warning, a torn last one silently: whoever
    wrote it was never told that it counts."""
    try:
        whole, _, _ = file.read_bytes().rpartition(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(whole.split(b"\n") if whole else [], start=1):
        try:
            found.append(msgspec.json.decode(line, type=kind))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("line %d of %s is damaged and left out: %s", number, file, error)
    return found


def make_name_durable(folder: Path) -> None:
    """The names in `folder` survive a power cut when this returns."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _end_of_whole_lines(descriptor: int) -> int:
    """The offset just behind the last line break, found from the end."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 65_536)
        at = os.pread(descriptor, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0
