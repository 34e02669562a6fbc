"""The process of the small models: `python -m models.serving.short_worker FD` answers batches behind frames on an
inherited socket. Knows neither its parent nor what a model computes; reads nothing from the environment.
"""

import logging
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from models.serving.short_families import Family, UnloadableError
from models.serving.short_model import ShortModelMissingError
from models.serving.short_wire import (
    Answered,
    BatchFailed,
    ConfigureShort,
    Listening,
    Loaded,
    Loading,
    RunBatch,
    ToShortWorker,
    Why,
    decode_to_short_worker,
    kind_of,
)
from models.serving.wire import Ping, Pong, Shutdown, WireError, WorkerStats, encode
from models.serving.worker_channel import Channel, LogFrames, bound_process, run_process

log = logging.getLogger(__name__)


class ShortWorker:
    """One connection; a thread for each family, so that a mood does not wait for a picture. Pings are answered, and a
    parent's death noticed, whatever they do."""

    def __init__(self, channel: Channel[ToShortWorker]) -> None:
        self._channel = channel
        self._kinds: dict[str, str] = {}
        self._families: dict[str, Family] = {}
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._process = psutil.Process()

    def serve(self) -> None:
        """Until the parent says Shutdown or closes its end."""
        messages = self._channel.receive()
        configure = next(messages, None)
        if configure is None:
            return
        if not isinstance(configure, ConfigureShort):
            raise WireError("the first message must be the configuration")
        config = configure.config
        bound_process(config.niceness, config.max_memory_bytes)
        tempfile.tempdir = configure.scratch or None
        logging.basicConfig(level=config.log_level, handlers=[LogFrames(self._channel)], force=True)
        logging.captureWarnings(True)
        self._kinds = config.families
        for loader in set(config.families.values()):
            self._families[loader] = Family(loader, Path(config.data_dir), config.options)
            self._threads[loader] = ThreadPoolExecutor(1, thread_name_prefix=loader)
        self._channel.send(Listening())
        for message in messages:
            match message:
                case RunBatch(requests=requests) if requests and kind_of(requests[0]) in self._kinds:
                    loader = self._kinds[kind_of(requests[0])]
                    self._threads[loader].submit(self._answer, loader, message)
                case Ping():
                    self._channel.send(Pong(stats=self._stats()))
                case Shutdown():
                    return
                case _:
                    raise WireError(f"a {type(message).__name__} can't be answered now")

    def _answer(self, loader: str, batch: RunBatch) -> None:
        try:
            self._channel.send_frames(*self._answers(loader, batch))
        except WireError as error:  # the parent is gone: the thread that receives notices it
            log.debug("an answer is lost: %s", error)
        except ShortModelMissingError as error:
            self._fail(batch, "missing" if self._families[loader].loaded else "absent", error)
        except UnloadableError as error:
            self._fail(batch, "unloadable", error)
        except ValueError as error:
            self._fail(batch, "refused", error)
        except Exception as error:
            log.exception("a batch of %d broke the model of %s", len(batch.requests), loader)
            self._fail(batch, "broke", error)

    def _answers(self, loader: str, batch: RunBatch) -> list[bytes]:
        family = self._families[loader]
        if not family.loaded and not family.failing:
            self._channel.send(Loading(family=loader))
            version = ""
            try:
                version = family.model().version
            finally:
                self._channel.send(Loaded(family=loader, version=version))
        outputs = family.model().answer(batch.requests)
        if len(outputs) != len(batch.requests):
            raise RuntimeError(f"{len(batch.requests)} requests got {len(outputs)} answers")
        try:
            return [encode(Answered(batch=batch.batch, output=output)) for output in outputs]
        except WireError as error:
            raise ValueError(str(error)) from None

    def _fail(self, batch: RunBatch, why: Why, error: Exception) -> None:
        said = " ".join(str(error).split()) or type(error).__name__
        reason = said[:1_000].encode("utf-8", "replace").decode()
        try:
            self._channel.send(BatchFailed(batch=batch.batch, why=why, reason=reason))
        except WireError as gone:
            log.debug("a failure is lost: %s", gone)

    def _stats(self) -> WorkerStats:
        cpu = self._process.cpu_times()
        return WorkerStats(resident_bytes=self._process.memory_info().rss, cpu_s=cpu.user + cpu.system)


if __name__ == "__main__":
    run_process("short worker", decode_to_short_worker, lambda channel: ShortWorker(channel).serve())
