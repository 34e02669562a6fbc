"""Tells a channel of training: one message that is edited while a run goes on, and a note with verdict and picture when
it has ended. Knows Discord and runs; decides nothing.
"""

import asyncio
import io
import logging
import time
from typing import TYPE_CHECKING, Final

import discord

from bot import training_words as words
from bot.locales import Say, mark, speaker
from bot.store.training_runs import TrainingRun
from bot.training_buttons import cancel_button, verdict_buttons
from bot.training_charts import of_run
from bot.training_run import LiveRun

if TYPE_CHECKING:
    from bot.client import StoryBot

log = logging.getLogger(__name__)

EVERY_S: Final = 2.0  # Discord allows about five edits in five seconds; stories in the same channel need them more
_PICTURE = "training.png"
_NO_MESSAGE = 0
_AGAIN_S = 60.0  # what could not be told is tried so much later ...
_FORGOTTEN_S = 86_400.0  # ... and given up then: Inkwell is not in that server any more
_DESCRIPTION_CHARS = 4_096  # Discord: of an embed
_COLOURS = {
    "ended": discord.Colour.green(), "failed": discord.Colour.red(), "cancelled": discord.Colour.light_grey(),
}  # fmt: skip
_TITLES = {
    "ended": mark("Training has ended"),
    "failed": mark("Training failed"),
    "cancelled": mark("Training was cancelled"),
}


class Reporter:
    """Somebody calls `tick` every `EVERY_S` seconds. What was not told before a restart is told after it."""

    def __init__(self, bot: "StoryBot") -> None:
        self._bot = bot
        self._told = 0  # the revision of the training that was told last
        self._shown = ("", "")  # the run and the words that stand in its message
        self._again_at: float | None = None
        self._alone = asyncio.Lock()

    async def tick(self) -> None:
        """Tell what is new, if anything is. Raises StoreError."""
        training, runs = self._bot.training, self._bot.store.training_runs
        async with self._alone:
            due = self._again_at is not None and time.monotonic() >= self._again_at
            if self._told == training.revision and not due:
                return
            self._told, live = training.revision, training.live
            self._again_at = None
            for run in await runs.unreported():
                if live is not None and live.run.id == run.id:
                    continue  # its candidates are being promoted
                if await self._tell_end(run):
                    await runs.set_reported(run.id)
                else:
                    self._again_at = time.monotonic() + _AGAIN_S
            if live is not None and not live.gone.is_set():
                await self._tell_progress(live)

    async def _tell_progress(self, live: LiveRun) -> None:
        run = await self._bot.store.training_runs.run(live.run.id)
        say = speaker(run.locale)
        text, view = words.progress(live, say), cancel_button(run.id, say)
        if run.message_id == _NO_MESSAGE or self._shown == (run.id, text):
            return
        place = self._bot.channel_of(run.channel_id, run.guild_id)
        if place is None:
            return
        self._shown = (run.id, text)
        try:
            if run.message_id is not None:
                await place.get_partial_message(run.message_id).edit(content=text, view=view)
                return
            message = await place.send(text, view=view)
            await self._bot.store.training_runs.set_message(run.id, message.id)
        except (discord.NotFound, discord.Forbidden) as error:  # deleted, or not allowed: nobody wants to see it
            log.warning("the progress of training can't be shown: %s", error)
            await self._bot.store.training_runs.set_message(run.id, _NO_MESSAGE)
        except discord.HTTPException as error:
            log.warning("the progress of training could not be shown: %s", error)

    async def _tell_end(self, run: TrainingRun) -> bool:
        """Whether no more is to be told of it."""
        say = speaker(run.locale)
        place = self._bot.channel_of(run.channel_id, run.guild_id)
        if place is None:  # after a start a server may be announced late
            return run.ended_at is None or time.time() - run.ended_at > _FORGOTTEN_S
        try:
            await self._send_note(place, run, say)
        except (discord.NotFound, discord.Forbidden) as error:
            log.warning("the end of training can't be told: %s", error)
        except discord.HTTPException as error:
            log.warning("the end of training could not be told: %s", error)
            return False
        if run.message_id:
            await self._close_progress(place.get_partial_message(run.message_id), run, say)
        return True

    async def _close_progress(self, message: discord.PartialMessage, run: TrainingRun, say: Say) -> None:
        text = say(mark("🧠 **Training** `{run}`: {state}.")).format(run=run.id, state=say(words.STATES[run.state]))
        try:
            await message.edit(content=text, view=None)
        except discord.HTTPException as error:
            log.info("the progress of training is not there any more: %s", error)

    async def _send_note(self, place: discord.PartialMessageable, run: TrainingRun, say: Say) -> None:
        embed = note(run, say)
        ballots = await self._bot.store.ballots.of_run(run.id)
        view = verdict_buttons(run, say, ballots) or discord.utils.MISSING
        held = [each for each in map(words.held_out, run.judged) if each is not None]
        picture = await asyncio.to_thread(of_run, run.curves, held)
        if picture is None:
            await place.send(embed=embed, view=view)
            return
        # Beside the embed and not in it: Discord drops the description of a picture that an embed takes.
        file = discord.File(io.BytesIO(picture), _PICTURE, description=words.described(held, run.curves, say))
        await place.send(embed=embed, file=file, view=view)


def note(run: TrainingRun, say: Say) -> discord.Embed:
    """What stands in the channel of a run that has ended; the same after each decision about it."""
    embed = discord.Embed(
        title=say(_TITLES[run.state]), description=words.note(run, say)[:_DESCRIPTION_CHARS], colour=_COLOURS[run.state]
    )
    took = "" if run.began_at is None or run.ended_at is None else words.duration(run.ended_at - run.began_at, say)
    embed.set_footer(text=" · ".join(part for part in (run.id, took) if part))
    return embed
