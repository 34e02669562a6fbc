"""Files of messages and slash options: kept beside the world, bounded, and linked. Knows no message's content."""

import logging
import re
import struct
from pathlib import Path
from urllib.parse import quote

from bot.sandbox.errors import RefusedError, unknown
from bot.sandbox.limits import KEPT_ATTACHMENT_BYTES, KEPT_LOOSE_ATTACHMENTS
from bot.sandbox.wire import Json, Upload
from bot.sandbox.world import World

log = logging.getLogger(__name__)

# What a browser may show in place; anything else is only offered for download.
SHOWN_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".wav": "audio/wav",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}
_OTHER_TYPES = {".txt": "text/plain", ".md": "text/markdown", ".json": "application/json", ".pdf": "application/pdf"}


def safe_filename(name: str) -> str:
    """As Discord does: whatever is not a letter, digit, dot, dash or underscore becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".")[-200:] or "file"


class Attachments:
    """Stores uploads in `directory`, one file each, named by its id. `base_url` has no slash at its end."""

    def __init__(self, world: World, directory: Path, base_url: str) -> None:
        self._world, self._directory, self.base_url = world, directory, base_url
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in directory.iterdir():  # left by a crash between writing the file and the world
            if path.name not in world.data.attachments:
                path.unlink(missing_ok=True)

    def add(self, channel_id: str, upload: Upload, *, description: str | None = None, loose: bool = False) -> Json:
        """Keep an upload; `loose` when no message owns it. Raises RefusedError (500) when the disk does."""
        attachment_id = self._world.new_id()
        filename = safe_filename(upload.filename)
        suffix = Path(filename).suffix.lower()
        record: Json = {
            "id": attachment_id,
            "filename": filename,
            "size": len(upload.content),
            "channel_id": channel_id,
            "content_type": (SHOWN_TYPES | _OTHER_TYPES).get(suffix, "application/octet-stream"),
            "loose": loose,
        }
        if filename != upload.filename:
            record["title"] = upload.filename.encode("utf-8", "replace").decode()
        if description:
            record["description"] = description
        if size := image_size(upload.content):
            record["width"], record["height"] = size
        try:
            self.path(attachment_id).write_bytes(upload.content)
        except OSError as reason:
            log.error("The sandbox can't keep %s: %s", filename, reason)
            raise RefusedError(500, 0, "500: Internal Server Error") from reason
        self._world.data.attachments[attachment_id] = record
        self._drop_oldest()
        self._world.touch()
        return record

    def path(self, attachment_id: str) -> Path:
        return self._directory / attachment_id

    def find(self, channel_id: str, attachment_id: str) -> Json:
        record = self._world.data.attachments.get(attachment_id)
        if record is None or record["channel_id"] != channel_id:
            raise unknown("Message")
        return record

    def get(self, attachment_id: str) -> Json | None:
        return self._world.data.attachments.get(attachment_id)

    def remove(self, attachment_ids: list[str]) -> None:
        for attachment_id in attachment_ids:
            if self._world.data.attachments.pop(attachment_id, None) is not None:
                self.path(attachment_id).unlink(missing_ok=True)
        self._world.touch()

    def present(self, record: Json, *, page_prefix: str | None = None, ephemeral: bool = False) -> Json:
        """Discord's attachment object. Towards the bot its link is absolute and signed; towards the page it is a path
        under the capability (`page_prefix`)."""
        where = f"attachments/{record['channel_id']}/{record['id']}/{quote(record['filename'])}"
        signed = f"{self.base_url}/{where}?hm={self.signature(record['id'])}"
        url = f"{page_prefix}/{where}" if page_prefix is not None else signed
        shown = {key: value for key, value in record.items() if key not in ("loose", "channel_id")}
        return shown | {"url": url, "proxy_url": url} | ({"ephemeral": True} if ephemeral else {})

    def signature(self, attachment_id: str) -> str:
        return self._world.signature(f"attachment {attachment_id}")

    def own_link(self, url: str) -> Json | None:
        """The attachment that a link of ours leads to: a bot may send back what it was shown."""
        match = re.match(r"https?://[^/]+/(?:[^/]+/)?attachments/\d+/(\d+)/", url)
        return self.get(match.group(1)) if match and url.startswith(self.base_url) else None

    def _drop_oldest(self) -> None:
        kept = self._world.data.attachments
        loose = [attachment_id for attachment_id, record in kept.items() if record["loose"]]
        doomed = loose[: max(0, len(loose) - KEPT_LOOSE_ATTACHMENTS)]
        total = sum(record["size"] for record in kept.values())
        for attachment_id, record in kept.items():
            if total <= KEPT_ATTACHMENT_BYTES:
                break
            total -= record["size"]
            doomed.append(attachment_id)
        self.remove(doomed)


def image_size(content: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels of a PNG, GIF or JPEG, from its header; None for anything else."""
    if content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) >= 24:
        width, height = struct.unpack(">II", content[16:24])
        return width, height
    if content[:6] in (b"GIF87a", b"GIF89a") and len(content) >= 10:
        width, height = struct.unpack("<HH", content[6:10])
        return width, height
    return _jpeg_size(content) if content[:2] == b"\xff\xd8" else None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 < len(content) and content[position] == 0xFF:
        marker, length = content[position + 1], int.from_bytes(content[position + 2 : position + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header, not a table
            height, width = struct.unpack(">HH", content[position + 5 : position + 9])
            return width, height
        position += 2 + max(2, length)
    return None
