"""One Inkwell per database: an advisory lock beside the file. Knows no SQL."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.store.errors import StoreInUseError


@contextmanager
def exclusive(database: Path) -> Iterator[None]:
    """Hold the lock file of `database` for as long as the context lasts. The kernel lets go of it with the process,
    however that ends, so a kill leaves nothing to clean up; the file itself stays, for removing it would race with
    another start. Raises StoreInUseError with the holder's pid, OSError."""
    lock_file = database.with_name(database.name + ".lock")
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)  # not inherited: a worker never keeps it alive
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreInUseError(database, _pid(os.pread(descriptor, 32, 0))) from error
        os.ftruncate(descriptor, os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0))
        yield
    finally:
        os.close(descriptor)


def _pid(content: bytes) -> int | None:
    first_line = content.partition(b"\n")[0]
    return int(first_line) if first_line.isdigit() else None
