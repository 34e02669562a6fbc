"""An engine made of a fair queue in front of one or several replicas. Keeps every request on its own side until it is
answered, so that nothing is lost with a worker. Knows no process, no network and no model.
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import msgspec

from models.serving.engine import (
    DeadlineExceededError,
    EngineClosedError,
    EngineError,
    EngineUnavailableError,
    ModelMissingError,
    RequestRefusedError,
    WorkerDiedError,
)
from models.serving.fair_queue import FairQueue, QueueLimits
from models.serving.homes import Homes
from models.serving.job import Job, StoryStream
from models.serving.meter import Meter
from models.serving.replica import Replica
from models.serving.requests import Health, Queued, Started, StoryOutput, StoryRequest, TextDelta
from models.serving.wire import Delta, Failed, Finished, JobMessage, Refused, RunStarted, checked
from models.serving.worker_core import cancelled_output

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 2
_POISONED_REMEMBERED = 256


class Dispatcher:
    """The Engine of requests.py over `replicas`. A story goes to the one that has read it before, where that has a free
    slot, else to the least busy one.

    A request whose worker died under it is run once more, on a worker that it has for itself: so a request that kills
    its second worker too is the one to blame, and is refused, while its former neighbours are not.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        *,
        limits: QueueLimits | None = None,
        unread_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`unread_s`: how long the answer of a request that nobody reads is kept."""
        self._replicas = list(replicas)
        self._unread_s = unread_s
        self._clock = clock
        self._queue: FairQueue[Job] = FairQueue(limits or QueueLimits())
        self._suspects: deque[Job] = deque()
        self._jobs: dict[str, Job] = {}
        self._running: dict[Replica, set[Job]] = {replica: set() for replica in replicas}
        self._poisoned: OrderedDict[bytes, None] = OrderedDict()
        self._homes: Homes[Replica] = Homes()
        self._meter = Meter(clock)
        self._leaving: dict[Replica, asyncio.Task[None]] = {}
        self._replacing = asyncio.Lock()
        self._started = self._closing = False
        self._announcing: asyncio.Handle | None = None
        self._drained = asyncio.Event()  # set whenever a replica has become idle

    async def start(self) -> None:
        """Start every replica; enough that one can answer. Raises EngineUnavailableError with the first reason."""
        await self._start(self._replicas)
        self._started = True

    def take_instead(self, replicas: Sequence[Replica]) -> None:
        """Before a start that succeeds: these are the ones to start."""
        assert not self._started, "what has started is replaced"
        self._replicas = list(replicas)
        self._running = {replica: set() for replica in replicas}

    async def replace(self, replicas: Sequence[Replica], commit: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start `replicas` beside those there are, then give all further work to them. The former ones finish what they
        run and end. `commit` is awaited when the new ones can answer and before they do; what it raises is raised here.
        Raises EngineUnavailableError, and changes nothing, when the former ones have not started yet or none of the new
        ones can; nor does a replacement that is cancelled, or overtaken by `close` (EngineClosedError)."""
        async with self._replacing:
            if self._closing:
                raise EngineClosedError("Inkwell is shutting down")
            if not self._started:
                raise EngineUnavailableError("the former model is still loading: try again when it answers")
            self._running.update((replica, set()) for replica in replicas)
            try:
                await self._start(replicas)
                if commit is not None and not self._closing:
                    await commit()
                if self._closing:
                    raise EngineClosedError("Inkwell is shutting down")
            except BaseException:
                for replica in replicas:
                    del self._running[replica]
                await asyncio.gather(*(replica.close() for replica in replicas))
                raise
            former, self._replicas = self._replicas, list(replicas)
            self._homes.clear()
            self._poisoned.clear()  # another model may survive them
            for replica in former:
                self._leaving[replica] = asyncio.create_task(self._let_go(replica), name="drain replica")
            self._pump()

    async def _start(self, replicas: Sequence[Replica]) -> None:
        results = await asyncio.gather(*(replica.start(self) for replica in replicas), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        for failure in failures:
            log.error("a replica did not start: %s", failure)
        unexpected = [failure for failure in failures if not isinstance(failure, EngineUnavailableError)]
        if unexpected or len(failures) == len(replicas):
            await asyncio.gather(*(replica.close() for replica in replicas))
            raise unexpected[0] if unexpected else EngineUnavailableError(str(failures[0]))

    async def _let_go(self, replica: Replica) -> None:
        while self._running[replica]:
            self._drained.clear()
            await self._drained.wait()
        await replica.close()
        del self._running[replica], self._leaving[replica]

    async def submit(self, request: StoryRequest) -> int:
        if self._closing:
            raise EngineClosedError("Inkwell is shutting down")
        if not self._started:
            raise EngineUnavailableError("the engine is not started")
        try:
            request = checked(request)
        except ValueError as error:
            raise RequestRefusedError(f"malformed request: {error}") from None
        if request.request_id in self._jobs:
            raise RequestRefusedError(f"the request id {request.request_id} is in use")
        if _fingerprint(request) in self._poisoned:
            raise RequestRefusedError("this request crashed two workers")
        if all(replica.failure for replica in self._replicas):
            raise EngineUnavailableError(self._replicas[0].failure)
        job = Job(request=request, submitted=self._clock())
        if request.deadline is not None and request.deadline <= time.time():
            self._jobs[request.request_id] = job
            self._end_early(job, "deadline")
            return 0
        self._queue.push(job, key=request.request_id, user=request.user, guild=request.guild, turn_s=self._turn_s())
        self._jobs[request.request_id] = job
        if request.deadline is not None:
            delay = request.deadline - time.time()
            job.timer = asyncio.get_running_loop().call_later(delay, self._end_early, job, "deadline")
        self._pump()
        return self._position(job)

    def stream(self, request_id: str) -> StoryStream:
        job = self._jobs.get(request_id)
        if job is None:
            raise RequestRefusedError(f"no request {request_id} is known")
        if job.claimed:
            raise RequestRefusedError(f"the request {request_id} has a reader")
        job.claimed = True
        return StoryStream(job, self._leave)

    async def cancel(self, request_id: str) -> None:
        job = self._jobs.get(request_id)
        if job is not None:
            self._end_early(job, "cancelled")

    async def health(self) -> Health:
        by_guild = self._queue.by_guild()
        for job in self._suspects:
            by_guild[job.request.guild] = by_guild.get(job.request.guild, 0) + 1
        return Health(
            ready=self._started and not self._closing and any(replica.accepting for replica in self._replicas),
            workers=tuple(replica.health() for replica in (*self._replicas, *self._leaving)),
            queued=len(self._queue) + len(self._suspects),
            running=sum(map(len, self._running.values())),
            queued_by_guild=by_guild,
            tokens_per_s=self._meter.tokens_per_s(),
            first_token_p50_s=self._meter.first_token_s(50),
            first_token_p95_s=self._meter.first_token_s(95),
            served=self._meter.served,
            failed=self._meter.failed,
            generated_tokens=self._meter.generated_tokens,
            first_token=self._meter.first_token(),
        )

    async def close(self, grace_s: float = 10.0) -> None:
        self._closing = True
        closed = EngineClosedError("Inkwell is shutting down")
        for job in self._waiting():
            self._settle(job, closed)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while any(self._running.values()):
                    self._drained.clear()
                    await self._drained.wait()
        for job in [job for jobs in self._running.values() for job in jobs]:
            self._settle(job, closed)
        await asyncio.gather(*(replica.close() for replica in self._replicas), *self._leaving.values())
        if self._announcing is not None:
            self._announcing.cancel()
        for job in self._jobs.values():
            if job.timer is not None:
                job.timer.cancel()

    # Called by replicas.

    def heard(self, replica: Replica, message: JobMessage) -> None:
        request_id = message.output.request_id if isinstance(message, Finished) else message.request_id
        job = self._jobs.get(request_id)
        if job is None or job.replica is not replica:
            return
        match message:
            case Delta(text=text):
                self._add_text(job, text)
            case RunStarted():
                job.started = self._clock()
                job.events.put(Started(attempt=job.attempt))
            case Finished(output=output):
                self._meter.add_tokens(output.new_tokens - job.deltas)
                self._meter.add_service(self._clock() - job.started)
                self._settle(job, output)
            case Refused(reason=reason, missing=missing):
                self._settle(job, ModelMissingError(reason) if missing else RequestRefusedError(reason))
            case Failed(reason=reason):
                self._try_again(job, reason)
        if not isinstance(message, Delta | RunStarted):
            self._pump()

    def gave_up(self, replica: Replica, request_id: str, error: EngineError) -> None:
        job = self._jobs.get(request_id)
        if job is not None and job.replica is replica:
            self._settle(job, self._early_end(job) if job.stop else error)
            self._pump()

    def lost(self, replica: Replica, reason: str) -> None:
        for job in list(self._running[replica]):
            self._try_again(job, reason)
        self._pump()

    def changed(self, replica: Replica) -> None:
        if self._started and all(replica.failure for replica in self._replicas):
            for job in self._waiting():
                self._settle(job, EngineUnavailableError(replica.failure))
        self._pump()

    # From waiting to running to done.

    def _pump(self) -> None:
        """Give what waits to free slots: suspects first and each alone, then in the queue's order."""
        if self._closing:
            return
        reserved = self._place_suspects()
        while self._queue:
            free = [replica for replica in self._replicas if replica is not reserved and self._room(replica) > 0]
            if not free:
                break
            job = self._queue.pop()
            assert job is not None
            home = self._homes.of(job.request)
            least_busy = max(free, key=lambda replica: self._room(replica) / replica.slots)
            self._run(job, home if home in free else least_busy)
        if self._announcing is None and (self._queue or self._suspects):
            self._announcing = asyncio.get_running_loop().call_soon(self._announce_positions)

    def _place_suspects(self) -> Replica | None:
        """Returns the replica that takes nothing new until it is idle and a suspect can have it for itself."""
        while self._suspects:
            accepting = [replica for replica in self._replicas if replica.accepting]
            if not accepting:
                return None
            replica = min(accepting, key=lambda replica: len(self._running[replica]))
            if self._running[replica]:
                return replica
            job = self._suspects.popleft()
            job.alone = True
            self._run(job, replica)
        return None

    def _room(self, replica: Replica) -> int:
        running = self._running[replica]
        if not replica.accepting or any(job.alone for job in running):
            return 0
        return replica.slots - len(running)

    def _run(self, job: Job, replica: Replica) -> None:
        job.attempt += 1
        job.replica = replica
        self._homes.set(job.request, replica)
        job.started = self._clock()
        self._running[replica].add(job)
        replica.run(job.request)

    def _add_text(self, job: Job, text: str) -> None:
        if not job.deltas and job.attempt == 1:
            self._meter.add_first_token(self._clock() - job.submitted)
        job.deltas += 1
        job.text.append(text)
        self._meter.add_tokens(1)
        job.events.put(TextDelta(text=text))

    def _try_again(self, job: Job, reason: str) -> None:
        """After its replica died or broke under it."""
        if job.stop:
            self._settle(job, self._early_end(job))
        elif self._closing:
            self._settle(job, EngineClosedError("Inkwell is shutting down"))
        elif job.attempt < MAX_ATTEMPTS:
            log.warning("request %s is run once more: %s", job.request.request_id, reason)
            self._release(job)
            job.deltas = 0
            job.text.clear()
            self._suspects.append(job)
        elif job.alone:
            log.error("request %s is refused, it crashed two workers: %s", job.request.request_id, reason)
            self._poisoned[_fingerprint(job.request)] = None
            if len(self._poisoned) > _POISONED_REMEMBERED:
                self._poisoned.popitem(last=False)
            self._settle(job, RequestRefusedError(f"this request crashed two workers: {reason}"))
        else:
            self._settle(job, WorkerDiedError(reason))

    def _end_early(self, job: Job, why: Literal["cancelled", "deadline"]) -> None:
        if job.done or job.stop:
            return
        job.stop = why
        if job.replica is not None:
            job.replica.cancel(job.request.request_id)
            return
        self._settle(job, self._early_end(job))
        self._pump()

    def _early_end(self, job: Job) -> StoryOutput | Exception:
        if job.stop == "deadline" and not job.text:
            return DeadlineExceededError("nobody waits for this request any more")
        versions = [replica.model_version for replica in ([job.replica] if job.replica else self._replicas)]
        return cancelled_output(job.request, versions[0], "".join(job.text))

    def _settle(self, job: Job, last: StoryOutput | Exception) -> None:
        """Give the reader the last event, and the slot or the place in the queue back."""
        if job.stop == "deadline" and isinstance(last, StoryOutput) and not last.text:
            last = self._early_end(job)
        job.done = True
        if isinstance(last, StoryOutput):
            self._meter.served += 1
        else:
            self._meter.failed += 1
        self._release(job)
        if job in self._suspects:
            self._suspects.remove(job)
        self._queue.remove(job.request.request_id)
        job.events.finish(last)
        if job.timer is not None:
            job.timer.cancel()
        if job.abandoned:
            del self._jobs[job.request.request_id]
        elif not job.claimed:
            self._forget_unread(job)

    def _forget_unread(self, job: Job) -> None:
        job.timer = asyncio.get_running_loop().call_later(self._unread_s, self._jobs.pop, job.request.request_id, None)

    def _release(self, job: Job) -> None:
        if job.replica is not None:
            self._running[job.replica].discard(job)
            if not self._running[job.replica]:
                self._drained.set()
            job.replica = None

    def _leave(self, job: Job) -> None:
        """Its reader has seen the last event, or has gone."""
        if job.done:
            self._jobs.pop(job.request.request_id, None)
        else:
            job.abandoned = True
            self._end_early(job, "cancelled")

    # Positions and estimates.

    def _waiting(self) -> list[Job]:
        return [*self._suspects, *self._queue.order()]

    def _position(self, job: Job) -> int:
        if job.replica is not None or job.done:
            return 0
        return self._waiting().index(job) + 1

    def _turn_s(self) -> float | None:
        return self._meter.turn_s(sum(replica.slots for replica in self._replicas if not replica.failure))

    def _announce_positions(self) -> None:
        self._announcing = None
        turn_s = self._turn_s()
        for position, job in enumerate(self._waiting(), start=1):
            if job.position != position and not job.attempt:
                job.position = position
                job.events.put(Queued(position=position, wait_s=None if turn_s is None else position * turn_s))


def _fingerprint(request: StoryRequest) -> bytes:
    content = (request.story, request.direction, request.sampling, request.model)
    return hashlib.sha256(msgspec.msgpack.encode(content)).digest()
