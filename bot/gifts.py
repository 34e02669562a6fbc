"""Drawings that wait for their giver's word, the buttons below them, and what is said about them. Kept is only what
somebody said is their own, and only while they agree that it may train.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import discord

from bot.corrections import WORDING
from bot.given_picture import NotADrawingError
from bot.locales import Say, mark, speaker
from bot.store import Store
from bot.store.errors import GivenPictureNotFoundError, TooManyGivenError
from bot.store.given_pictures import MAX_GIVEN
from bot.store.ids import new_id
from bot.store.people import ConsentMissingError

if TYPE_CHECKING:
    from bot.client import StoryBot

_WAITING, _WAITING_S = 500, 15 * 60.0  # Discord lets an ephemeral answer be used no longer; each has about 1 kB

Answer = Literal["yes", "no"]

ASK = mark(
    "**Is this your own drawing, and may I learn from it?**\n"
    "This is how I would keep it: 16×16 pixels and nothing else of your file, encrypted, under a pseudonym, for at "
    "most {time}, to train the portraits of this Inkwell. Faces that I draw for others may come to look like it.\n"
    "Give only what you drew yourself and what shows no real person. `/dream given` takes it back, and so does "
    "`/privacy withdraw`."
)
KEPT = mark("🎨 Thank you, kept ({count} of at most {most}). `/dream given` shows yours and takes them back.")
KEPT_BEFORE = mark("You gave this drawing before; I keep it once. `/dream given` shows yours and takes them back.")
_NOT_KEPT = mark("Nothing was kept.")
_GONE = mark("I no longer have that drawing: without your yes I keep none for longer than 15 minutes. Give it again.")

_NOT_A_DRAWING = {
    "size": mark("That file is too large: a drawing has at most 1 MiB."),
    "format": mark("I can't read that as a picture. Save it as PNG (JPEG and GIF work too)."),
    "animated": mark("That picture moves, and I learn only from still ones. Save one frame of it as PNG."),
    "pixels": mark("That picture has too many pixels: at most 2,048 along an edge. Portraits have 16×16."),
    "small": mark("That picture is smaller than the 16×16 pixels of a portrait."),
    "damaged": mark("That file is damaged: I can't read all of the picture. Save it again as PNG."),
    "flat": mark("In 16×16 pixels nothing of that picture is left but one colour. Draw larger shapes."),
}


class NotAgreedError(Exception):
    """This person does not let what is theirs train: nothing may be kept."""


class NotAllowedHereError(Exception):
    """Whoever runs this Inkwell has not allowed training: nothing is kept for it."""


def _not_a_drawing(error: NotADrawingError, say: Say) -> str:
    return say(_NOT_A_DRAWING[error.reason])


def _too_many(error: TooManyGivenError, say: Say) -> str:
    return say(
        mark("You gave {most} drawings, and nobody is to teach me alone. `/dream given` takes some back.")
    ).format(most=MAX_GIVEN)


def _fixed(text: str) -> Callable[[BaseException, Say], str]:
    return lambda error, say: say(text)


_NOT_AGREED = mark(
    "I keep drawings only of people who let me learn from them, and you have not said so (yet). `/privacy consent` "
    "with `level:` training says yes, to what you write in stories too; `/privacy policy` tells what it means. Then "
    "give it again. Nothing was kept."
)
GIFT_SENTENCES: tuple[tuple[type[BaseException], Callable[..., str]], ...] = (
    (NotADrawingError, _not_a_drawing),
    (TooManyGivenError, _too_many),
    (ConsentMissingError, _fixed(_NOT_AGREED)),
    (NotAgreedError, _fixed(_NOT_AGREED)),
    (
        NotAllowedHereError,
        _fixed(mark("Whoever runs this Inkwell has not allowed training, so I keep no drawings.")),
    ),
    (
        GivenPictureNotFoundError,
        _fixed(mark("I keep no such drawing of yours. `/dream given` shows those that I have.")),
    ),
)


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """A drawing that was just shown to its giver, in memory only."""

    user_id: int
    drawing: bytes
    until: float


class Gifts:
    """What the buttons act on. `allowed`: the operator lets drawings train at all."""

    def __init__(self, store: Store, *, allowed: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._allowed, self._clock = store, allowed, clock
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()

    async def require_consent(self, user_id: int) -> None:
        """Raises NotAllowedHereError, NotAgreedError."""
        if not self._allowed:
            raise NotAllowedHereError
        consent = await self._store.people.consent(user_id)
        if consent is None or consent.level != "training" or consent.wording < WORDING:
            raise NotAgreedError

    def buttons(self, user_id: int, drawing: bytes, say: Say) -> discord.ui.View:
        """Below the drawing as it would be kept."""
        self._drop_old()
        key = new_id()
        self._waiting[key] = _Waiting(user_id=user_id, drawing=drawing, until=self._clock() + _WAITING_S)
        asyncio.get_running_loop().call_later(_WAITING_S, self._drop_old)
        while len(self._waiting) > _WAITING:
            self._waiting.popitem(last=False)
        view = discord.ui.View(timeout=None)
        view.add_item(GiftButton("yes", key, say(mark("It is mine: give it"))))
        view.add_item(GiftButton("no", key, say(mark("Don't keep it"))))
        view.stop()  # presses arrive through the registered DynamicItem
        return view

    async def answer(self, interaction: discord.Interaction[Any], answer: Answer, key: str) -> None:
        """Yes or no below a drawing. Raises NotAllowedHereError, NotAgreedError, TooManyGivenError."""
        await interaction.response.defer()
        self._drop_old()
        say, waiting = speaker(interaction.locale.value), self._waiting.get(key)
        if waiting is None or waiting.user_id != interaction.user.id:
            words = say(_GONE)
        elif answer == "no":
            del self._waiting[key]
            words = say(_NOT_KEPT)
        else:
            await self.require_consent(interaction.user.id)
            gift = await self._store.given.give(interaction.user.id, waiting.drawing)
            self._waiting.pop(key, None)
            words = say(KEPT_BEFORE if gift.again else KEPT).format(count=gift.count, most=MAX_GIVEN)
        await interaction.edit_original_response(content=words, view=None)

    def _drop_old(self) -> None:
        now = self._clock()
        for key in [key for key, waiting in self._waiting.items() if waiting.until <= now]:
            del self._waiting[key]


class GiftButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"gift:(?P<answer>yes|no):(?P<key>[0-9a-z]{16})",
):
    """Yes or no to one drawing."""

    def __init__(self, answer: Answer, key: str, label: str) -> None:
        self.answer, self.key = answer, key
        style = discord.ButtonStyle.primary if answer == "yes" else discord.ButtonStyle.secondary
        super().__init__(discord.ui.Button(label=label, style=style, custom_id=f"gift:{answer}:{key}"))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(cast("Answer", match["answer"]), match["key"], "")

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        bot = cast("StoryBot", interaction.client)
        try:
            bot.answering()
            await bot.gifts.answer(interaction, self.answer, self.key)
        except Exception as error:  # discord.py would only log it; the person must get an answer
            await bot.answer_error(interaction, error)
