"""StoryBot: the gateway client, its cogs, and the one place where errors become replies. Knows no model."""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.ext import commands

from bot.ballot_buttons import BallotAct, BallotButton
from bot.buttons import Act, StoryButton
from bot.consent_offer import OfferButton
from bot.consents import Consents
from bot.corrections import ConsentButton, Corrections, MoodButton
from bot.dream_buttons import DreamAct, DreamButton, DreamPick
from bot.gifts import GiftButton, Gifts
from bot.locales import speaker
from bot.pace import Pace
from bot.recovery import finish_open_jobs
from bot.scribe import Scribe
from bot.sentences import sentence
from bot.settings import Settings
from bot.store import OpenJob, Receipt, Store
from bot.store.ballots import Key
from bot.teaching import Teacher
from bot.training import Training
from bot.training_access import Trainers
from bot.training_buttons import TrainAct, TrainButton
from bot.training_decisions import Decisions
from bot.verse_buttons import VerseAct, VerseButton
from models.serving.engine import Engine
from models.serving.in_process_short import InProcessShortEngine
from models.serving.short_engine import ShortEngine
from models.serving.training import Family
from models.training.registry import Registry

if TYPE_CHECKING:
    from bot.promotion import Promoter

log = logging.getLogger(__name__)

Intents = discord.Intents
Press = Callable[[discord.Interaction[Any], Act, str], Coroutine[Any, Any, None]]
VersePress = Callable[[discord.Interaction[Any], VerseAct, str], Coroutine[Any, Any, None]]
ShowVerse = Callable[[discord.Interaction[Any], Receipt], Coroutine[Any, Any, None]]
DreamPress = Callable[[discord.Interaction[Any], DreamAct, str, int], Coroutine[Any, Any, None]]
BallotPress = Callable[[discord.Interaction[Any], BallotAct, Key], Coroutine[Any, Any, None]]
TrainPress = Callable[[discord.Interaction[Any], TrainAct, str, Family | None], Coroutine[Any, Any, None]]

_LAST_WORDS_S = 5.0  # for answers under way when the bot closes
NEEDED_PERMISSIONS = discord.Permissions(
    view_channel=True, send_messages=True, send_messages_in_threads=True, embed_links=True, attach_files=True,
    read_message_history=True,
)  # fmt: skip


def invite_url(application_id: int) -> str:
    """The link with which a server owner installs the bot, with the least permissions that it needs."""
    return discord.utils.oauth_url(
        application_id, permissions=NEEDED_PERMISSIONS, scopes=("bot", "applications.commands")
    )


class StoryBot(commands.AutoShardedBot):
    """Owns the conversation with Discord. Everything else is handed in. `short` None: moods, portraits and verses
    are answered with the sentence that no model for them is here."""

    def __init__(self, *, settings: Settings, store: Store, engine: Engine, short: ShortEngine | None = None) -> None:
        # No privileged intent by default: slash commands, buttons and menus bring what they need with them. Only the
        # mood of channels needs to read messages.
        content = settings.message_content_intent
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            intents=Intents(
                guilds=True, guild_messages=content, message_content=content, members=settings.members_intent
            ),
            allowed_mentions=discord.AllowedMentions.none(),
            tree_cls=_Tree,
            chunk_guilds_at_startup=False,
            max_messages=None,
            # discord.py calls itself ready when no server was announced for so long (2 s). We wait for none of them:
            # whoever comes later is told of as they come.
            guild_ready_timeout=0.3,
        )
        self.settings, self.store, self.engine = settings, store, engine
        self.short: ShortEngine = short if short is not None else InProcessShortEngine({})
        self.scribe = Scribe(store, engine)
        self.pace = Pace(
            user_per_minute=settings.user_stories_per_minute, guild_per_minute=settings.guild_stories_per_minute
        )
        self.mood_pace = Pace(
            user_per_minute=settings.user_moods_per_minute, guild_per_minute=settings.guild_moods_per_minute
        )
        self.teacher = Teacher(store, settings.data_dir)
        self.registry = Registry(settings.versions)
        self.decisions = Decisions(store, lambda: self.settings)
        self.training = Training(store, lambda: self.settings, store.training.records, ended=self.decisions.after)
        self.trainers = Trainers(self)
        self.promoter: Promoter | None = None  # whoever builds everything hands it in, with the engine
        self.corrections = Corrections(store, allowed=settings.may_train, keep_days=settings.training_keep_days)
        self.gifts = Gifts(store, allowed=settings.may_train)
        self.consents = Consents(store, self.registry, self.corrections, author_left=self.training.author_left)
        store.training.allowed = settings.may_train
        self.opted_out: set[str] = set()  # keys of members whose messages count in no channel's mood
        self.sampled_changed: Callable[[], Coroutine[Any, Any, None]] = _nobody_samples
        self.story_press: Press | None = None  # the story cog's answer to its buttons
        self.dream_press: DreamPress | None = None  # likewise the dream cog's
        self.train_press: TrainPress | None = None
        self.ballot_press: BallotPress | None = None
        self.verse_press: VersePress | None = None
        self.show_verse: ShowVerse | None = None  # how `/dream receipt` shows a verse
        self.began = time.monotonic()
        self._left_open: Sequence[OpenJob] = ()
        self._recovery: asyncio.Task[None] | None = None
        self._relearning: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[Any]] = set()

    async def setup_hook(self) -> None:
        from bot.cogs.admin import AdminCog
        from bot.cogs.channels import ChannelsGroup
        from bot.cogs.dream import DreamCog
        from bot.cogs.gifts import GivenDrawings
        from bot.cogs.mood import MoodCog
        from bot.cogs.privacy import EraseButton, PrivacyCog
        from bot.cogs.sampling import SamplingCog
        from bot.cogs.sharing import SharingCog
        from bot.cogs.story import StoryCog
        from bot.cogs.teach import TeachCog
        from bot.cogs.train import TrainCog
        from bot.cogs.verse import Verses

        self._left_open = await self.store.open_jobs()  # before anybody can ask for more
        self.add_dynamic_items(StoryButton, DreamButton, DreamPick, VerseButton, MoodButton, ConsentButton, OfferButton)
        self.add_dynamic_items(EraseButton, TrainButton, BallotButton, GiftButton)
        await self.tree.set_translator(_Translator())
        await self.add_cog(StoryCog(self))
        admin = AdminCog(self)
        assert isinstance(admin.app_command, app_commands.Group)
        admin.app_command.add_command(ChannelsGroup(self))
        await self.add_cog(admin)
        await self.add_cog(TeachCog(self))
        await self.add_cog(TrainCog(self))
        await self.add_cog(MoodCog(self))
        await self.add_cog(SamplingCog(self))
        await self.add_cog(PrivacyCog(self))
        await self.add_cog(SharingCog(self))
        dream = DreamCog(self)
        assert isinstance(dream.app_command, app_commands.Group)
        dream.app_command.add_command(Verses(self, dream.pace).command())
        for command in GivenDrawings(self, dream.pace).commands():
            dream.app_command.add_command(command)
        await self.add_cog(dream)
        await self._sync_when_changed()

    @property
    def reads_messages(self) -> bool:
        """Whether Discord sends the text of ordinary messages."""
        return self.intents.message_content

    async def on_message(self, message: discord.Message, /) -> None:
        """There are no commands in messages to look for."""

    async def on_ready(self) -> None:
        log.info("connected as %s; servers: %d", self.user, len(self.guilds))
        if self._recovery is None:  # on_ready comes again after every lost session
            self._recovery = asyncio.create_task(finish_open_jobs(self, self._left_open), name="recovery")

    async def wait_until_ready_or_dead(self, running: asyncio.Task[None]) -> None:
        """Return when the bot answers, or when `running` (its `start`) has ended before that."""
        ready = asyncio.create_task(self.wait_until_ready(), name="wait-until-ready")
        await asyncio.wait((ready, running), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()

    async def close(self) -> None:
        """Stop taking work, finish or persist what runs, then leave the gateway."""
        await self.training.close()  # first: what still runs then has the processors
        if not self.scribe.closing:
            await self.scribe.close(self.settings.shutdown_grace_s)
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
        if self._relearning is not None:
            self._relearning.cancel()
            await asyncio.gather(self._relearning, return_exceptions=True)
        if self._answering:  # between an acknowledgement and its story: they end with a sentence now
            await asyncio.wait(self._answering, timeout=_LAST_WORDS_S)
        await super().close()

    def channel_of(self, channel_id: int | None, guild_id: int | None) -> discord.PartialMessageable | None:
        """Where the bot can write without an interaction's token; None in a server that does not have it (a person
        who installed it brings it there)."""
        if channel_id is None or (guild_id is not None and self.get_guild(guild_id) is None):
            return None
        return self.get_partial_messageable(channel_id, guild_id=guild_id)

    def answering(self) -> None:
        """The current task answers somebody: `close` waits for it."""
        task = asyncio.current_task()
        if task is not None and not task.done():
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    def learn_again(self) -> None:
        """Let the voices follow what was just forgotten, in the background; what a stop cuts short, the next start
        ends."""
        self._relearning = asyncio.create_task(self.teacher.settle(), name="settle voices")

    async def press(self, interaction: discord.Interaction[Any], act: Act, turn_id: str) -> None:
        """Hand a button press to the cog that owns it."""
        self.answering()
        assert self.story_press is not None
        await self.story_press(interaction, act, turn_id)

    async def press_dream(
        self, interaction: discord.Interaction[Any], act: DreamAct, code: str, number: int = 1
    ) -> None:
        """Hand a press below a picture to the cog that owns it; `number`: which face of several."""
        self.answering()
        assert self.dream_press is not None
        await self.dream_press(interaction, act, code, number)

    async def press_train(
        self, interaction: discord.Interaction[Any], act: TrainAct, run_id: str, family: Family | None
    ) -> None:
        """Hand a press below a report of training to the cog that owns it."""
        self.answering()
        assert self.train_press is not None
        await self.train_press(interaction, act, run_id, family)

    async def press_ballot(self, interaction: discord.Interaction[Any], act: BallotAct, key: Key) -> None:
        """Hand a press below a blind vote to the part that owns it."""
        self.answering()
        assert self.ballot_press is not None
        await self.ballot_press(interaction, act, key)

    async def press_verse(self, interaction: discord.Interaction[Any], act: VerseAct, code: str) -> None:
        """Hand a press below a verse to the part that owns it."""
        self.answering()
        assert self.verse_press is not None
        await self.verse_press(interaction, act, code)

    async def answer_error(self, interaction: discord.Interaction[Any], error: BaseException) -> None:
        """Tell the person, only them, what went wrong. The last resort: it must not raise."""
        words = sentence(error, speaker(interaction.locale.value))
        try:
            if interaction.response.is_done():
                await interaction.followup.send(words, ephemeral=True, allowed_mentions=discord.AllowedMentions.none())
            else:
                await interaction.response.send_message(words, ephemeral=True)
        except Exception as failure:
            log.warning("could not tell somebody that %s: %s", type(error).__name__, failure)

    async def _sync_when_changed(self) -> None:
        """Register the commands at Discord only when they differ from the last time (200 creations a day a guild)."""
        translator = self.tree.translator
        assert translator is not None
        payload = [await command.get_translated_payload(self.tree, translator) for command in self.tree.get_commands()]
        digest = hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
        key = f"commands:{self.application_id}"
        if await self.store.get_value(key) == digest and not self.settings.in_sandbox:
            return
        synced = await self.tree.sync()
        await self.store.set_value(key, digest)
        log.info("commands synced: %d", len(synced))


async def _nobody_samples() -> None:
    """Until the sampling is loaded."""


class _Tree(app_commands.CommandTree[StoryBot]):
    async def interaction_check(self, interaction: discord.Interaction[StoryBot], /) -> bool:
        self.client.answering()
        return True

    async def on_error(self, interaction: discord.Interaction[StoryBot], error: app_commands.AppCommandError) -> None:
        await self.client.answer_error(interaction, error)


class _Translator(app_commands.Translator):
    """Command descriptions and choices from the catalogues; names stay the same in every language, so that help and
    muscle memory hold."""

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        if context.location in _NAMES:
            return None
        translated = speaker(locale.value)(string.message)
        return translated if translated != string.message else None


_NAMES = frozenset(
    (
        app_commands.TranslationContextLocation.command_name,
        app_commands.TranslationContextLocation.group_name,
        app_commands.TranslationContextLocation.parameter_name,
    )
)
