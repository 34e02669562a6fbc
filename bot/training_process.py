"""A training run as a process of its own, seen from the side that starts it. Knows how to start it, what the two say to
each other, and how to end it; knows no store and no Discord.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import msgspec
import psutil

from bot.settings import worker_environment
from models.serving.training import Event

# Ours is the code, wherever Inkwell was started. The run's name stands in the command line only to be found there.
PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.argv.pop(1); "
    "from models.training.train_process import main; sys.exit(main())"
)
_MOST_LINE_BYTES = 1 << 20  # of an event; it bounds what is buffered, too
_EVENTS_AT_ONCE = 64  # then others get their turn, however fast the process talks
_LAST_MOMENTS_S = 5.0  # for a process that has said all it had to


class SilentError(Exception):
    """The process has said nothing for longer than any step of a run takes."""


class UnreadableError(Exception):
    """The process said something that is no event."""


class TrainingProcess:
    """A running process. It leads a session of its own: Ctrl-C is for us, and what it starts ends with it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._input, self._output = process, process.stdin, process.stdout

    @classmethod
    async def start(cls, program: str, run_id: str) -> "TrainingProcess":
        """Raises OSError."""
        root = str(Path(__file__).parents[1])
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", program, root, run_id),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=worker_environment(),
                limit=_MOST_LINE_BYTES,
                start_new_session=True,
            )
        )

    async def send(self, lines: bytes) -> bool:
        """Returns when the process has room for more; False when it takes no more. Why, its last words say."""
        try:
            self._input.write(lines)
            await self._input.drain()
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def end_input(self) -> None:
        self._input.close()

    async def events(self, silence_s: float) -> AsyncGenerator[Event, None]:
        """All that it says until it closes its output. Raises SilentError, UnreadableError."""
        decoder = msgspec.json.Decoder(Event)
        heard = 0
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    line = await self._output.readline()
            except TimeoutError:
                raise SilentError from None
            except ValueError:  # longer than the buffer
                raise UnreadableError("a line without an end") from None
            if not line:
                return
            try:
                event: Event = decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise UnreadableError(str(error)) from None
            yield event
            heard += 1
            if heard % _EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)

    def ask_to_stop(self) -> None:
        """It ends at its next step and removes what it has made."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """At once, with all that it has started."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def ended(self) -> int:
        """Its exit status (minus the signal that ended it). One that only lingers is killed."""
        try:
            async with asyncio.timeout(_LAST_MOMENTS_S):
                return await self._process.wait()
        except TimeoutError:
            self.kill()
            return await self._process.wait()


def kill_strays(run_id: str) -> int:
    """End the processes of a run whose Inkwell was killed: a run that is resumed must be alone. How many. Blocks."""
    killed = 0
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or run_id not in process.cmdline():
                continue
            for each in (*process.children(recursive=True), process):
                each.kill()
            process.wait(_LAST_MOMENTS_S)
            killed += 1
        except psutil.Error:
            continue
    return killed
