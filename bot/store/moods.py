"""How sampled channels feel, in SQL: which channels, their counts, and who is left out. Knows no text and no author of
any message: its tables have no column for them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store.schema import MIN_AUTHORS, mood_channels, mood_counts, mood_optouts
from bot.store.steps import Steps

MAX_CHANNELS = 50  # of one server; each holds a little memory while it is sampled


class TooManyChannelsError(Exception):
    """As many channels of this server are sampled as may be. Switch one off first."""


@dataclass(frozen=True, kw_only=True)
class MoodChannel:
    """A channel that is sampled. `alerted`: somebody was told of a drop that has not passed yet."""

    channel_id: int
    guild_id: int
    alert_channel_id: int | None
    alerted: bool
    since: float


@dataclass(frozen=True, kw_only=True)
class MoodCount:
    """Messages of each class in `hours` hours from `hour` (Unix hours) on, by at least `authors` people."""

    hour: int
    hours: int
    negative: int
    neutral: int
    positive: int
    unsure: int
    skipped: int
    authors: int

    @property
    def read(self) -> int:
        """How many messages were read."""
        return self.negative + self.neutral + self.positive + self.unsure


class Moods:
    """Errors as of `Store`."""

    def __init__(self, steps: Steps, person_key: Callable[[int], str]) -> None:
        self._steps, self._person_key = steps, person_key

    async def sample(self, channel_id: int, guild_id: int, alert_channel_id: int | None) -> MoodChannel:
        """Sample a channel from now on; asked again, only where alerts go changes. Raises TooManyChannelsError."""
        return await self._steps.write(_sample, channel_id, guild_id, alert_channel_id)

    async def stop_sampling(self, channel_id: int) -> bool:
        """Sample it no more, and delete what was counted there. False when it was not sampled."""
        return await self._steps.write(_stop, mood_channels.c.channel_id == channel_id) > 0

    async def forget_guild(self, guild_id: int) -> int:
        """The same for every channel of a server; how many they were."""
        return await self._steps.write(_stop, mood_channels.c.guild_id == guild_id)

    async def channel(self, channel_id: int) -> MoodChannel | None:
        """None when it is not sampled."""
        found = await self._steps.read(_channels, mood_channels.c.channel_id == channel_id)
        return found[0] if found else None

    async def channels(self, guild_id: int | None = None) -> tuple[MoodChannel, ...]:
        """The sampled channels of a server, or all of them."""
        return await self._steps.read(
            _channels, sa.true() if guild_id is None else mood_channels.c.guild_id == guild_id
        )

    async def set_alerted(self, channel_id: int, alerted: bool) -> None:
        await self._steps.write(_set_alerted, channel_id, alerted)

    async def add_count(self, channel_id: int, count: MoodCount) -> bool:
        """Add to what stands in that hour. Of fewer than `MIN_AUTHORS` people, or in a channel that is not sampled
        (any more), nothing is kept: False."""
        if count.authors < MIN_AUTHORS:
            return False
        return await self._steps.write(_add_count, channel_id, count)

    async def counts(self, channel_id: int, first_hour: int, last_hour: int) -> tuple[MoodCount, ...]:
        """What began in these hours (both included), oldest first."""
        return await self._steps.read(_counts, channel_id, first_hour, last_hour)

    async def forget_before(self, hour: int) -> int:
        """Delete older counts; how many."""
        return await self._steps.write(_forget_before, hour)

    async def opt_out(self, user_id: int) -> str:
        """This person's messages are to be counted nowhere; their key."""
        return await self._steps.write(_opt_out, self._person_key(user_id))

    async def opt_in(self, user_id: int) -> str:
        """They may be counted again; their key."""
        return await self._steps.write(_opt_in, self._person_key(user_id))

    async def opted_out(self) -> frozenset[str]:
        """The keys of all who opted out."""
        return await self._steps.read(_opted_out)


async def _sample(
    connection: AsyncConnection, channel_id: int, guild_id: int, alert_channel_id: int | None, *, now: float
) -> MoodChannel:
    here = mood_channels.c.channel_id == channel_id
    changed = await connection.execute(
        sa.update(mood_channels).where(here).values(alert_channel_id=alert_channel_id, alerted=False)
    )
    if not changed.rowcount:
        held = sa.select(sa.func.count()).where(mood_channels.c.guild_id == guild_id)
        if (await connection.execute(held)).scalar_one() >= MAX_CHANNELS:
            raise TooManyChannelsError
        await connection.execute(
            sa.insert(mood_channels).values(
                channel_id=channel_id, guild_id=guild_id, alert_channel_id=alert_channel_id, alerted=False, since=now
            )
        )
    return (await _channels(connection, here))[0]


async def _stop(connection: AsyncConnection, which: sa.ColumnElement[bool], *, now: float) -> int:
    return (await connection.execute(sa.delete(mood_channels).where(which))).rowcount


async def _channels(connection: AsyncConnection, which: sa.ColumnElement[bool]) -> tuple[MoodChannel, ...]:
    query = sa.select(mood_channels).where(which).order_by(mood_channels.c.since, mood_channels.c.channel_id)
    return tuple(MoodChannel(**row) for row in (await connection.execute(query)).mappings())


async def _set_alerted(connection: AsyncConnection, channel_id: int, alerted: bool, *, now: float) -> None:
    await connection.execute(
        sa.update(mood_channels).where(mood_channels.c.channel_id == channel_id).values(alerted=alerted)
    )


async def _add_count(connection: AsyncConnection, channel_id: int, count: MoodCount, *, now: float) -> bool:
    if not await _channels(connection, mood_channels.c.channel_id == channel_id):
        return False
    here = sa.and_(mood_counts.c.channel_id == channel_id, mood_counts.c.hour == count.hour)
    row = (await connection.execute(sa.select(mood_counts).where(here))).mappings().first()
    values: dict[str, Any] = {name: getattr(count, name) for name in _COUNT}
    if row is not None:  # Inkwell was started again within the hour; the same people may have come back
        values = {name: values[name] + row[name] for name in _SUMMED} | {
            name: max(values[name], row[name]) for name in ("hours", "authors")
        }
        await connection.execute(sa.update(mood_counts).where(here).values(**values))
    else:
        await connection.execute(sa.insert(mood_counts).values(channel_id=channel_id, **values))
    return True


_SUMMED = ("negative", "neutral", "positive", "unsure", "skipped")
_COUNT = ("hour", "hours", *_SUMMED, "authors")


async def _counts(
    connection: AsyncConnection, channel_id: int, first_hour: int, last_hour: int
) -> tuple[MoodCount, ...]:
    query = (
        sa.select(*(mood_counts.c[name] for name in _COUNT))
        .where(mood_counts.c.channel_id == channel_id, mood_counts.c.hour.between(first_hour, last_hour))
        .order_by(mood_counts.c.hour)
    )
    return tuple(MoodCount(**row) for row in (await connection.execute(query)).mappings())


async def _forget_before(connection: AsyncConnection, hour: int, *, now: float) -> int:
    return (await connection.execute(sa.delete(mood_counts).where(mood_counts.c.hour < hour))).rowcount


async def _opt_out(connection: AsyncConnection, author_key: str, *, now: float) -> str:
    await _opt_in(connection, author_key, now=now)
    await connection.execute(sa.insert(mood_optouts).values(author_key=author_key, since=now))
    return author_key


async def _opt_in(connection: AsyncConnection, author_key: str, *, now: float) -> str:
    await connection.execute(sa.delete(mood_optouts).where(mood_optouts.c.author_key == author_key))
    return author_key


async def _opted_out(connection: AsyncConnection) -> frozenset[str]:
    return frozenset((await connection.execute(sa.select(mood_optouts.c.author_key))).scalars())
