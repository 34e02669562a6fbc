"""The story tree in SQL: paths, alternatives, new turns, undo. Each function is one step of somebody's transaction.
Knows no Discord and no model.

What holds after every transaction: a story's head is a turn of it with text, not undone; what stands on an undone turn
is undone too; an open turn's ancestors are not undone; under one turn at most one turn is open.
"""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store.errors import (
    NothingToUndoError,
    NotYoursError,
    StoryNotFoundError,
    TurnBusyError,
    TurnNotFoundError,
    TurnUndoneError,
    TurnWithoutTextError,
)
from bot.store.records import story_of, turn_of
from bot.store.rows import Story, Turn, TurnKind, Undone
from bot.store.schema import jobs, stories, turns

MAX_PATH_TURNS = 10_000  # bounds the walk to the root; no context window holds as many


async def story(connection: AsyncConnection, story_id: str) -> Story:
    """Raises StoryNotFoundError."""
    row = (await connection.execute(sa.select(stories).where(stories.c.id == story_id))).mappings().first()
    if row is None:
        raise StoryNotFoundError(story_id)
    return story_of(row)


async def story_of_turn(connection: AsyncConnection, turn_id: str, *, lock: bool = False) -> Story:
    """The story that the turn belongs to; `lock` makes every other change of it wait. Raises TurnNotFoundError."""
    query = sa.select(stories).join(turns, turns.c.story_id == stories.c.id).where(turns.c.id == turn_id)
    if lock:  # says nothing to SQLite, whose write transactions exclude each other anyway
        query = query.with_for_update(of=stories)
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        raise TurnNotFoundError(turn_id)
    return story_of(row)


async def latest_story(connection: AsyncConnection, channel_id: int) -> Story | None:
    """The story of a channel that changed last."""
    query = (
        sa.select(stories)
        .where(stories.c.channel_id == channel_id)
        .order_by(stories.c.updated_at.desc(), stories.c.id.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).mappings().first()
    return None if row is None else story_of(row)


async def stories_of(connection: AsyncConnection, guild_id: int, person_key: str, limit: int) -> tuple[Story, ...]:
    """The newest `limit` stories that this person began in a server, the one that changed last first."""
    query = (
        sa.select(stories)
        .where(stories.c.guild_id == guild_id, stories.c.author_key == person_key)
        .order_by(stories.c.updated_at.desc(), stories.c.id.desc())
        .limit(limit)
    )
    return tuple(story_of(row) for row in (await connection.execute(query)).mappings())


async def turn(connection: AsyncConnection, turn_id: str) -> Turn:
    """Raises TurnNotFoundError."""
    row = (await connection.execute(sa.select(turns).where(turns.c.id == turn_id))).mappings().first()
    if row is None:
        raise TurnNotFoundError(turn_id)
    return turn_of(row)


async def path(connection: AsyncConnection, turn_id: str, limit: int = MAX_PATH_TURNS) -> tuple[Turn, ...]:
    """The turns from the root to `turn_id`, or the last `limit` of them. Raises TurnNotFoundError."""
    here = (
        sa.select(turns.c.id, turns.c.parent_id, sa.literal(1, sa.Integer).label("steps"))
        .where(turns.c.id == turn_id)
        .cte("ancestry", recursive=True)
    )
    above = sa.select(turns.c.id, turns.c.parent_id, here.c.steps + 1).where(
        turns.c.id == here.c.parent_id, here.c.steps < limit
    )
    ancestry = here.union_all(above)
    query = sa.select(turns).join(ancestry, ancestry.c.id == turns.c.id).order_by(ancestry.c.steps.desc())
    rows = (await connection.execute(query)).mappings().all()
    if not rows:
        raise TurnNotFoundError(turn_id)
    return tuple(turn_of(row) for row in rows)


async def alternatives(connection: AsyncConnection, turn_id: str) -> tuple[Turn, ...]:
    """The turn and its siblings of the same kind that have text and are not undone, oldest first: what ◀ ▶ leaf
    through. The turn itself is left out where it has no text or is undone. Raises TurnNotFoundError."""
    me = await turn(connection, turn_id)
    siblings = turns.c.id == me.id if me.parent_id is None else turns.c.parent_id == me.parent_id
    query = (
        sa.select(turns)
        .where(siblings, turns.c.kind == me.kind, turns.c.text != "", sa.not_(turns.c.undone))
        .order_by(turns.c.id)
    )
    return tuple(turn_of(row) for row in (await connection.execute(query)).mappings())


async def add_turn(
    connection: AsyncConnection,
    *,
    turn_id: str,
    story_id: str,
    parent_id: str | None,
    kind: TurnKind,
    now: float,
    author_key: str | None = None,
    text: str = "",
) -> None:
    """Insert a finished prompt, or an open continuation."""
    done = kind == "prompt"
    await connection.execute(
        sa.insert(turns).values(
            id=turn_id,
            story_id=story_id,
            parent_id=parent_id,
            author_key=author_key,
            kind=kind,
            text=text,
            state="done" if done else "open",
            undone=False,
            message_ids=[],
            created_at=now,
            finished_at=now if done else None,
        )
    )


async def move_head(connection: AsyncConnection, story_id: str, turn_id: str, now: float) -> None:
    """Make `turn_id` the place where the story goes on."""
    await connection.execute(
        sa.update(stories).where(stories.c.id == story_id).values(head_turn_id=turn_id, updated_at=now)
    )


async def require_continuable(connection: AsyncConnection, turn: Turn, head_turn_id: str) -> None:
    """Guard of what is about to grow on `turn`. Raises TurnUndoneError; TurnBusyError where it is being written, or
    its continuation is; TurnWithoutTextError."""
    if turn.undone:
        raise TurnUndoneError(turn.id, head_turn_id)
    if turn.state == "open":
        raise TurnBusyError(turn.id)
    if not turn.text:
        raise TurnWithoutTextError(turn.id)
    # A member's own words may stand between: those and their open continuation are one act.
    between = sa.select(turns.c.id).where(turns.c.parent_id == turn.id, turns.c.kind == "prompt")
    query = (
        sa.select(turns.c.id)
        .where(sa.or_(turns.c.parent_id == turn.id, turns.c.parent_id.in_(between)), turns.c.state == "open")
        .limit(1)
    )
    busy = (await connection.execute(query)).scalar()
    if busy is not None:
        raise TurnBusyError(busy)


async def is_owner(connection: AsyncConnection, turn_id: str, *, person_key: str) -> bool:
    """Whether this person began the story, wrote the turn, or asked for it. Raises TurnNotFoundError."""
    query = (
        sa.select(stories.c.author_key, turns.c.author_key, jobs.c.user_key)
        .join(turns, turns.c.story_id == stories.c.id)
        .join(jobs, jobs.c.turn_id == turns.c.id, isouter=True)
        .where(turns.c.id == turn_id)
    )
    row = (await connection.execute(query)).first()
    if row is None:
        raise TurnNotFoundError(turn_id)
    return person_key in row


async def undo(connection: AsyncConnection, turn_id: str, *, person_key: str, moderator: bool, now: float) -> Undone:
    """Mark the turn, and what stands on it, undone; where that takes the head, move it to the turn before.
    Raises TurnNotFoundError, NotYoursError, NothingToUndoError, TurnBusyError."""
    story_before = await story_of_turn(connection, turn_id, lock=True)
    target = await turn(connection, turn_id)
    if not moderator and not await is_owner(connection, turn_id, person_key=person_key):
        raise NotYoursError(turn_id)
    if target.undone:
        head = await turn(connection, story_before.head_turn_id)
        return Undone(story=story_before, turn=target, head=head, changed=False)
    if target.parent_id is None:
        raise NothingToUndoError(turn_id)

    top = sa.select(turns.c.id).where(turns.c.id == turn_id).cte("subtree", recursive=True)
    subtree = top.union_all(sa.select(turns.c.id).where(turns.c.parent_id == top.c.id))
    inside = turns.c.id.in_(sa.select(subtree.c.id))
    busy = (await connection.execute(sa.select(turns.c.id).where(inside, turns.c.state == "open").limit(1))).scalar()
    if busy is not None:
        raise TurnBusyError(busy)
    takes_head = (
        await connection.execute(sa.select(turns.c.id).where(inside, turns.c.id == story_before.head_turn_id))
    ).scalar()
    await connection.execute(sa.update(turns).where(inside).values(undone=True))
    if takes_head is not None:
        await move_head(connection, story_before.id, target.parent_id, now)

    after = await story(connection, story_before.id)
    return Undone(
        story=after,
        turn=await turn(connection, turn_id),
        head=await turn(connection, after.head_turn_id),
        changed=True,
    )
