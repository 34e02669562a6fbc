"""One run of training as it happens: starts its process, feeds it the records, hears what it says, notes how far it is.
Knows the store and the process; knows neither when runs begin nor what follows them.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from bot.settings import Settings
from bot.store.ballots import Ballots
from bot.store.errors import StoreError
from bot.store.training_runs import Curves, TrainingRun, TrainingRuns
from bot.training_process import SilentError, TrainingProcess, UnreadableError
from models.serving.training import (
    Began,
    CorrectionRecord,
    Counted,
    Event,
    Family,
    Judged,
    Paired,
    Progressed,
    Record,
    RunEnded,
    RunFailed,
    RunRequest,
    Skipped,
    Stage,
    TurnRecord,
)

log = logging.getLogger(__name__)

_NOTED_EVERY_S = 30.0
_RECORDS_AT_ONCE, _BYTES_AT_ONCE = 64, 1 << 18
_CURVE_POINTS = 200
_MOST_DETAIL_CHARS = 500
_TEXT_FAMILIES: tuple[Family, ...] = ("story", "gpt", "ngram")

Records = Callable[[], AsyncIterator[Record]]


class AuthorLeftError(Exception):
    """Somebody whose words this run was given, or was about to be given, does not agree any more."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended; `reason` is a word of which `bot.training_words` makes a sentence."""

    state: Literal["ended", "failed", "cancelled"]
    reason: str = ""
    detail: str = ""


@dataclass(kw_only=True)
class LiveRun:
    """The run in progress as it is right now. Only this module and `Training` change it. `authors` are those whose
    words the process has; `left` those who don't agree any more; `gone` is set once process, folder and key are."""

    run: TrainingRun
    stage: Stage | None = None
    family: Family | None = None
    progress: Progressed | None = None
    counted: Counted | None = None
    judged: dict[Family, Judged] = field(default_factory=dict)
    skipped: dict[Family, Skipped] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    stopping: Literal["", "cancelled", "author_left", "paused"] = ""
    authors: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    process: TrainingProcess | None = None
    task: asyncio.Task[None] | None = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    noted_at: float = field(default_factory=time.monotonic)

    @classmethod
    def resumed(cls, run: TrainingRun, authors: frozenset[str]) -> "LiveRun":
        """As the store knows it."""
        return cls(
            run=run,
            stage=run.stage,
            counted=run.counted,
            judged={each.family: each for each in run.judged},
            skipped={each.family: each for each in run.skipped},
            curves=dict(run.curves),
            authors=set(authors),
        )

    def is_stopping(self) -> bool:
        return self.stopping != ""

    @property
    def done(self) -> int:
        """How many of its families are."""
        return len(self.judged.keys() | self.skipped.keys())


@dataclass(frozen=True, kw_only=True)
class Course:
    """What carries out runs: `changed` is called whenever there is something new to show."""

    runs: TrainingRuns
    ballots: Ballots
    records: Records
    program: str
    silence_s: float
    changed: Callable[[], None]

    async def outcome(self, live: LiveRun, settings: Settings, *, resume: bool) -> Outcome:
        """Carry the run out, or go on with it. Raises nothing but its own cancellation."""
        try:
            said, status = await self._carry_out(live, settings, resume=resume)
        except AuthorLeftError:
            return Outcome(state="cancelled", reason="author_left")
        except SilentError:
            return Outcome(state="failed", reason="silent")
        except UnreadableError as error:
            log.warning("the training process said what is no event: %s", error)
            return Outcome(state="failed", reason="unreadable")
        except StoreError as error:
            log.warning("the training run %s can't read its records: %s", live.run.id, error)
            return Outcome(state="failed", reason="store")
        except OSError as error:
            log.warning("the training process could not be started: %s", error)
            return Outcome(state="failed", reason="start")
        except Exception:
            log.exception("the training run %s met an error that it does not know", live.run.id)
            return Outcome(state="failed", reason="crashed")
        if live.stopping == "author_left":
            return Outcome(state="cancelled", reason="author_left")
        if isinstance(said, RunEnded):
            return Outcome(state="ended")
        if live.stopping == "cancelled":
            return Outcome(state="cancelled", reason="cancelled")
        if isinstance(said, RunFailed) and said.cancelled:
            return Outcome(state="cancelled", reason="stopped")
        if isinstance(said, RunFailed):
            return Outcome(state="failed", reason="said", detail=said.reason[:_MOST_DETAIL_CHARS])
        if not live.stopping:
            log.warning("the training process of run %s ended with status %d", live.run.id, status)
        return Outcome(state="failed", reason="killed" if status < 0 else "crashed", detail=str(abs(status)))

    async def anything(self, families: Sequence[Family]) -> bool:
        """Whether there is a single record that these families could learn from."""
        async with contextlib.aclosing(self._wanted(families)) as records:
            async for _ in records:
                return True
        return False

    async def note(self, live: LiveRun) -> None:
        """How far it is, for the history and for the next start. A run is not given up because this fails."""
        live.noted_at = time.monotonic()
        try:
            await self.runs.note(
                live.run.id,
                stage=live.stage,
                counted=live.counted,
                judged=list(live.judged.values()),
                skipped=list(live.skipped.values()),
                curves=live.curves,
            )
        except StoreError as error:
            log.warning("how far the training run %s is could not be noted: %s", live.run.id, error)

    async def _carry_out(
        self, live: LiveRun, settings: Settings, *, resume: bool
    ) -> tuple[RunEnded | RunFailed | None, int]:
        """The process' last word, if it had one, and its exit status."""
        await self.runs.set_running(live.run.id, anew=not resume)
        if live.is_stopping():
            return None, 0
        process = live.process = await TrainingProcess.start(self.program, live.run.id)
        if live.is_stopping():  # since then
            process.kill()
        feeding = asyncio.create_task(self._feed(live, process, _request(live, settings, resume=resume)), name="feed")
        said: RunEnded | RunFailed | None = None
        try:
            async with contextlib.aclosing(process.events(self.silence_s)) as events:
                async for event in events:
                    if isinstance(event, RunEnded | RunFailed):
                        said = event
                    else:
                        await self._hear(live, event)
            if feeding.done():
                feeding.result()  # raises why the process was killed
            return said, await process.ended()
        finally:
            live.process = None
            process.kill()
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await process.ended()

    async def _feed(self, live: LiveRun, process: TrainingProcess, request: RunRequest) -> None:
        """Send the request and the records. What goes wrong here ends the process."""
        try:
            if await process.send(msgspec.json.encode(request) + b"\n") and not request.resume:
                await self._send_records(live, process)
            process.end_input()
        except Exception:
            process.kill()
            raise

    async def _send_records(self, live: LiveRun, process: TrainingProcess) -> None:
        """Raises AuthorLeftError, StoreError."""
        batch: list[bytes] = []
        size, new = 0, set[str]()
        async with contextlib.aclosing(self._wanted(live.run.families)) as records:
            async for record in records:
                line = msgspec.json.encode(record)
                batch.append(line)
                size += len(line)
                if record.author and record.author not in live.authors:
                    new.add(record.author)
                if len(batch) >= _RECORDS_AT_ONCE or size >= _BYTES_AT_ONCE:
                    if not await self._send(live, process, batch, new):
                        return
                    size, new = 0, set()
                    batch.clear()
        await self._send(live, process, batch, new)

    async def _send(self, live: LiveRun, process: TrainingProcess, batch: list[bytes], new: set[str]) -> bool:
        """Their authors are noted before their words leave. Raises AuthorLeftError."""
        if new:
            if not await self.runs.add_authors(live.run.id, new):
                raise AuthorLeftError
            live.authors |= new
        if live.left & live.authors:
            raise AuthorLeftError
        return not batch or await process.send(b"\n".join(batch) + b"\n")

    async def _wanted(self, families: Sequence[Family]) -> AsyncGenerator[Record, None]:
        """No more than these families can learn from."""
        records = self.records()
        try:
            async for record in records:
                if _family_of(record) & set(families):
                    yield record
        finally:
            if isinstance(records, AsyncGenerator):
                await records.aclose()

    async def _hear(self, live: LiveRun, event: Event) -> None:
        match event:
            case Began(stage=stage, family=family):
                live.stage, live.family, live.progress = stage, family, None
            case Progressed(family=family):
                live.family, live.progress = family, event
                if event.steps > 1:  # one step makes no curve
                    draw(live.curves, event)
            case Counted():
                live.counted = event
            case Paired():
                await self._keep_pairs(live, event)
            case Judged(family=family):
                live.judged[family] = event
            case Skipped(family=family):
                live.skipped[family] = event
        if not isinstance(event, Progressed) or time.monotonic() - live.noted_at > _NOTED_EVERY_S:
            await self.note(live)
        self.changed()

    async def _keep_pairs(self, live: LiveRun, paired: Paired) -> None:
        """Without them there is no blind vote, which is nobody's reason to give a run up."""
        try:
            await self.ballots.add(live.run.id, paired)
        except StoreError as error:
            log.warning("texts of the training run %s for a blind vote could not be kept: %s", live.run.id, error)


def draw(curves: Curves, event: Progressed) -> None:
    """Add a point; where there are too many, every second one goes."""
    points = curves.setdefault(event.family, [])
    if points and event.step <= points[-1][0]:  # gone on with from an earlier checkpoint
        points[:] = [point for point in points if point[0] < event.step]
    points.append((event.step, event.loss))
    if len(points) > _CURVE_POINTS:
        del points[1:-1:2]


def _request(live: LiveRun, settings: Settings, *, resume: bool) -> RunRequest:
    return RunRequest(
        run=live.run.id,
        families=live.run.families,
        data_dir=str(settings.data_dir.absolute()),
        model=settings.story_model,
        adapter=settings.story_adapter,
        key=live.run.snapshot_key,
        resume=resume,
        options=live.run.options,
    )


def _family_of(record: Record) -> set[Family]:
    if isinstance(record, TurnRecord):
        return set(_TEXT_FAMILIES)
    return {"mood"} if isinstance(record, CorrectionRecord) else {"portraits"}
