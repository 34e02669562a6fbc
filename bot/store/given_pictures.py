"""Drawings that people gave to train on, in SQL. Knows no picture from inside and people only by their key.

A drawing hangs on its giver's consent: without one it can't be kept, and it goes when that goes.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store import sharing
from bot.store.errors import GivenPictureNotFoundError, TooManyGivenError
from bot.store.ids import new_id
from bot.store.people import ConsentMissingError
from bot.store.schema_sharing import given_pictures
from bot.store.steps import Steps

MAX_GIVEN = 50  # of one person: nobody is to teach the model alone


@dataclass(frozen=True, kw_only=True)
class GivenPicture:
    """`png` of 16x16 pixels."""

    id: str
    png: bytes
    created_at: float


@dataclass(frozen=True, kw_only=True)
class Gift:
    """What came of giving. `again`: they had given this drawing before; `count`: how many of theirs are kept."""

    picture: GivenPicture
    again: bool
    count: int


class GivenPictures:
    """`user_id` is Discord's; errors as of `Store`."""

    def __init__(self, steps: Steps, person_key: Callable[[int], str]) -> None:
        self._steps, self._person_key = steps, person_key

    async def give(self, user_id: int, png: bytes) -> Gift:
        """Keep a drawing. Raises ConsentMissingError, TooManyGivenError."""
        return await self._steps.write(_give, self._person_key(user_id), png)

    async def of(self, user_id: int) -> tuple[GivenPicture, ...]:
        """What somebody gave, oldest first."""
        return await self._steps.read(_of, self._person_key(user_id))

    async def take_back(self, user_id: int, picture_id: str | None = None) -> int:
        """Delete one of one's drawings, or all of them; how many. Training hears of it as of a withdrawal. Raises
        GivenPictureNotFoundError."""
        return await self._steps.write(_take_back, self._person_key(user_id), picture_id)

    async def forget_before(self, when: float) -> int:
        """Delete older ones; how many."""
        return await self._steps.write(_forget_before, when)


async def _give(connection: AsyncConnection, author_key: str, png: bytes, *, now: float) -> Gift:
    held = await sharing.consent_of(connection, author_key)
    if held is None or held.level != "training":
        raise ConsentMissingError
    mine = given_pictures.c.author_key == author_key
    digest = hashlib.blake2b(png, digest_size=32).hexdigest()
    count = await count_of(connection, author_key)
    before = await _pictures(connection, sa.and_(mine, given_pictures.c.digest == digest))
    if before:
        return Gift(picture=before[0], again=True, count=count)
    if count >= MAX_GIVEN:
        raise TooManyGivenError
    picture = GivenPicture(id=new_id(), png=png, created_at=now)
    await connection.execute(
        sa.insert(given_pictures).values(
            id=picture.id, author_key=author_key, level="training", digest=digest, png=png, created_at=now
        )
    )
    return Gift(picture=picture, again=False, count=count + 1)


async def _of(connection: AsyncConnection, author_key: str) -> tuple[GivenPicture, ...]:
    return await _pictures(connection, given_pictures.c.author_key == author_key)


async def _pictures(connection: AsyncConnection, which: sa.ColumnElement[bool]) -> tuple[GivenPicture, ...]:
    query = (
        sa.select(given_pictures.c.id, given_pictures.c.png, given_pictures.c.created_at)
        .where(which)
        .order_by(given_pictures.c.id)
    )
    return tuple(GivenPicture(**row) for row in (await connection.execute(query)).mappings())


async def count_of(connection: AsyncConnection, author_key: str) -> int:
    """How many drawings of somebody are kept."""
    query = sa.select(sa.func.count()).select_from(given_pictures).where(given_pictures.c.author_key == author_key)
    return int((await connection.execute(query)).scalar_one())


async def _take_back(connection: AsyncConnection, author_key: str, picture_id: str | None, *, now: float) -> int:
    which = [given_pictures.c.author_key == author_key]
    if picture_id is not None:
        which.append(given_pictures.c.id == picture_id)
    gone = (await connection.execute(sa.delete(given_pictures).where(*which))).rowcount
    if not gone:
        raise GivenPictureNotFoundError
    await sharing.note_withdrawal(connection, author_key, now=now)
    return gone


async def _forget_before(connection: AsyncConnection, when: float, *, now: float) -> int:
    return (await connection.execute(sa.delete(given_pictures).where(given_pictures.c.created_at < when))).rowcount
