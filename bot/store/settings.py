"""Guild settings and the bot's own small state in SQL. Knows no setting by name."""

import logging
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store.rows import Setting
from bot.store.schema import guild_settings, kv

log = logging.getLogger(__name__)

T = TypeVar("T")


async def get_setting(connection: AsyncConnection, guild_id: int, setting: Setting[T]) -> T:
    """The guild's value; the default where there is none, or one that no longer fits the setting's kind."""
    document = await _document(connection, guild_id)
    if setting.stored_key not in document:
        return setting.default
    try:
        value: T = msgspec.convert(document[setting.stored_key], setting.kind)
    except msgspec.ValidationError as error:
        log.warning("Guild %d: its setting %s is not usable (%s): default.", guild_id, setting.stored_key, error)
        return setting.default
    return value


async def set_setting(
    connection: AsyncConnection, guild_id: int, setting: Setting[T], value: T | None, *, now: float
) -> None:
    """Store the value; None goes back to the default. Values of other settings and versions stay."""
    document = await _document(connection, guild_id)
    document.pop(setting.stored_key, None)
    if value is not None:
        plain = msgspec.to_builtins(value)
        msgspec.convert(plain, setting.kind)  # what could not be read back is refused here: msgspec.ValidationError
        document[setting.stored_key] = plain
    await connection.execute(sa.delete(guild_settings).where(guild_settings.c.guild_id == guild_id))
    await connection.execute(sa.insert(guild_settings).values(guild_id=guild_id, settings=document, updated_at=now))


async def _document(connection: AsyncConnection, guild_id: int) -> dict[str, Any]:
    query = sa.select(guild_settings.c.settings).where(guild_settings.c.guild_id == guild_id).with_for_update()
    return dict((await connection.execute(query)).scalar() or {})


async def get_value(connection: AsyncConnection, key: str) -> str | None:
    """The value of a key; None where there is none."""
    found: str | None = (await connection.execute(sa.select(kv.c.value).where(kv.c.key == key))).scalar()
    return found


async def set_value(connection: AsyncConnection, key: str, value: str | None, *, now: float) -> None:
    """Store a value; None removes it."""
    await connection.execute(sa.delete(kv).where(kv.c.key == key))
    if value is not None:
        await connection.execute(sa.insert(kv).values(key=key, value=value, updated_at=now))
