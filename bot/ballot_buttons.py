"""The buttons below a pair of texts in a blind vote. Their custom_id carries all they know, which is not what is which,
so they work after a restart and for as long as the texts are kept.
"""

import re
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import discord

from bot.locales import Say, mark
from bot.store.ballots import Choice, Key
from bot.training_words import FAMILIES
from models.serving.training import Family

if TYPE_CHECKING:
    from bot.client import StoryBot

BallotAct = Choice | Literal["reveal"]

# A and B look the same: nothing may speak for one of them.
_LOOKS: dict[BallotAct, tuple[str, str | None, discord.ButtonStyle]] = {
    "a": ("A", None, discord.ButtonStyle.primary),
    "b": ("B", None, discord.ButtonStyle.primary),
    "same": (mark("No difference"), None, discord.ButtonStyle.secondary),
    "reveal": (mark("End and reveal"), "🔎", discord.ButtonStyle.secondary),
}


class BallotButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=rf"ballot:(?P<act>a|b|same|reveal):(?P<run>[0-9a-z]{{16}}):(?P<family>{'|'.join(FAMILIES)}):(?P<number>[1-9])",
):
    """One answer to one pair, or its end."""

    def __init__(self, act: BallotAct, key: Key, label: str) -> None:
        self.act, self.key = act, key
        _, emoji, style = _LOOKS[act]
        custom_id = f"ballot:{act}:{key.run_id}:{key.family}:{key.number}"
        super().__init__(discord.ui.Button(label=label, emoji=emoji, style=style, custom_id=custom_id))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        key = Key(run_id=match["run"], family=cast("Family", match["family"]), number=int(match["number"]))
        return cls(cast("BallotAct", match["act"]), key, "…")

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        bot = cast("StoryBot", interaction.client)
        try:
            await bot.press_ballot(interaction, self.act, self.key)
        except Exception as error:  # discord.py would only log it; the person must get an answer
            await bot.answer_error(interaction, error)


def ballot_buttons(key: Key, say: Say) -> discord.ui.View:
    """While votes are taken."""
    view = discord.ui.View(timeout=None)
    for act, (label, _, _) in _LOOKS.items():
        view.add_item(BallotButton(act, key, say(label)))
    view.stop()  # presses arrive through the registered DynamicItem; discord.py need not keep this view
    return view
