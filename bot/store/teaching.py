"""The texts that a server's voice was taught, in SQL: kept so that one of them can be forgotten. Each function is one
step of somebody's transaction. Knows no model and no file of a voice.

A text in state 'learning' may or may not be in the voice; one in state 'forgetting' may still be in it, though its
words are gone from here. Both last for as long as the voice is being taught; after a crash they say what to repair.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store.errors import TaughtTextNotFoundError, TaughtTooMuchError
from bot.store.ids import new_id
from bot.store.rows import TaughtSource, TaughtText
from bot.store.schema import taught_texts

MAX_TEXTS = 100  # of one server
MAX_CHARACTERS = 10_000_000  # of one server; forgetting one text reads all others again

_SHOWN = [column for column in taught_texts.columns if column.name != "text"]


async def add(
    connection: AsyncConnection,
    *,
    guild_id: int,
    author_key: str,
    source: TaughtSource,
    title: str,
    text: str,
    now: float,
) -> TaughtText:
    """Keep a text that is about to be learned. Raises TaughtTooMuchError."""
    held = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(taught_texts.c.characters), 0)).where(
        taught_texts.c.guild_id == guild_id, taught_texts.c.state != "forgetting"
    )
    texts, characters = (await connection.execute(held)).one()
    if texts >= MAX_TEXTS or characters + len(text) > MAX_CHARACTERS:
        raise TaughtTooMuchError(texts, characters)
    text_id = new_id()
    await connection.execute(
        sa.insert(taught_texts).values(
            id=text_id,
            guild_id=guild_id,
            author_key=author_key,
            source=source,
            title=title,
            text=text,
            characters=len(text),
            state="learning",
            created_at=now,
        )
    )
    return await get(connection, guild_id, text_id)


async def get(connection: AsyncConnection, guild_id: int, text_id: str) -> TaughtText:
    """Raises TaughtTextNotFoundError, also for another server's text and one that is being forgotten."""
    query = sa.select(*_SHOWN).where(
        taught_texts.c.id == text_id, taught_texts.c.guild_id == guild_id, taught_texts.c.state != "forgetting"
    )
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        raise TaughtTextNotFoundError(text_id)
    return TaughtText(**row)


async def all_of(connection: AsyncConnection, guild_id: int) -> tuple[TaughtText, ...]:
    """What the server's voice was taught, newest first, without the words."""
    query = (
        sa.select(*_SHOWN)
        .where(taught_texts.c.guild_id == guild_id, taught_texts.c.state != "forgetting")
        .order_by(taught_texts.c.id.desc())
    )
    return tuple(TaughtText(**row) for row in (await connection.execute(query)).mappings())


async def words_of(connection: AsyncConnection, guild_id: int) -> tuple[str, ...]:
    """The words of every text that the voice is to know, in the order in which they were taught."""
    query = (
        sa.select(taught_texts.c.text)
        .where(taught_texts.c.guild_id == guild_id, taught_texts.c.state != "forgetting")
        .order_by(taught_texts.c.id)
    )
    return tuple((await connection.execute(query)).scalars())


async def begin_forgetting(connection: AsyncConnection, guild_id: int, text_id: str, *, now: float) -> TaughtText:
    """Drop the words at once; the row stays until the voice was learned again. Raises TaughtTextNotFoundError."""
    found = await get(connection, guild_id, text_id)
    await connection.execute(
        sa.update(taught_texts).where(taught_texts.c.id == text_id).values(state="forgetting", text="")
    )
    return found


async def forgetting(connection: AsyncConnection, guild_id: int) -> tuple[str, ...]:
    """The ids of texts that the voice may still know."""
    query = sa.select(taught_texts.c.id).where(
        taught_texts.c.guild_id == guild_id, taught_texts.c.state == "forgetting"
    )
    return tuple((await connection.execute(query)).scalars())


async def settle(connection: AsyncConnection, guild_id: int, forgotten: Sequence[str], *, now: float) -> None:
    """The voice knows the texts that it is to know, and `forgotten` no more. What began to be forgotten while it was
    learning may be in it: that stays unsettled."""
    here = taught_texts.c.guild_id == guild_id
    await connection.execute(
        sa.delete(taught_texts).where(
            here, taught_texts.c.state == "forgetting", taught_texts.c.id.in_(tuple(forgotten))
        )
    )
    await connection.execute(
        sa.update(taught_texts).where(here, taught_texts.c.state == "learning").values(state="learned")
    )


async def unsettled(connection: AsyncConnection) -> tuple[int, ...]:
    """Servers whose voice may know too much or too little."""
    query = sa.select(taught_texts.c.guild_id).where(taught_texts.c.state != "learned").distinct()
    return tuple((await connection.execute(query.order_by(taught_texts.c.guild_id))).scalars())
