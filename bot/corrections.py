"""Buttons below a mood: "that's right", or the right label. A correction is kept only of the person's own text, and
only once they agreed that it may train; asked once, and never in the way.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import discord

from bot.locales import Say, mark, speaker
from bot.mood_words import FACES, LABELS
from bot.privacy_words import days
from bot.store import Store
from bot.store.ids import new_id
from bot.store.people import ConsentMissingError, Correction, TooManyCorrectionsError
from models.serving.short_requests import Label, Mood

if TYPE_CHECKING:
    from bot.client import StoryBot

WORDING = 2  # of what people agree to; a change of meaning takes the next number, and then everybody is asked again
_KEPT_TEXTS, _KEPT_S = 1_000, 15 * 60.0  # Discord lets an ephemeral answer be used no longer

ASK = mark(
    "**May I learn from this?**\n"
    "With your yes I keep the texts whose mood you correct or confirm, with the label you gave, and may also learn "
    "from what you write in stories from now on: encrypted, under a pseudonym, for at most {time}, to train the "
    "models of this Inkwell. `/privacy consent` decides for single stories.\n"
    "You can take it back at any time: `/privacy withdraw` deletes what was kept for it."
)
_THANKS = mark("Thank you, kept. `/privacy withdraw` deletes it again.")
_THANKS_FIRST = mark(
    "Thank you, kept. From now on I keep your corrections without asking; `/privacy withdraw` ends it."
)
_AGREED = mark("Thank you, your yes is noted.")
_STAYS_PRIVATE = mark("Nothing was kept, and I won't ask again. `/privacy consent` changes that.")
_IS_PRIVATE = mark("Your words stay private, as you chose, so nothing was kept. `/privacy consent` changes that.")
_GONE = mark("I no longer have that text: without your yes I keep none for longer than 15 minutes. Ask again.")
_ENOUGH = mark("You have helped a great deal: I keep no more corrections of one person, so that nobody teaches alone.")

Answer = Literal["training", "private"]


@dataclass
class _Pending:
    """A text that was just read, in memory only. `label` is what the person said, while they are asked for a yes."""

    user_id: int
    text: str
    mood: Mood
    until: float
    label: Label | None = None


class Corrections:
    """What the buttons act on. `allowed`: the operator lets corrections train at all."""

    def __init__(
        self, store: Store, *, allowed: bool, keep_days: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self.allowed, self._keep_days, self._clock = store, allowed, keep_days, clock
        self._pending: OrderedDict[str, _Pending] = OrderedDict()

    def buttons(self, user_id: int, text: str, mood: Mood, say: Say) -> discord.ui.View | None:
        """Below an answer about a text of this person's own; None where nothing may come of it."""
        if not self.allowed or not text.strip() or "empty" in mood.notes:
            return None
        self._drop_old()
        key = new_id()
        self._pending[key] = _Pending(user_id, text, mood, self._clock() + _KEPT_S)
        asyncio.get_running_loop().call_later(_KEPT_S, self._drop_old)
        while len(self._pending) > _KEPT_TEXTS:
            self._pending.popitem(last=False)
        view = discord.ui.View(timeout=None)
        for label in LABELS:
            right = label == mood.label and mood.sure
            words, face = (mark("That's right"), "👍") if right else (LABELS[label], FACES[label])
            view.add_item(MoodButton(label, key, say(words), face))
        view.stop()  # presses arrive through the registered DynamicItem
        return view

    def forget(self, user_id: int) -> None:
        """Drop this person's texts from memory."""
        for key in [key for key, pending in self._pending.items() if pending.user_id == user_id]:
            del self._pending[key]

    async def press(self, interaction: discord.Interaction[Any], label: Label, key: str) -> None:
        """A label below an answer."""
        await interaction.response.defer(
            ephemeral=True, thinking=True
        )  # a busy disk can take longer than Discord waits
        pending, say = self._mine(interaction, key), speaker(interaction.locale.value)
        if pending is None:
            await _tell(interaction, say(_GONE))
            return
        consent = await self._store.people.consent(interaction.user.id)
        if consent is None or consent.wording < WORDING:
            pending.label = label
            await _tell(interaction, say(ASK).format(time=days(self._keep_days, say)), _question(key, say))
        elif consent.level == "training":
            await _tell(interaction, say(await self._keep(interaction.user.id, key, pending, label, _THANKS)))
        else:
            await _tell(interaction, say(_IS_PRIVATE))

    async def answer(self, interaction: discord.Interaction[Any], answer: Answer, key: str) -> None:
        """ "Help train" or "Keep private"."""
        await interaction.response.defer()
        say, user_id = speaker(interaction.locale.value), interaction.user.id
        pending = self._mine(interaction, key)
        await self._store.people.set_consent(user_id, answer, wording=WORDING)
        if answer == "private":
            self._pending.pop(key, None)
            words = say(_STAYS_PRIVATE)
        elif pending is None or pending.label is None:
            words = f"{say(_AGREED)} {say(_GONE)}"
        else:
            words = say(await self._keep(user_id, key, pending, pending.label, _THANKS_FIRST))
        await interaction.edit_original_response(content=words, view=None)

    def _mine(self, interaction: discord.Interaction[Any], key: str) -> _Pending | None:
        self._drop_old()
        pending = self._pending.get(key)
        return pending if pending is not None and pending.user_id == interaction.user.id else None

    async def _keep(self, user_id: int, key: str, pending: _Pending, label: Label, thanks: str) -> str:
        mood = pending.mood
        correction = Correction(
            text=pending.text,
            answered=mood.label,
            label=label,
            method=mood.method,
            model_version=mood.model_version[:200],
            language=mood.language,
        )
        try:
            await self._store.people.correct(user_id, correction)
        except ConsentMissingError:  # taken back in another window meanwhile
            return _IS_PRIVATE
        except TooManyCorrectionsError:
            return _ENOUGH
        pending.label = label  # the text stays for its minutes: who slipped may press again
        return thanks

    def _drop_old(self) -> None:
        now = self._clock()
        for key in [key for key, pending in self._pending.items() if pending.until <= now]:
            del self._pending[key]


class MoodButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"mood:(?P<label>negative|neutral|positive):(?P<key>[0-9a-z]{16})",
):
    """One label for one text."""

    def __init__(self, label: Label, key: str, words: str, face: str | None = None) -> None:
        self.label, self.key = label, key
        super().__init__(discord.ui.Button(label=words, emoji=face, custom_id=f"mood:{label}:{key}"))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(cast("Label", match["label"]), match["key"], "")

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        bot = cast("StoryBot", interaction.client)
        try:
            bot.answering()
            await bot.corrections.press(interaction, self.label, self.key)
        except Exception as error:  # discord.py would only log it; the person must get an answer
            await bot.answer_error(interaction, error)


class ConsentButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"consent:(?P<answer>training|private):(?P<key>[0-9a-z]{16})",
):
    """Yes or no to training."""

    def __init__(self, answer: Answer, key: str, words: str) -> None:
        self.answer, self.key = answer, key
        style = discord.ButtonStyle.primary if answer == "training" else discord.ButtonStyle.secondary
        super().__init__(discord.ui.Button(label=words, style=style, custom_id=f"consent:{answer}:{key}"))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(cast("Answer", match["answer"]), match["key"], "")

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        bot = cast("StoryBot", interaction.client)
        try:
            bot.answering()
            await bot.corrections.answer(interaction, self.answer, self.key)
            await bot.consents.settle()
        except Exception as error:  # as above
            await bot.answer_error(interaction, error)


def _question(key: str, say: Say) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    view.add_item(ConsentButton("training", key, say(mark("Help train"))))
    view.add_item(ConsentButton("private", key, say(mark("Keep private"))))
    view.stop()
    return view


async def _tell(interaction: discord.Interaction[Any], words: str, view: discord.ui.View | None = None) -> None:
    if view is None:
        await interaction.followup.send(words, ephemeral=True)
    else:
        await interaction.followup.send(words, view=view, ephemeral=True)
