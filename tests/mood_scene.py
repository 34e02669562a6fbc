"""A simulated server with an admin, a member and Inkwell in it, whose moods are counted words. Knows no test."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discord
import simcord
from discord import app_commands

from bot.client import StoryBot
from bot.settings import Settings
from bot.store import Store
from models.serving.in_process import InProcessEngine
from tests.bigram_model import BigramModel
from tests.word_moods import word_moods


class OpenBot(StoryBot):
    """In servers that let anybody see `/inkwell`, as an admin can set it in Discord."""

    async def setup_hook(self) -> None:
        await super().setup_hook()
        group = self.tree.get_command("inkwell")
        assert isinstance(group, app_commands.Group)
        group.default_permissions = None
        await self.tree.sync()


@dataclass(frozen=True, kw_only=True)
class Scene:
    env: Any
    bot: StoryBot
    store: Store
    guild: Any
    channel: Any
    admin: Any
    member: Any

    def met(self, *kinds: type[BaseException]) -> bool:
        """Whether the bot met exactly these errors (simcord fails a test that does not ask)."""
        return [type(getattr(error, "original", error)) for error in self.env.errors] == [*kinds]


@asynccontextmanager
async def scene(
    tmp_path: Path, kind: type[StoryBot] = StoryBot, missing: Sequence[str] = (), **chosen: Any
) -> AsyncIterator[Scene]:
    settings = Settings(_env_file=None, data_dir=tmp_path, edit_interval_s=0.2, shutdown_grace_s=1.0, **chosen)
    engine, short = InProcessEngine(BigramModel), word_moods(missing)
    async with Store.open(settings.database) as store:
        await engine.start()
        await short.start()
        bot = kind(settings=settings, store=store, engine=engine, short=short)
        async with simcord.run(bot, settle_timeout=30.0, shard_count=1) as env:
            guild = env.create_guild()
            role = guild.create_role("Keepers", permissions=discord.Permissions(manage_guild=True))
            yield Scene(
                env=env,
                bot=bot,
                store=store,
                guild=guild,
                channel=guild.create_text_channel("stories"),
                admin=guild.add_member(env.create_user("admin"), roles=[role]),
                member=guild.add_member(env.create_user("member")),
            )
        await short.close()
        await engine.close()


def answer_of(result: Any) -> Any:
    """The last message that answered, which only the asker may see."""
    message = (result.followups or [result.response])[-1]
    assert message.ephemeral
    return message


def words_of(message: Any) -> str:
    """Everything a message says."""
    parts = [str(message.content or "")]
    for embed in message.embeds:
        parts += [f"{embed.title}\n{embed.description}"]
        parts += [f"{field.name}: {field.value}" for field in embed.fields]
        parts += [embed.footer.text or ""]
    return "\n".join(parts)


def labels_of(message: Any) -> list[str]:
    """The labels of its buttons."""
    return [child.get("label", "") for row in message.components for child in row.get("components", [])]
