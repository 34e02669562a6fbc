"""`/privacy`: what somebody lets Inkwell do with their words, a copy of them, and their erasure. Knows no model."""

import asyncio
import io
import logging
import re
import time
from typing import Any, Self, cast, get_args

import discord
from discord import app_commands
from discord.app_commands import locale_str
from discord.ext import commands

from bot import privacy_words as words
from bot.client import StoryBot
from bot.locales import Say, mark, speaker
from bot.privacy_export import export
from bot.privacy_trace import traced
from bot.store.sharing import ConsentLevel

log = logging.getLogger(__name__)

_CHOICES, _CHOICE_CHARS = 25, 100  # Discord: suggestions of an option, characters of each
_SHOWN_STORIES, _SHOWN_CHARS = 10, 60  # an answer has at most 2,000 characters


@app_commands.allowed_installs(guilds=True, users=True)
@app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
class PrivacyCog(
    commands.GroupCog,
    name="Privacy",
    group_name="privacy",
    group_description=locale_str(mark("Your words and what Inkwell does with them")),
):
    """Everybody acts on their own data only, and only they see the answers."""

    def __init__(self, bot: StoryBot) -> None:
        self.bot = bot

    @app_commands.command(
        name="consent", description=locale_str(mark("See or choose what your words may be used for (private at first)"))
    )
    @app_commands.describe(
        level=locale_str(mark("What you allow; leave it out to see what it is")),
        story=locale_str(mark("Only for what you wrote in this story, earlier parts too")),
    )
    @app_commands.choices(
        level=[app_commands.Choice(name=locale_str(text), value=name) for name, text in words.LEVELS.items()]
    )
    async def consent(
        self, interaction: discord.Interaction[StoryBot], level: str | None = None, story: str | None = None
    ) -> None:
        await interaction.response.defer(ephemeral=True)
        say, user_id = speaker(interaction.locale.value), interaction.user.id
        chosen: ConsentLevel | None = next((name for name in get_args(ConsentLevel) if name == level), None)
        if story is not None:
            said = await self._for_story(user_id, story, chosen, say)
        elif chosen is not None:
            taken = await self.bot.consents.set_level(user_id, chosen)
            said = self._level(chosen, say)
            if taken.turns or taken.corrections:
                gone = say(words.TAKEN_BACK).format(turns=taken.turns, corrections=taken.corrections)
                said = f"{said}\n{gone}"
            said = _with_drawings(said, taken.given, say)
        else:
            held = await self.bot.store.people.consent(user_id)
            said = f"{self._level(held.level if held else 'private', say)}\n{await self._apart(user_id, say)}"
        await interaction.followup.send(said, ephemeral=True)

    @consent.autocomplete("story")
    async def _which_story(
        self, interaction: discord.Interaction[StoryBot], typed: str
    ) -> list[app_commands.Choice[str]]:
        wanted = typed.casefold()
        mine = await self.bot.store.training.choices(interaction.user.id)
        fitting = [each.story for each in mine if wanted in each.story.title.casefold()]
        return [app_commands.Choice(name=story.title[:_CHOICE_CHARS], value=story.id) for story in fitting[:_CHOICES]]

    @app_commands.command(
        name="withdraw", description=locale_str(mark("Take your consent back, and delete what was kept because of it"))
    )
    async def withdraw(self, interaction: discord.Interaction[StoryBot]) -> None:
        await interaction.response.defer(ephemeral=True)
        taken = await self.bot.consents.set_level(interaction.user.id, "private")
        say = speaker(interaction.locale.value)
        text = say(words.WITHDRAWN).format(turns=taken.turns, corrections=taken.corrections)
        await interaction.followup.send(_with_drawings(text, taken.given, say), ephemeral=True)

    @app_commands.command(name="trace", description=locale_str(mark("Which versions of the models learned from you")))
    async def trace(self, interaction: discord.Interaction[StoryBot]) -> None:
        await interaction.response.defer(ephemeral=True)
        say, user_id = speaker(interaction.locale.value), interaction.user.id
        shared = say(words.MAY_TRAIN).format(count=await self.bot.store.training.shared(user_id))
        traces = await self.bot.consents.trace(user_id)
        await interaction.followup.send(traced(traces, shared, say), ephemeral=True)

    @app_commands.command(name="policy", description=locale_str(mark("What Inkwell keeps of you, and what not")))
    async def policy(self, interaction: discord.Interaction[StoryBot]) -> None:
        embed = words.policy(self.bot.settings, speaker(interaction.locale.value))
        await interaction.response.send_message(embed=embed, ephemeral=True)

    @app_commands.command(name="export", description=locale_str(mark("A file with all that Inkwell keeps of you")))
    async def export(self, interaction: discord.Interaction[StoryBot]) -> None:
        self.bot.pace.ask(user=interaction.user.id, guild=interaction.guild_id)
        await interaction.response.defer(ephemeral=True, thinking=True)
        say = speaker(interaction.locale.value)
        kept = await self.bot.store.people.kept_of(interaction.user.id)
        traces = await self.bot.consents.trace(interaction.user.id)
        packed = await asyncio.to_thread(export, kept, say, now=time.time(), traces=traces)
        file = discord.File(io.BytesIO(packed), "inkwell-export.zip")
        await interaction.followup.send(say(words.EXPORTED), file=file, ephemeral=True)

    @app_commands.command(name="erase", description=locale_str(mark("Delete what Inkwell keeps of you; asks first")))
    async def erase(self, interaction: discord.Interaction[StoryBot]) -> None:
        say = speaker(interaction.locale.value)
        view = discord.ui.View(timeout=None)
        view.add_item(EraseButton(interaction.user.id, say(mark("Erase everything"))))
        view.stop()  # presses arrive through the registered DynamicItem
        await interaction.response.send_message(say(words.ERASE_ASK), view=view, ephemeral=True)

    def _level(self, level: ConsentLevel, say: Say) -> str:
        text = say(words.IS_NOW[level]).format(time=words.days(self.bot.settings.training_keep_days, say))
        return self._allowed(text, say) if level == "training" else text

    def _allowed(self, text: str, say: Say) -> str:
        return text if self.bot.settings.may_train else f"{text}\n{say(words.NOT_SWITCHED_ON)}"

    async def _for_story(self, user_id: int, named: str, level: ConsentLevel | None, say: Say) -> str:
        """Decide for a story, or say what holds. Raises NotYourWordsError."""
        if level is None:
            found = await self.bot.consents.choice(user_id, named)
        else:
            found = await self.bot.consents.choose(user_id, named, level)
        text = say(words.FOR_STORY[found.level] if found.own else words.AS_GENERAL).format(
            title=discord.utils.escape_markdown(found.story.title),
            level=found.level,
            shared=found.shared,
            turns=found.turns,
            time=words.days(self.bot.settings.training_keep_days, say),
        )
        return self._allowed(text, say) if found.level == "training" else text

    async def _apart(self, user_id: int, say: Say) -> str:
        """What may train, and the stories that they decided for."""
        lines = [say(words.MAY_TRAIN).format(count=await self.bot.store.training.shared(user_id))]
        own = [choice for choice in await self.bot.store.training.choices(user_id) if choice.own]
        if own:
            lines.append(say(words.SINGLE))
        lines += [
            say(words.SINGLE_LINE).format(
                title=discord.utils.escape_markdown(choice.story.title[:_SHOWN_CHARS]),
                level=choice.level,
                shared=choice.shared,
                turns=choice.turns,
            )
            for choice in own[:_SHOWN_STORIES]
        ]
        if len(own) > _SHOWN_STORIES:
            lines.append(say(words.MORE_SINGLE).format(count=len(own) - _SHOWN_STORIES))
        return "\n".join(lines)


class EraseButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"privacy:erase:(?P<user>[0-9]{1,20})",
):
    """The confirmation, of one person only."""

    def __init__(self, user_id: int, label: str) -> None:
        self.user_id = user_id
        super().__init__(
            discord.ui.Button(label=label, style=discord.ButtonStyle.danger, custom_id=f"privacy:erase:{user_id}")
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(int(match["user"]), "")

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        bot = cast("StoryBot", interaction.client)
        try:
            bot.answering()
            if interaction.user.id != self.user_id:
                raise app_commands.MissingPermissions([])
            await _erase(bot, interaction)
        except Exception as error:  # discord.py would only log it; the person must get an answer
            await bot.answer_error(interaction, error)


def _with_drawings(text: str, count: int, say: Say) -> str:
    return f"{text}\n{say(words.DRAWINGS_DELETED).format(count=count)}" if count else text


async def _erase(bot: StoryBot, interaction: discord.Interaction[Any]) -> None:
    """Raises TurnBusyError while a story of theirs is being written."""
    await interaction.response.defer()
    say = speaker(interaction.locale.value)
    learned = await bot.consents.trace(interaction.user.id)
    erased = await bot.consents.erase(interaction.user.id)
    if erased.guilds:
        bot.learn_again()  # first: whatever the disk says next, the voices must forget
    await bot.store.fold_log()
    text = say(words.ERASED).format(
        stories=erased.stories,
        turns=erased.turns,
        taught=erased.taught,
        corrections=erased.corrections,
        pictures=erased.pictures,
    )
    text = _with_drawings(text, erased.given, say)
    if learned:
        text = f"{text}\n{say(words.MARKED).format(versions=len(learned))}"
    if erased.guilds:
        text = f"{text}\n{say(words.RELEARNING)}"
    await interaction.edit_original_response(content=text, view=None)
