"""The worker process: `python -m models.serving.worker FD` hosts a WorkerCore behind frames on an inherited socket.
Knows neither what its parent is nor who asks; reads nothing from the environment.
"""

import faulthandler
import logging
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator

import psutil

from models.language.weight_files import WeightsError
from models.serving.named_models import host
from models.serving.wire import (
    Cancel,
    Configure,
    FrameSplitter,
    FromWorker,
    LogLine,
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
    encode,
)
from models.serving.worker_core import WorkerCore

log = logging.getLogger(__name__)

EXIT_PARENT_GONE = 0
EXIT_BROKEN_PARENT = 2
EXIT_START_FAILED = 3
_MAX_LOG_CHARS = 8_000
_RECEIVE_BYTES = 64 * 1024


class Channel:
    """Frames over a blocking socket. `send` may be called from any thread; `receive` from one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: FromWorker) -> None:
        """Blocks while the parent is slow to read. Raises WireError; a parent that is gone is noticed by `receive`."""
        frame = encode(message)
        try:
            with self._sending:
                self._connection.sendall(frame)
        except OSError as error:
            raise WireError(f"the parent is gone: {error}") from None

    def receive(self) -> Iterator[ToWorker]:
        """Messages until the parent closes its end. Raises WireError."""
        frames = FrameSplitter()
        while data := self._connection.recv(_RECEIVE_BYTES):
            for body in frames.feed(data):
                yield decode_to_worker(body)


class LogFrames(logging.Handler):
    """Hands every log record to the parent, whose logging decides what becomes of it."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record).encode("utf-8", "replace").decode()[:_MAX_LOG_CHARS]
        try:
            self._channel.send(LogLine(level=record.levelno, logger=record.name, message=text))
        except WireError:
            self.handleError(record)


class Worker:
    """One connection, one model. The model loads in its own thread, so that pings are answered and a parent's death is
    noticed meanwhile."""

    def __init__(self, channel: Channel) -> None:
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
        bound_process(configure.config)
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


def bound_process(config: WorkerConfig) -> None:
    """Apply the limits that hold for the whole process."""
    os.nice(config.niceness)
    if config.max_memory_bytes is not None:
        # RLIMIT_DATA and not RLIMIT_AS: mapped weight files and reserved address space cost no memory.
        resource.setrlimit(resource.RLIMIT_DATA, (config.max_memory_bytes, config.max_memory_bytes))


def main(descriptor: int) -> int:
    """Serve the socket `descriptor`; return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us in its own order
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # the parent asks a stuck worker where it hangs
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    try:
        Worker(Channel(connection)).serve()
    except WireError as error:
        print(f"inkwell worker: {error}", file=sys.stderr)  # noqa: T201 - the frames no longer carry a log
        return EXIT_BROKEN_PARENT
    return EXIT_PARENT_GONE


if __name__ == "__main__":
    status = main(int(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # generating threads and a library's own may not end: nobody waits for them any more
