"""The master key of a database: where it comes from and what is derived from it. Knows no SQL; never logs a key."""

import hashlib
import hmac
import logging
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from bot.store.errors import StoreKeyError

log = logging.getLogger(__name__)

KEY_BYTES = 32
MIN_SECRET_CHARS = 16
# scrypt makes guessing a typed passphrase dear: 16 MiB and about 50 ms, once a start.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**14, 8, 1


@dataclass(frozen=True, kw_only=True)
class StoreKeys:
    """Two independent 32-byte keys: of the file's pages, and of the hashes that stand for people. The second one lies
    in the database (`bot.store.person_key`); what is derived here counts for those that have none yet."""

    database: bytes = field(repr=False)
    person: bytes = field(repr=False)

    def person_key(self, user_id: int) -> str:
        """The pseudonym of a Discord user: 64 hexadecimal characters, the same for ever in one database."""
        return hmac.new(self.person, str(user_id).encode(), hashlib.sha256).hexdigest()


def derive_keys(secret: str) -> StoreKeys:
    """The keys of a master secret. The content of a key file and the same text in a setting give the same keys.
    Raises StoreKeyError when the secret is too short to be one."""
    if len(secret) < MIN_SECRET_CHARS:
        raise StoreKeyError(
            f"The database key has fewer than {MIN_SECRET_CHARS} characters: use a longer one, "
            "for instance from: openssl rand -hex 32."
        )
    # The salt is fixed: a salt in a file of its own would be one more thing to lose with the data.
    master = hashlib.scrypt(
        secret.encode("utf-8", "surrogatepass"),
        salt=b"inkwell store 1",
        n=_SCRYPT_N,
        r=_SCRYPT_R,
        p=_SCRYPT_P,
        dklen=KEY_BYTES,
    )
    return StoreKeys(
        database=hmac.digest(master, b"database", "sha256"),
        person=hmac.digest(master, b"person", "sha256"),
    )


def load_keys(database: Path, *, key: SecretStr | None, key_file: Path) -> StoreKeys:
    """The keys of `database`: from `key` where it is set, else from `key_file`, which is made (0600) when there is no
    database yet. Blocks. Raises StoreKeyError, OSError."""
    if key is not None:
        return derive_keys(key.get_secret_value().strip())
    if not key_file.exists():
        if database.exists() and database.stat().st_size > 0:
            raise StoreKeyError(
                f"The key file {key_file} of the existing database {database} is missing: put it back or set "
                "DB_KEY. Without the key nobody can read the database."
            )
        write_key_file(key_file, secrets.token_hex(KEY_BYTES))
        log.info(
            "Made the database key %s: back it up apart from the database; nothing can be read without it.", key_file
        )
    return derive_keys(read_key_file(key_file))


def read_key_file(key_file: Path) -> str:
    """The secret in a key file, which is closed to other users on the way. Raises StoreKeyError, OSError."""
    _close_to_others(key_file)
    try:
        secret = key_file.read_text("utf-8").strip()
    except UnicodeDecodeError as error:
        raise StoreKeyError(f"The key file {key_file} holds no text key: put the right one back.") from error
    if not secret:
        raise StoreKeyError(f"The key file {key_file} is empty: put the right one back.")
    return secret


def write_key_file(key_file: Path, secret: str) -> None:
    """Make the file (0600) whole or not at all: a half-written key would lock the database away at the next start."""
    key_file.parent.mkdir(parents=True, exist_ok=True)
    draft = key_file.with_name(f"{key_file.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(key_file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    directory = os.open(key_file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the name must survive a power cut no less than the database that needs it
    finally:
        os.close(directory)


def _close_to_others(key_file: Path) -> None:
    mode = stat.S_IMODE(key_file.stat().st_mode)
    if mode & 0o077:
        key_file.chmod(0o600)
        log.warning("The key file %s could be read by other users (mode %o): now 0600.", key_file, mode)
