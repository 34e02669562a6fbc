"""One incarnation of a worker process: spawned, spoken to in frames, reaped. Knows nothing of restarts or of what its
messages mean.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar, cast

from msgspec import Struct

import models
from models.serving.wire import FrameSplitter, WireError, encode

log = logging.getLogger(__name__)

WORKER = (sys.executable, "-m", "models.serving.worker")
_ROOT = Path(models.__file__).parent.parent  # where `-m models.serving.worker` finds this very code
_OUTPUT_AFTER_END_S = 1.0  # a grandchild may hold the pipe open
_END_AFTER_DISCONNECT_S = 2.0
_MAX_LINE_CHARS = 2_000


Message = TypeVar("Message")


class WorkerProcess(asyncio.Protocol, Generic[Message]):
    """`on_message` gets every frame, as `decode` reads it (WireError: it is none, and ends the process); when `ended`
    is done the process is reaped and all its frames were delivered."""

    def __init__(self, on_message: Callable[[Message], None], decode: Callable[[bytes], Message]) -> None:
        self._on_message = on_message
        self._decode = decode
        self._frames = FrameSplitter()
        self._transport: asyncio.Transport | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._disconnected = asyncio.get_running_loop().create_future()
        self._reaping: asyncio.Task[str] | None = None
        self._killed_because = ""
        self._deaf: asyncio.TimerHandle | None = None

    @classmethod
    async def spawn(
        cls,
        on_message: Callable[[Message], None],
        decode: Callable[[bytes], Message],
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = WORKER,
    ) -> "WorkerProcess[Message]":
        """Start a worker that waits for its configuration. `environment` None: it inherits ours. `program` gets the
        number of its end of the socket as last argument. Raises OSError."""
        self = cls(on_message, decode)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *program,
                    str(theirs.fileno()),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    cwd=_ROOT,
                    env=environment,
                )
            except BaseException:
                ours.close()
                raise
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
        self._reaping = asyncio.create_task(self._reap(self._process), name=f"reap worker {self.pid}")
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> "asyncio.Task[str]":
        """Done when the process is gone; its result is one sentence on how."""
        assert self._reaping is not None
        return self._reaping

    @property
    def usable(self) -> bool:
        """Whether it is still worth giving it work."""
        return not self._killed_because and self._transport is not None and not self._transport.is_closing()

    def send(self, message: Struct) -> None:
        """Nothing happens when the process is gone: `ended` tells of it. Raises WireError for what can't be sent."""
        self.send_frame(encode(message))

    def send_frame(self, frame: bytes) -> None:
        """As `send`, of what is encoded already."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def ask_where_it_hangs(self) -> None:
        """Have the stacks of all its threads written to its standard error, and so to our log."""
        self._signal(signal.SIGUSR1)

    def kill(self, reason: str) -> None:
        """SIGKILL; `ended` then says `reason`."""
        self._killed_because = self._killed_because or reason
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _reap(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        reading = asyncio.create_task(self._log_output(process.stdout), name=f"output of worker {process.pid}")
        try:
            status = await process.wait()
            await self._disconnected
            await asyncio.wait({reading}, timeout=_OUTPUT_AFTER_END_S)
        finally:
            reading.cancel()
            if self._deaf is not None:
                self._deaf.cancel()
            if self._transport is not None:
                self._transport.abort()
        return self._killed_because or _describe(status)

    async def _log_output(self, output: asyncio.StreamReader) -> None:
        """What libraries print themselves; the worker's own log arrives in frames."""
        pending = ""
        while data := await output.read(4096):
            *lines, pending = (pending + data.decode("utf-8", "replace")).split("\n")
            pending = pending[-_MAX_LINE_CHARS:]
            for line in lines:
                log.info("worker %d printed: %s", self.pid, line[:_MAX_LINE_CHARS])
        if pending:
            log.info("worker %d printed: %s", self.pid, pending)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._frames.feed(data):
                self._on_message(self._decode(body))
        except WireError as error:
            self.kill(f"the worker broke the protocol: {error}")
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._disconnected.set_result(None)
        self._deaf = asyncio.get_running_loop().call_later(
            _END_AFTER_DISCONNECT_S, self.kill, "the worker closed its connection"
        )


def _describe(status: int) -> str:
    if status >= 0:
        return f"the worker exited with status {status}"
    try:
        return f"the worker was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"the worker was ended by signal {-status}"
