"""`/inkwell status`: who may ask, what they see, in their language; over simcord and over the sandbox's sockets."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import discord
import simcord
from discord import app_commands
from PIL import Image

from bot.client import StoryBot
from bot.cogs.admin import AdminCog, embed_of
from bot.locales import speaker
from bot.sandbox import Sandbox, point_discord_at
from bot.settings import Settings
from bot.status import Status, Waiting
from bot.status_history import LEAST_MOMENTS
from bot.store import Store
from models.serving.in_process import InProcessEngine
from models.serving.requests import Health, WorkerHealth
from tests.bigram_model import BigramModel
from tests.sandbox_client import Person, labels


class OpenBot(StoryBot):
    """In servers that let anybody see `/inkwell`, as an admin can set it in Discord."""

    async def setup_hook(self) -> None:
        await super().setup_hook()
        group = self.tree.get_command("inkwell")
        assert isinstance(group, app_commands.Group)
        assert group.default_permissions == discord.Permissions(manage_guild=True)
        group.default_permissions = None
        await self.tree.sync()


@asynccontextmanager
async def bot_of(tmp_path: Path, kind: type[StoryBot] = StoryBot) -> AsyncIterator[StoryBot]:
    settings = Settings(_env_file=None, data_dir=tmp_path, edit_interval_s=0.2, shutdown_grace_s=1.0)
    engine = InProcessEngine(BigramModel)
    async with Store.open(settings.database) as store:
        await engine.start()
        yield kind(settings=settings, store=store, engine=engine)
        await engine.close()


def status(**engine: Any) -> Status:
    return Status(
        inkwell="1.2",
        discord="connected",
        guilds=3,
        uptime_s=90.0,
        bot_resident_bytes=2**27,
        health=Health(**{"ready": True} | engine),
        waiting=(
            Waiting(guild_id=8, name="The Other Place", requests=5),
            Waiting(guild_id=7, name="Here", requests=2),
            Waiting(requests=1),
        ),
    )


def words_of(embed: discord.Embed) -> str:
    return "\n".join(
        [f"{embed.title} {embed.description}", *(f"{field.name}: {field.value}" for field in embed.fields)]
    )


async def test_an_admin_sees_the_numbers_and_nobody_else_does(tmp_path: Path) -> None:
    async with bot_of(tmp_path) as bot, simcord.run(bot, settle_timeout=30.0, shard_count=1) as env:
        guild = env.create_guild()
        channel = guild.create_text_channel("stories")
        role = guild.create_role("Keepers", permissions=discord.Permissions(manage_guild=True))
        admin = guild.add_member(env.create_user("admin"), roles=[role])
        member = guild.add_member(env.create_user("member"))
        await member.slash(channel, "story", prompt="The keeper climbed the stairs")
        shown = await admin.slash(channel, "inkwell status")
        assert shown.acknowledged
        assert shown.ephemeral
        (message,) = shown.followups or [shown.response]
        words = words_of(message.embeds[0])
        assert "Inkwell is ready" in words
        assert "Answered: 1 (failed: 0)" in words
        assert "0 waiting here, 0 elsewhere" in words
        assert "Moods, portraits, verses: asleep until somebody asks; answered 0 (failed: 0)" in words
        assert f"`{BigramModel().version}`, 0 of 4 at once, restarts: 0" in words
        assert "inkwell status" not in member.available_commands(channel)


async def test_a_member_to_whom_the_command_is_shown_is_refused_all_the_same(tmp_path: Path) -> None:
    async with bot_of(tmp_path, OpenBot) as bot, simcord.run(bot, settle_timeout=30.0, shard_count=1) as env:
        guild = env.create_guild()
        channel = guild.create_text_channel("stories")
        member = guild.add_member(env.create_user("member"))
        moderator = guild.create_role("Mods", permissions=discord.Permissions(manage_messages=True))
        for person in (member, guild.add_member(env.create_user("moderator"), roles=[moderator])):
            shown = await person.slash(channel, "inkwell status")
            assert shown.ephemeral
            assert "permission" in shown.response.content
            assert not shown.response.embeds
        assert [type(error) for error in env.errors] == [app_commands.MissingPermissions] * 2


def test_other_servers_and_the_operators_machine_are_not_named() -> None:
    down = WorkerHealth(state="failed", model_version="gpt@10.0.0.7:8000", error="/home/ann/model.gguf is not there")
    for locale in ("en-US", "zh-CN"):
        shown = embed_of(status(ready=False, workers=(down,), queued=8), speaker(locale), here=7, remote=True)
        words = words_of(shown)
        assert "The Other Place" not in words
        assert "ann" not in words
        assert "10.0.0.7" not in words
        assert "gpt" in words
    english = words_of(embed_of(status(queued=8), speaker("en-US"), here=7, remote=False))
    assert "Queue: 2 waiting here, 6 elsewhere" in english
    assert "not measured yet" in english
    assert "models –, bot 128 MiB" in english


def test_any_number_of_workers_and_any_number_fits_an_embed() -> None:
    workers = tuple(
        WorkerHealth(
            state="ready", model_version="m" * 200 + "@12345678", slots=256, running=256, restarts=10**6, uptime_s=1e9
        )
        for _ in range(64)
    )
    many = status(workers=workers, queued=10**6, served=10**12, tokens_per_s=1e9, first_token_p50_s=1e6)
    for locale in ("en-US", "zh-CN", "zh-TW"):
        embed = embed_of(many, speaker(locale), here=7, remote=False)
        assert len(embed) <= 6_000
        assert len(embed.fields) <= 25
        assert all(len(field.value or "") <= 1_024 and len(field.name or "") <= 256 for field in embed.fields)


async def test_over_the_sandbox_an_admin_reads_it_in_chinese_with_a_picture(tmp_path: Path) -> None:
    async with bot_of(tmp_path / "data") as bot, Sandbox(tmp_path / "discord") as sandbox:
        with point_discord_at(sandbox.base_url):
            async with bot:
                running = asyncio.create_task(bot.start(sandbox.bot_token))
                await asyncio.wait_for(bot.wait_until_ready_or_dead(running), 30)
                cog = bot.get_cog("Admin")
                assert isinstance(cog, AdminCog)
                async with Person.join(sandbox, "admin") as ida, Person.join(sandbox, "writer") as wren:
                    await wren.slash("story", prompt="The keeper climbed the stairs")
                    await wren.wait_message(lambda message: "Continue" in labels(message), 30)
                    for _ in range(LEAST_MOMENTS):
                        await cog.history.look()
                    await ida.slash("inkwell status", locale="zh-CN")
                    message = await ida.wait_message(lambda message: bool(message["embeds"]), 30)
                    assert message["ephemeral_for"] == ida.id
                    assert message["embeds"][0]["title"] == "Inkwell 已就绪"
                    picture = message["attachments"][0]
                    assert "最近半小时" in picture["description"]
                    image = Image.open(io.BytesIO(await ida.fetch(picture["url"])))
                    assert image.size[0] > 400
                    assert message["id"] not in [each["id"] for each in await wren.messages()]
                    assert "inkwell" not in [command["name"] for command in (await wren.state())["commands"]]
                await bot.close()
                await running
    assert sandbox.unknown_routes == {}
