"""What stands below a portrait: buttons, the choice of one face of several, and the two questions they ask. Their
custom_id carries the receipt's code, so they work after a restart and as long as the receipt is kept.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import discord

from bot.locales import Say, mark

if TYPE_CHECKING:
    from bot.client import StoryBot

DreamAct = Literal["more", "vary", "morph", "attach", "seed", "pick"]
Answered = Callable[[discord.Interaction[Any], str], Awaitable[None]]

_ASKED_S = 3_600.0  # Discord doesn't tell of a question that was closed; without an end each would stay in memory
MAX_TYPED_CHARS = 60  # a name in a question; seeds may be longer in the commands
_LOOKS: dict[DreamAct, tuple[str, str]] = {
    "more": (mark("More like this"), "🎲"),
    "vary": (mark("Vary"), "🪞"),
    "morph": (mark("Morph"), "🧬"),
    "attach": (mark("Attach to story"), "📌"),
    "seed": (mark("Seed"), "🌱"),
}
_ONE: tuple[DreamAct, ...] = ("more", "vary", "morph", "attach", "seed")
_SEVERAL: tuple[DreamAct, ...] = ("more", "vary", "seed")
_CHILD: tuple[DreamAct, ...] = ("attach", "seed")
_CODE = r"(?P<code>[0-9a-z]{1,16})"


class DreamButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=rf"dream:(?P<act>more|vary|morph|attach|seed):{_CODE}",
):
    """One act on one picture."""

    def __init__(self, act: DreamAct, code: str, label: str) -> None:
        self.act, self.code = act, code
        style = discord.ButtonStyle.primary if act == "more" else discord.ButtonStyle.secondary
        super().__init__(
            discord.ui.Button(label=label, emoji=_LOOKS[act][1], style=style, custom_id=f"dream:{act}:{code}")
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        act = cast("DreamAct", match["act"])
        return cls(act, match["code"], _LOOKS[act][0])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        bot = cast("StoryBot", interaction.client)
        try:
            await bot.press_dream(interaction, self.act, self.code)
        except Exception as error:  # discord.py would only log it; the person must get an answer
            await bot.answer_error(interaction, error)


class DreamPick(
    discord.ui.DynamicItem[discord.ui.Select[discord.ui.View]],
    template=rf"dream:pick:{_CODE}",
):
    """The choice of one face of several."""

    def __init__(self, code: str, select: discord.ui.Select[discord.ui.View]) -> None:
        self.code = code
        super().__init__(select)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(match["code"], cast("discord.ui.Select[discord.ui.View]", item))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        bot = cast("StoryBot", interaction.client)
        try:
            await bot.press_dream(interaction, "pick", self.code, int(self.item.values[0]))
        except Exception as error:
            await bot.answer_error(interaction, error)


class Question(discord.ui.Modal):
    """One short text; `answered` gets it."""

    def __init__(self, *, title: str, label: str, answered: Answered, default: str = "", hint: str = "") -> None:
        super().__init__(title=title[:45], timeout=_ASKED_S)  # Discord: a modal's title
        self._answered = answered
        self._field: discord.ui.TextInput[Any] = discord.ui.TextInput(
            default=default[:MAX_TYPED_CHARS] or None, max_length=MAX_TYPED_CHARS
        )
        self.add_item(discord.ui.Label(text=label[:45], description=hint[:100] or None, component=self._field))

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        cast("StoryBot", interaction.client).answering()
        await self._answered(interaction, self._field.value)

    async def on_error(  # type: ignore[override]  # a modal's own has no item, unlike its base's
        self, interaction: discord.Interaction[Any], error: Exception
    ) -> None:
        await cast("StoryBot", interaction.client).answer_error(interaction, error)


def one_face(code: str, say: Say) -> discord.ui.View:
    """Below one portrait."""
    return _view(_ONE, code, say)


def one_child(code: str, say: Say) -> discord.ui.View:
    """Below a morph: what is done with it is done with the child."""
    return _view(_CHILD, code, say)


def several_faces(code: str, names: Sequence[str], say: Say) -> discord.ui.View:
    """Below a grid."""
    view = _view(_SEVERAL, code, say)
    select: discord.ui.Select[discord.ui.View] = discord.ui.Select(
        custom_id=f"dream:pick:{code}",
        placeholder=say(mark("Show one of them")),
        options=[
            discord.SelectOption(label=f"{number}. {name}"[:100], value=str(number))
            for number, name in enumerate(names, start=1)
        ],
    )
    view.add_item(DreamPick(code, select))
    view.stop()
    return view


def _view(acts: tuple[DreamAct, ...], code: str, say: Say) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for act in acts:
        view.add_item(DreamButton(act, code, say(_LOOKS[act][0])))
    view.stop()  # presses arrive through the registered DynamicItem; discord.py need not keep this view
    return view
