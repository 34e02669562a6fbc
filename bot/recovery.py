"""After a start: finishes or reports what was open when Inkwell last stopped. Knows no command."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import discord

from bot.buttons import stop_button
from bot.delivery import Delivery, MissingChannelError
from bot.locales import mark, speaker
from bot.store import OpenJob
from bot.streaming import LiveMessage

if TYPE_CHECKING:
    from bot.client import StoryBot

log = logging.getLogger(__name__)

_BACK = mark("*I was interrupted; I go on…*")


async def finish_open_jobs(bot: "StoryBot", jobs: Sequence[OpenJob]) -> None:
    """Write `jobs`, all at once; the engine's queue keeps the order. They must have been open before this start took
    work: one that it began itself is being written already."""
    if not jobs:
        return
    log.info("going on with stories that were open at the last stop: %d", len(jobs))
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(_finish(bot, job), name=f"recover-{job.job.id}")


async def _finish(bot: "StoryBot", job: OpenJob) -> None:
    say = speaker(job.job.locale)
    delivery = Delivery(
        webhook=discord.Webhook.partial(job.job.application_id, job.job.interaction_token, client=bot)
        if job.job.interaction_token
        else None,
        channel=bot.channel_of(job.job.channel_id, job.job.guild_id),
    )
    try:
        if job.job.message_id is None:
            first = await delivery.send(say(_BACK), stop_button(job.turn.id, say))
            await bot.store.attach_message(job.job.id, job.job.channel_id, first.id)
        else:
            first = delivery.at(job.job.message_id)
        live = LiveMessage(
            first,
            delivery.send,
            interval_s=bot.settings.edit_interval_s,
            view=stop_button(job.turn.id, say),
        )
        await bot.scribe.write(job, live, delivery.patience_s)
    except (discord.HTTPException, MissingChannelError) as error:
        # The prompt and any finished text stay in the tree; there is just no place left to show them.
        log.warning("job %s has no place to be shown any more: %s", job.job.id, error)
        await bot.store.fail_job(job.job.id, error=f"nowhere to show it: {error}")
