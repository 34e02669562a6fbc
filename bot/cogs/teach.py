"""`/teach`: a server's own texts, for the voice that writes with `/story model:`. Knows no model: a process of its own
learns.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import locale_str
from discord.ext import commands

from bot.client import StoryBot
from bot.locales import Say, mark, mark_counted, speaker
from bot.store import Setting, Story, TaughtText
from bot.store.rows import TaughtSource
from bot.store.store import MAX_TITLE_CHARS
from bot.stories import clean, story_text
from bot.taught_file import check_outside, text_of
from bot.teaching import Lesson, NoStoryError, NoStoryOfYoursError, NotYourStoryError, NoVoicesError

log = logging.getLogger(__name__)

MEMBERS_MAY_TEACH = Setting(key="members_may_teach", kind=bool, default=False)

_SHOWN_TEXTS = 20  # of a list; an embed's description holds 4,096 characters
_CHOICES = 25  # Discord: of an autocompletion
_CHOICE_CHARS = 100  # Discord: of a choice's name
_READING = mark("📖 Reading **{title}**…")
_LEARNING = mark_counted(
    "✒️ Learning the {characters} character of **{title}**…",
    "✒️ Learning the {characters} characters of **{title}**…",
)
_HEARD = mark("✒️ This server's voice knows **{title}** now; the house voice is still learning it…")
_FORGETTING = mark("🧹 Forgetting; the voice learns again what is left…")
_RECEIPT = mark(
    "✅ Learned **{title}**, taught by {who} · characters: {characters} · now known in all: {known}\n"
    "Who knows it: {voices}. Write with it: `/story model:`.\n"
    "-# Undo: `/teach forget text:{id}`. I keep the text encrypted, so that the voice can learn the others again."
)
_NGRAM_ONLY = mark("this server's voice")
_BOTH = mark("this server's voice and the house voice")
_CONSENT = mark("-# A story can be taught only by whoever wrote every part of it that I did not write.")
_FORGOTTEN = mark_counted(
    "🧹 Forgot **{title}**. The voice learned again what is left: {known} character.",
    "🧹 Forgot **{title}**. The voice learned again what is left: {known} characters.",
)
_LAST_FORGOTTEN = mark("🧹 Forgot **{title}**. Nothing is left, so this server has no voice of its own any more.")
_NOTHING = mark("Nothing was taught to this server's voice yet. `/teach file` or `/teach story` begins.")
_LINE = mark_counted(
    "`{id}` **{title}** · {characters} character · {when} · {who}",
    "`{id}` **{title}** · {characters} characters · {when} · {who}",
)
_MORE = mark("… and {count} more, which `/teach forget` finds by title.")
_BY_YOU, _BY_ANOTHER = mark("taught by you"), mark("taught by somebody else")
_MEMBERS_MAY = mark(
    "Members may teach this server's voice now, and forget what they taught. Discord shows them the command once you "
    "allow it: Server Settings → Integrations → this app → /teach."
)
_ONLY_ADMINS = mark("Only those who manage this server may teach its voice now.")


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
@app_commands.allowed_installs(guilds=True, users=False)
class TeachCog(
    commands.GroupCog,
    name="Teach",
    group_name="teach",
    group_description=locale_str(mark("This server's own voice: what it learns, and what it is to forget")),
):
    """For members who may manage the server, and for all where those allow it. Checked here: Discord only hides."""

    def __init__(self, bot: StoryBot) -> None:
        self.bot = bot
        self.teacher = bot.teacher
        self._settling: asyncio.Task[None] | None = None

    async def cog_load(self) -> None:
        self._settling = asyncio.create_task(self.teacher.settle(), name="settle voices")

    async def cog_unload(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        if interaction.guild_id is None:
            raise app_commands.NoPrivateMessage
        if not await self._may_teach(interaction):
            raise app_commands.MissingPermissions(["manage_guild"])
        return True

    @app_commands.command(name="file", description=locale_str(mark("Teach this server's voice a text file")))
    @app_commands.describe(
        file=locale_str(mark("A .txt that you may share: UTF-8 or GB18030, at most 5 MiB")),
    )
    async def file(self, interaction: discord.Interaction[StoryBot], file: discord.Attachment) -> None:
        self._admit(interaction)
        check_outside(file.filename, file.size)
        await interaction.response.defer(ephemeral=True, thinking=True)
        name = file.title or file.filename  # Discord strips a file's name of all but ASCII
        title = " ".join(clean(name).split())[:MAX_TITLE_CHARS]
        say = speaker(interaction.locale.value)
        async with _progress(interaction):
            await _show(interaction, say(_READING).format(title=_plain(title)))
            text = await asyncio.to_thread(text_of, await file.read())
            await self._teach(interaction, "file", title, text)

    @app_commands.command(name="story", description=locale_str(mark("Teach this server's voice one of your stories")))
    @app_commands.describe(
        story=locale_str(mark("Which of your stories in this server (the channel's latest)")),
        channel=locale_str(mark("Where the story stands (here)")),
    )
    async def story(
        self,
        interaction: discord.Interaction[StoryBot],
        story: str | None = None,
        channel: discord.TextChannel | discord.Thread | None = None,
    ) -> None:
        self._admit(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        place = interaction.channel_id if channel is None else channel.id
        assert place is not None
        found = await self._named(interaction, story) if story else await self.bot.store.latest_story(place)
        if found is None or found.guild_id != interaction.guild_id:
            raise NoStoryError
        text = await self._own_text(interaction, found)
        async with _progress(interaction):
            await self._teach(interaction, "story", found.title, text, more=_CONSENT)

    @story.autocomplete("story")
    async def _which_story(
        self, interaction: discord.Interaction[StoryBot], typed: str
    ) -> list[app_commands.Choice[str]]:
        if interaction.guild_id is None or not await self._may_teach(interaction):
            return []
        mine = await self.bot.store.stories_of(interaction.guild_id, interaction.user.id)
        fitting = [story for story in mine if typed.casefold() in story.title.casefold()]
        return [app_commands.Choice(name=story.title[:_CHOICE_CHARS], value=story.id) for story in fitting[:_CHOICES]]

    async def _named(self, interaction: discord.Interaction[Any], named: str) -> Story:
        """One of the caller's stories here, by id or title. Raises NoStoryOfYoursError."""
        assert interaction.guild_id is not None
        mine = await self.bot.store.stories_of(interaction.guild_id, interaction.user.id)
        wanted = named.strip().casefold()
        for story in mine:
            if wanted in (story.id, story.title.casefold()):
                return story
        raise NoStoryOfYoursError

    @app_commands.command(name="list", description=locale_str(mark("What this server's voice was taught")))
    async def listing(self, interaction: discord.Interaction[StoryBot]) -> None:
        assert interaction.guild_id is not None
        await interaction.response.defer(ephemeral=True)
        texts = await self.bot.store.taught_texts(interaction.guild_id)
        say = speaker(interaction.locale.value)
        if not texts:
            await interaction.followup.send(say(_NOTHING), ephemeral=True)
            return
        me = self.bot.store.person_key(interaction.user.id)
        lines = [_line(text, say, mine=text.author_key == me) for text in texts[:_SHOWN_TEXTS]]
        if len(texts) > _SHOWN_TEXTS:
            lines.append(say(_MORE).format(count=len(texts) - _SHOWN_TEXTS))
        title = say(mark("What this server's voice was taught"))
        await interaction.followup.send(embed=discord.Embed(title=title, description="\n".join(lines)), ephemeral=True)

    @app_commands.command(name="forget", description=locale_str(mark("Make this server's voice forget one text")))
    @app_commands.describe(text=locale_str(mark("Which text: its title, or its id from /teach list")))
    async def forget(self, interaction: discord.Interaction[StoryBot], text: str) -> None:
        assert interaction.guild_id is not None
        await interaction.response.defer(ephemeral=True, thinking=True)
        found = await self.bot.store.taught_text(interaction.guild_id, text.strip().strip("`"))
        if not _manages(interaction) and found.author_key != self.bot.store.person_key(interaction.user.id):
            raise app_commands.MissingPermissions(["manage_guild"])
        say = speaker(interaction.locale.value)
        async with _progress(interaction):
            await _show(interaction, say(_FORGETTING))
            left = await self.teacher.forget(interaction.guild_id, found.id)
        words = say.counted(_FORGOTTEN, left.known) if left.known else say(_LAST_FORGOTTEN)
        await _show(interaction, words.format(title=_plain(found.title), known=f"{left.known:,}"))

    @forget.autocomplete("text")
    async def _which(self, interaction: discord.Interaction[StoryBot], typed: str) -> list[app_commands.Choice[str]]:
        if interaction.guild_id is None or not await self._may_teach(interaction):
            return []
        me = self.bot.store.person_key(interaction.user.id)
        texts = [
            text
            for text in await self.bot.store.taught_texts(interaction.guild_id)
            if typed.casefold() in f"{text.title} {text.id}".casefold()
            and (_manages(interaction) or text.author_key == me)
        ]
        return [app_commands.Choice(name=text.title, value=text.id) for text in texts[:_CHOICES]]

    @app_commands.command(
        name="members", description=locale_str(mark("Whether all members may teach this server's voice"))
    )
    @app_commands.describe(allow=locale_str(mark("Yes: everybody here; no: only who manages the server")))
    async def members(self, interaction: discord.Interaction[StoryBot], allow: bool) -> None:
        assert interaction.guild_id is not None
        if not _manages(interaction):
            raise app_commands.MissingPermissions(["manage_guild"])
        await interaction.response.defer(ephemeral=True)
        await self.bot.store.set_guild_setting(interaction.guild_id, MEMBERS_MAY_TEACH, allow)
        words = speaker(interaction.locale.value)(_MEMBERS_MAY if allow else _ONLY_ADMINS)
        await interaction.followup.send(words, ephemeral=True)

    async def _may_teach(self, interaction: discord.Interaction[Any]) -> bool:
        assert interaction.guild_id is not None
        if _manages(interaction):
            return True
        return await self.bot.store.guild_setting(interaction.guild_id, MEMBERS_MAY_TEACH)

    def _admit(self, interaction: discord.Interaction[Any]) -> None:
        """The cheap checks. Raises NoVoicesError, TooFastError."""
        if self.bot.settings.remote:
            raise NoVoicesError
        self.bot.pace.ask(user=interaction.user.id, guild=interaction.guild_id)

    async def _own_text(self, interaction: discord.Interaction[Any], story: Story) -> str:
        """The story up to where it stands. Raises NotYourStoryError where anybody else wrote a part of it."""
        me = self.bot.store.person_key(interaction.user.id)
        path = await self.bot.store.story_path(story.head_turn_id)
        if story.author_key != me or any(turn.kind == "prompt" and turn.author_key != me for turn in path):
            raise NotYourStoryError
        return story_text(path)

    async def _teach(
        self, interaction: discord.Interaction[Any], source: TaughtSource, title: str, text: str, more: str = ""
    ) -> None:
        """The interaction is acknowledged already; its answer shows how far the learning is, and then the receipt."""
        assert interaction.guild_id is not None
        say = speaker(interaction.locale.value)
        shown = _plain(title)
        await _show(interaction, say.counted(_LEARNING, len(text)).format(title=shown, characters=f"{len(text):,}"))

        async def heard() -> None:
            await _show(interaction, say(_HEARD).format(title=shown))

        lesson = await self.teacher.teach(
            guild_id=interaction.guild_id,
            user_id=interaction.user.id,
            source=source,
            title=title,
            text=text,
            heard=heard,
        )
        words = _receipt(lesson, say, interaction.user.mention)
        await _show(interaction, f"{words}\n{say(more)}" if more else words)


def _receipt(lesson: Lesson, say: Say, who: str) -> str:
    return say(_RECEIPT).format(
        title=_plain(lesson.text.title),
        characters=f"{lesson.text.characters:,}",
        who=who,
        voices=say(_BOTH if lesson.house else _NGRAM_ONLY),
        known=f"{lesson.known:,}",
        id=lesson.text.id,
    )


def _line(text: TaughtText, say: Say, *, mine: bool) -> str:
    return say.counted(_LINE, text.characters).format(
        id=text.id,
        title=_plain(text.title),
        characters=f"{text.characters:,}",
        when=f"<t:{round(text.created_at)}:d>",
        who=say(_BY_YOU if mine else _BY_ANOTHER),
    )


@asynccontextmanager
async def _progress(interaction: discord.Interaction[Any]) -> AsyncIterator[None]:
    """What is shown meanwhile must not stand for ever beside the sentence that says why it went no further."""
    try:
        yield
    except Exception:
        with contextlib.suppress(discord.HTTPException):
            await interaction.delete_original_response()
        raise


async def _show(interaction: discord.Interaction[Any], words: str) -> None:
    """In place of the answer so far. What can't be shown (its token ended, somebody dismissed it) stops nothing."""
    try:
        await interaction.edit_original_response(content=words, allowed_mentions=discord.AllowedMentions.none())
    except discord.HTTPException as error:
        log.warning("the progress of a teaching could not be shown: %s", error)


def _plain(title: str) -> str:
    return discord.utils.escape_markdown(title)


def _manages(interaction: discord.Interaction[Any]) -> bool:
    return interaction.permissions.manage_guild
