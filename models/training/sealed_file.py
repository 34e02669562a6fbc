"""A file of frames that only the holder of its key can read, alter or cut unnoticed. Knows nothing of what is in them.

AES-256-GCM in the STREAM construction (Hoang, Reyhanitabar, Rogaway and Vizár 2015, "Online Authenticated-Encryption
and its Nonce-Reuse Misuse-Resistance"): a frame's nonce is its number and whether it is the last, so that frames can't
be exchanged, repeated or left out, and a file that was cut has no last one. Each file has a key of its own, derived
from the caller's and a random salt. Without a key the frames are plain and end in a checksum instead: that finds
accidents, not intent.

A file is a header (magic, 32 bytes of salt, 16 bytes that tell a wrong key from a damaged file) and frames (4 bytes of
length, the sealed bytes with 16 of tag). The last frame is empty.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
MAX_FRAME_BYTES: Final = 64 * 2**20  # a damaged length must not ask for more memory than any frame needs
_SEALED, _PLAIN = b"inkwell sealed 1", b"inkwell plain  1"
_SALT_BYTES, _CHECK_BYTES, _TAG_BYTES, _LENGTH_BYTES = 32, 16, 16, 4
_HEADER_BYTES = len(_SEALED) + _SALT_BYTES + _CHECK_BYTES


class WrongKeyError(Exception):
    """The file was sealed with another key, or with none. Give that one; without it nobody can read the file."""


class DamagedFileError(Exception):
    """The file was cut or altered after it was written. Write it again."""


def new_key() -> str:
    """64 random hexadecimal characters."""
    return secrets.token_hex(KEY_BYTES)


def _key_bytes(key: str) -> bytes:
    try:
        raw = bytes.fromhex(key)
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES * 2} hexadecimal characters")
    return raw


class _Seal:
    """How the frames of one file are sealed and opened."""

    def __init__(self, key: str, salt: bytes) -> None:
        self.check = bytes(_CHECK_BYTES)
        self.cipher: AESGCM | None = None
        if key:
            derived = HKDF(algorithm=SHA256(), length=KEY_BYTES + _CHECK_BYTES, salt=salt, info=_SEALED).derive(
                _key_bytes(key)
            )
            self.check = derived[KEY_BYTES:]
            self.cipher = AESGCM(derived[:KEY_BYTES])
        self.header = (_SEALED if key else _PLAIN) + salt + self.check

    def close(self, number: int, last: bool, plain: bytes) -> bytes:
        nonce = _nonce(number, last)
        if self.cipher is None:
            return plain + self._checksum(nonce, plain)
        return self.cipher.encrypt(nonce, plain, self.header)

    def open(self, number: int, last: bool, sealed: bytes) -> bytes:
        """Raises InvalidTag."""
        nonce = _nonce(number, last)
        if self.cipher is None:
            plain = sealed[:-_TAG_BYTES]
            if not hmac.compare_digest(self._checksum(nonce, plain), sealed[-_TAG_BYTES:]):
                raise InvalidTag
            return plain
        return self.cipher.decrypt(nonce, sealed, self.header)

    def _checksum(self, nonce: bytes, plain: bytes) -> bytes:
        return hashlib.blake2b(nonce + self.header + plain, digest_size=_TAG_BYTES).digest()


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


class SealedWriter:
    """Writes frames to a new file (mode 0600), whole and durable once the `with` block ends without an exception.
    `key` has 64 hexadecimal characters, or is "" for a plain file. Raises ValueError for any other key, OSError."""

    def __init__(self, path: Path, key: str) -> None:
        self._seal = _Seal(key, os.urandom(_SALT_BYTES))
        self._number = 0
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._file.write(self._seal.header)

    def write(self, frame: bytes) -> None:
        """Raises ValueError for a frame that is empty (the last one is) or too long, OSError."""
        if not 0 < len(frame) <= MAX_FRAME_BYTES - _TAG_BYTES:
            raise ValueError(f"a frame has 1 to {MAX_FRAME_BYTES - _TAG_BYTES} bytes")
        self._write(frame, last=False)

    def _write(self, frame: bytes, *, last: bool) -> None:
        sealed = self._seal.close(self._number, last, frame)
        self._file.write(len(sealed).to_bytes(_LENGTH_BYTES, "big"))
        self._file.write(sealed)
        self._number += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._write(b"", last=True)
                self._file.flush()
                os.fsync(self._file.fileno())


def read_sealed(path: Path, key: str) -> Iterator[bytes]:
    """The frames of a file, in the order in which they were written. What was yielded before an error is what was
    written. Raises WrongKeyError, DamagedFileError, ValueError for a key that is none, OSError."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        magic, salt = header[: len(_SEALED)], header[len(_SEALED) : -_CHECK_BYTES]
        if len(header) != _HEADER_BYTES or magic not in (_SEALED, _PLAIN):
            raise DamagedFileError(f"{path.name} is no sealed file, or its beginning is damaged")
        if (magic == _SEALED) != bool(key):
            raise WrongKeyError(f"{path.name} is {'sealed: give its key' if not key else 'not sealed: it has no key'}")
        seal = _Seal(key, salt)
        if not hmac.compare_digest(seal.header, header):
            raise WrongKeyError(f"{path.name} was sealed with another key")
        number, last = 0, False
        while not last:
            prefix = file.read(_LENGTH_BYTES)
            length = int.from_bytes(prefix, "big")
            if len(prefix) != _LENGTH_BYTES or not _TAG_BYTES <= length <= MAX_FRAME_BYTES:
                raise DamagedFileError(f"{path.name} was cut or altered after frame {number}")
            sealed = file.read(length)
            last = length == _TAG_BYTES
            try:
                frame = seal.open(number, last, sealed)
            except InvalidTag:
                raise DamagedFileError(f"{path.name} was cut or altered in frame {number}") from None
            if not last:
                yield frame
            number += 1
        if file.read(1):
            raise DamagedFileError(f"{path.name} goes on after its end")
