"""The buttons of a training run: Cancel below its progress, Promote, Keep, Roll back and Blind vote below its verdict.
Their custom_id carries all they know, so they work after a restart and for as long as the run is remembered.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import discord

from bot.locales import Say, mark
from bot.store.ballots import Ballot
from bot.store.training_runs import TrainingRun
from bot.training_decisions import undecided
from bot.training_words import FAMILIES
from models.serving.training import Family

if TYPE_CHECKING:
    from bot.client import StoryBot

TrainAct = Literal["cancel", "promote", "keep", "rollback", "vote"]
_ALL = "all"
_LABEL_CHARS = 80  # Discord: of a button

_LOOKS: dict[TrainAct, tuple[str, str, discord.ButtonStyle]] = {
    "cancel": (mark("Cancel"), "⏹️", discord.ButtonStyle.danger),
    "promote": (mark("Promote {family}"), "⬆️", discord.ButtonStyle.success),
    "keep": (mark("Keep what answers now"), "✋", discord.ButtonStyle.secondary),
    "rollback": (mark("Roll back {family}"), "↩️", discord.ButtonStyle.secondary),
    "vote": (mark("Blind vote"), "🗳️", discord.ButtonStyle.secondary),
}


class TrainButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"train:(?P<act>cancel|promote|keep|rollback|vote):(?P<run>[0-9a-z]{16}):(?P<family>[a-z]{1,12})",
):
    """One act on one run."""

    def __init__(self, act: TrainAct, run_id: str, family: Family | None, label: str) -> None:
        self.act, self.run_id, self.family = act, run_id, family
        _, emoji, style = _LOOKS[act]
        custom_id = f"train:{act}:{run_id}:{family or _ALL}"
        super().__init__(discord.ui.Button(label=label[:_LABEL_CHARS], emoji=emoji, style=style, custom_id=custom_id))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        family = cast("Family", match["family"]) if match["family"] in FAMILIES else None
        return cls(cast("TrainAct", match["act"]), match["run"], family, "…")

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        bot = cast("StoryBot", interaction.client)
        try:
            await bot.press_train(interaction, self.act, self.run_id, self.family)
        except Exception as error:  # discord.py would only log it; the person must get an answer
            await bot.answer_error(interaction, error)


def cancel_button(run_id: str, say: Say) -> discord.ui.View:
    """While a run is in progress."""
    return _view([TrainButton("cancel", run_id, None, _label("cancel", say))])


def verdict_buttons(run: TrainingRun, say: Say, ballots: Sequence[Ballot] = ()) -> discord.ui.View | None:
    """Below the verdict; None where there is nothing to decide, to take back or to vote on."""
    buttons = [_of_family("promote", run, judged.family, say) for judged in undecided(run)]
    if buttons:
        buttons.append(TrainButton("keep", run.id, None, _label("keep", say)))
    buttons += [_of_family("rollback", run, decision.family, say) for decision in run.decisions if decision.answers]
    if any(ballot.open for ballot in ballots):
        buttons.append(TrainButton("vote", run.id, None, _label("vote", say)))
    return _view(buttons) if buttons else None


def _of_family(act: TrainAct, run: TrainingRun, family: Family, say: Say) -> TrainButton:
    return TrainButton(act, run.id, family, _label(act, say).format(family=say(FAMILIES[family])))


def _label(act: TrainAct, say: Say) -> str:
    words, _, _ = _LOOKS[act]
    return say(words)


def _view(buttons: list[TrainButton]) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(button)
    view.stop()  # presses arrive through the registered DynamicItem; discord.py need not keep this view
    return view
