"""Asks an engine and reads its answers, for the tests of serving."""

import asyncio
from pathlib import Path

import psutil

from models.serving.engine import Engine
from models.serving.requests import Sampling, Started, StoryEvent, StoryOutput, StoryRequest, TextDelta
from models.serving.wire import WorkerConfig

CONFIG = WorkerConfig(model="bigram", data_dir="/nowhere", niceness=0)


def ask(
    request_id: str, story: str = "The lamp ", *, user: str = "", guild: str = "", **sampling: object
) -> StoryRequest:
    sampling = {"max_new_tokens": 20} | sampling
    return StoryRequest(request_id=request_id, story=story, user=user, guild=guild, sampling=Sampling(**sampling))


async def read(engine: Engine, request_id: str) -> list[StoryEvent]:
    return [event async for event in engine.stream(request_id)]


async def served(engine: Engine, request: StoryRequest) -> StoryOutput:
    await engine.submit(request)
    *_, last = await read(engine, request.request_id)
    assert isinstance(last, StoryOutput)
    return last


async def first_text(stream) -> TextDelta:
    """Reads on until text has come, and leaves the stream open."""
    async for event in stream:
        if isinstance(event, TextDelta):
            return event
    raise AssertionError("no text came")


async def until_started(stream, attempt: int = 1) -> Started:
    async for event in stream:
        if isinstance(event, Started) and event.attempt == attempt:
            return event
    raise AssertionError("it did not start")


async def settled(condition, seconds: float = 60.0) -> None:
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Leaks:
    """Counts what a process can leak, to be compared later."""

    def __init__(self) -> None:
        self._tasks = len(asyncio.all_tasks())
        self._descriptors = _descriptors()
        self._children = len(psutil.Process().children(recursive=True))

    async def none_remain(self) -> None:
        await settled(
            lambda: (
                len(asyncio.all_tasks()) <= self._tasks
                and _descriptors() <= self._descriptors
                and len(psutil.Process().children(recursive=True)) <= self._children
            )
        )


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
