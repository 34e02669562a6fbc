"""The key of the hashes that stand for people. It lies in the encrypted database itself, so that the key of the file
can change and people stay who they are. Knows nothing of where the file's key comes from.
"""

import secrets
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from bot.store import sqlite
from bot.store.keys import KEY_BYTES, StoreKeys

_NAME = "person_key"  # in `kv`, which is there from the first schema on


def with_person_key(path: Path, keys: StoreKeys, *, fresh: bool) -> StoreKeys:
    """`keys` with the person key of the database, which gets one where it has none: `fresh` ones that no secret tells,
    older ones that which was derived from their secret until now. Blocks."""
    with closing(sqlite.connect(path, keys)) as connection:
        row = connection.execute("SELECT value FROM kv WHERE key = ?", (_NAME,)).fetchone()
        if row is not None:
            return replace(keys, person=bytes.fromhex(row[0]))
        person = secrets.token_bytes(KEY_BYTES) if fresh else keys.person
        put_person_key(connection, person)
    return replace(keys, person=person)


def put_person_key(connection: sqlite3.Connection, person: bytes) -> None:
    """Give the database this person key."""
    connection.execute("INSERT OR REPLACE INTO kv VALUES (?, ?, ?)", (_NAME, person.hex(), time.time()))
