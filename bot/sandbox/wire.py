"""JSON, ids and times as Discord writes them. Knows no route and no world."""

import itertools
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import BodyPartReader, web

from bot.sandbox.errors import RefusedError, request_too_large
from bot.sandbox.limits import MAX_FILE_BYTES, MAX_FILES, MAX_REQUEST_BYTES

Json = dict[str, Any]

DISCORD_EPOCH_MS = 1_420_070_400_000  # the first second of 2015
_MAX_JSON_DEPTH = 32


class Snowflakes:
    """Ids that grow with time: milliseconds since 2015 shifted by 22, then a counter."""

    def __init__(self, last: int = 0) -> None:
        self._last = last

    @property
    def last(self) -> int:
        return self._last

    def next(self) -> str:
        now = (int(time.time() * 1000) - DISCORD_EPOCH_MS) << 22
        self._last = max(now, self._last + 1)
        return str(self._last)


def snowflake_time(snowflake: str) -> datetime:
    return datetime.fromtimestamp(((int(snowflake) >> 22) + DISCORD_EPOCH_MS) / 1000, UTC)


def timestamp(moment: datetime | None = None) -> str:
    """ISO 8601 with microseconds and an offset, the only form discord.py parses."""
    return (moment or datetime.now(UTC)).isoformat(timespec="microseconds")


def json_response(data: object, status: int = 200) -> web.Response:
    # discord.py reads a body as JSON only under exactly this content type, without a charset
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return web.Response(body=body, status=status, headers={"Content-Type": "application/json"})


def no_content() -> web.Response:
    return web.Response(status=204)


@dataclass(frozen=True, kw_only=True)
class Upload:
    """One file of a request, wholly in memory (at most MAX_FILE_BYTES)."""

    filename: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Body:
    """A parsed request: its JSON and the files by the n of `files[n]`."""

    payload: Any
    files: dict[str, Upload] = field(default_factory=dict)

    @property
    def form(self) -> Json:
        """The payload as an object. Raises RefusedError (50035) when it is anything else."""
        if not isinstance(self.payload, dict):
            raise RefusedError(400, 50035, "Invalid Form Body: only a JSON object is accepted here")
        return self.payload


async def read_body(request: web.Request) -> Body:
    """JSON, or multipart with `payload_json` and `files[n]`. Raises RefusedError: 50109 for what is no JSON, 40005
    for a file or a request that is too large."""
    if not request.content_type.startswith("multipart/"):
        raw = await request.read()
        return Body(payload=parse_json(raw) if raw else {})
    payload: Any = {}
    files: dict[str, Upload] = {}
    total = 0
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise RefusedError(400, 50035, "Invalid Form Body: nested multipart")
            content = bytearray()
            while chunk := await part.read_chunk(1 << 16):
                content += chunk
                total += len(chunk)
                if len(content) > MAX_FILE_BYTES or total > MAX_REQUEST_BYTES:
                    raise request_too_large()
            name = part.name or ""
            if name == "payload_json":
                payload = parse_json(bytes(content))
            elif name.startswith("files[") and name.endswith("]") and name[6:-1].isdecimal():
                files[str(int(name[6:-1]))] = Upload(filename=part.filename or "file", content=bytes(content))
            else:
                raise RefusedError(400, 50035, "Invalid Form Body: a part is neither payload_json nor files[n]")
            if len(files) > MAX_FILES:
                raise RefusedError(400, 50035, f"Invalid Form Body: more than {MAX_FILES} files")
    except (ValueError, AssertionError) as reason:
        raise RefusedError(400, 50035, "Invalid Form Body: the multipart body is malformed") from reason
    return Body(payload=payload, files=files)


def parse_json(raw: bytes) -> Any:
    """Raises RefusedError (50109) for what is no JSON, or JSON nested beyond reason."""
    try:
        return _clean(json.loads(raw), _MAX_JSON_DEPTH)
    except (ValueError, RecursionError) as reason:
        raise RefusedError(400, 50109, "The request body contains invalid JSON.") from reason


def _clean(value: Any, depth: int) -> Any:
    """Lone surrogates become U+FFFD: JSON can spell them, UTF-8 cannot hold them."""
    if depth == 0:
        raise RecursionError("nested too deeply")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return value
    if isinstance(value, list):
        return [_clean(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {_clean(key, depth - 1): _clean(item, depth - 1) for key, item in value.items()}
    return value


def take(items: Any, limit: int) -> list[Any]:
    return list(itertools.islice(items, limit))
