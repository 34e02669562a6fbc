"""The world on disk: read whole or set aside, written atomically and not too often. Knows nothing of what is in it."""

import asyncio
import contextlib
import errno
import logging
import os
import tempfile
import time
from pathlib import Path

import msgspec

from bot.sandbox.errors import SandboxError
from bot.sandbox.seed import WORLD_FORMAT, first_world
from bot.sandbox.world import WorldData

log = logging.getLogger(__name__)

_QUIET_S = 0.25  # changes this close together are written once
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(WorldData)


class WorldFile:
    """Loads a world, or makes the first one; then `touch` has it written soon."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = self._load()
        self._dirty = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def touch(self) -> None:
        self._dirty.set()

    def start(self) -> None:
        self._write(_encoder.encode(self.data))  # an unwritable directory is found at the start
        self._task = asyncio.create_task(self._write_when_dirty(), name="sandbox-world-file")

    async def close(self) -> None:
        """Write what is not yet written."""
        self._closing.set()
        if self._task is not None:
            self._dirty.set()
            await self._task

    def _load(self) -> WorldData:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return msgspec.convert(first_world(), WorldData)
        except OSError as reason:
            raise SandboxError(f"The sandbox's world can't be read: {reason}") from reason
        try:
            data = _decoder.decode(raw)
            if data.format != WORLD_FORMAT:
                raise ValueError(f"format {data.format}, expected {WORLD_FORMAT}")
        except ValueError as reason:  # msgspec's errors are ValueErrors
            aside = self.path.with_name(f"{self.path.name}.unreadable-{time.time_ns()}")
            self.path.rename(aside)
            log.error("The sandbox's world file is unreadable (%s): set aside as %s, a new one begins.", reason, aside)
            return msgspec.convert(first_world(), WorldData)
        return data

    async def _write_when_dirty(self) -> None:
        while not self._closing.is_set():
            await self._dirty.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _QUIET_S)
            self._dirty.clear()
            # encoded on the loop, where nothing changes meanwhile; written on a thread, where the disk may be slow
            await asyncio.to_thread(self._try_write, _encoder.encode(self.data))

    def _try_write(self, encoded: bytes) -> None:
        try:
            self._write(encoded)
        except SandboxError as reason:
            log.error("%s The sandbox goes on; what happens now is lost at its end.", reason)

    def _write(self, encoded: bytes) -> None:
        """Raises SandboxError. The file holds tokens: only its owner may read it."""
        temporary: Path | None = None
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name, suffix=".new")
            temporary = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(encoded)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as reason:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            raise SandboxError(_refusal(self.path, reason)) from reason


def _refusal(path: Path, reason: OSError) -> str:
    if reason.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk that holds {path} is full: free some space."
    return f"The sandbox's world {path} can't be written ({reason.strerror}): make its folder writable."
