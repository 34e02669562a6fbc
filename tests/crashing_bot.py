"""Inkwell's bot against a sandbox that another process runs, killed by its own hand at one named step. `none` runs on.

python -m tests.crashing_bot BASE_URL TOKEN DATA_DIR STEP
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import discord

from bot.client import StoryBot
from bot.sandbox import point_discord_at
from bot.settings import Settings
from bot.store import Store
from bot.streaming import LiveMessage
from models.serving.local_engine import LocalEngine
from models.serving.wire import WorkerConfig

# Each step is a method of the flow; "before" and "after" it are where the process may die.
STEPS: dict[str, tuple[type, str]] = {
    "acknowledge": (discord.InteractionResponse, "defer"),
    "persist": (Store, "begin_story"),
    "attach": (Store, "attach_message"),
    "submit": (LocalEngine, "submit"),
    "start": (Store, "start_job"),
    "stream": (LiveMessage, "show"),
    "write": (Store, "write_result"),
    "show": (LiveMessage, "finish"),
    "end": (Store, "finish_job"),
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(step: str) -> None:
    """Make the process die right before or right after the method of `step` ("before:write")."""
    moment, name = step.split(":")
    owner, method = STEPS[name]
    original: Callable[..., Any] = getattr(owner, method)
    if not asyncio.iscoroutinefunction(original):

        def plain(*arguments: Any, **options: Any) -> Any:
            if moment == "before":
                die()
            original(*arguments, **options)
            die()

        setattr(owner, method, plain)
        return

    async def deadly(*arguments: Any, **options: Any) -> Any:
        if moment == "before":
            die()
        result = await original(*arguments, **options)
        die()
        return result

    setattr(owner, method, deadly)


async def main(base_url: str, token: str, data_dir: Path, step: str) -> None:
    settings = Settings(_env_file=None, data_dir=data_dir, edit_interval_s=0.2, shutdown_grace_s=0.5)
    config = WorkerConfig(model="bigram", data_dir=str(data_dir))
    engine = LocalEngine([config], factory="tests.bigram_model:load_slow")
    async with Store.open(settings.database) as store:
        await engine.start()
        with point_discord_at(base_url):
            async with StoryBot(settings=settings, store=store, engine=engine) as bot:
                if step != "none":
                    arm(step)
                asyncio.get_running_loop().add_signal_handler(
                    signal.SIGTERM, lambda: asyncio.ensure_future(bot.close())
                )
                await bot.start(token)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]))
