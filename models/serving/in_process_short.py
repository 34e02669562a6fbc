"""Small models in a thread of this very process: for tests and scripts, never beside Discord. Knows no model; they are
handed in.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import psutil

from models.serving.batched_short_engine import LIMITS, BatchedShortEngine
from models.serving.engine import ModelMissingError
from models.serving.micro_batch import BatchLimits
from models.serving.short_model import ShortModel
from models.serving.short_requests import AnyShortOutput, AnyShortRequest, ShortHealth
from models.serving.short_wire import kind_of


class InProcessShortEngine(BatchedShortEngine):
    """`models` under the kind of request that each answers ("mood", "portrait", "morph", "verse"); a kind that has none
    is a ModelMissingError."""

    def __init__(self, models: Mapping[str, ShortModel], *, limits: Mapping[str, BatchLimits] = LIMITS) -> None:
        super().__init__(_Thread(models), limits)


class _Thread:
    def __init__(self, models: Mapping[str, ShortModel]) -> None:
        self._models = models
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="short")
        self._closed = False

    async def answer(self, requests: Sequence[AnyShortRequest]) -> Sequence[AnyShortOutput | Exception]:
        model = self._models.get(kind_of(requests[0]))
        if model is None:
            raise ModelMissingError(f"no model answers {kind_of(requests[0])} requests here")
        return await asyncio.get_running_loop().run_in_executor(self._thread, model.answer, requests)

    def refuses(self, request: AnyShortRequest) -> bool:
        return False

    def health(self) -> ShortHealth:
        if not self._models:
            return ShortHealth(state="stopped" if self._closed else "asleep")
        process = psutil.Process()
        return ShortHealth(
            state="stopped" if self._closed else "ready",
            pid=process.pid,
            models=tuple(sorted({model.version for model in self._models.values()})),
            resident_bytes=process.memory_info().rss,
        )

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._thread.shutdown)
