"""What stands below a verse. The custom_id carries the receipt's code, so the buttons work after a restart and as long
as the receipt is kept.
"""

import re
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import discord

from bot.locales import Say, mark

if TYPE_CHECKING:
    from bot.client import StoryBot

VerseAct = Literal["another", "seed"]

_LOOKS: dict[VerseAct, tuple[str, str]] = {
    "another": (mark("Another"), "🎲"),
    "seed": (mark("Seed"), "🌱"),
}


class VerseButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"verse:(?P<act>another|seed):(?P<code>[0-9a-z]{1,16})",
):
    """One act on one verse."""

    def __init__(self, act: VerseAct, code: str, label: str) -> None:
        self.act, self.code = act, code
        style = discord.ButtonStyle.primary if act == "another" else discord.ButtonStyle.secondary
        super().__init__(
            discord.ui.Button(label=label, emoji=_LOOKS[act][1], style=style, custom_id=f"verse:{act}:{code}")
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        act = cast("VerseAct", match["act"])
        return cls(act, match["code"], _LOOKS[act][0])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        bot = cast("StoryBot", interaction.client)
        try:
            await bot.press_verse(interaction, self.act, self.code)
        except Exception as error:  # discord.py would only log it; the person must get an answer
            await bot.answer_error(interaction, error)


def below_verse(code: str, say: Say) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for act, (label, _) in _LOOKS.items():
        view.add_item(VerseButton(act, code, say(label)))
    view.stop()  # presses arrive through the registered DynamicItem; discord.py need not keep this view
    return view
