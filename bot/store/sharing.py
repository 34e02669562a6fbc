"""Whose words in stories may train, in SQL: general and for one story. Each function is one step of somebody's
transaction. Knows people only by their key.

A turn is shared when it is written by somebody whose level is training, unless they keep that story apart; or when they
say so for its story. It is shared no more when they say otherwise, when its time is over, or when it is gone.
"""

from typing import Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store.errors import StoryNotFoundError
from bot.store.records import story_of
from bot.store.rows import Story
from bot.store.schema import consents, stories, turns
from bot.store.schema_sharing import left_members, servers, shared_turns, story_choices, withdrawals

ConsentLevel = Literal["private", "library", "training"]

STORY_WORDING = 2  # the first words of consent that speak of stories: who agreed to older ones agreed to less


class Consent(Struct, frozen=True, kw_only=True):
    """Somebody's general level. `wording` is the version of the words to which they agreed, 0 when they were asked and
    said nothing yet; `since` Unix seconds."""

    level: ConsentLevel
    since: float
    wording: int


class Choice(Struct, frozen=True, kw_only=True):
    """What somebody's words in one story may be used for. `own`: they said so for this story."""

    story: Story
    level: ConsentLevel
    own: bool
    turns: int  # of theirs in it, not undone
    shared: int  # of those


class Withdrawal(Struct, frozen=True, kw_only=True):
    """Somebody took words back (`erased`: all of theirs), and not everybody who may know them was told yet."""

    author_key: str
    erased: bool
    at: float


async def share_new(connection: AsyncConnection, *, turn_id: str, story_id: str, author_key: str, now: float) -> None:
    """Share the turn that its author just wrote, where they agreed to that."""
    mine = sa.and_(story_choices.c.author_key == author_key, story_choices.c.story_id == story_id)
    choice = (await connection.execute(sa.select(story_choices.c.level).where(mine))).scalar()
    if choice is None:
        person = await consent_of(connection, author_key)
        if person is None or person.level != "training" or person.wording < STORY_WORDING:
            return
        choice = person.level
        await connection.execute(
            sa.insert(story_choices).values(
                author_key=author_key, story_id=story_id, level=choice, own=False, since=now, wording=person.wording
            )
        )
    if choice == "training":
        await connection.execute(
            sa.insert(shared_turns).values(
                turn_id=turn_id, story_id=story_id, author_key=author_key, level=choice, since=now
            )
        )


async def choose(
    connection: AsyncConnection,
    author_key: str,
    story_id: str,
    level: ConsentLevel,
    *,
    wording: int,
    allowed: bool,
    now: float,
) -> Choice:
    """Decide for all of one's words in a story, earlier ones too. `allowed`: words may train here at all. Raises
    StoryNotFoundError, also for a story in which they wrote nothing."""
    before = await choice_of(connection, author_key, story_id)
    # Deleted, not changed: what the former choice allowed goes with it.
    await connection.execute(
        sa.delete(story_choices).where(story_choices.c.author_key == author_key, story_choices.c.story_id == story_id)
    )
    await connection.execute(
        sa.insert(story_choices).values(
            author_key=author_key, story_id=story_id, level=level, own=True, since=now, wording=wording
        )
    )
    await _fit_consent(connection, author_key, now=now)
    if level == "training" and allowed:
        theirs = sa.select(
            turns.c.id, turns.c.story_id, turns.c.author_key, sa.literal("training"), sa.literal(now)
        ).where(turns.c.author_key == author_key, turns.c.story_id == story_id, sa.not_(turns.c.undone))
        columns = ["turn_id", "story_id", "author_key", "level", "since"]
        await connection.execute(sa.insert(shared_turns).from_select(columns, theirs))
    after = await choice_of(connection, author_key, story_id)
    if after.shared < before.shared:
        await note_withdrawal(connection, author_key, now=now)
    return after


async def choice_of(connection: AsyncConnection, author_key: str, story_id: str) -> Choice:
    """Raises StoryNotFoundError, also for a story in which they wrote nothing."""
    found = await choices(connection, author_key, stories.c.id == story_id, limit=1)
    if not found:
        raise StoryNotFoundError(story_id)
    return found[0]


async def choices(
    connection: AsyncConnection, author_key: str, which: sa.ColumnElement[bool], limit: int
) -> tuple[Choice, ...]:
    """The stories in which somebody wrote, the one that changed last first."""
    mine = sa.and_(turns.c.author_key == author_key, turns.c.story_id == stories.c.id, sa.not_(turns.c.undone))
    written = sa.select(sa.func.count()).select_from(turns).where(mine).scalar_subquery()
    shared = (
        sa.select(sa.func.count())
        .select_from(shared_turns)
        .where(shared_turns.c.author_key == author_key, shared_turns.c.story_id == stories.c.id)
        .scalar_subquery()
    )
    general = sa.func.coalesce(consents.c.general, consents.c.level)
    level = sa.select(general).where(consents.c.author_key == author_key).scalar_subquery()
    query = (
        sa.select(
            stories,
            story_choices.c.level,
            story_choices.c.own,
            level.label("general"),
            written.label("written"),
            shared.label("shared"),
        )
        .join(
            story_choices,
            sa.and_(story_choices.c.story_id == stories.c.id, story_choices.c.author_key == author_key),
            isouter=True,
        )
        .where(stories.c.id.in_(sa.select(turns.c.story_id).where(turns.c.author_key == author_key)), which)
        .order_by(stories.c.updated_at.desc(), stories.c.id.desc())
        .limit(limit)
    )
    found = []
    for row in (await connection.execute(query)).mappings():
        chosen: ConsentLevel | None = row[story_choices.c.level]
        found.append(
            Choice(
                story=story_of(row),
                level=chosen or row["general"] or "private",
                own=bool(row[story_choices.c.own]),
                turns=row["written"],
                shared=row["shared"],
            )
        )
    return tuple(found)


async def set_level(
    connection: AsyncConnection, author_key: str, level: ConsentLevel, *, wording: int, now: float
) -> None:
    """The general level from now on. Any but training takes back all that was shared, also in stories that they chose;
    a story that they keep apart stays so."""
    here = consents.c.author_key == author_key
    held = (await connection.execute(sa.select(consents.c.level, consents.c.general).where(here))).first()
    if level != "training":
        await connection.execute(
            sa.delete(story_choices).where(
                story_choices.c.author_key == author_key, story_choices.c.level == "training"
            )
        )
    if held is not None and held.level == level:
        since = {"since": now} if held.general is not None else {}
        await connection.execute(sa.update(consents).where(here).values(wording=wording, general=None, **since))
    else:
        await _replace_consent(connection, author_key, level, since=now, wording=wording)


async def consent_of(connection: AsyncConnection, author_key: str) -> Consent | None:
    """Somebody's general level."""
    level = sa.func.coalesce(consents.c.general, consents.c.level).label("level")
    query = sa.select(level, consents.c.since, consents.c.wording).where(consents.c.author_key == author_key)
    row = (await connection.execute(query)).mappings().first()
    return None if row is None else Consent(**row)


async def _fit_consent(connection: AsyncConnection, author_key: str, *, now: float) -> None:
    """What hangs on a consent to training finds one as long as a story is chosen for it, whatever the general level."""
    here = consents.c.author_key == author_key
    held = (await connection.execute(sa.select(consents).where(here))).mappings().first()
    chosen = sa.select(story_choices.c.story_id).where(
        story_choices.c.author_key == author_key, story_choices.c.level == "training"
    )
    any_chosen = (await connection.execute(chosen.limit(1))).scalar() is not None
    if any_chosen and held is None:
        await connection.execute(
            sa.insert(consents).values(author_key=author_key, level="training", since=now, wording=0, general="private")
        )
    elif any_chosen and held is not None and held["level"] != "training":
        values = {"level": "training", "general": held["level"]}
        await connection.execute(sa.update(consents).where(here).values(**values))
    elif not any_chosen and held is not None and held["general"] is not None:
        await _replace_consent(connection, author_key, held["general"], since=held["since"], wording=held["wording"])


async def _replace_consent(
    connection: AsyncConnection, author_key: str, level: ConsentLevel, *, since: float, wording: int
) -> None:
    """Deleted, not changed: what the former level allowed goes with it."""
    await connection.execute(sa.delete(consents).where(consents.c.author_key == author_key))
    await connection.execute(
        sa.insert(consents).values(author_key=author_key, level=level, since=since, wording=wording)
    )


async def count_of(connection: AsyncConnection, author_key: str) -> int:
    """How many of somebody's turns are shared."""
    query = sa.select(sa.func.count()).select_from(shared_turns).where(shared_turns.c.author_key == author_key)
    return int((await connection.execute(query)).scalar_one())


async def note_withdrawal(connection: AsyncConnection, author_key: str, *, erased: bool = False, now: float) -> None:
    """Runs and versions have to be told; an erasure stays one."""
    here = withdrawals.c.author_key == author_key
    before = (await connection.execute(sa.select(withdrawals.c.erased).where(here))).scalar()
    await connection.execute(sa.delete(withdrawals).where(here))
    await connection.execute(
        sa.insert(withdrawals).values(author_key=author_key, erased=erased or bool(before), at=now)
    )


async def pending(connection: AsyncConnection) -> tuple[Withdrawal, ...]:
    """Withdrawals that not everybody was told of."""
    query = sa.select(withdrawals).order_by(withdrawals.c.at, withdrawals.c.author_key)
    return tuple(Withdrawal(**row) for row in (await connection.execute(query)).mappings())


async def settled(connection: AsyncConnection, told: Withdrawal, *, now: float) -> None:
    """Everybody was told of this one; a later one of the same person stays."""
    await connection.execute(
        sa.delete(withdrawals).where(withdrawals.c.author_key == told.author_key, withdrawals.c.at == told.at)
    )


async def forget_before(connection: AsyncConnection, when: float, *, now: float) -> int:
    """What was shared before that is shared no more; how many turns."""
    return (await connection.execute(sa.delete(shared_turns).where(shared_turns.c.since < when))).rowcount


# Who left


async def here_now(connection: AsyncConnection, guild_ids: frozenset[int], *, complete: bool, now: float) -> None:
    """Inkwell is in these servers. If they are all (`complete`), it left others that it knew, now at the latest."""
    known = {row.guild_id: row.left_at for row in await connection.execute(sa.select(servers))}
    for guild_id in known.keys() - guild_ids:
        if complete and known[guild_id] is None:
            await left(connection, guild_id, now=now)
    for guild_id in guild_ids:
        if guild_id not in known or known[guild_id] is not None:
            await joined(connection, guild_id, now=now)


async def joined(connection: AsyncConnection, guild_id: int, *, now: float) -> None:
    """Inkwell is in this server (again)."""
    await connection.execute(sa.delete(servers).where(servers.c.guild_id == guild_id))
    await connection.execute(sa.insert(servers).values(guild_id=guild_id, left_at=None))


async def left(connection: AsyncConnection, guild_id: int, *, now: float) -> None:
    """Inkwell is in this server no more."""
    await connection.execute(sa.delete(servers).where(servers.c.guild_id == guild_id))
    await connection.execute(sa.insert(servers).values(guild_id=guild_id, left_at=now))


async def member_left(connection: AsyncConnection, guild_id: int, author_key: str, *, now: float) -> None:
    """Somebody is in this server no more. Noted only where they share anything."""
    await member_joined(connection, guild_id, author_key, now=now)
    there = (
        sa.select(stories.c.id)
        .join(story_choices, story_choices.c.story_id == stories.c.id)
        .where(
            stories.c.guild_id == guild_id,
            story_choices.c.author_key == author_key,
            story_choices.c.level == "training",
        )
    )
    if (await connection.execute(there.limit(1))).scalar() is None:
        return
    await connection.execute(sa.insert(left_members).values(guild_id=guild_id, author_key=author_key, left_at=now))


async def member_joined(connection: AsyncConnection, guild_id: int, author_key: str, *, now: float) -> None:
    """They are (again)."""
    await connection.execute(
        sa.delete(left_members).where(left_members.c.guild_id == guild_id, left_members.c.author_key == author_key)
    )


async def end_departed(connection: AsyncConnection, when: float, *, now: float) -> int:
    """Take back what was shared in servers that Inkwell left before `when`, and by members who left them before; how
    many turns."""
    gone_servers = sa.select(servers.c.guild_id).where(servers.c.left_at < when)
    gone_members = sa.select(sa.literal(1)).where(
        left_members.c.guild_id == stories.c.guild_id,
        left_members.c.author_key == story_choices.c.author_key,
        left_members.c.left_at < when,
    )
    choice_there = sa.select(story_choices.c.author_key, story_choices.c.story_id).where(
        story_choices.c.level == "training",
        story_choices.c.story_id == stories.c.id,
        sa.or_(stories.c.guild_id.in_(gone_servers), sa.exists(gone_members)),
    )
    pairs = [tuple(row) for row in await connection.execute(choice_there)]
    ended = 0
    for author_key, story_id in pairs:
        here = sa.and_(story_choices.c.author_key == author_key, story_choices.c.story_id == story_id)
        gone = sa.and_(shared_turns.c.author_key == author_key, shared_turns.c.story_id == story_id)
        ended += (await connection.execute(sa.delete(shared_turns).where(gone))).rowcount
        await connection.execute(sa.delete(story_choices).where(here))
    for author_key in sorted({author_key for author_key, _ in pairs}):
        await _fit_consent(connection, author_key, now=now)
        await note_withdrawal(connection, author_key, now=now)
    await connection.execute(sa.delete(servers).where(servers.c.left_at < when))
    await connection.execute(sa.delete(left_members).where(left_members.c.left_at < when))
    return ended
