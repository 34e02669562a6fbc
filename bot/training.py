"""Runs training: one run at a time, each in a process of its own, from the store's records to registered candidates.
Knows when a run begins and what becomes of it; knows no Discord and no model.

Live models are never touched by a run. Whatever ends one, the key of its snapshot and its folder go; only Inkwell's own
end leaves both, and the next start goes on with the run.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

from bot.settings import Settings
from bot.store import Store
from bot.store.errors import StoreError
from bot.store.training_runs import Place, RunTrigger, TrainingRun, TrainingUnderWayError
from bot.training_folder import folder_of, remove, sweep
from bot.training_process import PROGRAM, kill_strays
from bot.training_run import Course, LiveRun, Outcome, Records
from bot.training_schedule import last_time
from models.serving.training import FAMILIES, Family

log = logging.getLogger(__name__)

GRACE_S: Final = 15.0  # for a run that was cancelled to remove what it has made; then it is killed
LEAVING_GRACE_S: Final = 3.0  # the same while somebody waits for the erasure of their words
SILENCE_S: Final = 3_600.0  # judging the largest model on a slow machine says nothing for many minutes
MAX_ATTEMPTS: Final = 2  # a run from which somebody took their words is begun anew once
MAX_RESUMES: Final = 3  # a run with which Inkwell ends again and again may be the reason

Ended = Callable[[TrainingRun], Awaitable[None]]


class TrainingNotAllowedError(Exception):
    """The operator has not switched on that members' words may train."""


class TrainingClosedError(Exception):
    """Inkwell is shutting down."""


class NothingToLearnError(Exception):
    """There is no record that the run could learn from."""


class NoTrainingError(Exception):
    """No run is in progress, or it is another one."""


class Training:
    """`settings` is asked anew for each run. `ended` is awaited after each run, before another may begin. `revision`
    grows with every change that somebody may want to show."""

    def __init__(
        self,
        store: Store,
        settings: Callable[[], Settings],
        records: Records,
        *,
        ended: Ended | None = None,
        program: str = PROGRAM,
        grace_s: float = GRACE_S,
        silence_s: float = SILENCE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._settings, self._ended = store, settings, ended
        self._grace_s, self._clock = grace_s, clock
        self._course = Course(
            runs=store.training_runs,
            ballots=store.ballots,
            records=records,
            program=program,
            silence_s=silence_s,
            changed=self._changed,
        )
        self._live: LiveRun | None = None
        self._beginning = asyncio.Lock()
        self._closing = False
        self.revision = 1

    @property
    def live(self) -> LiveRun | None:
        """The run in progress."""
        return self._live

    def families(self) -> tuple[Family, ...]:
        """Those that can be trained here: a story model on a server elsewhere can't."""
        return tuple(each for each in FAMILIES if not (each == "story" and self._settings().remote))

    def require_allowed(self) -> None:
        """Raises TrainingNotAllowedError."""
        if not self._settings().may_train:
            raise TrainingNotAllowedError

    async def start(
        self,
        *,
        place: Place,
        families: Sequence[Family] = (),
        trigger: RunTrigger = "manual",
        user_key: str | None = None,
        attempt: int = 1,
        due_at: float | None = None,
    ) -> TrainingRun:
        """Begin a run of these families (none: all that can be). Raises TrainingNotAllowedError,
        TrainingUnderWayError, NothingToLearnError, TrainingClosedError."""
        self.require_allowed()
        wanted = tuple(families) or self.families()
        async with self._beginning:
            if self._closing:
                raise TrainingClosedError
            if self._live is not None:
                raise TrainingUnderWayError(self._live.run)
            await self._end_what_nobody_drives()
            if not await self._course.anything(wanted):
                raise NothingToLearnError
            run = await self._store.training_runs.begin(
                trigger=trigger,
                families=wanted,
                options=self._settings().training_options,
                place=place,
                snapshot_key=secrets.token_hex(32),
                user_key=user_key,
                attempt=attempt,
                due_at=due_at,
            )
            self._drive(LiveRun(run=run), resume=False)
        return run

    async def start_due(self) -> TrainingRun | None:
        """Begin the run that the schedule wants by now, if there is one and nothing else runs. Times that passed while
        nobody could begin it count as one."""
        schedule = await self._store.training_runs.schedule()
        if schedule is None or self._live is not None or self._closing:
            return None
        due_at = last_time(schedule.hour, schedule.weekday, self._clock())
        if due_at <= schedule.due_at:
            return None
        families = tuple(each for each in schedule.families or FAMILIES if each in self.families())
        try:
            if not families:
                raise NothingToLearnError
            return await self.start(
                place=schedule.place, families=families, trigger="schedule", user_key=schedule.user_key, due_at=due_at
            )
        except TrainingUnderWayError:
            return None  # it stays due
        except (TrainingNotAllowedError, NothingToLearnError) as error:
            log.info("scheduled training is passed over: %s", type(error).__name__)
            await self._store.training_runs.pass_over(due_at)
            return None

    async def cancel(self, run_id: str | None = None) -> TrainingRun:
        """Ask the run to stop, and kill it where it does not; returns at once. Raises NoTrainingError, also where
        another run than `run_id` is in progress."""
        live = self._live
        if live is None or live.gone.is_set() or (run_id is not None and live.run.id != run_id):
            raise NoTrainingError
        self._stop(live, "cancelled", self._grace_s)
        return live.run

    async def author_left(self, author_key: str) -> bool:
        """Somebody withdrew their consent or erased their words: to be called after the store has noted that. Where the
        run in progress has words of theirs it is cancelled (when this returns, its process, key and folder are gone)
        and begun anew without them, once. False: it has none; should some still be on their way to it, it ends before
        they get there."""
        live = self._live
        if live is None or live.gone.is_set():
            return False
        live.left.add(author_key)
        if author_key not in live.authors:
            return False
        self._stop(live, "author_left", min(LEAVING_GRACE_S, self._grace_s))
        try:  # whatever becomes of the process, nobody opens that snapshot again
            await self._store.training_runs.end(live.run.id, "cancelled", reason="author_left")
        finally:
            await live.gone.wait()
        return True

    async def resume(self) -> None:
        """To be called once, at the start: go on with the run that Inkwell's end has cut short, or begin it anew where
        its words had not been sent whole; sweep what killed runs have left."""
        runs, settings = self._store.training_runs, self._settings()
        run = await runs.open_run()
        if run is not None:
            await asyncio.to_thread(kill_strays, run.id)
        await asyncio.to_thread(sweep, settings.data_dir, None if run is None else run.id)
        if run is None:
            return
        authors = await runs.authors(run.id)
        folder = folder_of(settings.data_dir, run.id)
        if not settings.may_train:
            await self._give_up(run, Outcome(state="cancelled", reason="not_allowed"))
        elif len(authors) < run.authors:
            await self._give_up(run, Outcome(state="cancelled", reason="author_left"))
            await self._begin_anew(run)
        elif run.resumes >= MAX_RESUMES:
            await self._give_up(run, Outcome(state="failed", reason="interrupted"))
        else:
            await runs.add_resume(run.id)
            if run.counted is not None and await asyncio.to_thread(folder.is_dir):
                log.info("the training run %s goes on", run.id)
                self._drive(LiveRun.resumed(run, authors), resume=True)
            else:
                log.info("the training run %s begins anew", run.id)
                await asyncio.to_thread(remove, folder)
                self._drive(LiveRun(run=run), resume=False)

    async def close(self) -> None:
        """Stop the run where it is; the next start goes on with it."""
        self._closing = True
        async with self._beginning:
            live = self._live
        if live is None or live.task is None or live.task.done():
            return
        live.stopping = live.stopping or "paused"
        if live.process is not None:
            live.process.kill()
        else:
            live.task.cancel()
        await asyncio.wait((live.task,))

    def _drive(self, live: LiveRun, *, resume: bool) -> None:
        self._live = live
        self._changed()
        live.task = asyncio.create_task(self._run(live, resume=resume), name=f"training run {live.run.id}")

    async def _run(self, live: LiveRun, *, resume: bool) -> None:
        try:
            outcome = await self._course.outcome(live, self._settings(), resume=resume)
            if live.stopping == "paused" and outcome.state != "ended":
                return
            await self._course.note(live)
            await self._give_up(live.run, outcome)
            live.gone.set()
            await self._follow(live.run)
        finally:
            live.gone.set()
            self._live = None
            self._changed()
        if outcome.reason == "author_left":
            await self._begin_anew(live.run)

    async def _follow(self, run: TrainingRun) -> None:
        if self._ended is None:
            return
        try:
            await self._ended(await self._store.training_runs.run(run.id))
        except Exception:  # the run has ended, whatever is made of it
            log.exception("what follows the training run %s has failed", run.id)

    async def _begin_anew(self, run: TrainingRun) -> None:
        """Without the words of those who left."""
        if run.attempt >= MAX_ATTEMPTS or self._closing:
            return
        try:
            await self.start(
                place=run.place,
                families=run.families,
                trigger=run.trigger,
                user_key=run.user_key,
                attempt=run.attempt + 1,
            )
        except (StoreError, TrainingNotAllowedError, TrainingClosedError, NothingToLearnError) as error:
            log.warning("the training run %s is not begun anew: %s %s", run.id, type(error).__name__, error)

    def _stop(self, live: LiveRun, why: Literal["cancelled", "author_left"], grace_s: float) -> None:
        if live.stopping != "author_left":
            live.stopping = why
        if live.process is not None:
            live.process.ask_to_stop()
            asyncio.get_running_loop().call_later(grace_s, live.process.kill)
        self._changed()

    async def _give_up(self, run: TrainingRun, outcome: Outcome) -> None:
        """First the key goes, then what it opens."""
        try:
            await self._store.training_runs.end(run.id, outcome.state, reason=outcome.reason, detail=outcome.detail)
        except StoreError as error:  # the next run, or the next start, ends it
            log.warning("the end of the training run %s could not be noted: %s", run.id, error)
        await asyncio.to_thread(remove, folder_of(self._settings().data_dir, run.id))
        log.info("the training run %s: %s %s", run.id, outcome.state, outcome.reason)
        self._changed()

    async def _end_what_nobody_drives(self) -> None:
        """A run whose end could not be noted (a full disk) must not stand in the way for ever."""
        run = await self._store.training_runs.open_run()
        if run is not None:
            await self._give_up(run, Outcome(state="failed", reason="interrupted"))

    def _changed(self) -> None:
        self.revision += 1
