"""Model versions on disk, and the record of which one answers. Knows nothing of what is inside them.

    ROOT/FAMILY/VERSION/version.json   what it is, beside its files; none of them ever changes
    ROOT/FAMILY/champions.jsonl        a line for each promotion and rollback
    ROOT/FAMILY/marks.jsonl            a line for each version that somebody's erasure has reached
    ROOT/FAMILY/collected.jsonl        what versions were whose files are gone

The same for every process: what changes anything holds the family's lock, what reads needs none. A version appears by
one rename and a champion by one line, so a kill at any moment leaves the state before or the state after. Standard
library and msgspec only: the Discord side imports this.
"""

import errno
import fcntl
import logging
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from models.serving.training import Check
from models.training import journal, version_files
from models.training.version_files import RefusedFilesError
from models.training.versions import (
    SHIPPED,
    DamagedVersionError,
    Mark,
    MarkedError,
    NotAcceptedError,
    NothingToRollBackError,
    Promotion,
    RegistryError,
    Version,
    VersionNotFoundError,
    contributor_digest,
    finite,
    line_of_champions,
)

__all__ = [
    "SHIPPED",
    "DamagedVersionError",
    "Mark",
    "MarkedError",
    "NotAcceptedError",
    "NothingToRollBackError",
    "Promotion",
    "RefusedFilesError",
    "Registry",
    "RegistryError",
    "Version",
    "VersionNotFoundError",
]

log = logging.getLogger(__name__)

DESCRIPTION: Final = "version.json"
_CHAMPIONS, _MARKS, _COLLECTED = "champions.jsonl", "marks.jsonl", "collected.jsonl"
_FAMILY: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_ID: Final = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")
_ROOM: Final = re.compile(r"\.(new|gone)-.+")  # what a kill may leave


class Registry:
    """All versions under `root`, a folder that is made when the first is registered. Every method blocks, on the disk
    and for as long as another process changes the same family; methods that change something raise OSError when the
    disk does not take it, and then nothing was changed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # What is there.

    def versions(self, family: str) -> list[Version]:
        """Oldest first. One whose description is damaged is left out with a warning."""
        found = []
        for folder in _entries(self._family(family)):
            if _ID.fullmatch(folder.name):
                try:
                    found.append(self.version(family, folder.name))
                except VersionNotFoundError:  # collected just now
                    continue
                except DamagedVersionError as error:
                    log.warning("%s", error)
        return sorted(found, key=lambda version: (version.created_at, version.id))

    def version(self, family: str, version_id: str) -> Version:
        """Raises VersionNotFoundError, DamagedVersionError."""
        file = self.path(family, version_id) / DESCRIPTION
        try:
            version = msgspec.json.decode(file.read_bytes(), type=Version)
        except (FileNotFoundError, NotADirectoryError):
            raise VersionNotFoundError(f"There is no version {version_id} of {family}.") from None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DamagedVersionError(f"Version {version_id} of {family} is damaged: {file} ({error}).") from error
        if (version.family, version.id) != (family, version_id):
            raise DamagedVersionError(f"Version {version_id} of {family} is damaged: {file} describes another one.")
        return version

    def path(self, family: str, version_id: str) -> Path:
        """The folder of a version, which need not be whole. Raises VersionNotFoundError for what is no version's id,
        so that no word can lead out of the registry."""
        if not _ID.fullmatch(version_id):
            raise VersionNotFoundError(f"There is no version {version_id[:80]!r} of {family}.")
        return self._family(family) / version_id

    def of_run(self, family: str, run: str) -> Version | None:
        """What the training run `run` registered: so a run that was killed after that doesn't do it twice."""
        return next((version for version in reversed(self.versions(family)) if run and version.run == run), None)

    def collected(self, family: str) -> list[Version]:
        """What was known of the versions that `collect` removed, oldest first; they name no contributors any more."""
        return journal.read(self._family(family) / _COLLECTED, Version)

    def verified(self, family: str, version_id: str) -> Path:
        """The folder of a version after all its files were read and compared with their sums. Raises
        VersionNotFoundError, DamagedVersionError."""
        version, folder = self.version(family, version_id), self.path(family, version_id)
        if wrong := version_files.differs(folder, version.files, besides=DESCRIPTION):
            raise DamagedVersionError(f"Version {version_id} of {family} is damaged: {wrong}.")
        return folder

    # Which one answers.

    def promotions(self, family: str) -> list[Promotion]:
        """All that ever was, oldest first."""
        return journal.read(self._family(family) / _CHAMPIONS, Promotion)

    def champion_id(self, family: str) -> str:
        """The version that is to answer, or SHIPPED, whether or not it is whole."""
        return line_of_champions(self.promotions(family))[-1]

    def champion(self, family: str) -> Version | None:
        """The version that is to answer; None for what is shipped, also in place of a champion that is damaged or
        missing, with a warning."""
        champion = self.champion_id(family)
        try:
            return None if champion == SHIPPED else self.version(family, champion)
        except RegistryError as error:
            log.warning("%s What is shipped counts as the champion.", error)
            return None

    def champion_folder(self, family: str) -> Path | None:
        """The champion's folder, all files compared with their sums; None as in `champion`."""
        champion = self.champion_id(family)
        try:
            return None if champion == SHIPPED else self.verified(family, champion)
        except RegistryError as error:
            log.warning("%s What is shipped counts as the champion.", error)
            return None

    def predecessor_id(self, family: str) -> str | None:
        """What a rollback would bring back: the champion before the present one of which the files are still there, or
        SHIPPED. None when there is nothing to roll back."""
        return self._before(family, line_of_champions(self.promotions(family)))

    def check(self, family: str, version_id: str, *, reason: str = "", force: bool = False, gate: bool = True) -> bool:
        """Whether it takes force to let a version answer. Raises what stands in the way, as `promote` does; with
        `gate` False as `rollback`: it was the champion before, and the gate is not asked again."""
        if version_id == SHIPPED:
            return False
        version = self.version(family, version_id)
        self.verified(family, version_id)
        refusal: RegistryError | None = None
        if version_id in self.marks(family):
            refusal = MarkedError(
                f"Version {version_id} of {family} learned from somebody who had their words erased since."
            )
        elif gate and not version.accepted:
            failed = ", ".join(check.name for check in version.checks if not check.passed) or "no check was made"
            refusal = NotAcceptedError(f"The gate did not accept version {version_id} of {family} ({failed}).")
        if refusal is not None and not (force and reason.strip()):
            raise refusal
        return refusal is not None

    # Changes.

    def register(
        self,
        family: str,
        staged: Path,
        *,
        contributors: Iterable[str] = (),
        base: str = "",
        model: str = "",
        run: str = "",
        metrics: Mapping[str, float] | None = None,
        checks: Iterable[Check] = (),
        accepted: bool,
        data_digest: str = "",
        counts: Mapping[str, int] | None = None,
        code_version: str = "",
        recipe: Mapping[str, Any] | None = None,
    ) -> Version:
        """Move the folder `staged` in as a new version, durable and read-only when this returns. `contributors` are
        pseudonymous keys of authors; only digests of them are kept. JSON has no infinity: metrics that are not finite
        are left out, and in checks the largest number stands for them.

        Raises RefusedFilesError for a folder that holds what no version may (see `version_files.check`); then, and
        whenever this is killed before its end, the candidate is still in `staged`.
        """
        where = self._family(family)
        (staged / DESCRIPTION).unlink(missing_ok=True)  # of a try that was killed
        files = version_files.check(staged)
        with self._locked(family):
            at = self._next_time(family)
            stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(at))
            version_id = f"{stamp}-{secrets.token_hex(4)}"
            if where.stat().st_dev != staged.stat().st_dev:  # no rename leads there
                former, staged = staged, where / f".new-{version_id}"
                try:
                    shutil.copytree(former, staged, symlinks=True)
                except OSError:
                    _remove(staged)
                    raise
                files = version_files.check(staged)
            else:
                former = None
            version = Version(
                id=version_id,
                family=family,
                created_at=at,
                base=base,
                model=model,
                run=run,
                files=version_files.sums(files),
                metrics={name: float(value) for name, value in (metrics or {}).items() if math.isfinite(value)},
                checks=tuple(finite(check) for check in checks),
                accepted=accepted,
                data_digest=data_digest,
                counts=dict(counts or {}),
                code_version=code_version,
                contributors=tuple(sorted({contributor_digest(key, version_id) for key in contributors})),
                recipe=dict(recipe or {}),
            )
            (staged / DESCRIPTION).write_bytes(msgspec.json.format(msgspec.json.encode(version), indent=1))
            version_files.make_durable(staged, files | {DESCRIPTION: staged / DESCRIPTION})
            staged.rename(where / version_id)
            journal.make_name_durable(where)
            (where / version_id).chmod(0o500)
            if former is not None:
                _remove(former)
        return version

    def promote(self, family: str, version_id: str, *, by: str, reason: str = "", force: bool = False) -> Promotion:
        """Let a version answer from now on, or SHIPPED; what answers already stays, without a new line. `force` needs a
        `reason`, and no force makes a damaged version answer.

        Raises VersionNotFoundError, DamagedVersionError, NotAcceptedError, MarkedError.
        """
        with self._locked(family):
            past = self.promotions(family)
            former = line_of_champions(past)[-1]
            forced = self.check(family, version_id, reason=reason, force=force)
            if version_id == former and past:
                return past[-1]
            return self._add(
                family,
                Promotion(at=self._now(past), version=version_id, former=former, by=by, reason=reason, forced=forced),
            )

    def rollback(self, family: str, *, by: str, reason: str = "", force: bool = False) -> Promotion:
        """Let the champion before the present one answer again; once more leads to the one before that. Those that were
        collected are passed over.

        Raises NothingToRollBackError, MarkedError (promote another one, or what is shipped), DamagedVersionError,
        VersionNotFoundError.
        """
        with self._locked(family):
            past = self.promotions(family)
            line = line_of_champions(past)
            before = self._before(family, line)
            if before is None:
                raise NothingToRollBackError(f"{family} is what Inkwell came with: there is nothing to roll back.")
            forced = self.check(family, before, reason=reason, force=force, gate=False)
            return self._add(
                family,
                Promotion(
                    at=self._now(past),
                    version=before,
                    former=line[-1],
                    by=by,
                    reason=reason,
                    forced=forced,
                    kind="rollback",
                ),
            )

    def collect(self, family: str, keep: int = 5) -> list[str]:
        """Remove the files of all but the newest `keep` versions, and of every marked one; never those of the champion
        and of the one that a rollback would bring back. Their description stays in `collected`, without contributors.
        The ids of those removed."""
        where = self._family(family)
        if not where.is_dir():
            return []
        with self._locked(family):
            line, marked = line_of_champions(self.promotions(family)), self.marks(family)
            there = self.versions(family)
            newest = {version.id for version in there[len(there) - keep :]} if keep > 0 else set()
            known = {version.id for version in self.collected(family)}
            removed = []
            for version in there:
                if version.id in (line[-1], self._before(family, line)) or (
                    version.id in newest and version.id not in marked
                ):
                    continue
                if version.id not in known:
                    journal.append(where / _COLLECTED, msgspec.structs.replace(version, contributors=()))
                gone = where / f".gone-{version.id}"
                (where / version.id).rename(gone)
                _remove(gone)
                removed.append(version.id)
        return removed

    # Who is in it.

    def learned_from(self, author_key: str) -> list[Version]:
        """Every version of any family that learned from this author and whose files are still there."""
        return [
            version
            for family in self.families()
            for version in self.versions(family)
            if contributor_digest(author_key, version.id) in version.contributors
        ]

    def mark_erased(self, author_key: str, at: float) -> list[Version]:
        """Mark all that `learned_from` gives, once each, and return them."""
        touched = self.learned_from(author_key)
        for family in sorted({version.family for version in touched}):
            with self._locked(family):
                marked = self.marks(family)
                fresh = [
                    Mark(version=each.id, at=at) for each in touched if each.family == family and each.id not in marked
                ]
                if fresh:
                    journal.append(self._family(family) / _MARKS, *fresh)
        return touched

    def marks(self, family: str) -> dict[str, Mark]:
        """The first mark of each marked version."""
        found: dict[str, Mark] = {}
        for mark in journal.read(self._family(family) / _MARKS, Mark):
            found.setdefault(mark.version, mark)
        return found

    def families(self) -> list[str]:
        """Those that ever had a version."""
        return sorted(folder.name for folder in _entries(self.root) if _FAMILY.fullmatch(folder.name))

    # The parts.

    def _family(self, family: str) -> Path:
        """Raises ValueError for a name that is none."""
        if not _FAMILY.fullmatch(family):
            raise ValueError(f"a family's name is made of a-z, 0-9 and _, not {family!r}")
        return self.root / family

    def _before(self, family: str, line: list[str]) -> str | None:
        there = (each for each in reversed(line[:-1]) if each == SHIPPED or self.path(family, each).is_dir())
        return next(there, None)

    def _add(self, family: str, promotion: Promotion) -> Promotion:
        journal.append(self._family(family) / _CHAMPIONS, promotion)
        log.info(
            "%s: %s answers in place of %s (%s by %s%s%s)",
            family,
            promotion.version or "what is shipped",
            promotion.former or "what is shipped",
            promotion.kind,
            promotion.by,
            ", forced" if promotion.forced else "",
            f": {promotion.reason}" if promotion.reason else "",
        )
        return promotion

    @staticmethod
    def _now(past: list[Promotion]) -> float:
        """A clock that was set back doesn't upset the order of lines."""
        return max(time.time(), past[-1].at if past else 0.0)

    def _next_time(self, family: str) -> float:
        """Later than every version there, so that "oldest first" is the order in which they were registered."""
        last = max((version.created_at for version in self.versions(family)), default=0.0)
        return max(time.time(), math.nextafter(last, math.inf))

    @contextmanager
    def _locked(self, family: str) -> Iterator[None]:
        """Alone, among all processes, with this family. The kernel lets go of the lock however a process ends; what the
        one before left behind is removed."""
        where = self._family(family)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        where.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(where / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for folder in _entries(where):
                if _ROOM.fullmatch(folder.name):
                    _remove(folder)
            yield
        finally:
            os.close(descriptor)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except FileNotFoundError:
        return []


def _remove(folder: Path) -> None:
    """A read-only folder as well. What is in use stays with whoever has it open."""
    try:
        for room in [folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())]:
            room.chmod(0o700)
        shutil.rmtree(folder)
    except OSError as error:
        if error.errno != errno.ENOENT:
            log.warning("%s could not be removed and is tried again next time: %s", folder, error)
