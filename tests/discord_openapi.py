"""Discord's OpenAPI document as a judge of requests, and a recorder of what a discord.py client sends. Knows no bot.

The document describes what Discord reads and lets unknown keys pass; a bot that misspells a key would go unnoticed. So
requests are judged more strictly than the document asks: an object may have no key that its schema doesn't name.
"""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from functools import cached_property
from pathlib import Path
from typing import Any

import aiohttp
import discord
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

Json = dict[str, Any]
_URI = "urn:discord"
_ROOT = Path(__file__).parents[1]
_PLACES = [folder / "shared/data/discord/openapi.json" for folder in _ROOT.parents]  # beside us, or further up


def document() -> Path | None:
    """Where the document lies; None where it doesn't."""
    return next((place for place in _PLACES if place.is_file()), None)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and its answer. `path` is below /api/v10, without query; `body` is JSON or a form's payload_json."""

    method: str
    path: str
    content_type: str
    body: Any
    status: int = 0
    answer: Any = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class WrongShapeError(AssertionError):
    """Discord would not take, or not send, this."""


class OpenApi:
    """Judges by the document at `path`."""

    def __init__(self, path: Path) -> None:
        self._text = path.read_text("utf-8")
        self._document: Json = json.loads(self._text)
        self._templates = [
            (template, re.compile(re.sub(r"\\\{\w+\\\}", r"[^/]+", re.escape(template)) + "$"))
            for template in self._document["paths"]
        ]

    def check_request(self, exchange: Exchange) -> None:
        """Raises WrongShapeError for a path, method, content type or body that the document doesn't have."""
        expected = self.operation(exchange).get("requestBody")
        if exchange.body is None:
            if expected and expected.get("required"):
                raise WrongShapeError(f"{exchange} needs a body")
            return
        if expected is None:
            raise WrongShapeError(f"{exchange} takes no body")
        if exchange.content_type not in expected["content"]:
            raise WrongShapeError(f"{exchange} doesn't take {exchange.content_type}")
        schema = expected["content"][exchange.content_type]["schema"]
        self._check(exchange, exchange.body, _strict(copy.deepcopy(schema)), self._strict_registry)

    def check_answer(self, exchange: Exchange) -> None:
        """The same for what was answered, where the document describes the answer. Unknown keys pass: it leaves out
        some that Discord sends."""
        responses = self.operation(exchange)["responses"]
        described = responses.get(str(exchange.status)) or responses.get(f"{exchange.status // 100}XX")
        if described is None:
            raise WrongShapeError(f"{exchange} is never answered with {exchange.status}")
        content = described.get("content", {}).get("application/json")
        if content is None:
            if exchange.answer is not None and exchange.status < 400:
                raise WrongShapeError(f"{exchange} is answered without a body")
            return
        self._check(exchange, exchange.answer, content["schema"], self._registry)

    def operation(self, exchange: Exchange) -> Json:
        """Raises WrongShapeError when there is none."""
        # /webhooks/1/x/messages/@original fits two templates: the one with fewer parameters is meant.
        found = sorted(
            (t for t, pattern in self._templates if pattern.match(exchange.path)), key=lambda t: t.count("{")
        )
        operations = [self._document["paths"][template].get(exchange.method.lower()) for template in found]
        if not any(operations):
            raise WrongShapeError(f"{exchange} is no operation of Discord")
        return next(dict(operation) for operation in operations if operation)

    def _check(self, exchange: Exchange, value: Any, schema: Json, registry: "Registry[Any]") -> None:
        rooted = json.loads(json.dumps(schema).replace('"#/components', f'"{_URI}#/components'))
        error = best_match(Draft202012Validator(rooted, registry=registry).iter_errors(value))
        if error is not None:
            shown = json.dumps(value, ensure_ascii=False)[:1_000]
            raise WrongShapeError(f"{exchange}: {error.json_path}: {error.message[:500]}, in {shown}")

    @cached_property
    def _registry(self) -> "Registry[Any]":
        return self._registry_of(self._document)

    @cached_property
    def _strict_registry(self) -> "Registry[Any]":
        contents: Json = _strict(json.loads(self._text))
        # Discord reads an id that is written as a number too, and discord.py counts its files with numbers.
        contents["components"]["schemas"]["SnowflakeType"]["type"] = ["string", "integer"]
        # discord.py always sends these. The document names nsfw only in what Discord answers about a command, and tts
        # only with new messages.
        for name, key in (
            ("ApplicationCommandUpdateRequest", "nsfw"),
            ("IncomingWebhookUpdateRequestPartial", "tts"),
            ("IncomingWebhookUpdateForInteractionCallbackRequestPartial", "tts"),
        ):
            contents["components"]["schemas"][name]["properties"][key] = {"const": False}
        return self._registry_of(contents)

    def _registry_of(self, contents: Json) -> "Registry[Any]":
        return Registry().with_resource(_URI, Resource(contents=contents, specification=DRAFT202012))


def _strict(schema: Any) -> Any:
    """`schema` with every object closed that isn't a part of an allOf."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    for key, part in schema.items():
        schema[key] = part if key == "allOf" else _strict(part)
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        schema["unevaluatedProperties"] = False
    return schema


@dataclass
class Recorder:
    """Hears every request of a discord.py client, as the bytes that leave it. `install` before the client logs in."""

    exchanges: list[Exchange] = field(default_factory=list)

    def install(self, client: discord.Client) -> None:
        trace = aiohttp.TraceConfig(lambda **_: _Bytes())
        trace.on_request_chunk_sent.append(_sent)
        trace.on_request_end.append(self._ended)
        client.http.http_trace = trace

    async def _ended(self, _: Any, raw: "_Bytes", ended: aiohttp.TraceRequestEndParams) -> None:
        path = ended.url.path
        if not path.startswith("/api/v10/"):
            return  # the gateway's WebSocket, or a file
        kind = ended.response.request_info.headers.get("Content-Type", "")
        answered = await ended.response.read()
        self.exchanges.append(
            Exchange(
                method=ended.method,
                path=path.removeprefix("/api/v10"),
                content_type=kind.partition(";")[0],
                body=_parsed(kind, bytes(raw.sent)),
                status=ended.response.status,
                answer=json.loads(answered) if answered else None,
            )
        )


@dataclass
class _Bytes:
    sent: bytearray = field(default_factory=bytearray)


async def _sent(_: Any, raw: _Bytes, chunk: aiohttp.TraceRequestChunkSentParams) -> None:
    raw.sent += chunk.chunk


def _parsed(content_type: str, sent: bytes) -> Any:
    if not sent:
        return None
    if content_type.startswith("multipart/"):
        form = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + sent)
        return next(_payload(form.walk()))
    return json.loads(sent)


def _payload(parts: Iterator[Any]) -> Iterator[Any]:
    for part in parts:
        if part.get_param("name", header="content-disposition") == "payload_json":
            yield json.loads(part.get_payload(decode=True))
