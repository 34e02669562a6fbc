"""Where a run keeps its sealed snapshot and its checkpoints: DATA_DIR/training/RUN. Knows how to remove it, and what
runs have left behind; knows nothing of what is in it.
"""

import fcntl
import logging
import os
import shutil
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

FOLDER: Final = "training"


def folder_of(data_dir: Path, run_id: str) -> Path:
    return data_dir / FOLDER / run_id


def remove(folder: Path) -> None:
    """Also what is read-only. What can't be removed is logged: without its key nobody can read it. Blocks."""
    if not folder.exists():
        return
    try:
        for part in (folder, *folder.rglob("*")):
            if part.is_dir() and not part.is_symlink():
                part.chmod(0o700)
        shutil.rmtree(folder)
    except OSError as error:
        log.warning("%s could not be removed whole: %s", folder, error)


def sweep(data_dir: Path, keep: str | None) -> None:
    """Remove what runs left that were killed, but for the one called `keep`. Where another process trains (`inkwell
    train` on the command line holds the same lock) nothing is touched: it does so itself. Blocks."""
    training = data_dir / FOLDER
    if not training.is_dir():
        return
    descriptor = os.open(training / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in training.iterdir():
            if left.is_dir() and left.name != keep:
                log.info("removing %s, left by a run that was killed", left)
                remove(left)
    except BlockingIOError:
        log.info("another training run is in progress in %s", training)
    finally:
        os.close(descriptor)
