"""Items in the frames of a sealed file, and a digest of them that no order changes. Knows no item."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

import msgspec

from models.training.sealed_file import DamagedFileError, SealedWriter, read_sealed

FRAME_BYTES: Final = 1 << 18
_MODULUS: Final = 1 << 256

_Item = TypeVar("_Item", bound=msgspec.Struct)


class FrameWriter(SealedWriter):
    """Gathers encoded items (MessagePack) into frames of about a quarter of a megabyte."""

    def __init__(self, path: Path, key: str) -> None:
        super().__init__(path, key)
        self._items: list[bytes] = []
        self._bytes = 0

    def add(self, item: bytes) -> None:
        self._items.append(item)
        self._bytes += len(item)
        if self._bytes >= FRAME_BYTES:
            self.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.flush()
        except BaseException as failed:
            super().__exit__(type(failed), failed, failed.__traceback__)
            raise
        super().__exit__(kind, error, trace)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._items:
            head = b"\xdd" + len(self._items).to_bytes(4, "big")  # MessagePack's array of up to 2^32 items
            self.write(head + b"".join(self._items))
            self._items, self._bytes = [], 0


def read_items(path: Path, key: str, kind: type[_Item]) -> Iterator[_Item]:
    """Raises as `read_sealed` does, DamagedFileError for items of another kind."""
    decoder = msgspec.msgpack.Decoder(list[kind])  # type: ignore[valid-type]
    for frame in read_sealed(path, key):
        try:
            items = decoder.decode(frame)
        except msgspec.DecodeError as error:
            raise DamagedFileError(f"{path.name} was written by another version of Inkwell") from error
        yield from items


class RowDigest:
    """The sum of the items' hashes, modulo 2^256 (MSet-Add-Hash of Clarke, Devadas, van Dijk, Gassend and Suh 2003):
    one digest for the same items in any order, another when one is missing or comes twice."""

    def __init__(self) -> None:
        self._sum, self._count = 0, 0

    def add(self, item: bytes) -> None:
        self._sum += int.from_bytes(hashlib.blake2b(item, digest_size=32).digest(), "big")
        self._count += 1

    def hexdigest(self) -> str:
        """64 hexadecimal characters."""
        whole = (self._sum % _MODULUS).to_bytes(32, "big") + self._count.to_bytes(8, "big")
        return hashlib.blake2b(whole, digest_size=32).hexdigest()
