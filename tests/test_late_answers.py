"""A story whose turn comes after its interaction's token has died is answered in the channel, over real sockets; where
the bot can't write by itself nobody waits for it any longer.
"""

import asyncio
import time
from pathlib import Path

import discord

from bot.client import StoryBot
from bot.delivery import BY_TOKEN_S, IN_CHANNEL_S, Delivery
from bot.sandbox import Pace, Sandbox, Timing, point_discord_at
from bot.settings import Settings
from bot.store import Store
from models.serving.in_process import InProcessEngine
from models.serving.requests import StoryRequest
from tests.bigram_model import BigramModel
from tests.sandbox_client import Person, labels

TOKEN_S = 2.0  # Discord's live 15 minutes
FAST = Pace(messages=500, route=500, everything=500)


class Noting(InProcessEngine):
    """Remembers how long each request may wait."""

    def __init__(self) -> None:
        super().__init__(lambda: BigramModel(slots=1, pause_s=0.04))
        self.patience_s: list[float] = []

    async def submit(self, request: StoryRequest) -> int:
        assert request.deadline is not None
        self.patience_s.append(request.deadline - time.time())
        return await super().submit(request)


async def test_a_story_that_waited_longer_than_its_token_lives_is_answered_in_the_channel(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, edit_interval_s=0.2, shutdown_grace_s=1.0)
    engine = Noting()
    async with (
        Sandbox(tmp_path / "discord", timing=Timing(token_s=TOKEN_S), pace=FAST) as sandbox,
        Store.open(settings.database) as store,
    ):
        await engine.start()
        with point_discord_at(sandbox.base_url):
            async with StoryBot(settings=settings, store=store, engine=engine) as bot:
                running = asyncio.create_task(bot.start(sandbox.bot_token))
                await asyncio.wait_for(bot.wait_until_ready_or_dead(running), 30)
                async with Person.join(sandbox, "writer") as wren, Person.join(sandbox, "co-author") as tomas:
                    asked = time.monotonic()
                    await wren.slash("story", prompt="The first lamp went out", length="short")
                    await tomas.slash("story", prompt="The second lamp went out", length="short")
                    answer = await tomas.wait_message(
                        lambda message: "Continue" in labels(message) and "second" in message["content"], 40
                    )
                    assert time.monotonic() - asked > TOKEN_S
                    assert len(answer["content"]) > 60
                    await tomas.click(answer, "Continue")
                    await tomas.wait_message(lambda message: "Continue" in labels(message), 40)
                async with asyncio.timeout(20):
                    while await store.open_jobs():  # a job ends a moment after it was shown
                        await asyncio.sleep(0.05)
                assert all(IN_CHANNEL_S - 60 < patience <= IN_CHANNEL_S for patience in engine.patience_s)
                assert bot.channel_of(1, 2) is None, "a server that the bot is not in"
                assert bot.channel_of(1, None) is not None
                await bot.close()
                await running
        await engine.close()


def test_where_only_the_token_can_show_it_an_answer_may_take_less_than_the_token_lives() -> None:
    nowhere = Delivery(webhook=None, channel=None)
    assert nowhere.patience_s == BY_TOKEN_S < 15 * 60
    somewhere = Delivery(webhook=None, channel=discord.Object(1))  # type: ignore[arg-type]
    assert somewhere.patience_s > 15 * 60
