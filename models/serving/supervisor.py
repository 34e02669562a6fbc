"""Keeps one worker process alive: heartbeat, restart with backoff, circuit breaker. Knows no queue; whoever listens
decides what becomes of the requests that a dead worker leaves behind.
"""

import asyncio
import contextlib
import logging
import random
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from models.serving.engine import EngineUnavailableError
from models.serving.replica import Listener
from models.serving.requests import StoryRequest, WorkerHealth
from models.serving.wire import (
    Cancel,
    Configure,
    Delta,
    Failed,
    Finished,
    FromWorker,
    LogLine,
    Ping,
    Pong,
    Ready,
    Refused,
    Run,
    RunStarted,
    Shutdown,
    StartFailed,
    WorkerStats,
    checked_config,
    decode_from_worker,
)
from models.serving.worker_process import WorkerProcess

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SupervisionPolicy:
    """When a worker counts as dead, and how often another is tried.

    A worker that answers no ping for `heartbeat_timeout_s`, or sends nothing about a running request for `stuck_s`, is
    killed. The nth restart in a row waits `backoff_s * 2**(n-1)`, at most `max_backoff_s`, less up to half of it by
    chance. After `max_crashes` with no finished story between them, or when a restart can't load its model, the breaker
    opens: one try every `open_s`, until one succeeds.
    """

    start_timeout_s: float = 600.0
    heartbeat_s: float = 2.0
    heartbeat_timeout_s: float = 30.0
    stuck_s: float = 120.0
    backoff_s: float = 0.25
    max_backoff_s: float = 30.0
    max_crashes: int = 6
    open_s: float = 60.0
    shutdown_s: float = 5.0


State = Literal["starting", "ready", "restarting", "failed", "stopped"]


class SupervisedWorker:
    """A Replica whose requests run in a process that is replaced when it dies."""

    def __init__(
        self,
        configure: Configure,
        policy: SupervisionPolicy | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._configure = configure
        self._policy = policy or SupervisionPolicy()
        self._environment = environment
        self._listener: Listener | None = None
        self._process: WorkerProcess[FromWorker] | None = None
        self._supervising: asyncio.Task[None] | None = None
        self._first_start: asyncio.Future[None] | None = None
        self._became_ready = asyncio.Event()
        self._state: State = "stopped"
        self._reason = ""
        self._start_failure = ""
        self._ready = Ready(model_version="", slots=configure.config.slots or 1)
        self._stats = WorkerStats()
        self._last_message = self._ready_since = 0.0
        self._progress: dict[str, float] = {}  # running request -> when something was last heard of it
        self._retiring = False
        self._stop = asyncio.Event()
        self._restarts = 0
        self._crashes_in_a_row = 0

    @property
    def slots(self) -> int:
        return self._ready.slots

    @property
    def accepting(self) -> bool:
        usable = self._process is not None and self._process.usable
        return self._state == "ready" and usable and not self._retiring and not self._stop.is_set()

    @property
    def failure(self) -> str:
        if self._state == "failed":
            return self._reason
        return "the worker is not running" if self._state == "stopped" else ""

    @property
    def model_version(self) -> str:
        return self._ready.model_version

    async def start(self, listener: Listener) -> None:
        """Spawn, load, and keep alive from now on. A first start that fails is reported and not tried again."""
        assert self._supervising is None, "a supervised worker is started once"
        try:
            checked_config(self._configure.config)
        except ValueError as error:
            raise EngineUnavailableError(f"the worker's configuration is malformed: {error}") from None
        self._listener = listener
        self._first_start = asyncio.get_running_loop().create_future()
        self._supervising = asyncio.create_task(self._supervise(), name="supervise worker")
        try:
            await asyncio.shield(self._first_start)
        except asyncio.CancelledError:
            self._first_start.add_done_callback(lambda start: start.exception())
            await self.close()
            raise

    def run(self, request: StoryRequest) -> None:
        assert self.accepting and self._process is not None, "run is called only while accepting"
        self._process.send(Run(request=request))
        self._progress[request.request_id] = time.monotonic()

    def cancel(self, request_id: str) -> None:
        if request_id in self._progress and self._process is not None:
            self._process.send(Cancel(request_id=request_id))

    def health(self) -> WorkerHealth:
        alive = self._state == "ready"
        return WorkerHealth(
            state=self._state,
            pid=self._process.pid if self._process is not None and not self._process.ended.done() else None,
            model_version=self._ready.model_version,
            slots=self._ready.slots,
            running=len(self._progress),
            restarts=self._restarts,
            resident_bytes=self._stats.resident_bytes if alive else 0,
            uptime_s=time.monotonic() - self._ready_since if alive else 0.0,
            error=self._reason,
        )

    async def close(self) -> None:
        self._stop.set()
        self._progress.clear()
        if self._supervising is None:
            return
        if self._process is not None and not self._process.ended.done():
            self._process.send(Shutdown())
            await asyncio.wait({self._process.ended}, timeout=self._policy.shutdown_s)
            self._process.kill("the worker did not end when asked")
        await self._supervising
        self._state = "stopped"

    async def _supervise(self) -> None:
        """One round for each incarnation, until the first start fails or `close` is called."""
        assert self._first_start is not None
        while not self._stop.is_set():
            self._become("restarting" if self._restarts else "starting", self._reason)
            try:
                ended = await self._live_once()
            except Exception as error:
                log.exception("the supervision of a worker failed")
                ended = f"the supervision of a worker failed: {error}"
                if self._process is not None:
                    self._process.kill(ended)
                    await asyncio.wait({self._process.ended})
            if self._state == "ready":
                self._leave_jobs_behind(ended)
            if not self._first_start.done():
                self._become("failed", ended)
                self._first_start.set_exception(EngineUnavailableError(ended))
                return
            if self._stop.is_set():
                return
            self._restarts += 1
            self._crashes_in_a_row += 1
            await self._pause(ended)

    async def _pause(self, ended: str) -> None:
        policy = self._policy
        if self._start_failure or self._crashes_in_a_row >= policy.max_crashes:
            seconds = policy.open_s
            log.error("no worker after %d crashes, next try in %.0f s: %s", self._crashes_in_a_row, seconds, ended)
            self._become("failed", ended)
        else:
            longest = min(policy.max_backoff_s, policy.backoff_s * 2 ** (self._crashes_in_a_row - 1))
            seconds = longest * random.uniform(0.5, 1.0)
            log.warning("%s; restarting in %.2f s", ended, seconds)
            self._become("restarting", ended)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _live_once(self) -> str:
        """Spawn a worker and watch it until it is gone. Returns how it ended, in one sentence."""
        self._start_failure, self._retiring, self._stats = "", False, WorkerStats()
        self._became_ready.clear()
        with tempfile.TemporaryDirectory(prefix="inkwell-", ignore_cleanup_errors=True) as scratch:
            return await self._live_in(scratch)

    async def _live_in(self, scratch: str) -> str:
        try:
            process = self._process = await WorkerProcess.spawn(self._on_message, decode_from_worker, self._environment)
        except OSError as error:
            return f"no worker process can be started: {error}"
        if self._stop.is_set():
            process.kill("the worker is no longer wanted")
        self._last_message = time.monotonic()
        process.send(msgspec.structs.replace(self._configure, scratch=scratch))
        await self._watch_start(process)
        await self._watch_life(process)
        ended = self._start_failure or process.ended.result()
        if self._state != "ready" and not self._start_failure:
            ended = f"{ended} while it loaded {self._configure.config.model}{self._memory_hint()}"
        return ended

    def _leave_jobs_behind(self, ended: str) -> None:
        self._progress.clear()
        self._become("restarting", ended)
        if self._listener is not None and not self._stop.is_set():
            self._listener.lost(self, ended)

    def _memory_hint(self) -> str:
        """A native library that gets no memory often ends the process without a word."""
        limit = self._configure.config.max_memory_bytes
        return "" if limit is None else f" (its memory is limited to {limit / 2**20:.0f} MiB)"

    async def _watch_start(self, process: WorkerProcess[FromWorker]) -> None:
        ready = asyncio.ensure_future(self._became_ready.wait())
        try:
            await asyncio.wait(
                {ready, process.ended},
                timeout=self._policy.start_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            ready.cancel()
        if not self._became_ready.is_set() and not process.ended.done():
            process.kill(f"the model did not load within {self._policy.start_timeout_s:.0f} s")

    async def _watch_life(self, process: WorkerProcess[FromWorker]) -> None:
        """Ping, and kill what neither answers nor gets on."""
        while True:
            await asyncio.wait({process.ended}, timeout=self._policy.heartbeat_s)
            if process.ended.done():
                return
            now = time.monotonic()
            stuck = [request_id for request_id, at in self._progress.items() if now - at > self._policy.stuck_s]
            if now - self._last_message > self._policy.heartbeat_timeout_s:
                process.kill(f"the worker did not answer for {self._policy.heartbeat_timeout_s:.0f} s")
            elif stuck:
                process.ask_where_it_hangs()
                await asyncio.wait({process.ended}, timeout=0.2)
                process.kill(f"the worker made no progress for {self._policy.stuck_s:.0f} s")
            else:
                process.send(Ping())

    def _on_message(self, message: FromWorker) -> None:
        self._last_message = now = time.monotonic()
        match message:
            case Delta(request_id=request_id) | RunStarted(request_id=request_id):
                if request_id in self._progress:
                    self._progress[request_id] = now
                    self._tell(message)
            case Finished():
                self._end_of(message.output.request_id, message)
                self._crashes_in_a_row = 0
            case Refused(request_id=request_id):
                self._end_of(request_id, message)
            case Failed(request_id=request_id):
                # Its memory can't be trusted any more: let the others finish, then take a fresh process.
                self._retiring = True
                self._end_of(request_id, message)
            case Ready():
                self._ready, self._ready_since = message, now
                self._become("ready")
                self._became_ready.set()
                if self._process is not None:
                    self._process.send(Ping())
                if self._first_start is not None and not self._first_start.done():
                    self._first_start.set_result(None)
            case StartFailed(reason=reason):
                self._start_failure = reason
            case Pong(stats=stats):
                self._stats = stats
            case LogLine(level=level, logger=name, message=text):
                logging.getLogger(name).log(level, "%s", text)

    def _end_of(self, request_id: str, message: Finished | Refused | Failed) -> None:
        known = self._progress.pop(request_id, None) is not None
        if self._retiring and not self._progress and self._process is not None:
            self._process.kill("the model broke under a request")
        if known:
            self._tell(message)

    def _tell(self, message: RunStarted | Delta | Finished | Refused | Failed) -> None:
        if self._listener is not None and not self._stop.is_set():
            self._listener.heard(self, message)

    def _become(self, state: State, reason: str = "") -> None:
        self._reason = reason
        if state != self._state:
            self._state = state
            if self._listener is not None and not self._stop.is_set():
                self._listener.changed(self)
