"""Receipts of pictures and verses and the faces of a story's characters, in SQL. Each function is one step of
somebody's transaction. Knows no model and no picture.
"""

import hashlib
import unicodedata
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store import tree
from bot.store.errors import (
    CastFullError,
    CharacterNotFoundError,
    FaceTakenError,
    PictureTooLargeError,
    ReceiptNotFoundError,
    ReceiptNotYoursError,
)
from bot.store.ids import short_code
from bot.store.rows import PortraitKind, Receipt, StoryCharacter
from bot.store.schema import portrait_receipts, story_characters
from models.serving.short_requests import MorphRequest, PortraitRequest, VerseRequest

MAX_RECEIPTS = 2_000  # of one person; the oldest that stand in no story are forgotten first
MAX_FACES = 25  # of one story: a square picture of five by five
MAX_PICTURE_BYTES = 1_048_576  # pixel art takes some kilobytes

_REQUESTS: dict[PortraitKind, type[PortraitRequest] | type[MorphRequest] | type[VerseRequest]] = {
    "portrait": PortraitRequest,
    "morph": MorphRequest,
    "verse": VerseRequest,
}
_FACE = [column for column in story_characters.columns if column.name != "name_key"]


async def add(
    connection: AsyncConnection,
    *,
    author_key: str,
    recipe: PortraitRequest | MorphRequest | VerseRequest,
    model_version: str,
    digest: str,
    now: float,
) -> Receipt:
    """Keep what reproduces a picture or a verse."""
    code = short_code()
    await connection.execute(
        sa.insert(portrait_receipts).values(
            code=code,
            kind=recipe.__struct_config__.tag,  # the kinds are the requests' own names
            author_key=author_key,
            recipe=msgspec.to_builtins(recipe),
            model_version=model_version,
            digest=digest,
            created_at=now,
        )
    )
    await _forget_oldest(connection, author_key)
    return await get(connection, code)


async def get(connection: AsyncConnection, code: str) -> Receipt:
    """Raises ReceiptNotFoundError."""
    query = sa.select(portrait_receipts).where(portrait_receipts.c.code == code)
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        raise ReceiptNotFoundError(code)
    return _receipt(row)


async def latest_of(connection: AsyncConnection, author_key: str, limit: int) -> tuple[Receipt, ...]:
    """A person's receipts, newest first."""
    query = (
        sa.select(portrait_receipts)
        .where(portrait_receipts.c.author_key == author_key)
        .order_by(portrait_receipts.c.created_at.desc(), portrait_receipts.c.code)
        .limit(limit)
    )
    return tuple(_receipt(row) for row in (await connection.execute(query)).mappings())


async def forget(connection: AsyncConnection, code: str, *, author_key: str, now: float) -> int:
    """Drop one receipt of this person and the faces made of it; how many faces. Raises ReceiptNotFoundError,
    ReceiptNotYoursError."""
    if (await get(connection, code)).author_key != author_key:
        raise ReceiptNotYoursError(code)
    faces = sa.select(sa.func.count()).where(story_characters.c.code == code)
    count: int = (await connection.execute(faces)).scalar_one()
    await connection.execute(sa.delete(portrait_receipts).where(portrait_receipts.c.code == code))
    return count


async def erase(connection: AsyncConnection, *, author_key: str, now: float) -> int:
    """Drop all that this person made or attached; how many receipts."""
    await connection.execute(sa.delete(story_characters).where(story_characters.c.author_key == author_key))
    mine = portrait_receipts.c.author_key == author_key
    count: int = (
        await connection.execute(sa.select(sa.func.count()).select_from(portrait_receipts).where(mine))
    ).scalar_one()
    await connection.execute(sa.delete(portrait_receipts).where(mine))
    return count


async def attach(
    connection: AsyncConnection,
    *,
    story_id: str,
    name: str,
    code: str,
    author_key: str,
    moderator: bool,
    picture: bytes,
    attributes: dict[str, str],
    now: float,
) -> StoryCharacter:
    """Give a character of the story its face, or another one. Raises StoryNotFoundError, ReceiptNotFoundError,
    FaceTakenError, CastFullError, PictureTooLargeError."""
    if len(picture) > MAX_PICTURE_BYTES:
        raise PictureTooLargeError(len(picture))
    story = await tree.story(connection, story_id)
    await get(connection, code)
    here = story_characters.c.story_id == story_id
    former = await face(connection, story_id, name)
    if former is not None:
        if not moderator and author_key not in (former.author_key, story.author_key):
            raise FaceTakenError(former.name)
        await connection.execute(sa.delete(story_characters).where(here, story_characters.c.name_key == name_key(name)))
    held: int = (
        await connection.execute(sa.select(sa.func.count()).select_from(story_characters).where(here))
    ).scalar_one()
    if held >= MAX_FACES:
        raise CastFullError(held)
    await connection.execute(
        sa.insert(story_characters).values(
            story_id=story_id,
            name_key=name_key(name),
            name=name,
            code=code,
            author_key=author_key,
            picture=picture,
            attributes=attributes,
            created_at=now if former is None else former.created_at,  # it keeps its place among the others
        )
    )
    attached = await face(connection, story_id, name)
    assert attached is not None
    return attached


async def detach(
    connection: AsyncConnection, *, story_id: str, name: str, author_key: str, moderator: bool, now: float
) -> StoryCharacter:
    """Take a character's face out of the story. Raises StoryNotFoundError, CharacterNotFoundError, FaceTakenError."""
    story = await tree.story(connection, story_id)
    found = await face(connection, story_id, name)
    if found is None:
        raise CharacterNotFoundError(name)
    if not moderator and author_key not in (found.author_key, story.author_key):
        raise FaceTakenError(found.name)
    await connection.execute(
        sa.delete(story_characters).where(
            story_characters.c.story_id == story_id, story_characters.c.name_key == name_key(name)
        )
    )
    return found


async def face(connection: AsyncConnection, story_id: str, name: str) -> StoryCharacter | None:
    """The face that somebody gave this character."""
    query = sa.select(*_FACE).where(
        story_characters.c.story_id == story_id, story_characters.c.name_key == name_key(name)
    )
    row = (await connection.execute(query)).mappings().first()
    return None if row is None else StoryCharacter(**row)


async def cast(connection: AsyncConnection, story_id: str) -> tuple[StoryCharacter, ...]:
    """The story's characters with a face, in the order in which they got one."""
    query = (
        sa.select(*_FACE)
        .where(story_characters.c.story_id == story_id)
        .order_by(story_characters.c.created_at, story_characters.c.name_key)
    )
    return tuple(StoryCharacter(**row) for row in (await connection.execute(query)).mappings())


def name_key(name: str) -> str:
    """Names that only case, width or white space tell apart are one character: 64 hexadecimal characters."""
    folded = unicodedata.normalize("NFKC", " ".join(name.split())).casefold()
    return hashlib.sha256(folded.encode("utf-8", "replace")).hexdigest()


def _receipt(row: sa.RowMapping) -> Receipt:
    values: dict[str, Any] = {column.name: row[column] for column in portrait_receipts.columns}
    request = _REQUESTS[values["kind"]]
    # A field that only another version of Inkwell knows is left out: the version tells that it may look different.
    known = {"type", *request.__struct_fields__}
    document = {name: value for name, value in values["recipe"].items() if name in known}
    return Receipt(**values | {"recipe": msgspec.convert(document, request)})


async def _forget_oldest(connection: AsyncConnection, author_key: str) -> None:
    attached = sa.select(story_characters.c.code)
    keep = (
        sa.select(portrait_receipts.c.code)
        .where(portrait_receipts.c.author_key == author_key)
        .order_by(portrait_receipts.c.created_at.desc(), portrait_receipts.c.code)
        .limit(MAX_RECEIPTS)
    )
    await connection.execute(
        sa.delete(portrait_receipts).where(
            portrait_receipts.c.author_key == author_key,
            portrait_receipts.c.code.not_in(keep),
            portrait_receipts.c.code.not_in(attached),
        )
    )
