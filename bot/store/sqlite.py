"""The SQLite side, in one file: encrypted connections, pragmas, transactions, the driver's faults put into words. Knows
no table. PostgreSQL will be another file with the same `Database`.
"""

import asyncio
import errno
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_dbapi
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlcipher3 import dbapi2

from bot.store.cancellation import to_its_end
from bot.store.errors import (
    StoreBusyError,
    StoreClosedError,
    StoreDamagedError,
    StoreDiskError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)
from bot.store.keys import StoreKeys

T = TypeVar("T")

DriverError = dbapi2.Error  # what a connection raises where SQLAlchemy doesn't stand between

BUSY_TIMEOUT_S = 5.0  # waited for in the connection's own thread; only foreign programs can hold the lock
READERS = 2
_ROWS_PER_HOP = 64  # rows that aiosqlite fetches for one trip between threads


def connect(path: Path, keys: StoreKeys, *, foreign_keys: bool = True, query_only: bool = False) -> sqlite3.Connection:
    """An encrypted connection in autocommit mode: transactions begin where they are asked for. Blocks. A wrong key
    shows only at the first statement that reads a page."""
    # An absolute path: SQLite would take a name that begins with "file:" for a URI.
    connection = dbapi2.connect(str(path.absolute()), timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.execute("PRAGMA cipher_log_level = NONE")  # it writes to stderr; the faults below say the same
        # A raw 256-bit key: SQLCipher then derives nothing, and a connection costs a millisecond.
        connection.execute(f"PRAGMA key = \"x'{keys.database.hex()}'\"")
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        # With a write-ahead log, a commit survives kill -9 under NORMAL as well (the log is in the page cache by then).
        # FULL adds one fsync a commit, so that it also survives a power cut: a fraction of a millisecond on an SSD,
        # some 10 ms on a disk, against a story that takes seconds. NORMAL would lose the last seconds of stories.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")  # freed pages are zeroed, not only unlinked
        connection.execute("PRAGMA temp_store = MEMORY")  # no temporary file: those are not encrypted
        connection.execute(f"PRAGMA query_only = {'ON' if query_only else 'OFF'}")
    except BaseException:
        connection.close()
        raise
    return cast("sqlite3.Connection", connection)  # the same interface, but no subclass


class _Driver(AsyncAdapt_aiosqlite_dbapi):
    """aiosqlite over SQLCipher. SQLCipher's exceptions are not those of sqlite3, and SQLAlchemy must know them."""

    def _init_dbapi_attributes(self) -> None:
        for name in (
            *("DatabaseError", "Error", "IntegrityError", "NotSupportedError", "OperationalError", "ProgrammingError"),
            *("sqlite_version", "sqlite_version_info", "PARSE_COLNAMES", "PARSE_DECLTYPES", "Binary"),
        ):
            setattr(self, name, getattr(self.sqlite, name))


def sync_engine(path: Path, keys: StoreKeys) -> sa.Engine:
    """One blocking connection for migrations. Foreign keys are off, as they must be where a migration rebuilds a table
    (dropping the old one would cascade); the migration checks them before it commits."""
    engine = sa.create_engine(
        "sqlite://",
        module=dbapi2,
        creator=partial(connect, path, keys, foreign_keys=False),
        poolclass=sa.pool.StaticPool,
        hide_parameters=True,
    )
    sa.event.listen(engine, "begin", partial(_begin, "BEGIN IMMEDIATE"))
    return engine


def _begin(statement: str, connection: sa.Connection) -> None:
    connection.exec_driver_sql(statement)


class Database:
    """A file that is ready (its key fits, its schema is current), with one connection that writes and a few that read.

    A transaction is a coroutine function that gets a connection. It runs to its end also when its caller is cancelled
    meanwhile, so that a cancellation never leaves anyone in doubt for longer than a transaction takes.
    """

    def __init__(self, path: Path, keys: StoreKeys) -> None:
        self.path = path
        for library in ("aiosqlite", "sqlalchemy.engine"):  # at DEBUG they log every parameter and row: people's words
            logging.getLogger(library).setLevel(logging.WARNING)
        # IMMEDIATE takes the write lock at once: a transaction that reads first could otherwise fail half-way.
        self._writer = _async_engine(path, keys, "BEGIN IMMEDIATE", connections=1)
        self._readers = _async_engine(path, keys, "BEGIN", connections=READERS)
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `work` in the next write transaction; commit when it returns, roll back when it raises."""
        return await self._run(self._writer, work)

    async def read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `work` on one snapshot of everything committed so far."""
        return await self._run(self._readers, work)

    async def close(self) -> None:
        """Refuse new transactions, let those that run end, close every connection and its thread."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)
        await self._readers.dispose()
        await self._writer.dispose()  # last: closing the last connection folds the log into the file

    def file_bytes(self) -> int:
        """What the database takes on disk, its write-ahead log included."""
        log = self.path.with_name(self.path.name + "-wal")
        return sum(file.stat().st_size for file in (self.path, log) if file.exists())

    async def _run(self, engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        if self._closed:
            raise StoreClosedError("the store is closed")
        return await to_its_end(self._transaction(engine, work), self._running)

    async def _transaction(self, engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            async with engine.connect() as connection:
                try:
                    async with connection.begin():
                        return await work(connection)
                except sa.exc.DBAPIError as error:
                    if isinstance(fault(self.path, error.orig), StoreDamagedError):
                        await connection.invalidate()  # SQLCipher stays confused after a page that fails its HMAC
                    raise
        except sa.exc.DBAPIError as error:
            found = fault(self.path, error.orig)
            if found is None:
                raise
            raise found from error


def _async_engine(path: Path, keys: StoreKeys, begin: str, *, connections: int) -> AsyncEngine:
    def open_connection() -> sqlite3.Connection:
        return connect(path, keys, query_only=begin == "BEGIN")

    async def creator() -> aiosqlite.Connection:
        return await aiosqlite.Connection(open_connection, _ROWS_PER_HOP)

    engine = create_async_engine(
        "sqlite+aiosqlite://",
        module=_Driver(aiosqlite, dbapi2),
        async_creator=creator,
        poolclass=sa.pool.AsyncAdaptedQueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=None,  # the queue is fair and every transaction short
        hide_parameters=True,  # stories and tokens don't belong in a traceback
    )
    sa.event.listen(engine.sync_engine, "begin", partial(_begin, begin))
    return engine


async def check(connection: AsyncConnection) -> tuple[str, ...]:
    """What is wrong with the file's pages and structure; empty when nothing is. Reads the whole file."""
    pages = await connection.exec_driver_sql("PRAGMA cipher_integrity_check")
    if problems := tuple(str(row[0]) for row in pages):
        return problems  # the structure can't be read through pages that fail their HMAC
    structure = await connection.exec_driver_sql("PRAGMA integrity_check")
    references = await connection.exec_driver_sql("PRAGMA foreign_key_check")
    return tuple(str(row[0]) for row in structure if row[0] != "ok") + tuple(
        f"a row of {row['table']} refers to a missing row of {row['parent']}" for row in references.mappings()
    )


def copy(path: Path, keys: StoreKeys, target: Path) -> None:
    """Write a compact copy of the database under the same key. `target` must not exist, or be empty. Blocks."""
    with closing(connect(path, keys)) as connection:
        connection.execute("VACUUM INTO ?", (str(target.absolute()),))


def export(connection: sqlite3.Connection, target: Path, keys: StoreKeys) -> None:
    """Write everything into `target` (an empty file) under another key. Blocks."""
    # A parameter would be no key but a passphrase; hexadecimal digits need no quoting.
    connection.execute(f"ATTACH DATABASE ? AS rotated KEY \"x'{keys.database.hex()}'\"", (str(target.absolute()),))
    connection.execute("SELECT sqlcipher_export('rotated')").fetchall()
    connection.execute("DETACH DATABASE rotated")


def fold_log(path: Path, keys: StoreKeys) -> None:
    """Write the log's pages into the file and cut the log to nothing; what a reader still holds stays. Blocks."""
    with closing(connect(path, keys)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def use_write_ahead_log(path: Path, keys: StoreKeys) -> bool:
    """Let readers and the writer work side by side. False where the file system can't (some network shares). Blocks."""
    with closing(connect(path, keys)) as connection:
        return bool(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal")


def fault(path: Path, error: BaseException | None) -> StoreError | None:
    """The store's own error for a driver's error about the file or the disk; None for any other, which is a bug."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code, without its details
    if code == sqlite3.SQLITE_FULL:
        return StoreFullError(f"The disk that holds {path} is full: free some space. Nothing stored before is lost.")
    if code == sqlite3.SQLITE_READONLY:
        return StoreReadOnlyError(f"{path} can't be written: make the file and its directory writable.")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusyError(f"Another program holds {path} locked: end it, then ask again.")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamagedError(f"{path} is damaged: restore it from a backup.")
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreDiskError(f"{path} can't be opened: check that it is a file and its directory accessible.")
    if code == sqlite3.SQLITE_IOERR:
        return StoreDiskError(f"The disk failed to read or write {path}: check the disk.")
    return None


def os_fault(path: Path, error: OSError) -> StoreError:
    """The store's own error for one of the operating system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(f"The disk that holds {path} is full: free some space. Nothing stored before is lost.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        place = error.filename or path
        return StoreReadOnlyError(f"{place} can't be written: make it and its directory readable and writable.")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return StoreDiskError(f"{error.filename or path} is a file where a folder should be: name another DATA_DIR.")
    return StoreDiskError(f"{error.filename or path} can't be used: {error.strerror or error}.")
