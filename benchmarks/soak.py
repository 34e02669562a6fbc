"""Uses an engine as a busy evening would, and worse, for a while: `python -m benchmarks.soak --minutes 30`. Users
submit, wait, cancel and leave; workers are killed and reloaded. Fails when a request goes unanswered or something
grows: tasks, descriptors, processes, memory.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from models.serving.engine import EngineError
from models.serving.fair_queue import QueueLimits
from models.serving.local_engine import LocalEngine
from models.serving.requests import Sampling, StoryOutput, StoryRequest, TextDelta
from models.serving.supervisor import SupervisionPolicy
from models.serving.wire import WorkerConfig

STORY = "The lamp in the lighthouse went out at nine, and the keeper climbed the stairs with a box of matches. "
USERS = 12
ANSWER_WITHIN_S = 120.0
POLICY = SupervisionPolicy(heartbeat_s=0.5, backoff_s=0.05, max_backoff_s=1.0, open_s=1.0)


@dataclass(kw_only=True)
class Soaked:
    """`endings` counts how requests ended: a finish reason, or the name of an error."""

    seconds: float
    endings: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    reloads: int = 0
    # Ours and all workers' together, ten times a run.
    resident_mib: list[tuple[float, float]] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {name}" for name, count in self.endings.most_common())
        memory = "; ".join(f"{ours:.0f}+{workers:.0f}" for ours, workers in self.resident_mib)
        return (
            f"{self.seconds:.0f} s: {self.endings.total()} requests ({ends}), {self.kills} workers killed, "
            f"{self.reloads} reloads\nresident MiB, ours + workers': {memory}\n"
            + ("\n".join(f"LEAK: {leak}" for leak in self.leaks) or "nothing leaked")
        )


class Soak:
    """One run. `seed` decides what everybody does, the clock how far they get."""

    def __init__(self, configs: Sequence[WorkerConfig], factory: str, seconds: float, seed: int = 0) -> None:
        self._configs = list(configs)
        self._random = random.Random(seed)
        self._until = 0.0
        self._numbers = iter(range(sys.maxsize))
        self._engine = LocalEngine(configs, limits=QueueLimits(total=32, per_user=3), policy=POLICY, factory=factory)
        self.result = Soaked(seconds=seconds)

    async def run(self, report: Callable[[str], None] = lambda line: None) -> Soaked:
        before = _held()
        await self._engine.start()
        self._until = time.monotonic() + self.result.seconds
        async with asyncio.TaskGroup() as everybody:
            for user in range(USERS):
                everybody.create_task(self._user(f"user{user}"))
            everybody.create_task(self._mischief())
            everybody.create_task(self._watch(report))
        health = await self._engine.health()
        if health.queued or health.running:
            self.result.leaks.append(f"{health.queued} requests still wait, {health.running} still run")
        await self._engine.close()
        await self._compare(before)
        return self.result

    def _over(self) -> bool:
        return time.monotonic() >= self._until

    async def _user(self, user: str) -> None:
        while not self._over():
            request = StoryRequest(
                request_id=f"r{next(self._numbers)}",
                story=STORY * self._random.randint(1, 8),
                user=user,
                guild=f"guild{self._random.randrange(3)}",
                sampling=Sampling(max_new_tokens=self._random.choice((5, 20, 60)), seed=self._random.randrange(2**32)),
                deadline=time.time() + self._random.choice((0.05, 60.0, 60.0, 60.0)),
            )
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    ending = await self._one(request)
            except EngineError as error:
                ending = type(error).__name__
                await asyncio.sleep(0.02)
            except TimeoutError:
                ending = "unanswered"
                self.result.leaks.append(f"{request.request_id} was not answered within {ANSWER_WITHIN_S:.0f} s")
            self.result.endings[ending] += 1

    async def _one(self, request: StoryRequest) -> str:
        await self._engine.submit(request)
        mood = self._random.random()
        stream = self._engine.stream(request.request_id)
        if mood < 0.1:
            await self._engine.cancel(request.request_id)
        async for event in stream:
            if isinstance(event, TextDelta) and mood < 0.2:
                await stream.aclose()
                return "left"
            if isinstance(event, TextDelta) and mood < 0.4:
                await self._engine.cancel(request.request_id)
            if isinstance(event, StoryOutput):
                return event.finish_reason
        raise AssertionError("a stream ends with its output")

    async def _mischief(self) -> None:
        while not self._over():
            pause = self._random.uniform(0.5, min(6.0, self.result.seconds / 4))
            await asyncio.sleep(min(pause, max(0.0, self._until - time.monotonic())))
            if self.result.kills and self._random.random() < 0.2:
                with suppress(EngineError):
                    await self._engine.reload(self._configs)
                    self.result.reloads += 1
                continue
            pids = [worker.pid for worker in (await self._engine.health()).workers if worker.pid is not None]
            if pids:
                with suppress(ProcessLookupError):
                    os.kill(self._random.choice(pids), signal.SIGKILL)
                    self.result.kills += 1

    async def _watch(self, report: Callable[[str], None]) -> None:
        pause = self.result.seconds / 10
        while not self._over():
            await asyncio.sleep(min(pause, max(0.0, self._until - time.monotonic())))
            health = await self._engine.health()
            workers = sum(worker.resident_bytes for worker in health.workers) / 2**20
            self.result.resident_mib.append((psutil.Process().memory_info().rss / 2**20, workers))
            report(f"{self.result.endings.total()} requests, {self.result.kills} kills, {health.queued} wait")

    async def _compare(self, before: tuple[int, int, int]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                while any(now > then for now, then in zip(_held(), before, strict=True)):
                    await asyncio.sleep(0.05)
        for what, now, then in zip(("descriptors", "tasks", "processes"), _held(), before, strict=True):
            if now > then:
                self.result.leaks.append(f"{now - then} {what}")
        settled = [ours for ours, _ in self.result.resident_mib[len(self.result.resident_mib) // 2 :]]
        if settled and settled[-1] > settled[0] * 1.1 + 8:
            self.result.leaks.append(f"memory grew from {settled[0]:.0f} to {settled[-1]:.0f} MiB")


def _held() -> tuple[int, int, int]:
    """Descriptors, tasks and child processes of this process."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return descriptors, len(asyncio.all_tasks()), len(psutil.Process().children(recursive=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--model", default="", help="a GGUF file; without it a model that needs no weights")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    config = WorkerConfig(model=asked.model or "steady", data_dir=tempfile.gettempdir(), threads=1)
    factory = "" if asked.model else "benchmarks.instant_model:steady"

    async def run() -> Soaked:
        return await Soak([config] * asked.workers, factory, asked.minutes * 60, asked.seed).run(print)

    soaked = asyncio.run(run())
    print(soaked)
    return 1 if soaked.leaks else 0


if __name__ == "__main__":
    sys.exit(main())
