"""`/mood` and the message menu "Mood": how texts, stories and sampled channels feel. Knows no model, keeps no text."""

import asyncio
import io
import time
from typing import Any, get_args

import discord
from discord import app_commands
from discord.app_commands import locale_str
from discord.ext import commands

from bot import charts, mood_trend
from bot.client import StoryBot
from bot.locales import Say, mark, speaker
from bot.mood_reading import MoodNotReadError, read_mood, read_moods
from bot.mood_story import MAX_SHOWN_TURNS, ArcTooShortError, described, told
from bot.mood_trend import Period
from bot.mood_trend_words import NO_INTENT, NOT_SAMPLED, NOTHING_YET, axis, trend_alt, trend_embed
from bot.mood_words import COMPARED, METHODS, comparison, embed_of, score
from bot.stories import MAX_PROMPT_CHARS
from bot.teaching import NoStoryError
from models.serving.short_requests import Method, Mood


class _SeenChannel(app_commands.Transformer):
    """A channel as Discord resolved it, with what the asker may do there; not the bot's own view of it."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        kinds = discord.ChannelType
        return [kinds.text, kinds.news, kinds.voice, kinds.public_thread, kinds.private_thread, kinds.news_thread]

    async def transform(self, interaction: discord.Interaction[Any], value: Any, /) -> "AnyChannel":
        assert isinstance(value, app_commands.AppCommandChannel | app_commands.AppCommandThread)
        return value


AnyChannel = app_commands.AppCommandChannel | app_commands.AppCommandThread
Where = app_commands.Transform[AnyChannel, _SeenChannel]
PERIODS: dict[Period, str] = {
    "day": mark("the last 24 hours, by the hour"),
    "week": mark("the last 7 days, by 6 hours"),
    "month": mark("the last 30 days, by the day"),
}
_NO_WORDS = mark("There are no words in that message that I could read.")
_OUT = mark("Your messages are counted in no channel's mood from now on, in any server. `/mood optin` changes it back.")
_IN = mark("Your messages count again where a channel's mood is sampled: as numbers, without text and without you.")


@app_commands.allowed_installs(guilds=True, users=True)
@app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
class MoodCog(
    commands.GroupCog,
    name="Mood",
    group_name="mood",
    group_description=locale_str(mark("How a text, a story or a channel feels")),
):
    """Answers about a person's own asking only they see."""

    def __init__(self, bot: StoryBot) -> None:
        self.bot = bot
        self.menu = app_commands.ContextMenu(name=locale_str(mark("Mood")), callback=self.message_mood)
        self.menu.allowed_installs = app_commands.AppInstallationType(guild=True, user=True)
        self.menu.allowed_contexts = app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=True)

    async def cog_load(self) -> None:
        self.bot.tree.add_command(self.menu)

    async def cog_unload(self) -> None:
        self.bot.tree.remove_command(self.menu.name, type=self.menu.type)

    @app_commands.command(name="text", description=locale_str(mark("How a text feels; only you see the answer")))
    @app_commands.describe(
        text=locale_str(mark("The text, English or Chinese; kept only if you let me learn from it")),
        method=locale_str(mark("How it is read (machine learning)")),
    )
    @app_commands.choices(
        method=[app_commands.Choice(name=locale_str(words), value=name) for name, words in METHODS.items()]
    )
    async def text(
        self,
        interaction: discord.Interaction[StoryBot],
        text: app_commands.Range[str, 1, MAX_PROMPT_CHARS],
        method: str = "default",
    ) -> None:
        self._admit(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        chosen: Method = next(name for name in METHODS if name == method)
        mood = await read_mood(self.bot.short, text, chosen)
        say = speaker(interaction.locale.value)
        embed, view = embed_of(text, mood, say), self.bot.corrections.buttons(interaction.user.id, text, mood, say)
        if view is None:
            await interaction.followup.send(embed=embed, ephemeral=True)
        else:
            await interaction.followup.send(embed=embed, view=view, ephemeral=True)

    async def message_mood(self, interaction: discord.Interaction[StoryBot], message: discord.Message) -> None:
        """The menu of a message. What Discord gives of an ordinary message is never kept and never trains, so there is
        nothing to correct, not even for its author."""
        self._admit(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        text = message.content
        if not text.strip():
            await interaction.followup.send(speaker(interaction.locale.value)(_NO_WORDS), ephemeral=True)
            return
        mood = await read_mood(self.bot.short, text)
        embed = embed_of(text, mood, speaker(interaction.locale.value))
        await interaction.followup.send(embed=embed, ephemeral=True)

    @app_commands.command(
        name="compare", description=locale_str(mark("Five methods side by side, with the words that decided"))
    )
    @app_commands.describe(text=locale_str(mark("The text, English or Chinese; kept only if you let me learn from it")))
    async def compare(
        self, interaction: discord.Interaction[StoryBot], text: app_commands.Range[str, 1, MAX_PROMPT_CHARS]
    ) -> None:
        self._admit(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        answers = await asyncio.gather(
            *(read_mood(self.bot.short, text, method) for method in COMPARED), return_exceptions=True
        )
        moods: dict[Method, Mood | MoodNotReadError] = {}
        for method, answer in zip(COMPARED, answers, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, MoodNotReadError):
                raise answer
            moods[method] = answer
        if all(isinstance(answer, MoodNotReadError) for answer in moods.values()):
            raise next(answer for answer in moods.values() if isinstance(answer, MoodNotReadError))
        embed = comparison(text, moods, speaker(interaction.locale.value))
        await interaction.followup.send(embed=embed, ephemeral=True)

    @app_commands.command(
        name="story", description=locale_str(mark("The arc of a channel's latest story, turn by turn, as a picture"))
    )
    @app_commands.describe(channel=locale_str(mark("Where the story stands (here)")))
    async def story(self, interaction: discord.Interaction[StoryBot], channel: Where | None = None) -> None:
        self._admit(interaction)
        place = _visible(interaction, channel)
        here = place == interaction.channel_id
        await interaction.response.defer(ephemeral=not here, thinking=True)
        story = await self.bot.store.latest_story(place)
        if story is None or story.guild_id != interaction.guild_id:
            raise NoStoryError
        path = [turn for turn in await self.bot.store.story_path(story.head_turn_id) if turn.text.strip()]
        shown = path[-MAX_SHOWN_TURNS:]
        if len(shown) < 2:
            raise ArcTooShortError
        moods = await read_moods(self.bot.short, [turn.text for turn in shown])
        beats = [
            charts.Beat(score=score(mood), sure=mood.sure, by_model=turn.kind == "continuation")
            for turn, mood in zip(shown, moods, strict=True)
        ]
        first = len(path) - len(shown) + 1
        say = speaker(interaction.locale.value)
        picture = await asyncio.to_thread(charts.arc, beats, first)
        file = discord.File(io.BytesIO(picture), "mood-story.png", description=described(beats, first, say))
        embed = told(story.title, beats, first, moods[-1].model_version, say)
        await interaction.followup.send(embed=embed, file=file, ephemeral=not here)

    @app_commands.command(
        name="channel", description=locale_str(mark("How a channel felt lately, where its mood is sampled"))
    )
    @app_commands.describe(
        period=locale_str(mark("How far back (the last 7 days)")), channel=locale_str(mark("Which channel (this one)"))
    )
    @app_commands.choices(
        period=[app_commands.Choice(name=locale_str(words), value=name) for name, words in PERIODS.items()]
    )
    async def channel(
        self, interaction: discord.Interaction[StoryBot], period: str = "week", channel: Where | None = None
    ) -> None:
        if interaction.guild_id is None:
            raise app_commands.NoPrivateMessage
        self._admit(interaction)
        place = _visible(interaction, channel)
        await interaction.response.defer(ephemeral=True, thinking=True)
        say = speaker(interaction.locale.value)
        sampled = await self.bot.store.moods.channel(place)
        if sampled is None or sampled.guild_id != interaction.guild_id:
            await interaction.followup.send(say(NOT_SAMPLED), ephemeral=True)
            return
        chosen: Period = next(name for name in get_args(Period) if name == period)
        await self._show_trend(interaction, place, chosen, say)

    @app_commands.command(
        name="optout", description=locale_str(mark("Leave your messages out of every channel's mood"))
    )
    async def optout(self, interaction: discord.Interaction[StoryBot]) -> None:
        await interaction.response.defer(ephemeral=True)
        key = await self.bot.store.moods.opt_out(interaction.user.id)
        self.bot.opted_out.add(key)
        await interaction.followup.send(speaker(interaction.locale.value)(_OUT), ephemeral=True)

    @app_commands.command(
        name="optin", description=locale_str(mark("Let your messages count again where a channel's mood is sampled"))
    )
    async def optin(self, interaction: discord.Interaction[StoryBot]) -> None:
        await interaction.response.defer(ephemeral=True)
        key = await self.bot.store.moods.opt_in(interaction.user.id)
        self.bot.opted_out.discard(key)
        await interaction.followup.send(speaker(interaction.locale.value)(_IN), ephemeral=True)

    async def _show_trend(
        self, interaction: discord.Interaction[StoryBot], place: int, period: Period, say: Say
    ) -> None:
        now = int(time.time() // 3600)
        counts = await self.bot.store.moods.counts(place, mood_trend.first_hour_of(period, now), now)
        slices = mood_trend.trend(counts, period, now)
        unread = "" if self.bot.reads_messages else say(NO_INTENT)
        if not counts:
            await interaction.followup.send(unread or say(NOTHING_YET), ephemeral=True)
            return
        picture = await asyncio.to_thread(charts.trend, slices, axis(slices))
        whole = mood_trend.whole(slices, counts)
        file = discord.File(io.BytesIO(picture), "mood-channel.png", description=trend_alt(slices, whole, period, say))
        embed = trend_embed(place, slices, whole, period, say)
        if unread:
            embed.add_field(name=say(mark("Nothing new is counted")), value=unread, inline=False)
        await interaction.followup.send(embed=embed, file=file, ephemeral=True)

    def _admit(self, interaction: discord.Interaction[Any]) -> None:
        """Raises TooFastError."""
        self.bot.mood_pace.ask(user=interaction.user.id, guild=interaction.guild_id)


def _visible(interaction: discord.Interaction[Any], channel: AnyChannel | None) -> int:
    """The channel that is meant, if this person may read there; by what Discord says of them in this very interaction.
    Raises MissingPermissions."""
    assert interaction.channel_id is not None
    if channel is None or channel.id == interaction.channel_id:
        return interaction.channel_id
    allowed = channel.permissions.view_channel and channel.permissions.read_message_history
    if channel.type is discord.ChannelType.private_thread:  # whether they were invited to it, nobody tells us
        allowed = allowed and channel.permissions.manage_threads
    if not allowed or channel.guild_id != interaction.guild_id:
        raise app_commands.MissingPermissions(["view_channel", "read_message_history"])
    return channel.id
