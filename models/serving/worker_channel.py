"""A worker process's end of the socket to its parent: frames, its log in frames, and the limits that hold for the whole
process. Knows no model and none of the messages' meaning.
"""

import faulthandler
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Generic, NoReturn, TypeVar

from msgspec import Struct

from models.serving.wire import FrameSplitter, LogLine, WireError, encode

EXIT_PARENT_GONE = 0
EXIT_BROKEN_PARENT = 2
_MAX_LOG_CHARS = 8_000
_RECEIVE_BYTES = 64 * 1024

Message = TypeVar("Message")


class Channel(Generic[Message]):
    """Frames over a blocking socket. `send` may be called from any thread; `receive` from one."""

    def __init__(self, connection: socket.socket, decode: Callable[[bytes], Message]) -> None:
        self._connection = connection
        self._decode = decode
        self._sending = threading.Lock()

    def send(self, message: Struct) -> None:
        """Blocks while the parent is slow to read. Raises WireError; a parent that is gone is noticed by `receive`."""
        self.send_frames(encode(message))

    def send_frames(self, *frames: bytes) -> None:
        """As `send`, of frames that are encoded already: no other frame comes between them."""
        try:
            with self._sending:
                self._connection.sendall(b"".join(frames))
        except OSError as error:
            raise WireError(f"the parent is gone: {error}") from None

    def receive(self) -> Iterator[Message]:
        """Messages until the parent closes its end. Raises WireError."""
        frames = FrameSplitter()
        while data := self._connection.recv(_RECEIVE_BYTES):
            for body in frames.feed(data):
                yield self._decode(body)


class LogFrames(logging.Handler):
    """Hands every log record to the parent, whose logging decides what becomes of it."""

    def __init__(self, channel: Channel[Message]) -> None:
        super().__init__()
        self._channel = channel
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record).encode("utf-8", "replace").decode()[:_MAX_LOG_CHARS]
        try:
            self._channel.send(LogLine(level=record.levelno, logger=record.name, message=text))
        except WireError:
            self.handleError(record)


def bound_process(niceness: int, max_memory_bytes: int | None) -> None:
    """Apply the limits that hold for the whole process."""
    os.nice(niceness)
    if max_memory_bytes is not None:
        # RLIMIT_DATA and not RLIMIT_AS: mapped weight files and reserved address space cost no memory.
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        bound = max_memory_bytes if hard == resource.RLIM_INFINITY else min(max_memory_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))  # machine.unbounded_memory lifts it for an import


def run_process(name: str, decode: Callable[[bytes], Message], serve: Callable[[Channel[Message]], None]) -> NoReturn:
    """Let `serve` speak with the parent over the socket whose number is the process's argument, then end the process,
    whatever threads of its own or of a library still run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us in its own order
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # the parent asks a stuck process where it hangs
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    status = EXIT_PARENT_GONE
    try:
        serve(Channel(connection, decode))
    except WireError as error:
        print(f"inkwell {name}: {error}", file=sys.stderr)  # noqa: T201 - the frames no longer carry a log
        status = EXIT_BROKEN_PARENT
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
