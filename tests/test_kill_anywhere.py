"""kill -9 of the whole bot at any step of a story: nothing that was submitted is lost, nothing finished either.

The sandbox (Discord) runs here and survives; the bot is a real process with a real worker and a real database.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.sandbox import Sandbox
from bot.store import Store
from tests.crashing_bot import STEPS
from tests.inkwell_process import REPOSITORY

PROMPT = "The keeper found a letter"


class Writer:
    """The first member of the sandbox, over the page's own protocol."""

    def __init__(self, sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
        self._url, self._http = sandbox.page_url, http
        self.me = ""
        self.channel = ""

    async def get(self, path: str) -> Any:
        async with self._http.get(self._url + path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def state(self) -> Any:
        state = await self.get(f"ui/state?as={self.me}" if self.me else "ui/state")
        self.me = state["me"]["id"] if isinstance(state["me"], dict) else state["me"]
        self.channel = next(channel["id"] for channel in state["channels"] if channel["name"] == "stories")
        return state

    async def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.get(f"ui/channels/{self.channel}/messages?as={self.me}&limit=50")
        return found

    async def tell(self, prompt: str) -> None:
        command = next(entry for entry in (await self.state())["commands"] if entry["name"] == "story")
        option = {"name": "prompt", "type": 3, "value": prompt}
        data = {"id": command["id"], "name": "story", "type": 1, "options": [option]}
        body = {"as": self.me, "type": 2, "channel_id": self.channel, "data": data}
        origin = self._url.split("/", 3)
        headers = {"Origin": f"{origin[0]}//{origin[2]}", "Content-Type": "application/json"}
        async with self._http.post(self._url + "ui/interactions", data=json.dumps(body), headers=headers) as answer:
            assert answer.status in (200, 201), await answer.text()


async def until(look: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    try:
        async with asyncio.timeout(timeout_s):
            while not (found := await look()):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None
    return found


async def bot_process(sandbox: Sandbox, data_dir: Path, step: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.crashing_bot", sandbox.base_url, sandbox.bot_token, str(data_dir), step,
        cwd=REPOSITORY,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


def finished(message: dict[str, Any]) -> bool:
    buttons = [button.get("label") for row in message.get("components", []) for button in row.get("components", [])]
    return "Continue" in buttons and PROMPT in message["content"]


@pytest.mark.parametrize("step", [f"{moment}:{name}" for name in STEPS for moment in ("before", "after")])
async def test_a_bot_killed_at_any_step_loses_nothing(tmp_path: Path, step: str) -> None:
    async with Sandbox(tmp_path / "discord") as sandbox, aiohttp.ClientSession() as http:
        writer = Writer(sandbox, http)
        data_dir = tmp_path / "data"
        data_dir.mkdir()
        bot = await bot_process(sandbox, data_dir, step)

        async def commands() -> Any:
            state = await writer.state()
            return state["bot"]["online"] and any(entry["name"] == "story" for entry in state["commands"])

        await until(commands, "the bot")
        await writer.tell(PROMPT)
        assert await asyncio.wait_for(bot.wait(), 60) == -signal.SIGKILL

        async with Store.open(data_dir / "inkwell.db") as store:
            kept = (await store.counts()).stories
            open_jobs = await store.open_jobs()
        left = await writer.messages()
        acknowledged = bool(left)
        last_edit = max((message.get("edited_timestamp") or "" for message in left), default="")
        if step in ("before:acknowledge", "after:acknowledge", "before:persist"):
            assert kept in (0, 1)  # both run at once; without a row nothing was promised but "thinking…"
        else:
            assert kept == 1
        if not kept:
            return
        assert open_jobs or step == "after:end"

        bot = await bot_process(sandbox, data_dir, "none")
        try:

            async def answer() -> Any:
                # A final text may have been shown before the kill: wait for the edit of the bot that came after.
                return [
                    message
                    for message in await writer.messages()
                    if finished(message) and (step == "after:end" or (message["edited_timestamp"] or "") > last_edit)
                ]

            shown = await until(answer, "the finished story")
        finally:
            bot.send_signal(signal.SIGTERM)
            await asyncio.wait_for(bot.wait(), 60)
        async with Store.open(data_dir / "inkwell.db") as store:
            assert await store.open_jobs() == ()
            story = await store.latest_story(int(writer.channel))
            assert story is not None
            text = (await store.turn(story.head_turn_id)).text.strip()
        assert text
        assert text in shown[0]["content"]
        assert len(shown) == 1
        assert acknowledged or step.endswith(("acknowledge", "persist"))
