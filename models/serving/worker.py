"""The worker process: `python -m models.serving.worker FD` hosts a WorkerCore behind frames on an inherited socket.
Knows neither what its parent is nor who asks; reads nothing from the environment.
"""

import logging
import os
import sys
import tempfile
import threading

import psutil

from models.language.weight_files import WeightsError
from models.serving.named_models import host
from models.serving.wire import (
    Cancel,
    Configure,
    Ping,
    Pong,
    Ready,
    Run,
    Shutdown,
    StartFailed,
    ToWorker,
    WireError,
    WorkerConfig,
    WorkerStats,
    decode_to_worker,
)
from models.serving.worker_channel import Channel, LogFrames, bound_process, run_process
from models.serving.worker_core import WorkerCore

log = logging.getLogger(__name__)

EXIT_START_FAILED = 3


class Worker:
    """One connection, one model. The model loads in its own thread, so that pings are answered and a parent's death is
    noticed meanwhile."""

    def __init__(self, channel: Channel[ToWorker]) -> None:
        self._channel = channel
        self._core: WorkerCore | None = None
        self._process = psutil.Process()

    def serve(self) -> None:
        """Until the parent says Shutdown or closes its end."""
        messages = self._channel.receive()
        configure = next(messages, None)
        if configure is None:
            return
        if not isinstance(configure, Configure):
            raise WireError("the first message must be the configuration")
        bound_process(configure.config.niceness, configure.config.max_memory_bytes)
        tempfile.tempdir = configure.scratch or None
        logging.basicConfig(level=configure.config.log_level, handlers=[LogFrames(self._channel)], force=True)
        logging.captureWarnings(True)
        threading.Thread(target=self._load, args=(configure,), name="load", daemon=True).start()
        for message in messages:
            if isinstance(message, Shutdown):
                if self._core is not None:
                    self._core.close()
                return
            self._handle(message)

    def _handle(self, message: ToWorker) -> None:
        match message:
            case Run(request=request) if self._core is not None:
                self._core.run(request)
            case Cancel(request_id=request_id) if self._core is not None:
                self._core.cancel(request_id)
            case Ping():
                self._channel.send(Pong(stats=self._stats()))
            case _:
                raise WireError(f"a {type(message).__name__} can't be answered now")

    def _load(self, configure: Configure) -> None:
        try:
            core = WorkerCore(host(configure.config, configure.factory), self._channel.send)
        except BaseException as error:
            # Of weights that can't be used and a library that isn't there the sentence says it all.
            if not isinstance(error, WeightsError) and not isinstance(error.__cause__, ImportError):
                log.exception("the model %s can't be loaded", configure.config.model)
            self._channel.send(StartFailed(reason=_cause(error, configure.config)))
            sys.stderr.flush()
            os._exit(EXIT_START_FAILED)  # from a thread: nothing else ends a main thread that waits in recv
        self._core = core
        self._channel.send(Ready(model_version=core.model_version, slots=core.slots))

    def _stats(self) -> WorkerStats:
        cpu = self._process.cpu_times()
        return WorkerStats(
            resident_bytes=self._process.memory_info().rss,
            cpu_s=cpu.user + cpu.system,
            running=0 if self._core is None else self._core.running,
        )


def _cause(error: BaseException, config: WorkerConfig) -> str:
    """In one sentence, for the operator."""
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) and config.max_memory_bytes is not None:
        limit = f"the worker's memory is limited to {config.max_memory_bytes / 2**20:.0f} MiB"
        said = f"{config.model} can't be loaded, {limit}" + ("" if said == "MemoryError" else f": {said}")
    return said[:1_000].encode("utf-8", "replace").decode()


if __name__ == "__main__":
    run_process("worker", decode_to_worker, lambda channel: Worker(channel).serve())
