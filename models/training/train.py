"""A training run from its snapshot to registered candidates, stage by stage. Knows no family from inside, no Discord
and no database.

    DATA_DIR/training/RUN/snapshot/             what is learned, sealed
    DATA_DIR/training/RUN/FAMILY/               checkpoints and the unfinished candidate, gone when the run ends
    DATA_DIR/training/RUN/FAMILY/trained.json   written once the candidate is whole
    DATA_DIR/training/RUN/FAMILY/judged.json    written once the gate has spoken

A run that was killed goes on behind the last of these that stands there; so a stage may be begun twice and is ended
once. Candidates are registered and never promoted here: live models are not touched by any run.
"""

import contextlib
import errno
import fcntl
import hashlib
import importlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final, Protocol, cast

import msgspec

from models.serving.training import (
    FAMILIES,
    Began,
    Event,
    Family,
    Judged,
    Paired,
    Progressed,
    Record,
    RunRequest,
    Skipped,
)
from models.training.gate import Judgement
from models.training.registry import Registry, Version
from models.training.run_errors import NothingToLearnError, RunCancelledError, RunError, UnheardError
from models.training.sealed_file import DamagedFileError, WrongKeyError
from models.training.snapshot import Snapshot, SnapshotMissingError
from models.training.snapshot_writing import write_snapshot

__all__ = [
    "Announcer",
    "Candidate",
    "Judgement",
    "NothingToLearnError",
    "RunCancelledError",
    "RunContext",
    "RunError",
    "Trainer",
    "UnheardError",
    "carry_out",
]

Tell = Callable[[Event], None]

FOLDER: Final = "training"  # below DATA_DIR
PROGRESS_EVERY_S: Final = 0.5
_RUN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Where each family's trainer is: imported when it is asked for, for some load torch.
TRAINERS: Final[dict[Family, str]] = {
    "story": "models.training.run_story:StoryTrainer",
    "gpt": "models.training.run_gpt:GPTTrainer",
    "ngram": "models.training.run_ngram:NGramTrainer",
    "mood": "models.training.run_mood:MoodTrainer",
    "portraits": "models.training.run_portraits:PortraitsTrainer",
}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trained model that nobody has judged. `folder` holds what is to be registered and nothing else; `base` names
    what it was trained from, `model` the weight spec that it is for ("" where it stands alone)."""

    folder: Path
    recipe: dict[str, Any]
    base: str
    model: str = ""
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What a trainer may use. `folder` is its own, for checkpoints and the candidate; it is removed with the run.
    `tell` may raise UnheardError: it is nobody's to catch."""

    request: RunRequest
    folder: Path
    tell: Tell
    cancelled: Callable[[], bool]

    @property
    def data_dir(self) -> Path:
        return Path(self.request.data_dir)

    def stop_if_cancelled(self) -> None:
        """To be called at every step. Raises RunCancelledError."""
        if self.cancelled():
            raise RunCancelledError


class Trainer(Protocol):
    """How one family learns and is judged. Both methods call `context.stop_if_cancelled` every second or so."""

    family: Family

    def train(self, snapshot: Snapshot, context: RunContext) -> Candidate:
        """Train from what is shipped, never from a champion: so an erased text is in no model of after. Goes on from
        checkpoints in `context.folder` where there are any, and then ends with the same candidate as a run that was
        not stopped. Raises NothingToLearnError, RunCancelledError, RunError."""

    def judge(self, candidate: Candidate, champion: Path | None, snapshot: Snapshot, context: RunContext) -> Judgement:
        """Compare with the champion, whose folder is None where it is what is shipped."""


class Announcer:
    """Tells events on, progress at most twice a second."""

    def __init__(self, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell, self._clock = tell, clock
        self._told_at = -PROGRESS_EVERY_S

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progressed):
            now = self._clock()
            if now - self._told_at < PROGRESS_EVERY_S:
                return
            self._told_at = now
        self._tell(event)


def trainer_of(family: Family) -> Trainer:
    """Raises NothingToLearnError where its libraries are not installed."""
    module, _, name = TRAINERS[family].partition(":")
    try:
        return cast("Trainer", getattr(importlib.import_module(module), name)())
    except ModuleNotFoundError as error:
        raise NothingToLearnError(
            f"This needs {error.name}, which is not installed: pip install 'inkwell[torch]'."
        ) from error


def carry_out(
    request: RunRequest,
    records: Iterable[Record],
    tell: Tell,
    cancelled: Callable[[], bool],
    *,
    trainer: Callable[[Family], Trainer] = trainer_of,
) -> None:
    """All stages for all families. Whatever ends the run, its folder is removed; only UnheardError (and a killed
    process) leaves it, for a request with `resume`.

    Raises RunError, RunCancelledError, UnheardError; anything else is a bug.
    """
    _check(request)
    training = Path(request.data_dir).absolute() / FOLDER
    with _disk_full_as_a_sentence(training):
        training.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(training):
            folder = training / request.run
            if not request.resume:
                sweep(training)
            try:
                _Run(request, folder, Announcer(tell), cancelled, trainer).all(records)
            except UnheardError:
                raise
            except (SnapshotMissingError, WrongKeyError, DamagedFileError) as error:
                remove(folder)
                raise RunError(
                    "What this run was to learn is not here any more, can't be read or was never whole: "
                    "start a new run."
                ) from error
            except BaseException:
                remove(folder)
                raise
            remove(folder)


def sweep(training: Path) -> None:
    """Remove what runs left that were killed and that nobody resumed."""
    for left in training.iterdir():
        if left.is_dir():
            remove(left)


def remove(folder: Path) -> None:
    """The snapshot first: should this be cut short, nothing that people wrote is left."""
    for part in (folder / "snapshot", folder):
        if part.exists():
            for room in part.rglob("*"):  # a candidate that was about to be registered is read-only
                if room.is_dir():
                    room.chmod(0o700)
            shutil.rmtree(part)


class _Run:
    def __init__(
        self,
        request: RunRequest,
        folder: Path,
        tell: Tell,
        cancelled: Callable[[], bool],
        trainer: Callable[[Family], Trainer],
    ) -> None:
        self.request, self.folder, self.tell, self.cancelled, self.trainer = request, folder, tell, cancelled, trainer
        self.registry = Registry(Path(request.data_dir) / "versions")

    def all(self, records: Iterable[Record]) -> None:
        try:
            snapshot = self._snapshot(records)
        except (SnapshotMissingError, DamagedFileError):
            if not self._was_over():
                raise
            return
        for family in self.request.families:
            self._stop_if_cancelled()
            try:
                self._family(family, snapshot)
            except NothingToLearnError as error:
                self.tell(Skipped(family=family, reason=str(error)))

    def _was_over(self) -> bool:
        """Whether a resumed run had come to its end, snapshot removed, before anyone heard of it: tells of it again."""
        made = {family: self.registry.of_run(family, self.request.run) for family in self.request.families}
        if not self.request.resume or not any(made.values()):
            return False
        for family, version in made.items():
            if version is None:
                self.tell(Skipped(family=family, reason="What this run was to learn is not here any more."))
            else:
                self._tell_of(family, version)
        return True

    def _stop_if_cancelled(self) -> None:
        if self.cancelled():
            raise RunCancelledError

    def _snapshot(self, records: Iterable[Record]) -> Snapshot:
        self.tell(Began(stage="snapshot"))
        folder, key = self.folder / "snapshot", self.request.key
        if not self.request.resume:
            self.folder.mkdir(mode=0o700)
            write_snapshot(records, folder, key=key, tick=self._stop_if_cancelled)
            self._stop_if_cancelled()
        snapshot = Snapshot.open(folder, key)
        self.tell(snapshot.report.counted())
        return snapshot

    def _family(self, family: Family, snapshot: Snapshot) -> None:
        if (version := self.registry.of_run(family, self.request.run)) is None:
            trainer = self.trainer(family)
            folder = self.folder / family
            folder.mkdir(mode=0o700, exist_ok=True)
            context = RunContext(request=self.request, folder=folder, tell=self.tell, cancelled=self.cancelled)
            candidate = self._train(trainer, snapshot, context)
            self._stop_if_cancelled()
            against = self.registry.champion_id(family)
            judgement = self._judge(trainer, candidate, snapshot, context)
            self._stop_if_cancelled()
            self.tell(Began(stage="register", family=family))
            version = self._register(family, candidate, judgement, snapshot)
            remove(folder)
            # A champion that knows erased words answers on, but what it wrote is kept nowhere.
            if judgement.pairs and against not in self.registry.marks(family):
                self.tell(Paired(family=family, version=version.id, against=against, pairs=judgement.pairs))
        self._tell_of(family, version)

    def _tell_of(self, family: Family, version: Version) -> None:
        self.tell(
            Judged(
                family=family,
                version=version.id,
                accepted=version.accepted,
                checks=version.checks,
                metrics=version.metrics,
            )
        )

    def _train(self, trainer: Trainer, snapshot: Snapshot, context: RunContext) -> Candidate:
        self.tell(Began(stage="train", family=trainer.family))
        note = context.folder / "trained.json"
        if note.exists():
            return msgspec.json.decode(note.read_bytes(), type=Candidate, dec_hook=lambda kind, value: kind(value))
        candidate = trainer.train(snapshot, context)
        _write_whole(note, msgspec.json.encode(candidate, enc_hook=str))  # paths
        return candidate

    def _judge(self, trainer: Trainer, candidate: Candidate, snapshot: Snapshot, context: RunContext) -> Judgement:
        self.tell(Began(stage="evaluate", family=trainer.family))
        note = context.folder / "judged.json"
        if note.exists():
            return msgspec.json.decode(note.read_bytes(), type=Judgement)
        champion = self.registry.champion_folder(trainer.family)
        judgement = trainer.judge(candidate, champion, snapshot, context)
        # Without the pairs: they are no file's. A run that is killed from here on offers no blind vote.
        _write_whole(note, msgspec.json.encode(replace(judgement, pairs=())))
        return judgement

    def _register(self, family: Family, candidate: Candidate, judgement: Judgement, snapshot: Snapshot) -> Version:
        version = self.registry.register(
            family,
            candidate.folder,
            contributors=snapshot.authors(family),
            base=candidate.base,
            model=candidate.model,
            run=self.request.run,
            metrics=judgement.metrics,
            checks=judgement.checks,
            accepted=judgement.accepted,
            data_digest=snapshot.report.digest,
            counts=candidate.counts,
            code_version=code_version(),
            recipe=candidate.recipe,
        )
        with contextlib.suppress(OSError):  # the next run does it
            self.registry.collect(family)  # else candidates that nobody promoted would pile up
        return version


def _check(request: RunRequest) -> None:
    if not _RUN.fullmatch(request.run):
        raise RunError("The name of a run is made of letters, digits, - and _ (at most 64).")
    if not request.families or len(set(request.families)) < len(request.families):
        raise RunError(f"A run trains one or more of {', '.join(FAMILIES)}, each once.")
    if not re.fullmatch(r"(?:[0-9a-f]{64})?", request.key):
        raise RunError("The key of a snapshot has 64 hexadecimal characters.")


def _write_whole(path: Path, content: bytes) -> None:
    """Durable and never half there: what stands in it was true before the machine stopped."""
    unfinished = path.with_suffix(".new")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


@contextmanager
def _alone(training: Path) -> Iterator[None]:
    """One run at a time in a DATA_DIR. The operating system lets go of the lock when its holder dies."""
    descriptor = os.open(training / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError("Another training run is in progress here: wait for its end, or cancel it.") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _disk_full_as_a_sentence(training: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if _is_disk_full(error):
            raise RunError(f"The disk that holds {training} is full: make room there, then start again.") from error
        raise


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        # numpy says how many items it wanted to write and could, and keeps the system's number to itself.
        return error.errno in _DISK_FULL or (error.errno is None and str(error).endswith(" written"))
    # safetensors is written in Rust and tells the system's number in words only.
    return type(error).__name__ == "SafetensorError" and any(f"os error {code}" in str(error) for code in _DISK_FULL)


def code_version() -> str:
    """Inkwell's version, and a digest of the code that trains: it differs wherever somebody changed that."""
    digest = hashlib.blake2b(digest_size=4)
    for folder in ("training", "language"):
        for path in sorted((Path(__file__).parents[1] / folder).glob("*.py")):
            with contextlib.suppress(OSError):
                digest.update(path.name.encode() + b"\0" + path.read_bytes())
    try:
        version = installed("inkwell")
    except PackageNotFoundError:
        version = "0"
    return f"{version}+{digest.hexdigest()}"
