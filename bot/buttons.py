"""The buttons below a story. Their custom_id carries all they know, so they work after a restart and for ever."""

import re
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import discord

from bot.locales import Say, mark

if TYPE_CHECKING:
    from bot.client import StoryBot

Act = Literal["continue", "retry", "undo", "stop"]

_LOOKS: dict[Act, tuple[str, str, discord.ButtonStyle]] = {
    "continue": (mark("Continue"), "✒️", discord.ButtonStyle.primary),
    "retry": (mark("Retry"), "🔁", discord.ButtonStyle.secondary),
    "undo": (mark("Undo"), "↩️", discord.ButtonStyle.secondary),
    "stop": (mark("Stop"), "⏹️", discord.ButtonStyle.danger),
}


class StoryButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"story:(?P<act>continue|retry|undo|stop):(?P<turn>[A-Za-z0-9_-]{1,40})",
):
    """One act on one turn."""

    def __init__(self, act: Act, turn_id: str, label: str) -> None:
        self.act, self.turn_id = act, turn_id
        _, emoji, style = _LOOKS[act]
        super().__init__(discord.ui.Button(label=label, emoji=emoji, style=style, custom_id=f"story:{act}:{turn_id}"))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        act = cast("Act", match["act"])
        return cls(act, match["turn"], _LOOKS[act][0])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        bot = cast("StoryBot", interaction.client)
        try:
            await bot.press(interaction, self.act, self.turn_id)
        except Exception as error:  # discord.py would only log it; the person must get an answer
            await bot.answer_error(interaction, error)


def story_buttons(turn_id: str, say: Say, *, failed: bool = False) -> discord.ui.View:
    """Below a finished continuation; below one that failed there is only Retry."""
    acts: tuple[Act, ...] = ("retry",) if failed else ("continue", "retry", "undo")
    return _view(acts, turn_id, say)


def stop_button(turn_id: str, say: Say) -> discord.ui.View:
    """While a continuation is being written."""
    return _view(("stop",), turn_id, say)


def continue_button(turn_id: str, say: Say) -> discord.ui.View:
    """Below the place to which an undo has led back."""
    return _view(("continue",), turn_id, say)


def _view(acts: tuple[Act, ...], turn_id: str, say: Say) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for act in acts:
        view.add_item(StoryButton(act, turn_id, say(_LOOKS[act][0])))
    view.stop()  # presses arrive through the registered DynamicItem; discord.py need not keep this view
    return view
