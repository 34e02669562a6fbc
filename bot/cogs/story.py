"""`/story` and the buttons below a story. Knows no model: it persists a job and lets the scribe write it."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable
from typing import Any

import discord
import msgspec
from discord import app_commands
from discord.app_commands import locale_str
from discord.ext import commands

from bot.buttons import Act, continue_button, stop_button, story_buttons
from bot.client import StoryBot
from bot.consent_offer import offer
from bot.delivery import Delivery
from bot.locales import mark, speaker
from bot.scribe import THINKING
from bot.store import OpenJob, Turn
from bot.store.errors import NotYoursError
from bot.stories import MAX_PROMPT_CHARS, clean, ending, story_text
from bot.streaming import LiveMessage, Surface
from models.serving.engine import EngineClosedError
from models.serving.requests import DEFAULT_MODEL, Sampling
from models.serving.routing import chinese_writers_here, languages_of, writer_of

log = logging.getLogger(__name__)

MAX_SEED = 2**32 - 1
LENGTHS = {"short": 70, "medium": 150, "long": 400}  # new tokens: about three sentences, a paragraph, a page

MODELS = {
    DEFAULT_MODEL: mark("the main model: the most coherent"),
    "gpt": mark("the small GPT: raised on old tales, very fast"),
    "ngram": mark("the voice of this server: learned here, letter by letter"),
    "house": mark("the house voice: the small GPT, drawn to what this server taught it"),
}

_UNDONE = mark("↩️ *Undone. The story now ends:* {ending}")
_NOTHING_RUNS = mark("Nothing is being written here any more.")


class StoryCog(commands.Cog, name="Story"):
    """Continue a story, live."""

    def __init__(self, bot: StoryBot) -> None:
        self.bot = bot
        bot.story_press = self.press

    @app_commands.command(name="story", description=locale_str(mark("Begin a story; I continue it, live")))
    @app_commands.describe(
        prompt=locale_str(mark("How the story begins: a sentence or a page, in any language")),
        length=locale_str(mark("How much I write at once (medium)")),
        seed=locale_str(mark("The same seed and prompt give the same text")),
        model=locale_str(mark("Who writes it (the main model)")),
    )
    @app_commands.choices(
        length=[
            app_commands.Choice(name=locale_str(mark("short: a few sentences")), value="short"),
            app_commands.Choice(name=locale_str(mark("medium: a paragraph")), value="medium"),
            app_commands.Choice(name=locale_str(mark("long: a page")), value="long"),
        ],
        model=[app_commands.Choice(name=locale_str(words), value=name) for name, words in MODELS.items()],
    )
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    async def story(
        self,
        interaction: discord.Interaction[StoryBot],
        prompt: app_commands.Range[str, 1, MAX_PROMPT_CHARS],
        length: str = "medium",
        seed: app_commands.Range[int, 0, MAX_SEED] | None = None,
        model: str | None = None,
    ) -> None:
        words = clean(prompt)
        self._admit(interaction)
        sampling = Sampling(max_new_tokens=LENGTHS[length], seed=_new_seed() if seed is None else seed)
        asked = _asked(interaction)
        writer = self._routed(words, asked) if model is None else {"model": model}
        persisted = self.bot.store.begin_story(prompt=words, sampling=sampling, **writer, **asked)
        acknowledged = interaction.response.defer(thinking=True)  # Discord waits only 3 s
        job, callback = await self._acknowledge_and_persist(interaction, acknowledged, persisted)
        delivery = self._delivery(interaction)
        await self._write(interaction, job, delivery, await _first_message(callback, delivery))
        await offer(self.bot, interaction, job)

    async def press(self, interaction: discord.Interaction[Any], act: Act, turn_id: str) -> None:
        """A button below the turn `turn_id`."""
        match act:
            case "stop":
                await self._stop(interaction, turn_id)
            case "continue":
                await self._continue(interaction, turn_id)
            case "retry":
                await self._retry(interaction, turn_id)
            case "undo":
                await self._undo(interaction, turn_id)

    async def _continue(self, interaction: discord.Interaction[Any], turn_id: str) -> None:
        """The answer is a new message; the buttons move on with the story."""
        self._admit(interaction)
        turn = await self.bot.store.turn(turn_id)
        asked = _asked(interaction)
        persisted = self.bot.store.continue_story(turn_id, **await self._again(turn, asked), **asked)
        acknowledged = interaction.response.edit_message(view=None)
        job, _ = await self._acknowledge_and_persist(interaction, acknowledged, persisted)
        delivery = self._delivery(interaction)
        await self._write(interaction, job, delivery, await _new_message(job, delivery))

    async def _retry(self, interaction: discord.Interaction[Any], turn_id: str) -> None:
        """The answer takes the place of the old one, which stays in the tree as an alternative."""
        self._admit(interaction)
        turn = await self.bot.store.turn(turn_id)
        await self._must_own(interaction, turn)
        asked = _asked(interaction)
        persisted = self.bot.store.retry(turn_id, **await self._again(turn, asked), **asked)
        assert interaction.message is not None
        in_place = len(turn.message_ids) <= 1
        # An answer of several messages stays as it is; the new one stands below.
        acknowledged = interaction.response.defer() if in_place else interaction.response.edit_message(view=None)
        job, _ = await self._acknowledge_and_persist(interaction, acknowledged, persisted)
        delivery = self._delivery(interaction)
        first = delivery.at(interaction.message.id) if in_place else await _new_message(job, delivery)
        await self._write(interaction, job, delivery, first)

    async def _undo(self, interaction: discord.Interaction[Any], turn_id: str) -> None:
        """The story goes back to the turn before; the message says where it now ends."""
        undone = await self.bot.store.undo(turn_id, interaction.user.id, moderator=_moderates(interaction))
        say = speaker(interaction.locale.value)
        words = say(_UNDONE).format(ending=discord.utils.escape_markdown(ending(undone.head.text)))
        is_continuation = undone.head.kind == "continuation"
        view = story_buttons(undone.head.id, say) if is_continuation else continue_button(undone.head.id, say)
        await interaction.response.edit_message(
            content=words, view=view, allowed_mentions=discord.AllowedMentions.none()
        )

    async def _stop(self, interaction: discord.Interaction[Any], turn_id: str) -> None:
        turn = await self.bot.store.turn(turn_id)
        await self._must_own(interaction, turn)
        if not await self.bot.scribe.stop(turn_id):
            await interaction.response.send_message(speaker(interaction.locale.value)(_NOTHING_RUNS), ephemeral=True)
            return
        await interaction.response.defer()  # the scribe shows what was written so far

    def _admit(self, interaction: discord.Interaction[Any]) -> None:
        """The cheap checks, before anything is promised. Raises EngineClosedError or TooFastError."""
        if self.bot.scribe.closing:
            raise EngineClosedError("shutting down")
        self.bot.pace.ask(user=interaction.user.id, guild=interaction.guild_id)

    async def _must_own(self, interaction: discord.Interaction[Any], turn: Turn) -> None:
        """Authors of the story, whoever asked for this turn, and moderators pass. Raises NotYoursError."""
        if not _moderates(interaction) and not await self.bot.store.is_owner(turn.id, interaction.user.id):
            raise NotYoursError(turn.id)

    async def _again(self, turn: Turn, asked: dict[str, Any]) -> dict[str, Any]:
        """The model and sampling of a turn, with a new seed. Nobody's choice stands for a turn without a recipe."""
        if turn.recipe is None:
            story = story_text(await self.bot.store.story_path(turn.id))
            return {
                "sampling": Sampling(max_new_tokens=LENGTHS["medium"], seed=_new_seed()),
                **self._routed(story, asked),
            }
        return {"sampling": msgspec.structs.replace(turn.recipe.sampling, seed=_new_seed()), "model": turn.recipe.model}

    def _routed(self, story: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Who writes where nobody chose: the main model, or another where the main one can't write the language."""
        settings = self.bot.settings
        main = None if settings.remote else languages_of(settings.story_model)
        here = chinese_writers_here(settings.data_dir, str(asked["guild_id"] or asked["channel_id"]))
        model = writer_of(story, main_languages=main, others=here)
        return {"model": model, "routed": model != DEFAULT_MODEL}

    async def _acknowledge_and_persist(
        self, interaction: discord.Interaction[Any], acknowledged: Awaitable[Any], persisted: Awaitable[OpenJob]
    ) -> tuple[OpenJob, Any]:
        """Both at once: a slow disk can't cost the 3 seconds, and a slow network can't cost the words.

        An acknowledgement that came too late is no failure (the answer goes to the channel); words that could not be
        kept are one, and the person hears it.
        """
        acknowledging, persisting = asyncio.ensure_future(acknowledged), asyncio.ensure_future(persisted)
        await asyncio.wait((acknowledging, persisting))
        callback = None
        try:
            callback = acknowledging.result()
        except discord.HTTPException as error:
            log.warning("an acknowledgement was refused (%s); the answer goes to the channel", error)
        return persisting.result(), callback

    def _delivery(self, interaction: discord.Interaction[Any]) -> Delivery:
        channel = self.bot.channel_of(interaction.channel_id, interaction.guild_id)
        return Delivery(webhook=interaction.followup, channel=channel)

    async def _write(
        self, interaction: discord.Interaction[Any], job: OpenJob, delivery: Delivery, first: Surface
    ) -> None:
        assert interaction.channel_id is not None
        await self.bot.store.attach_message(job.job.id, interaction.channel_id, first.id)
        say = speaker(job.job.locale)
        live = LiveMessage(
            first,
            delivery.send,
            interval_s=self.bot.settings.edit_interval_s,
            view=stop_button(job.turn.id, say),
        )
        await self.bot.scribe.write(job, live, delivery.patience_s)


async def _first_message(callback: Any, delivery: Delivery) -> Surface:
    """The "thinking…" message of a deferred interaction; a new one in the channel if there is none."""
    if callback is not None and callback.message_id is not None:
        return delivery.at(callback.message_id)
    return await delivery.send("…", None)


async def _new_message(job: OpenJob, delivery: Delivery) -> Surface:
    say = speaker(job.job.locale)
    return await delivery.send(say(THINKING), stop_button(job.turn.id, say))


def _asked(interaction: discord.Interaction[Any]) -> dict[str, Any]:
    """Who asks, and where the answer goes."""
    return {
        "guild_id": interaction.guild_id,
        "channel_id": interaction.channel_id,
        "user_id": interaction.user.id,
        "application_id": interaction.application_id,
        "interaction_token": interaction.token,
        "locale": interaction.locale.value,
    }


def _moderates(interaction: discord.Interaction[Any]) -> bool:
    return interaction.guild_id is not None and interaction.permissions.manage_messages


def _new_seed() -> int:
    return secrets.randbelow(MAX_SEED + 1)
