"""Keeps the process of the small models: begun when it is first asked, ended when nobody asks, replaced when it dies.
Knows no queue and no model; whoever asks brings whole batches.
"""

import asyncio
import contextlib
import hashlib
import itertools
import logging
import random
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.serving.engine import (
    EngineClosedError,
    EngineUnavailableError,
    ModelMissingError,
    RequestRefusedError,
)
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import AnyShortOutput, AnyShortRequest, ShortHealth, ShortState
from models.serving.short_wire import (
    Answered,
    BatchFailed,
    ConfigureShort,
    FromShortWorker,
    Listening,
    Loaded,
    Loading,
    RunBatch,
    ShortConfig,
    decode_from_short_worker,
    kind_of,
)
from models.serving.supervisor import SupervisionPolicy
from models.serving.wire import LogLine, Ping, Pong, Shutdown, WireError, WorkerStats, encode
from models.serving.worker_process import WorkerProcess

log = logging.getLogger(__name__)

SHORT_WORKER = (sys.executable, "-m", "models.serving.short_worker")
IDLE_S = 600.0
_POISONED_REMEMBERED = 256


class ModelBrokeError(Exception):
    """The model raised what it should not (a bug, no memory). Fewer requests at once may succeed."""


@dataclass(eq=False)
class _Batch:
    loader: str
    size: int
    done: "asyncio.Future[list[AnyShortOutput]]"
    sent: float
    outputs: list[AnyShortOutput] = field(default_factory=list)


class _DiedError(Exception):
    """The process ended under `batch`, which is a suspect now."""

    def __init__(self, batch: _Batch, ended: str) -> None:
        super().__init__(ended)
        self.batch = batch


class ShortProcess:
    """What `policy` says of stories holds for batches. A batch whose process died is run once more, each of its
    requests alone in a fresh process: so the one that kills the second process too is to blame, and is refused from
    then on."""

    def __init__(
        self,
        config: ShortConfig,
        policy: SupervisionPolicy | None = None,
        environment: Mapping[str, str] | None = None,
        idle_s: float = IDLE_S,
    ) -> None:
        self._config, self._policy, self._environment = config, policy or SupervisionPolicy(), environment
        self._idle_s = idle_s
        self._process: WorkerProcess[FromShortWorker] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self._beginning = asyncio.Lock()
        self._stop = asyncio.Event()
        self._batches: dict[int, _Batch] = {}
        self._numbers = itertools.count()
        self._suspects: set[_Batch] = set()  # their process died; while there are any, nothing else runs
        self._cleared = asyncio.Event()
        self._alone = asyncio.Lock()
        self._poisoned: OrderedDict[bytes, None] = OrderedDict()
        self._loading: set[str] = set()
        self._versions: dict[str, str] = {}
        self._unloadable: dict[str, tuple[float, str]] = {}  # family -> (not before, reason)
        self._retiring = False
        self._stats = WorkerStats()
        self._last_message = self._last_batch = self._not_before = 0.0
        self._crashes_in_a_row = self._restarts = 0
        self._crashed = False
        self._reason = ""

    async def answer(self, requests: Sequence[AnyShortRequest]) -> list[AnyShortOutput | Exception]:
        """An answer for each of `requests`, which are of one kind, or the RequestRefusedError of the one that killed
        two processes. Raises EngineClosedError, EngineUnavailableError or ModelMissingError for all of them, and
        ShortModelMissingError, ValueError or ModelBrokeError where fewer at once, or others, may succeed."""
        try:
            return list(await self._run(requests))
        except _DiedError as death:
            log.warning("requests to run once more: %d, for %s", len(requests), death)
            suspect = death.batch
        try:
            return [await self._run_alone(request) for request in requests]
        finally:
            self._clear(suspect)

    def refuses(self, request: AnyShortRequest) -> bool:
        """Whether it killed two processes already."""
        return bool(self._poisoned) and _fingerprint(request) in self._poisoned

    def health(self) -> ShortHealth:
        process = self._process
        alive = process is not None and not process.ended.done()
        open_until = self._not_before if self._crashes_in_a_row >= self._policy.max_crashes else 0.0
        state: ShortState
        if self._stop.is_set():
            state = "stopped"
        elif alive:
            state = "ready" if self._listening.is_set() else "starting"
        else:
            state = "failed" if open_until > time.monotonic() else "restarting" if self._crashed else "asleep"
        return ShortHealth(
            state=state,
            pid=process.pid if alive and process is not None else None,
            models=tuple(sorted(self._versions.values())),
            running=sum(batch.size for batch in self._batches.values()),
            restarts=self._restarts,
            resident_bytes=self._stats.resident_bytes if alive else 0,
            error=self._reason,
        )

    async def reload(self, config: ShortConfig) -> None:
        """Let another process, with `config`, answer what comes from now on; it is begun when somebody asks. The former
        one answers what it was given, and has ended when this returns; meanwhile others wait."""
        async with self._beginning:
            self._config = config
            self._unloadable.clear()
            self._poisoned.clear()  # another model may survive them
            process, watching = self._process, self._watching
            if process is None or watching is None:
                return
            while self._batches and not process.ended.done():
                ends: set[asyncio.Future[Any]] = {process.ended, *(batch.done for batch in self._batches.values())}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.sleep(0)  # whoever waits for a batch takes it off the list
            if not process.ended.done():
                self._retiring = True
                process.send(Shutdown())
                await asyncio.wait({process.ended}, timeout=self._policy.shutdown_s)
                process.kill("the process is replaced")
            await asyncio.wait({watching})
            self._watching = None

    async def close(self) -> None:
        """What runs ends with EngineClosedError."""
        self._stop.set()
        for batch in self._batches.values():
            _fail(batch, EngineClosedError("Inkwell is shutting down"))
        async with self._beginning:  # a process that is being begun is ended by its watcher
            watching = self._watching
        if watching is not None:
            await watching

    async def _run_alone(self, request: AnyShortRequest) -> AnyShortOutput | Exception:
        async with self._alone:
            try:
                return (await self._run([request], alone=True))[0]
            except _DiedError as death:
                self._clear(death.batch)
                log.error("a %s request is refused, it ended two processes: %s", kind_of(request), death)
                self._poisoned[_fingerprint(request)] = None
                if len(self._poisoned) > _POISONED_REMEMBERED:
                    self._poisoned.popitem(last=False)
                return RequestRefusedError(f"this request ended two processes: {death}")
            except ShortModelMissingError as error:
                return ModelMissingError(str(error))
            except Exception as error:
                return error

    def _clear(self, suspect: _Batch) -> None:
        self._suspects.discard(suspect)
        if not self._suspects:
            self._cleared.set()

    async def _run(self, requests: Sequence[AnyShortRequest], *, alone: bool = False) -> list[AnyShortOutput]:
        loader = self._config.families.get(kind_of(requests[0]))
        if loader is None:
            raise ModelMissingError(f"no model answers {kind_of(requests[0])} requests here")
        not_before, reason = self._unloadable.get(loader, (0.0, ""))
        if time.monotonic() < not_before:
            raise EngineUnavailableError(reason)
        number = next(self._numbers)
        try:
            frame = encode(RunBatch(batch=number, requests=tuple(requests)))
        except WireError as error:
            raise ValueError(str(error)) from None
        process = await self._usable_process()
        while self._suspects and not alone:
            self._cleared.clear()
            await self._cleared.wait()
            process = await self._usable_process()
        done: asyncio.Future[list[AnyShortOutput]] = asyncio.get_running_loop().create_future()
        batch = _Batch(loader, len(requests), done, time.monotonic())
        self._batches[number] = batch
        try:
            process.send_frame(frame)
            return await done
        except asyncio.CancelledError:
            self._clear(batch)
            raise
        finally:
            self._last_batch = time.monotonic()
            self._batches.pop(number, None)

    # The process.

    async def _usable_process(self) -> WorkerProcess[FromShortWorker]:
        """Begin one where there is none. Raises EngineUnavailableError while the breaker is open."""
        async with self._beginning:
            while not self._stop.is_set():
                if self._watching is not None and (self._process is None or self._retiring or not self._process.usable):
                    await asyncio.wait({self._watching})
                    self._watching = None
                if self._process is not None:
                    if self._listening.is_set():
                        return self._process
                    await self._until_it_listens(self._process)
                    continue
                wait_s = self._not_before - time.monotonic()
                if wait_s > 0 and self._crashes_in_a_row >= self._policy.max_crashes:
                    raise EngineUnavailableError(self._reason)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, wait_s)):
                        await self._stop.wait()
                if not self._stop.is_set():
                    await self._begin()
            raise EngineClosedError("Inkwell is shutting down")

    async def _begin(self) -> None:
        if self._crashed:
            self._restarts += 1
        self._crashed = self._retiring = False
        self._stats, self._last_message = WorkerStats(), time.monotonic()
        self._last_batch = self._last_message
        self._listening.clear()
        scratch = tempfile.TemporaryDirectory(prefix="inkwell-", ignore_cleanup_errors=True)
        try:
            self._process = await WorkerProcess.spawn(
                self._on_message, decode_from_short_worker, self._environment, SHORT_WORKER
            )
        except OSError as error:
            scratch.cleanup()
            self._count_crash(f"no process can be started: {error}")
            return
        self._process.send(ConfigureShort(config=self._config, scratch=scratch.name))
        self._watching = asyncio.create_task(self._watch(self._process, scratch), name="watch the short worker")

    async def _until_it_listens(self, process: WorkerProcess[FromShortWorker]) -> None:
        listening = asyncio.ensure_future(self._listening.wait())
        try:
            await asyncio.wait({listening, process.ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            listening.cancel()
        if process.ended.done() and self._watching is not None:
            await asyncio.wait({self._watching})

    async def _watch(
        self, process: WorkerProcess[FromShortWorker], scratch: "tempfile.TemporaryDirectory[str]"
    ) -> None:
        """Ping, kill what neither answers nor gets on, end what nobody needs, clear up behind it."""
        with scratch:
            stopping = asyncio.ensure_future(self._stop.wait())
            try:
                await self._watch_life(process, stopping)
            finally:
                stopping.cancel()
                process.kill("the process is no longer wanted")
                await asyncio.wait({process.ended})
        self._left(process.ended.result())

    async def _watch_life(self, process: WorkerProcess[FromShortWorker], stopping: "asyncio.Future[Any]") -> None:
        policy = self._policy
        ends: set[asyncio.Future[Any]] = {process.ended, stopping}
        while not process.ended.done():
            await asyncio.wait(ends, timeout=policy.heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
            now = time.monotonic()
            busy = bool(self._batches) or self._beginning.locked()
            if stopping.done() or (not busy and now - self._last_batch > self._idle_s):
                self._retiring = True
                process.send(Shutdown())
                await asyncio.wait({process.ended}, timeout=policy.shutdown_s)
                return
            patience_s = policy.heartbeat_timeout_s if self._listening.is_set() else policy.start_timeout_s
            if now - self._last_message > patience_s:
                process.kill(f"the process did not answer for {patience_s:.0f} s")
            elif any(now - batch.sent > policy.stuck_s for batch in self._batches.values()):
                process.ask_where_it_hangs()
                await asyncio.wait({process.ended}, timeout=0.2)
                process.kill(f"a batch was not answered within {policy.stuck_s:.0f} s")
            else:
                process.send(Ping())

    def _left(self, ended: str) -> None:
        """The process is gone: what ran in it is lost, or was loading."""
        self._process = None
        self._versions.clear()
        self._listening.clear()
        loading, self._loading = self._loading, set()
        if self._retiring:
            return
        self._count_crash(ended)
        running = [batch for batch in self._batches.values() if not batch.done.done()]
        if any(batch.loader not in loading for batch in running):
            loading = set()  # either may be to blame: all are run once more, each alone, and that tells
        for loader in loading:
            reason = f"{loader.partition(':')[0]} can't be loaded: {ended}{self._memory_hint()}"
            self._unloadable[loader] = (time.monotonic() + self._policy.open_s, reason)
        for batch in running:
            if batch.loader in loading:
                _fail(batch, EngineUnavailableError(self._unloadable[batch.loader][1]))
            else:
                self._suspects.add(batch)
                _fail(batch, _DiedError(batch, ended))

    def _count_crash(self, reason: str) -> None:
        policy = self._policy
        self._reason, self._crashed = reason, True
        self._crashes_in_a_row += 1
        if self._crashes_in_a_row >= policy.max_crashes:
            log.error("no short worker after %d crashes, next in %.0f s: %s", policy.max_crashes, policy.open_s, reason)
            self._not_before = time.monotonic() + policy.open_s
            return
        longest = min(policy.max_backoff_s, policy.backoff_s * 2 ** (self._crashes_in_a_row - 1))
        self._not_before = time.monotonic() + longest * random.uniform(0.5, 1.0)
        log.warning("the short worker: %s", reason)

    def _memory_hint(self) -> str:
        """A native library that gets no memory often ends the process without a word."""
        limit = self._config.max_memory_bytes
        return "" if limit is None else f" (its memory is limited to {limit / 2**20:.0f} MiB)"

    def _on_message(self, message: FromShortWorker) -> None:
        self._last_message = time.monotonic()
        match message:
            case Answered(batch=number, output=output):
                batch = self._batches.get(number)
                if batch is None:
                    return
                batch.outputs.append(output)
                if len(batch.outputs) == batch.size and not batch.done.done():
                    batch.done.set_result(batch.outputs)
                    self._crashes_in_a_row, self._reason = 0, ""
            case BatchFailed(batch=number):
                batch = self._batches.get(number)
                if batch is not None:
                    _fail(batch, _error_of(message))
            case Loading(family=family):
                self._loading.add(family)
            case Loaded(family=family, version=version):
                self._loading.discard(family)
                self._unloadable.pop(family, None)
                if version:
                    self._versions[family] = version
            case Listening():
                self._listening.set()
            case Pong(stats=stats):
                self._stats = stats
            case LogLine(level=level, logger=name, message=text):
                logging.getLogger(name).log(level, "%s", text)


def _error_of(failed: BatchFailed) -> Exception:
    match failed.why:
        case "absent":
            return ModelMissingError(failed.reason)
        case "unloadable":
            return EngineUnavailableError(failed.reason)
        case "missing":
            return ShortModelMissingError(failed.reason)
        case "refused":
            return ValueError(failed.reason)
        case "broke":
            return ModelBrokeError(failed.reason)


def _fail(batch: _Batch, error: Exception) -> None:
    if not batch.done.done():
        batch.done.set_exception(error)
        batch.done.exception()  # its caller may have been cancelled


def _fingerprint(request: AnyShortRequest) -> bytes:
    return hashlib.sha256(encode(request)).digest()
