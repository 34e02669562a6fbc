"""Blind votes in a channel: posts the pairs of a run, takes votes, and tells what was which. Knows Discord and the
store; knows no SQL.

Pairs may be posted again, where a message was deleted: votes are the pair's and not the message's.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import discord

from bot import ballot_words as words
from bot.ballot_buttons import BallotAct, ballot_buttons
from bot.consents import unmarked
from bot.locales import Say, speaker
from bot.store.ballots import Ballot, BallotClosedError, BallotGoneError, Key
from bot.store.training_runs import TrainingRun
from bot.training_words import FAMILIES

if TYPE_CHECKING:
    from bot.client import StoryBot

_FIELD_CHARS = 1_024  # Discord: of an embed's field
_SILENT = discord.AllowedMentions.none()


class BallotBox:
    """Whoever calls `post` has checked that this person may train."""

    def __init__(self, bot: "StoryBot") -> None:
        self._bot = bot

    async def post(self, interaction: discord.Interaction[Any], run_id: str) -> None:
        """A message for each pair of which the vote is not over; the interaction was answered before. Raises
        TrainingRunNotFoundError, BallotGoneError, BallotClosedError."""
        store = self._bot.store
        run = await store.training_runs.run(run_id)
        # An erasure while the pairs were on their way from the run has marked a version, and may have missed them.
        await store.ballots.keep_only(await asyncio.to_thread(unmarked, self._bot.registry))
        ballots = await store.ballots.of_run(run_id)
        if not ballots:
            raise BallotGoneError
        if not any(ballot.open for ballot in ballots):
            raise BallotClosedError
        say = speaker(run.locale)
        for ballot in ballots:
            if ballot.open:
                await interaction.followup.send(
                    embed=shown(ballot, ballots, say), view=ballot_buttons(ballot.key, say), allowed_mentions=_SILENT
                )

    async def press(self, interaction: discord.Interaction[Any], act: BallotAct, key: Key) -> None:
        """A vote, which anybody may give who sees the message, or the end of one. Raises NotTrainerError,
        BallotGoneError, BallotClosedError."""
        await interaction.response.defer()
        ballots, say = self._bot.store.ballots, speaker(interaction.locale.value)
        try:
            if act == "reveal":
                await self._bot.trainers.check(interaction)
                await self._show(interaction, await ballots.close(key))
                return
            ballot = await ballots.vote(key, interaction.user.id, act)
        except BallotClosedError:  # this message was left as it was: the end came on another one
            await self._show(interaction, await ballots.ballot(key))
            raise
        except BallotGoneError:
            await interaction.edit_original_response(content=say(words.FORGOTTEN), embed=None, view=None)
            raise
        await self._show(interaction, ballot)
        text = f"{say(words.YOURS[act])} {say(words.CHANGE)}"
        await interaction.followup.send(text, ephemeral=True, allowed_mentions=_SILENT)

    async def _show(self, interaction: discord.Interaction[Any], ballot: Ballot) -> None:
        run: TrainingRun = await self._bot.store.training_runs.run(ballot.key.run_id)
        say = speaker(run.locale)
        ballots = await self._bot.store.ballots.of_run(run.id)
        await interaction.edit_original_response(
            embed=shown(ballot, ballots, say),
            view=ballot_buttons(ballot.key, say) if ballot.open else None,
            allowed_mentions=_SILENT,
        )


def shown(ballot: Ballot, ballots: tuple[Ballot, ...], say: Say) -> discord.Embed:
    """One of a run's `ballots` as it may be seen now: of an open one not what is which, and no count by choice."""
    keys = [each.key for each in ballots]
    title = say(words.TITLE).format(
        number=keys.index(ballot.key) + 1, count=len(keys), family=say(FAMILIES[ballot.key.family])
    )
    begins = f">>> {discord.utils.escape_markdown(ballot.prompt)}"
    embed = discord.Embed(
        title=title, description=f"{say(words.QUESTION)}\n\n{begins}", colour=discord.Colour.blurple()
    )
    for name, text in (("A", ballot.a), ("B", ballot.b)):
        embed.add_field(name=name, value=discord.utils.escape_markdown(text)[:_FIELD_CHARS], inline=False)
    if not ballot.open:
        embed.add_field(name=say(words.RESULT), value=words.result(ballot, say), inline=False)
    embed.set_footer(text=say(words.VOTED if ballot.open else words.OVER).format(count=ballot.voted))
    return embed
