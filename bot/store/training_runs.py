"""Runs of training in SQL: the open one, its key and whose words it was given, the history, and the schedule. Knows no
process and no model.

At most one run is open. Ending it deletes the key of its snapshot and the list of its authors in the same transaction.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store.errors import NotFoundError, StoreError
from bot.store.ids import new_id
from bot.store.schema import consents
from bot.store.schema_training import ballots, training_run_authors, training_runs, training_schedule
from bot.store.steps import Steps
from models.serving.training import Counted, Family, Judged, RunOptions, Skipped, Stage

RunTrigger = Literal["manual", "schedule"]
RunState = Literal["queued", "running", "ended", "failed", "cancelled"]
Curves = dict[Family, list[tuple[int, float]]]

KEPT_RUNS = 200  # with the open one; with their curves about 2 MB
_IN_ONE_QUERY = 500  # keys; SQLite takes some thousands of variables


class TrainingUnderWayError(StoreError):
    """Another run is open. Wait for it, or cancel it."""

    def __init__(self, run: "TrainingRun") -> None:
        super().__init__(f"the training run {run.id} is open")
        self.run = run


class TrainingRunNotFoundError(NotFoundError):
    """There is no such run (any more)."""


class Decision(Struct, frozen=True, kw_only=True):
    """What was decided about a version of a run: it `answers` now, or it was kept as it is. `error`: it could not be
    promoted; one sentence."""

    family: Family
    version: str
    answers: bool
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run reports, and in which language."""

    guild_id: int
    channel_id: int
    locale: str


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """`reason` is a word that says why it ended (`bot.training_words` has the sentences), `detail` what the process
    itself said. `message_id` is the message with its progress; 0: none can be. `curves`: steps and losses. `attempt`
    counts from 1 and grows where a run is begun anew without somebody's words, `resumes` the starts of Inkwell that it
    has outlived."""

    id: str
    state: RunState
    trigger: RunTrigger
    user_key: str | None
    guild_id: int
    channel_id: int
    message_id: int | None
    locale: str
    families: tuple[Family, ...]
    options: RunOptions
    stage: Stage | None
    reason: str
    detail: str
    counted: Counted | None
    judged: tuple[Judged, ...]
    skipped: tuple[Skipped, ...]
    curves: Curves
    decisions: tuple[Decision, ...]
    authors: int
    attempt: int
    resumes: int
    snapshot_key: str = field(repr=False)
    reported: bool
    created_at: float
    began_at: float | None
    ended_at: float | None

    @property
    def open(self) -> bool:
        return self.ended_at is None

    @property
    def place(self) -> Place:
        return Place(guild_id=self.guild_id, channel_id=self.channel_id, locale=self.locale)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A run at `hour` (UTC), daily or only on `weekday` (0: Monday). `due_at` is the time for which the last one was
    begun, in Unix seconds."""

    hour: int
    weekday: int | None
    families: tuple[Family, ...]
    place: Place
    user_key: str | None
    due_at: float


class TrainingRuns:
    """Errors as of `Store`."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    async def begin(
        self,
        *,
        trigger: RunTrigger,
        families: Sequence[Family],
        options: RunOptions,
        place: Place,
        snapshot_key: str,
        user_key: str | None,
        attempt: int = 1,
        due_at: float | None = None,
    ) -> TrainingRun:
        """A queued run. `due_at`: it is the one that the schedule wants for this time, which is noted in the same
        transaction. Raises TrainingUnderWayError."""
        return await self._steps.write(
            _begin, trigger, tuple(families), options, place, snapshot_key, user_key, attempt, due_at
        )

    async def run(self, run_id: str) -> TrainingRun:
        """Raises TrainingRunNotFoundError."""
        return await self._steps.read(_run, run_id)

    async def open_run(self) -> TrainingRun | None:
        found = await self._steps.read(_runs, training_runs.c.slot.is_not(None), 1)
        return found[0] if found else None

    async def latest(self, limit: int) -> tuple[TrainingRun, ...]:
        """Newest first."""
        return await self._steps.read(_runs, sa.true(), limit)

    async def unreported(self) -> tuple[TrainingRun, ...]:
        """Runs that have ended and of which nobody was told yet, oldest first."""
        ended = sa.and_(training_runs.c.slot.is_(None), sa.not_(training_runs.c.reported))
        return (await self._steps.read(_runs, ended, KEPT_RUNS))[::-1]

    async def set_running(self, run_id: str, *, anew: bool = True) -> None:
        """Its process is about to start; `anew`: from nothing, so that what was noted of it goes. Of a run that has
        ended nothing is changed, here and below."""
        await self._steps.write(_set_running, run_id, anew)

    async def add_resume(self, run_id: str) -> None:
        """Inkwell has started, and takes it up again."""
        await self._steps.write(_note, run_id, {"resumes": training_runs.c.resumes + 1})

    async def add_authors(self, run_id: str, author_keys: Collection[str]) -> bool:
        """Note whose words the process is about to get. False: one of them does not (or no longer) consent, or the run
        has ended; then the run must not have those words."""
        return await self._steps.write(_add_authors, run_id, frozenset(author_keys))

    async def authors(self, run_id: str) -> frozenset[str]:
        """Those of an open run who still consent."""
        return await self._steps.read(_authors, run_id)

    async def note(
        self,
        run_id: str,
        *,
        stage: Stage | None = None,
        counted: Counted | None = None,
        judged: Sequence[Judged] | None = None,
        skipped: Sequence[Skipped] | None = None,
        curves: Curves | None = None,
    ) -> None:
        """How far it is; what is None stays."""
        values = {"stage": stage, "counted": counted, "judged": judged, "skipped": skipped, "curves": curves}
        plain = {name: msgspec.to_builtins(value) for name, value in values.items() if value is not None}
        if plain:
            await self._steps.write(_note, run_id, plain)

    async def set_message(self, run_id: str, message_id: int) -> None:
        await self._steps.write(_set, run_id, {"message_id": message_id})

    async def end(
        self, run_id: str, state: Literal["ended", "failed", "cancelled"], *, reason: str = "", detail: str = ""
    ) -> bool:
        """Its key and its authors are deleted. False: it had ended before."""
        return await self._steps.write(_end, run_id, state, reason, detail)

    async def add_decision(self, run_id: str, decision: Decision) -> None:
        """A later decision about a family replaces the one before."""
        await self._steps.write(_add_decision, run_id, decision)

    async def set_reported(self, run_id: str) -> None:
        await self._steps.write(_set, run_id, {"reported": True})

    async def schedule(self) -> Schedule | None:
        """None: runs begin only where somebody starts them."""
        return await self._steps.read(_schedule)

    async def set_schedule(self, schedule: Schedule | None) -> None:
        await self._steps.write(_set_schedule, schedule)

    async def pass_over(self, due_at: float) -> None:
        """Nothing is to be begun for this time."""
        await self._steps.write(_pass_over, due_at)


async def forget_person(connection: AsyncConnection, author_key: str) -> None:
    """Nobody can tell any more who started a run. (Whose words an open run holds goes with their consent.)"""
    for table in (training_runs, training_schedule):
        await connection.execute(sa.update(table).where(table.c.user_key == author_key).values(user_key=None))


async def _begin(
    connection: AsyncConnection,
    trigger: RunTrigger,
    families: tuple[Family, ...],
    options: RunOptions,
    place: Place,
    snapshot_key: str,
    user_key: str | None,
    attempt: int,
    due_at: float | None,
    *,
    now: float,
) -> TrainingRun:
    under_way = await _runs(connection, training_runs.c.slot.is_not(None), 1)
    if under_way:
        raise TrainingUnderWayError(under_way[0])
    old = (
        sa.select(training_runs.c.id)
        .where(training_runs.c.slot.is_(None))
        .order_by(training_runs.c.id.desc())
        .offset(KEPT_RUNS - 1)
    )
    forgotten = tuple((await connection.execute(old)).scalars())
    await connection.execute(sa.delete(training_runs).where(training_runs.c.id.in_(forgotten)))
    if due_at is not None:
        await _pass_over(connection, due_at, now=now)
    run_id = new_id()
    await connection.execute(
        sa.insert(training_runs).values(
            id=run_id,
            slot=1,
            state="queued",
            trigger=trigger,
            user_key=user_key,
            guild_id=place.guild_id,
            channel_id=place.channel_id,
            locale=place.locale,
            families=list(families),
            options=msgspec.to_builtins(options),
            stage="",
            reason="",
            detail="",
            judged=[],
            skipped=[],
            curves={},
            decisions=[],
            authors=0,
            attempt=attempt,
            resumes=0,
            snapshot_key=snapshot_key,
            reported=False,
            created_at=now,
        )
    )
    return await _run(connection, run_id)


async def _run(connection: AsyncConnection, run_id: str) -> TrainingRun:
    found = await _runs(connection, training_runs.c.id == run_id, 1)
    if not found:
        raise TrainingRunNotFoundError(run_id)
    return found[0]


async def _runs(connection: AsyncConnection, which: sa.ColumnElement[bool], limit: int) -> tuple[TrainingRun, ...]:
    query = sa.select(training_runs).where(which).order_by(training_runs.c.id.desc()).limit(limit)
    return tuple(_of_row(dict(row)) for row in (await connection.execute(query)).mappings())


def _of_row(row: dict[str, Any]) -> TrainingRun:
    del row["slot"]
    kinds: dict[str, Any] = {
        "families": tuple[Family, ...],
        "options": RunOptions,
        "counted": Counted | None,
        "judged": tuple[Judged, ...],
        "skipped": tuple[Skipped, ...],
        "curves": Curves,
        "decisions": tuple[Decision, ...],
    }
    read = {name: msgspec.convert(row[name], kind) for name, kind in kinds.items()}
    return TrainingRun(**{**row, **read, "stage": row["stage"] or None})


async def _set_running(connection: AsyncConnection, run_id: str, anew: bool, *, now: float) -> None:
    values: dict[str, Any] = {"state": "running", "began_at": sa.func.coalesce(training_runs.c.began_at, now)}
    if anew:
        for table in (training_run_authors, ballots):
            await connection.execute(sa.delete(table).where(table.c.run_id == run_id))
        values |= {"authors": 0, "stage": "", "counted": None, "judged": [], "skipped": [], "curves": {}}
    await _note(connection, run_id, values, now=now)


async def _add_authors(connection: AsyncConnection, run_id: str, author_keys: frozenset[str], *, now: float) -> bool:
    is_open = sa.select(training_runs.c.id).where(training_runs.c.id == run_id, training_runs.c.slot.is_not(None))
    if (await connection.execute(is_open)).first() is None:
        return False
    keys, known, agreeing = sorted(author_keys), set[str](), set[str]()
    for first in range(0, len(keys), _IN_ONE_QUERY):
        some = keys[first : first + _IN_ONE_QUERY]
        here = sa.select(training_run_authors.c.author_key).where(
            training_run_authors.c.run_id == run_id, training_run_authors.c.author_key.in_(some)
        )
        known |= set((await connection.execute(here)).scalars())
        agree = sa.select(consents.c.author_key).where(consents.c.author_key.in_(some), consents.c.level == "training")
        agreeing |= set((await connection.execute(agree)).scalars())
    if len(agreeing) < len(keys):
        return False
    new = [key for key in keys if key not in known]
    if new:
        await connection.execute(
            sa.insert(training_run_authors),
            [{"run_id": run_id, "author_key": each, "level": "training"} for each in new],
        )
        await connection.execute(
            sa.update(training_runs)
            .where(training_runs.c.id == run_id)
            .values(authors=training_runs.c.authors + len(new))
        )
    return True


async def _authors(connection: AsyncConnection, run_id: str) -> frozenset[str]:
    query = sa.select(training_run_authors.c.author_key).where(training_run_authors.c.run_id == run_id)
    return frozenset((await connection.execute(query)).scalars())


async def _note(connection: AsyncConnection, run_id: str, values: dict[str, Any], *, now: float) -> None:
    await connection.execute(
        sa.update(training_runs).where(training_runs.c.id == run_id, training_runs.c.slot.is_not(None)).values(**values)
    )


async def _set(connection: AsyncConnection, run_id: str, values: dict[str, Any], *, now: float) -> None:
    await connection.execute(sa.update(training_runs).where(training_runs.c.id == run_id).values(**values))


async def _end(
    connection: AsyncConnection, run_id: str, state: RunState, reason: str, detail: str, *, now: float
) -> bool:
    ended = await connection.execute(
        sa.update(training_runs)
        .where(training_runs.c.id == run_id, training_runs.c.slot.is_not(None))
        .values(slot=None, state=state, reason=reason, detail=detail, snapshot_key="", ended_at=now)
    )
    await connection.execute(sa.delete(training_run_authors).where(training_run_authors.c.run_id == run_id))
    return ended.rowcount > 0


async def _add_decision(connection: AsyncConnection, run_id: str, decision: Decision, *, now: float) -> None:
    before = (await _run(connection, run_id)).decisions
    kept = [*(each for each in before if each.family != decision.family), decision]
    await _set(connection, run_id, {"decisions": msgspec.to_builtins(kept)}, now=now)


async def _schedule(connection: AsyncConnection) -> Schedule | None:
    row = (await connection.execute(sa.select(training_schedule))).mappings().first()
    if row is None:
        return None
    return Schedule(
        hour=row["hour"],
        weekday=row["weekday"],
        families=msgspec.convert(row["families"], tuple[Family, ...]),
        place=Place(guild_id=row["guild_id"], channel_id=row["channel_id"], locale=row["locale"]),
        user_key=row["user_key"],
        due_at=row["due_at"],
    )


async def _set_schedule(connection: AsyncConnection, schedule: Schedule | None, *, now: float) -> None:
    await connection.execute(sa.delete(training_schedule))
    if schedule is None:
        return
    await connection.execute(
        sa.insert(training_schedule).values(
            id=1,
            hour=schedule.hour,
            weekday=schedule.weekday,
            families=list(schedule.families),
            user_key=schedule.user_key,
            guild_id=schedule.place.guild_id,
            channel_id=schedule.place.channel_id,
            locale=schedule.place.locale,
            due_at=schedule.due_at,
        )
    )


async def _pass_over(connection: AsyncConnection, due_at: float, *, now: float) -> None:
    await connection.execute(
        sa.update(training_schedule).where(training_schedule.c.due_at < due_at).values(due_at=due_at)
    )
