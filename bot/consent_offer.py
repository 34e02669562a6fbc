"""The offer to help train, made once, after somebody's first story. Never in the way: whatever becomes of it, the story
stands. Its buttons carry all they know, so they work after a restart.
"""

import logging
import re
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import discord
from discord import app_commands

from bot.consents import NotYourWordsError
from bot.locales import Say, mark, speaker
from bot.privacy_words import days
from bot.store import OpenJob
from bot.store.errors import StoreError

if TYPE_CHECKING:
    from bot.client import StoryBot

log = logging.getLogger(__name__)

Answer = Literal["training", "private"]

OFFER = mark(
    "**May I learn from your stories?**\n"
    "The models of this Inkwell learn only from people who say yes. With your yes they may learn from your words in "
    "this story and in what you write from now on, and from moods that you correct: under a pseudonym, encrypted, for "
    "at most {time}. What they learned may shine through in what they write for others.\n"
    "Nothing changes while you say nothing: your words stay private. `/privacy consent` decides for single stories, "
    "`/privacy withdraw` takes it all back, `/privacy policy` says more."
)
_AGREED = mark("💛 Thank you, your yes is noted, for this story too. `/privacy withdraw` takes it back at any time.")
_PRIVATE = mark("🔒 Your words stay private, and I won't ask again. `/privacy consent` changes that.")
_LABELS: dict[Answer, str] = {"private": mark("Keep private"), "training": mark("Help train")}


async def offer(bot: "StoryBot", interaction: discord.Interaction[Any], job: OpenJob) -> None:
    """Ask whoever just got their story, unless they were asked before or words may not train here."""
    if not bot.settings.may_train or interaction.is_expired() or bot.scribe.closing:
        return  # who can't be asked now is asked after the next story
    user_id = interaction.user.id
    try:
        if not (await bot.store.turn(job.turn.id)).text or not await bot.store.people.note_asked(user_id):
            return
        say = speaker(interaction.locale.value)
        words = say(OFFER).format(time=days(bot.settings.training_keep_days, say))
        try:
            await interaction.followup.send(words, view=_buttons(user_id, job.story.id, say), ephemeral=True)
        except discord.HTTPException:
            await bot.store.people.forget_asked(user_id)
            raise
    except (discord.HTTPException, StoreError) as error:
        log.warning("somebody could not be asked whether their stories may train: %s", error)


class OfferButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"offer:(?P<answer>training|private):(?P<user>[0-9]{1,20}):(?P<story>[0-9a-z]{16})",
):
    """Yes or no, of one person, after one story."""

    def __init__(self, answer: Answer, user_id: int, story_id: str, label: str) -> None:
        self.answer, self.user_id, self.story_id = answer, user_id, story_id
        style = discord.ButtonStyle.primary if answer == "training" else discord.ButtonStyle.secondary
        custom_id = f"offer:{answer}:{user_id}:{story_id}"
        super().__init__(discord.ui.Button(label=label, style=style, custom_id=custom_id))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(cast("Answer", match["answer"]), int(match["user"]), match["story"], "")

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        bot = cast("StoryBot", interaction.client)
        try:
            bot.answering()
            if interaction.user.id != self.user_id:
                raise app_commands.MissingPermissions([])
            await interaction.response.defer()
            await self._answered(bot)
            words = speaker(interaction.locale.value)(_AGREED if self.answer == "training" else _PRIVATE)
            await interaction.edit_original_response(content=words, view=None)
        except Exception as error:  # discord.py would only log it; the person must get an answer
            await bot.answer_error(interaction, error)

    async def _answered(self, bot: "StoryBot") -> None:
        await bot.consents.set_level(self.user_id, self.answer)
        if self.answer == "training":
            try:
                await bot.consents.choose(self.user_id, self.story_id, "training")
            except NotYourWordsError:
                log.info("the story after which somebody was asked is gone")


def _buttons(user_id: int, story_id: str, say: Say) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for answer, label in _LABELS.items():
        view.add_item(OfferButton(answer, user_id, story_id, say(label)))
    view.stop()  # presses arrive through the registered DynamicItem
    return view
