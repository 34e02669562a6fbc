"""What an operator wants to know of a running Inkwell, as plain data, and the words that all who show it share. Knows
neither where it is shown nor how it is asked for.
"""

import asyncio
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import psutil
from msgspec import Struct

from models.serving.requests import Health
from models.serving.short_requests import ShortHealth

if TYPE_CHECKING:
    from bot.client import StoryBot

_ON_THE_WAY = ("starting", "restarting")
_HEALTH_S = 2.0  # an engine that does not answer within this is shown as silent


class Waiting(Struct, frozen=True, kw_only=True):
    """How many requests of one server wait. `guild_id` None: direct messages, and servers that the bot is not in."""

    guild_id: int | None = None
    name: str = ""
    requests: int


class Status(Struct, frozen=True, kw_only=True):
    """One look at everything. Times in seconds, sizes in bytes; rates as in `Health`."""

    inkwell: str  # version
    discord: Literal["connected", "connecting"]
    guilds: int
    uptime_s: float
    bot_resident_bytes: int
    health: Health
    waiting: tuple[Waiting, ...] = ()  # most first
    short: ShortHealth = ShortHealth(state="asleep")
    champions: dict[str, str] = {}  # versions trained here that answer, by family; for all others what is shipped
    passed_over: dict[str, str] = {}  # why a champion does not answer, by family: a sentence for the operator

    @property
    def state(self) -> Literal["ready", "loading", "down"]:
        if self.health.ready:
            return "ready"
        return "loading" if any(worker.state in _ON_THE_WAY for worker in self.health.workers) else "down"

    @property
    def worker_resident_bytes(self) -> int:
        return sum(worker.resident_bytes for worker in self.health.workers) + self.short.resident_bytes

    @property
    def slots(self) -> int:
        return sum(worker.slots for worker in self.health.workers if worker.state == "ready")

    @property
    def restarts(self) -> int:
        return sum(worker.restarts for worker in self.health.workers)


def by_guild(queued: Mapping[str, int], names: Mapping[int, str]) -> tuple[Waiting, ...]:
    """`queued` under the engine's keys; `names` of the servers that the bot is in."""
    known: dict[int | None, int] = {}
    for key, count in queued.items():
        guild_id = int(key) if key.isdigit() and int(key) in names else None
        known[guild_id] = known.get(guild_id, 0) + count
    waiting = [Waiting(guild_id=key, name="" if key is None else names[key], requests=n) for key, n in known.items()]
    return tuple(sorted(waiting, key=lambda each: -each.requests))


async def look(bot: "StoryBot") -> Status:
    """Raises TimeoutError when the engine does not tell how it is."""
    async with asyncio.timeout(_HEALTH_S):
        health, short = await asyncio.gather(bot.engine.health(), bot.short.health())
    return Status(
        inkwell=version("inkwell"),
        discord="connected" if bot.is_ready() else "connecting",
        guilds=len(bot.guilds),
        uptime_s=time.monotonic() - bot.began,
        bot_resident_bytes=psutil.Process().memory_info().rss,
        health=health,
        waiting=by_guild(health.queued_by_guild, {guild.id: guild.name for guild in bot.guilds}),
        short=short,
        champions=bot.promoter.champions.answering() if bot.promoter else {},
        passed_over=dict(bot.promoter.champions.passed_over) if bot.promoter else {},
    )


def duration(seconds: float) -> str:
    """Two largest units: "3 d 4 h", "12 min 5 s"."""
    left = round(seconds)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2]) or "0 s"


def mebibytes(size: int) -> str:
    """ "" for a size that nobody knows, as that of a server's."""
    return f"{size / 2**20:,.0f} MiB" if size else ""
