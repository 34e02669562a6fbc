"""An engine whose models run in threads of this very process: for tests and scripts, never beside Discord. Knows no
model; a factory makes it.
"""

import asyncio
import logging
import time
from collections.abc import Callable

import psutil

from models.language.story_model import StoryModel
from models.serving.dispatcher import Dispatcher
from models.serving.engine import EngineUnavailableError
from models.serving.fair_queue import QueueLimits
from models.serving.replica import Listener
from models.serving.requests import StoryRequest, WorkerHealth
from models.serving.wire import Delta, Failed, Finished, JobMessage, RunStarted
from models.serving.worker_core import WorkerCore

log = logging.getLogger(__name__)

MakeModel = Callable[[], StoryModel]


class InProcessEngine(Dispatcher):
    """One replica for each factory in `make_models`, which is called in a thread."""

    def __init__(self, *make_models: MakeModel, limits: QueueLimits | None = None) -> None:
        super().__init__([CoreReplica(make) for make in make_models], limits=limits)


class CoreReplica:
    """A Replica that hosts a WorkerCore in threads. A model that broke under a request is replaced by a fresh one, when
    what runs beside that request has ended; a model that can't be made again leaves the replica failed."""

    def __init__(self, make_model: MakeModel) -> None:
        self._make_model = make_model
        self._listener: Listener | None = None
        self._core: WorkerCore | None = None
        self._running: set[str] = set()
        self._replacing: asyncio.Task[None] | None = None
        self._ready_since = 0.0
        self._restarts = 0
        self._retiring = self._closing = False
        self.failure = "not started"

    @property
    def slots(self) -> int:
        return 1 if self._core is None else self._core.slots

    @property
    def accepting(self) -> bool:
        return self._core is not None and not (self.failure or self._retiring or self._closing)

    @property
    def model_version(self) -> str:
        return "" if self._core is None else self._core.model_version

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        await self._make_core()
        if self.failure:
            raise EngineUnavailableError(self.failure)

    def run(self, request: StoryRequest) -> None:
        assert self._core is not None and self.accepting, "run is called only while accepting"
        self._running.add(request.request_id)
        self._core.run(request)

    def cancel(self, request_id: str) -> None:
        if self._core is not None:
            self._core.cancel(request_id)

    def health(self) -> WorkerHealth:
        process = psutil.Process()
        return WorkerHealth(
            state="ready" if self.accepting else "failed" if self.failure else "restarting",
            pid=process.pid,
            model_version=self.model_version,
            slots=self.slots,
            running=len(self._running),
            restarts=self._restarts,
            resident_bytes=process.memory_info().rss,
            uptime_s=time.monotonic() - self._ready_since,
            error=self.failure,
        )

    async def close(self) -> None:
        self._closing = True
        if self._replacing is not None:
            await self._replacing
        core, self._core = self._core, None
        if core is not None:
            await asyncio.to_thread(core.close)
        self.failure = "closed"

    async def _make_core(self) -> None:
        loop = asyncio.get_running_loop()

        def send(message: JobMessage) -> None:
            loop.call_soon_threadsafe(self._on_message, message)

        try:
            model = await asyncio.to_thread(self._make_model)
        except Exception as error:
            log.exception("the model can't be loaded")
            self.failure = str(error) or type(error).__name__
            return
        self._core, self._ready_since, self.failure = WorkerCore(model, send), time.monotonic(), ""

    def _on_message(self, message: JobMessage) -> None:
        if self._closing or self._listener is None:
            return
        if isinstance(message, Delta | RunStarted):
            self._listener.heard(self, message)
            return
        self._running.discard(message.output.request_id if isinstance(message, Finished) else message.request_id)
        self._retiring = self._retiring or isinstance(message, Failed)
        if self._retiring and not self._running and self._replacing is None:
            self._replacing = asyncio.create_task(self._replace(), name="replace model")
        self._listener.heard(self, message)

    async def _replace(self) -> None:
        core = self._core
        assert core is not None and self._listener is not None
        await asyncio.to_thread(core.close)
        await self._make_core()
        self._restarts += 1
        self._retiring, self._replacing = False, None
        self._listener.changed(self)
