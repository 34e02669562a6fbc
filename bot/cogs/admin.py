"""`/inkwell`: what a server's admins see of Inkwell itself. Knows no model and no story.

They see their own server by name and all others only as a number: whoever runs Inkwell asks `inkwell status`.
"""

import io
import time
from collections.abc import Sequence
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import locale_str
from discord.ext import commands, tasks

from bot.client import StoryBot
from bot.locales import Say, mark, speaker
from bot.status import Status, look, mebibytes
from bot.status_history import EVERY_S, History, Moment
from models.serving.requests import WorkerHealth

_SHOWN_WORKERS = 8  # an embed holds 25 fields; a longer list tells nobody anything
_COLOURS = {"ready": discord.Colour.green(), "loading": discord.Colour.gold(), "down": discord.Colour.red()}
_TITLES = {
    "ready": mark("Inkwell is ready"),
    "loading": mark("Inkwell is loading its model"),
    "down": mark("Inkwell's model does not answer"),
}
_STATES = {
    "ready": mark("ready"),
    "starting": mark("loading"),
    "restarting": mark("restarting"),
    "failed": mark("down"),
    "stopped": mark("stopped"),
    "asleep": mark("asleep until somebody asks"),
}
_PICTURE = "status.png"
_UNKNOWN = "–"


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
@app_commands.allowed_installs(guilds=True, users=False)
class AdminCog(
    commands.GroupCog,
    name="Admin",
    group_name="inkwell",
    group_description=locale_str(mark("Inkwell itself: for those who manage this server")),
):
    """Only for members who may manage the server. Discord hides the commands from others; that it is so is checked
    again here, for a server can be set to show them to anybody."""

    def __init__(self, bot: StoryBot) -> None:
        self.bot = bot
        self.history = History(bot.engine)

    async def cog_load(self) -> None:
        self.watch.start()

    async def cog_unload(self) -> None:
        self.watch.cancel()

    @tasks.loop(seconds=EVERY_S)
    async def watch(self) -> None:
        await self.history.look()

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        if interaction.guild_id is None:
            raise app_commands.NoPrivateMessage
        if not interaction.permissions.manage_guild:
            raise app_commands.MissingPermissions(["manage_guild"])
        return True

    @app_commands.command(
        name="status", description=locale_str(mark("Queue, speed, memory and models, as they are right now"))
    )
    async def status(self, interaction: discord.Interaction[StoryBot]) -> None:
        await interaction.response.defer(ephemeral=True)  # a busy event loop may need longer than 3 s
        status = await look(self.bot)
        say = speaker(interaction.locale.value)
        embed = embed_of(status, say, here=interaction.guild_id, remote=self.bot.settings.remote)
        picture = await self.history.picture()
        if picture is None:
            await interaction.followup.send(embed=embed, ephemeral=True)
            return
        # Beside the embed and not in it: Discord drops the description of a picture that an embed takes.
        embed.set_footer(text=say(mark("Picture: the last half hour; tokens/s above, stories waiting below.")))
        file = discord.File(io.BytesIO(picture), _PICTURE, description=_described(self.history.moments, say))
        await interaction.followup.send(embed=embed, file=file, ephemeral=True)


def embed_of(status: Status, say: Say, *, here: int | None, remote: bool) -> discord.Embed:
    """What the admins of the server `here` see. `remote`: the model's server is named by the operator, not here."""
    health = status.health
    embed = discord.Embed(title=say(_TITLES[status.state]), colour=_COLOURS[status.state])

    def add(name: str, value: str) -> None:
        embed.add_field(name=name, value=value)

    add(say(mark("Queue")), _queue(status, say, here))
    add(
        say(mark("Writing")),
        say(mark("{running} of {slots} at once")).format(running=health.running, slots=status.slots),
    )
    add(say(mark("Speed")), say(mark("{rate} tokens/s (last minute)")).format(rate=f"{health.tokens_per_s:.1f}"))
    add(
        say(mark("First words after")),
        _latency(health.first_token_p50_s, health.first_token_p95_s, say),
    )
    add(
        say(mark("Answered")),
        say(mark("{served} (failed: {failed})")).format(served=health.served, failed=health.failed),
    )
    add(
        say(mark("Memory")),
        say(mark("models {models}, bot {bot}")).format(
            models=mebibytes(status.worker_resident_bytes) or _UNKNOWN, bot=mebibytes(status.bot_resident_bytes)
        ),
    )
    for number, worker in enumerate(health.workers[:_SHOWN_WORKERS], start=1):
        embed.add_field(
            name=say(mark("Worker {number}: {state}")).format(number=number, state=say(_STATES[worker.state])),
            value=_worker(worker, say, remote),
            inline=False,
        )
    short = status.short
    words = say(mark("{state}; answered {answered} (failed: {failed}), dropped {dropped}, restarts: {restarts}"))
    embed.add_field(
        name=say(mark("Moods, portraits, verses")),
        value=words.format(
            state=say(_STATES[short.state]),
            answered=short.answered,
            failed=short.failed,
            dropped=short.dropped,
            restarts=short.restarts,
        ),
        inline=False,
    )
    if status.champions or status.passed_over:
        embed.add_field(name=say(mark("Trained here")), value=_champions(status, say), inline=False)
    since = f"<t:{round(time.time() - status.uptime_s)}:R>"
    embed.description = say(mark("Version {version}, started {since}. Servers: {guilds}")).format(
        version=status.inkwell, since=since, guilds=status.guilds
    )
    return embed


def _described(moments: Sequence[Moment], say: Say) -> str:
    """The picture in words, for those who can't see it."""
    return say(
        mark(
            "The last half hour: at most {rate} tokens/s, now {now}; stories waiting: at most {queued}, now {waiting}."
        )
    ).format(
        rate=f"{max(each.tokens_per_s for each in moments):.1f}",
        now=f"{moments[-1].tokens_per_s:.1f}",
        queued=max(each.queued for each in moments),
        waiting=moments[-1].queued,
    )


def _champions(status: Status, say: Say) -> str:
    lines = [f"{family}: `{version}`" for family, version in status.champions.items()]
    words = say(mark("{family}: what Inkwell came with, for the champion can't answer here (see its log)"))
    return "\n".join([*lines, *(words.format(family=family) for family in status.passed_over)])


def _queue(status: Status, say: Say, here: int | None) -> str:
    mine = sum(each.requests for each in status.waiting if each.guild_id == here)
    others = status.health.queued - mine
    return say(mark("{mine} waiting here, {others} elsewhere")).format(mine=mine, others=others)


def _latency(half: float | None, most: float | None, say: Say) -> str:
    if half is None or most is None:
        return say(mark("not measured yet"))
    return say(mark("median {half} s, 95%: {most} s")).format(half=f"{half:.2f}", most=f"{most:.2f}")


def _worker(worker: WorkerHealth, say: Say, remote: bool) -> str:
    model = worker.model_version.partition("@")[0] if remote else worker.model_version
    words = say(mark("`{model}`, {running} of {slots} at once, restarts: {restarts}")).format(
        model=model or _UNKNOWN, running=worker.running, slots=worker.slots, restarts=worker.restarts
    )
    if worker.state != "ready":
        return words
    since = f"<t:{round(time.time() - worker.uptime_s)}:R>"
    return say(mark("{words}, up since {since}")).format(words=words, since=since)
