"""A ShortEngine in front of whoever answers whole batches: one queue for each kind of request, so that a mood does not
wait for a picture. Knows no process and no model.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar, cast

from models.serving.engine import (
    EngineError,
    EngineOverloadedError,
    ModelMissingError,
    RequestRefusedError,
    WorkerDiedError,
)
from models.serving.micro_batch import BatchLimits, MicroBatcher
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import AnyShortOutput, AnyShortRequest, ShortHealth, ShortRequest
from models.serving.short_wire import checked_request, kind_of

Output = TypeVar("Output")

# A mood takes milliseconds and many gain from each other; a picture takes a second and fills the cores by itself.
LIMITS: Mapping[str, BatchLimits] = {
    "mood": BatchLimits(max_batch=32, max_wait_s=0.004, max_waiting=512, max_background=64),
    "portrait": BatchLimits(max_batch=4, max_wait_s=0.004, max_waiting=64, max_background=4),
    "morph": BatchLimits(max_batch=1, max_wait_s=0.0, max_waiting=32, max_background=1),
    "verse": BatchLimits(max_batch=8, max_wait_s=0.004, max_waiting=128, max_background=8),
}


class Answering(Protocol):
    """Who answers batches; see ShortProcess."""

    async def answer(self, requests: Sequence[AnyShortRequest]) -> Sequence[AnyShortOutput | Exception]: ...

    def refuses(self, request: AnyShortRequest) -> bool: ...

    def health(self) -> ShortHealth: ...

    async def close(self) -> None: ...


class BatchedShortEngine:
    """The ShortEngine of short_engine.py over `answering`."""

    def __init__(self, answering: Answering, limits: Mapping[str, BatchLimits] = LIMITS) -> None:
        self._answering = answering
        self._batchers = {kind: MicroBatcher(answering.answer, limits[kind]) for kind in limits}
        self._answered = self._failed = 0

    async def start(self) -> None:
        for batcher in self._batchers.values():
            await batcher.__aenter__()

    async def ask(self, request: ShortRequest[Output], *, background: bool = False) -> Output:
        try:
            checked = checked_request(cast("AnyShortRequest", request))
            if self._answering.refuses(checked):
                raise RequestRefusedError("this request ended two processes")
            answer = await self._batchers[kind_of(checked)].answer(checked, background=background)
        except Exception as error:
            if not (background and isinstance(error, EngineOverloadedError)):  # counted as dropped
                self._failed += 1
            if isinstance(error, EngineError):
                raise  # and not from itself: whoever follows its causes would never end
            raise _engine_error(error) from error
        self._answered += 1
        return cast("Output", answer)

    async def health(self) -> ShortHealth:
        seen = self._answering.health()
        return ShortHealth(
            state=seen.state,
            pid=seen.pid,
            models=seen.models,
            waiting=sum(map(len, self._batchers.values())),
            running=seen.running,
            restarts=seen.restarts,
            resident_bytes=seen.resident_bytes,
            answered=self._answered,
            failed=self._failed,
            dropped=sum(batcher.dropped for batcher in self._batchers.values()),
            error=seen.error,
        )

    async def close(self) -> None:
        """What waits and what runs ends with EngineClosedError."""
        await asyncio.gather(*(batcher.close() for batcher in self._batchers.values()), self._answering.close())


def _engine_error(error: Exception) -> EngineError:
    if isinstance(error, ShortModelMissingError):
        return ModelMissingError(str(error))
    if isinstance(error, ValueError):
        return RequestRefusedError(str(error))
    return WorkerDiedError(str(error) or type(error).__name__)
