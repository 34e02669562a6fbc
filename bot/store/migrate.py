"""Brings a database file to the current schema before anybody uses it. Knows Alembic; knows no query."""

import logging
import os
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from bot.store import sqlite
from bot.store.errors import (
    StoreDamagedError,
    StoreError,
    StoreForeignError,
    StoreKeyError,
    StoreMigrationError,
    StoreTooNewError,
)
from bot.store.keys import StoreKeys

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).with_name("migrations")


def alembic_config(migrations: Path = MIGRATIONS) -> Config:
    """Alembic's configuration, made here: there is no alembic.ini."""
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    return config


def prepare(path: Path, keys: StoreKeys, migrations: Path | None = None) -> None:
    """Make `path` a database of the current schema: create it, upgrade it, or refuse it untouched. Blocks.

    An upgrade first writes a copy, `<name>.before-<revision>` (encrypted with the same key; it replaces the copy of an
    earlier upgrade), and runs in one transaction. Raises the faults of `bot.store.errors`, OSError.
    """
    _create_private(path)
    engine = sqlite.sync_engine(path, keys)
    try:
        _bring_up(path, keys, engine, alembic_config(migrations or MIGRATIONS))
    except (sa.exc.DBAPIError, sqlite.DriverError) as error:
        raise _fault(path, error) or error from error
    finally:
        engine.dispose()


def _fault(path: Path, error: Exception) -> StoreError | None:
    return sqlite.fault(path, error.orig if isinstance(error, sa.exc.DBAPIError) else error)


def _bring_up(path: Path, keys: StoreKeys, engine: sa.Engine, config: Config) -> None:
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    if head is None:
        raise StoreMigrationError(f"There are no migrations in {scripts.dir}: Inkwell isn't installed completely.")
    current = _revision(path, engine)
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise StoreTooNewError(path, current, head)
    if not sqlite.use_write_ahead_log(path, keys):
        log.warning("%s is on a file system without write-ahead logs: Inkwell works, more slowly.", path)
    if current == head:
        return
    if current is not None:
        copy = _copy_before(path, keys, head)
        log.info("Upgrading %s from schema %s to %s; the copy from before is %s.", path, current, head, copy)
    try:
        _upgrade(engine, config)
    except Exception as error:
        if _fault(path, error):
            raise
        raise StoreMigrationError(
            f"Bringing {path} from schema {current or '(none)'} to {head} failed and was undone "
            f"({type(error).__name__}): go back to the former version of Inkwell and report this."
        ) from error


def _create_private(path: Path) -> None:
    """Make the file 0600 before SQLite does with the umask's mode (its log takes over the mode), and find out whether
    it may be written. Done before any connection: closing a file drops the locks that SQLite holds on it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _revision(path: Path, engine: sa.Engine) -> str | None:
    """The schema that the file has; None when it is empty."""
    try:
        with engine.begin() as connection:
            context = MigrationContext.configure(connection)
            heads = context.get_current_heads()
            tables = sa.inspect(connection).get_table_names()
    except sa.exc.DBAPIError as error:
        if isinstance(_fault(path, error), StoreDamagedError):
            raise StoreKeyError(
                f"The key doesn't open {path} (or it is no Inkwell database): put the right key back, or name another "
                "file. Nothing was changed."
            ) from error
        raise
    if not heads and tables:
        raise StoreForeignError(f"{path} is a database of another program: name another file. Nothing was changed.")
    return heads[0] if heads else None


def _copy_before(path: Path, keys: StoreKeys, head: str) -> Path:
    target = path.with_name(f"{path.name}.before-{head}")
    draft = path.with_name(f"{path.name}.before-{head}.new")
    draft.unlink(missing_ok=True)
    try:
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            sqlite.copy(path, keys, draft)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        draft.rename(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    for old in path.parent.iterdir():
        if old.name.startswith(f"{path.name}.before-") and old != target:
            old.unlink()
    return target


def _upgrade(engine: sa.Engine, config: Config) -> None:
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        finally:
            del config.attributes["connection"]
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if broken:
            raise StoreMigrationError(f"rows that refer to missing ones: {len(broken)}")
