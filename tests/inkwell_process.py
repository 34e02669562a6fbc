"""Inkwell as its operator starts it: a real `python -m bot run` in a folder of its own. Knows nothing of its inside."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bot.settings import Settings

REPOSITORY = Path(__file__).parents[1]
OURS = frozenset(name.upper() for name in Settings.model_fields)


class Inkwell:
    """A running process, what it printed, and its page's address once it is ready."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.page_url = ""
        self.printed = ""

    async def read_until(self, pattern: str, timeout_s: float = 90.0) -> re.Match[str]:
        """The first match of `pattern` in what the process prints. Raises AssertionError with all that it printed."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                while not (match := re.search(pattern, self.printed)):
                    more = await self.process.stdout.read(4096)
                    assert more, f"it ended: {self.printed}"
                    self.printed += more.decode()
        except TimeoutError:
            raise AssertionError(f"no {pattern!r} in: {self.printed}") from None
        return match

    async def rest(self) -> tuple[int, str]:
        """Wait for its end; the exit status and everything it printed."""
        assert self.process.stdout is not None
        self.printed += (await self.process.stdout.read()).decode()
        return await self.process.wait(), self.printed

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


async def start(
    data_dir: Path, *arguments: str, discord: str = "", factory: str = "", launcher: Sequence[str] = (), **settings: str
) -> Inkwell:
    """`python -m bot ARGUMENTS` with exactly these settings in its environment.

    `discord` is the base URL of what stands for Discord, and `factory` makes the model in place of the weights: both by
    way of tests.inkwell_at. `launcher` is a command that starts the command.
    """
    environment: Mapping[str, str] = {name: value for name, value in os.environ.items() if name.upper() not in OURS}
    module = ("tests.inkwell_at", discord, factory) if discord or factory else ("bot",)
    process = await asyncio.create_subprocess_exec(
        *launcher,
        sys.executable,
        "-m",
        *module,
        *arguments,
        cwd=data_dir,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**environment, "PYTHONPATH": str(REPOSITORY), "DATA_DIR": str(data_dir), **settings},
    )
    return Inkwell(process)


@asynccontextmanager
async def running(data_dir: Path, *, factory: str = "", **settings: str) -> AsyncIterator[Inkwell]:
    """Inkwell in its sandbox, ready; stopped by SIGTERM at the end."""
    inkwell = await start(data_dir, "run", factory=factory, SANDBOX_PORT="0", OPEN_BROWSER="false", **settings)
    try:
        inkwell.page_url = (await inkwell.read_until(r"(?m)(?<=^    )http://127\.0\.0\.1:\d+/\S+/")).group()
        yield inkwell
    finally:
        if inkwell.process.returncode is None:
            inkwell.tell(signal.SIGTERM)
        await inkwell.rest()


def names(folder: Path) -> list[str]:
    """What lies in a data folder."""
    return sorted(entry.name for entry in folder.iterdir())
