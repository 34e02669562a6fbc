"""Disks that are small or read-only, mounted for a test. Skips the test where nothing can be mounted."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(*, mebibytes: int) -> Iterator[Path]:
    """A disk of its own, in memory."""
    where = Path(tempfile.mkdtemp(prefix="inkwell-small-"))
    try:
        with _mounted(where, "-t", "tmpfs", "-o", f"size={mebibytes}m", "inkwell-test"):
            yield where
    finally:
        where.rmdir()


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """`directory` may be read and not written, not even by root."""
    with _mounted(directory, "--bind", str(directory)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(directory)], check=True)
        yield


@contextmanager
def _mounted(where: Path, *options: str) -> Iterator[None]:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a disk")
    made = subprocess.run(["mount", *options, str(where)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)
