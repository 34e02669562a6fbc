"""Removes one person from the tables, in one transaction. Knows them only by their key.

Their words go everywhere. A story in which nobody else wrote goes whole. In a story with others the others keep their
words and the model's: the erased turn stays as `ERASED` in its place, so that the rest can still be read and continued.
Their votes go.
Receipts of their pictures go, and the faces in stories that were made of those or attached by them. Their key stays
in one row, until training runs and model versions were told (`sharing.pending`).
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store import ballots, portraits, sharing, training_runs
from bot.store.errors import TurnBusyError
from bot.store.schema import consents, jobs, mood_corrections, stories, taught_texts, turns
from bot.store.schema_sharing import given_pictures, left_members, story_choices

ERASED = "…"  # of an erased turn and title; the schema wants a prompt to have a text
NOBODY = "erased"  # in place of a key


@dataclass(frozen=True, kw_only=True)
class Erased:
    """How much was removed. The voices of `guilds` still know a text and have to be learned again."""

    stories: int  # whole ones
    turns: int  # blanked in stories with others
    taught: int
    corrections: int
    pictures: int
    given: int  # drawings
    shared: int  # turns that might train
    guilds: tuple[int, ...]


async def erase(connection: AsyncConnection, author_key: str, *, now: float) -> Erased:
    """Raises TurnBusyError when a story of theirs is being written right now; nothing is changed then."""
    theirs = await _ids(
        connection,
        sa.union(
            sa.select(stories.c.id).where(stories.c.author_key == author_key),
            sa.select(turns.c.story_id).where(turns.c.author_key == author_key),
        ),
    )
    await _require_quiet(connection, author_key)
    shared = await sharing.count_of(connection, author_key)
    # Before the turns: a shared one is held to its author.
    await connection.execute(sa.delete(story_choices).where(story_choices.c.author_key == author_key))
    await connection.execute(sa.delete(left_members).where(left_members.c.author_key == author_key))
    await sharing.note_withdrawal(connection, author_key, erased=True, now=now)
    with_others = await _ids(
        connection,
        sa.select(turns.c.story_id)
        .where(turns.c.kind == "prompt", sa.func.coalesce(turns.c.author_key, NOBODY) != author_key)
        .distinct(),
        among=theirs,
    )
    alone = theirs - with_others
    for story_id in sorted(alone):
        await connection.execute(sa.delete(stories).where(stories.c.id == story_id))
    blanked = await connection.execute(
        sa.update(turns).where(turns.c.author_key == author_key).values(text=ERASED, author_key=None)
    )
    await connection.execute(
        sa.update(stories).where(stories.c.author_key == author_key).values(title=ERASED, author_key=NOBODY)
    )
    await connection.execute(sa.update(jobs).where(jobs.c.user_key == author_key).values(user_key=NOBODY))
    await training_runs.forget_person(connection, author_key)
    await ballots.forget_person(connection, author_key)
    taught = sa.and_(taught_texts.c.author_key == author_key, taught_texts.c.state != "forgetting")
    guilds = tuple((await connection.execute(sa.select(taught_texts.c.guild_id).where(taught).distinct())).scalars())
    forgetting = await connection.execute(
        sa.update(taught_texts).where(taught).values(state="forgetting", text="", title="", author_key=NOBODY)
    )
    mine = mood_corrections.c.author_key == author_key
    corrections = (
        await connection.execute(sa.select(sa.func.count()).select_from(mood_corrections).where(mine))
    ).scalar_one()
    drawings = sa.select(sa.func.count()).where(given_pictures.c.author_key == author_key)
    given = (await connection.execute(drawings)).scalar_one()
    await connection.execute(sa.delete(consents).where(consents.c.author_key == author_key))
    pictures = await portraits.erase(connection, author_key=author_key, now=now)
    return Erased(
        stories=len(alone),
        turns=blanked.rowcount,
        taught=forgetting.rowcount,
        corrections=corrections,
        pictures=pictures,
        given=given,
        shared=shared,
        guilds=guilds,
    )


async def _require_quiet(connection: AsyncConnection, author_key: str) -> None:
    """No story that holds their words, or that waits for an answer to them, is being written."""
    other = turns.alias("other")
    concerned = sa.or_(
        stories.c.author_key == author_key,
        jobs.c.user_key == author_key,
        sa.exists().where(other.c.story_id == stories.c.id, other.c.author_key == author_key),
    )
    query = (
        sa.select(turns.c.id)
        .join(stories, stories.c.id == turns.c.story_id)
        .join(jobs, jobs.c.turn_id == turns.c.id, isouter=True)
        .where(turns.c.state == "open", concerned)
        .limit(1)
    )
    busy = (await connection.execute(query)).scalar()
    if busy is not None:
        raise TurnBusyError(busy)


async def _ids(connection: AsyncConnection, query: sa.Executable, among: set[str] | None = None) -> set[str]:
    found = set((await connection.execute(query)).scalars())
    return found if among is None else found & among
