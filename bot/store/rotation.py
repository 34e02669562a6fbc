"""Gives the file of a database another key, while no Inkwell uses it. Killed at any moment, the next start finds the
database whole under one key, and finishes or undoes the rest. Knows files and keys; knows no row.

1. Everything is written anew beside itself under the new key (`*.rotated`), the database first; then the new key.
2. The new database takes the place of the old one, in one step. From here on the new key counts.
3. The copies from before upgrades do the same, and last the key file.
"""

import glob
import logging
import os
import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from bot.store import sqlite
from bot.store.errors import StoreDamagedError, StoreDiskError, StoreKeyError
from bot.store.keys import KEY_BYTES, StoreKeys, derive_keys, load_keys, read_key_file, write_key_file
from bot.store.lock import exclusive
from bot.store.migrate import prepare
from bot.store.person_key import put_person_key, with_person_key

log = logging.getLogger(__name__)

_ROTATED = ".rotated"  # behind the name of what it is to replace
_NEXT = ".next"  # behind the name of the key file


@dataclass(frozen=True, kw_only=True)
class Rotated:
    """What was done. `key_file` holds the new key; None: only whoever gave it has it. `copies` from before upgrades
    have it too; `left` are copies that the former key did not open, left as they are."""

    key_file: Path | None
    copies: int
    left: tuple[Path, ...]


def rotate(path: Path, *, key: SecretStr | None, key_file: Path, new: SecretStr | None) -> Rotated:
    """Encrypt the database anew under `new`, or under a new random key in `key_file`. `key` and `key_file` give the
    present key, as `Store.open` takes them. The old key opens nothing here afterwards. Blocks. Raises what `Store.open`
    raises, with nothing changed."""
    try:
        with exclusive(path):
            return _rotate(path, key, key_file, new)
    except OSError as error:
        raise sqlite.os_fault(path, error) from error
    except sqlite.DriverError as error:
        raise sqlite.fault(path, error) or error from error


def _rotate(path: Path, key: SecretStr | None, key_file: Path, new: SecretStr | None) -> Rotated:
    settle(path, key=key, key_file=key_file)
    if not path.exists() or not path.stat().st_size:
        raise StoreDiskError(f"There is no database {path} yet: it gets a key of its own with the first start.")
    old = load_keys(path, key=key, key_file=key_file)
    prepare(path, old)
    old = with_person_key(path, old, fresh=False)
    secret = secrets.token_hex(KEY_BYTES) if new is None else new.get_secret_value().strip()
    derived = derive_keys(secret)
    keys = StoreKeys(database=derived.database, person=old.person)
    sqlite.fold_log(path, old)
    copies = [copy for copy in _copies(path) if opens(copy, old)]
    try:
        for file in (path, *copies):  # the database first: `settle` relies on it
            _write_anew(file, old, keys)
        if new is None:
            write_key_file(_next(key_file), secret)
        if (log_file := path.with_name(f"{path.name}-wal")).exists():  # it would be read into the new database
            raise StoreDiskError(f"{log_file} is in use: end whatever else has the database open.")
    except BaseException:
        _undo(path, key_file)
        raise
    _replace(_rotated(path), path)
    _finish(path, key_file)
    if new is not None:
        key_file.unlink(missing_ok=True)  # of the former key
    left = tuple(copy for copy in _copies(path) if copy not in copies)
    return Rotated(key_file=key_file if new is None else None, copies=len(copies), left=left)


def settle(path: Path, *, key: SecretStr | None, key_file: Path) -> None:
    """Finish or undo a rotation that was cut short. Blocks. Raises OSError."""
    drafts = [file for file in (path, *_copies(path)) if _rotated(file).exists()]
    if not path.exists() or not (drafts or _next(key_file).exists()):
        return
    if _next(key_file).exists() and opens(path, derive_keys(read_key_file(_next(key_file)))):
        log.info("The change of the key of %s is brought to its end.", path)
        _finish(path, key_file)
        return
    try:
        current = opens(path, load_keys(path, key=key, key_file=key_file))
    except StoreKeyError:
        current = False
    if not current:
        return  # the start will say that the key is wrong; nothing is thrown away before
    if not _next(key_file).exists() and not _rotated(path).exists():
        _finish(path, key_file)  # a key that is kept elsewhere, and is set by now
        return
    log.info("A change of the key of %s was cut short before it counted: undone.", path)
    _undo(path, key_file)


def _finish(path: Path, key_file: Path) -> None:
    """What comes after the database has its new key."""
    for copy in _copies(path):
        if _rotated(copy).exists():
            _replace(_rotated(copy), copy)
    if _next(key_file).exists():
        _replace(_next(key_file), key_file)


def _undo(path: Path, key_file: Path) -> None:
    """The database last: as long as its draft is there, nothing counts."""
    _next(key_file).unlink(missing_ok=True)
    for draft in key_file.parent.glob(f"{glob.escape(_next(key_file).name)}.*.new"):
        draft.unlink(missing_ok=True)
    for file in (*_copies(path), path):
        for draft in (_rotated(file), _rotated(file).with_name(f"{_rotated(file).name}-journal")):
            draft.unlink(missing_ok=True)


def _write_anew(file: Path, old: StoreKeys, keys: StoreKeys) -> None:
    """`file` under the new key, whole and on the disk, beside itself."""
    draft = _rotated(file)
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with closing(sqlite.connect(file, old)) as connection:
            sqlite.export(connection, draft, keys)
            expected = _content(connection)
        with closing(sqlite.connect(draft, keys)) as connection:
            problems = connection.execute("PRAGMA cipher_integrity_check").fetchall()
            if problems or _content(connection) != expected:
                raise StoreDamagedError(f"{file} could not be copied whole: run `inkwell doctor`. Nothing was changed.")
            if "kv" in expected:  # a copy of an older schema has no person key of its own
                put_person_key(connection, keys.person)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _content(connection: sqlite3.Connection) -> dict[str, int]:
    """Each table with its number of rows."""
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: connection.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0] for name in names}  # noqa: S608


def opens(file: Path, keys: StoreKeys) -> bool:
    """Whether this is the key of the file."""
    try:
        with closing(sqlite.connect(file, keys, query_only=True)) as connection:
            connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except sqlite.DriverError as error:
        if isinstance(sqlite.fault(file, error), StoreDamagedError):
            return False
        raise
    return True


def _copies(path: Path) -> list[Path]:
    """The copies from before upgrades."""
    names = sorted(file for file in path.parent.iterdir() if file.name.startswith(f"{path.name}.before-"))
    return [file for file in names if _ROTATED not in file.name and file.suffix != ".new"]


def _replace(draft: Path, file: Path) -> None:
    """In one step, and so that a power cut finds it done."""
    draft.replace(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _rotated(file: Path) -> Path:
    return file.with_name(file.name + _ROTATED)


def _next(key_file: Path) -> Path:
    return key_file.with_name(key_file.name + _NEXT)
