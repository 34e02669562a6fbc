"""What the way from a caller to a worker process and back costs a token, in microseconds: `python -m
benchmarks.overhead`. The model emits instantly, so all that is measured is ours: threads, frames, socket, event loop,
buffers. Knows no real model.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.instant_model import InstantModel
from models.serving.dispatcher import Dispatcher
from models.serving.fair_queue import QueueLimits
from models.serving.in_process import InProcessEngine
from models.serving.local_engine import LocalEngine
from models.serving.requests import MAX_NEW_TOKENS, Sampling, StoryOutput, StoryRequest, TextDelta
from models.serving.wire import WorkerConfig

LIMITS = QueueLimits(total=4096, per_guild=4096, per_user=4096)
SLOTS = 4


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """`us_per_token` is wall time; `caller_us_per_token` is CPU time of the caller's process alone."""

    path: str
    streams: int
    tokens: int
    us_per_token: float
    caller_us_per_token: float

    def __str__(self) -> str:
        return (
            f"{self.path:<22} {self.streams:>3} at once {self.tokens:>8} tokens "
            f"{self.us_per_token:>8.1f} µs/token {self.caller_us_per_token:>8.1f} µs CPU/token of the caller"
        )


@dataclass(frozen=True, kw_only=True)
class Latency:
    """From `emit` in the worker's thread to the reader of the stream, for a model that says a token every 5 ms."""

    tokens: int
    p50_us: float
    p95_us: float
    caller_us_per_token: float

    def __str__(self) -> str:
        return (
            f"one token, worker to reader: p50 {self.p50_us:.0f} µs, p95 {self.p95_us:.0f} µs "
            f"({self.tokens} tokens, {self.caller_us_per_token:.0f} µs CPU/token of the caller)"
        )


def request(number: int) -> StoryRequest:
    sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS)
    return StoryRequest(request_id=f"{number}", story="Once", user=f"{number}", sampling=sampling)


def bare_model(rounds: int) -> Overhead:
    model = InstantModel(1)
    started, cpu = time.perf_counter(), time.process_time()
    for number in range(rounds):
        model.generate(request(number), lambda text: True)
    tokens = rounds * MAX_NEW_TOKENS
    return _overhead("the model alone", 1, tokens, time.perf_counter() - started, time.process_time() - cpu)


async def through(path: str, engine: Dispatcher, streams: int, rounds: int) -> Overhead:
    """`rounds` times `streams` stories at once through a started engine."""

    async def one(number: int) -> int:
        await engine.submit(request(number))
        async for event in engine.stream(f"{number}"):
            if isinstance(event, StoryOutput):
                return event.new_tokens
        raise AssertionError("a stream ends with its output")

    await one(-1)
    started, cpu = time.perf_counter(), time.process_time()
    tokens = 0
    for round_ in range(rounds):
        tokens += sum(await asyncio.gather(*(one(round_ * streams + number) for number in range(streams))))
    return _overhead(path, streams, tokens, time.perf_counter() - started, time.process_time() - cpu)


async def measure(rounds: int, report: Callable[[Overhead], None]) -> list[Overhead]:
    """Every path, in one run."""
    results = [bare_model(rounds)]
    report(results[0])
    in_process = InProcessEngine(lambda: InstantModel(SLOTS))
    config = WorkerConfig(model="instant", data_dir=str(Path.cwd()), slots=SLOTS, niceness=0)
    local = LocalEngine([config], limits=LIMITS, factory="benchmarks.instant_model:instant")
    for path, engine in (("threads", in_process), ("worker process", local)):
        await engine.start()
        for streams in (1, 4, 16):
            results.append(await through(path, engine, streams, max(1, rounds // streams)))
            report(results[-1])
        await engine.close()
    return results


async def latency(tokens: int) -> Latency:
    config = WorkerConfig(model="stamped", data_dir=str(Path.cwd()), slots=1, niceness=0)
    engine = LocalEngine([config], factory="benchmarks.instant_model:stamped")
    await engine.start()
    sampling = Sampling(max_new_tokens=tokens)
    await engine.submit(StoryRequest(request_id="r", story="Once", sampling=sampling))
    delays_us: list[float] = []
    cpu = time.process_time()
    async for event in engine.stream("r"):
        if isinstance(event, TextDelta):
            now = time.monotonic_ns()
            delays_us += [(now - int(stamp)) / 1_000 for stamp in event.text.split()]
    cpu = time.process_time() - cpu
    await engine.close()
    cuts = statistics.quantiles(delays_us, n=20)
    return Latency(tokens=tokens, p50_us=cuts[9], p95_us=cuts[18], caller_us_per_token=cpu / tokens * 1e6)


def _overhead(path: str, streams: int, tokens: int, wall_s: float, cpu_s: float) -> Overhead:
    return Overhead(
        path=path,
        streams=streams,
        tokens=tokens,
        us_per_token=wall_s / tokens * 1e6,
        caller_us_per_token=cpu_s / tokens * 1e6,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=16, help=f"stories of {MAX_NEW_TOKENS} tokens a path")
    rounds = parser.parse_args().rounds
    asyncio.run(measure(rounds, print))
    print(asyncio.run(latency(min(MAX_NEW_TOKENS, 32 * rounds))))


if __name__ == "__main__":
    main()
