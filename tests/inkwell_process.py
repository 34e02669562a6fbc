"""Inkwell as its operator starts it: a real `python -m bot run` in a folder of its own. Knows nothing of its inside."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
OURS = re.compile(r"^(DISCORD_TOKEN|DB_KEY|DATA_DIR|STORY_.*|SANDBOX_PORT|OPEN_BROWSER|QUEUE_.*|WORKERS|LOG_LEVEL)$")


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


async def start(data_dir: Path, *arguments: str, **settings: str) -> Inkwell:
    """`python -m bot ARGUMENTS` with exactly these settings in its environment."""
    environment: Mapping[str, str] = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        *arguments,
        cwd=data_dir,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**environment, "PYTHONPATH": str(REPOSITORY), "DATA_DIR": str(data_dir), **settings},
    )
    return Inkwell(process)


@asynccontextmanager
async def running(data_dir: Path, **settings: str) -> AsyncIterator[Inkwell]:
    """Inkwell in its sandbox, ready; stopped by SIGTERM at the end."""
    inkwell = await start(data_dir, "run", SANDBOX_PORT="0", OPEN_BROWSER="false", **settings)
    try:
        inkwell.page_url = (await inkwell.read_until(r"http://127\.0\.0\.1:\d+/\S+/")).group()
        yield inkwell
    finally:
        if inkwell.process.returncode is None:
            inkwell.tell(signal.SIGTERM)
        await inkwell.rest()
