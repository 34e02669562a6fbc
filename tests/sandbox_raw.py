"""The bot's side of the sandbox without discord.py: bare requests and frames, for what a good client never does.

Knows no rule of Discord.
"""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

from bot.sandbox import Sandbox

Json = dict[str, Any]
WAIT_S = 60.0
GUILDS, GUILD_MESSAGES, MESSAGE_CONTENT = 1 << 0, 1 << 9, 1 << 15


class Answer(NamedTuple):
    status: int
    body: Any
    headers: Any


class RawBot:
    """Requests with the bot's token, and gateway connections."""

    def __init__(self, sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
        self.sandbox, self._http = sandbox, http

    @classmethod
    @asynccontextmanager
    async def of(cls, sandbox: Sandbox) -> AsyncIterator["RawBot"]:
        async with aiohttp.ClientSession() as http:
            yield cls(sandbox, http)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """`path` behind /api/v10; `body` is sent as JSON, bytes as they are."""
        sent = {"Authorization": f"Bot {self.sandbox.bot_token}", "Content-Type": "application/json"} | headers
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{self.sandbox.base_url}/api/v10{path}"
        async with self._http.request(method, url, data=data, headers=sent) as answer:
            text = await answer.text()
            return Answer(answer.status, json.loads(text) if text else None, answer.headers)

    async def form(self, method: str, path: str, payload: Json, **files: bytes) -> Answer:
        """Multipart, as discord.py sends files."""
        data = aiohttp.FormData(quote_fields=False)
        data.add_field("payload_json", json.dumps(payload))
        for index, (name, content) in enumerate(files.items()):
            data.add_field(f"files[{index}]", io.BytesIO(content), filename=name)
        headers = {"Authorization": f"Bot {self.sandbox.bot_token}"}
        async with self._http.request(
            method, f"{self.sandbox.base_url}/api/v10{path}", data=data, headers=headers
        ) as answer:
            return Answer(answer.status, json.loads(await answer.text()), answer.headers)

    @asynccontextmanager
    async def gateway(self, query: str = "v=10&encoding=json") -> AsyncIterator["RawGateway"]:
        async with self._http.ws_connect(f"{self.sandbox.base_url}/gateway/?{query}") as socket:
            gateway = RawGateway(socket)
            assert (await gateway.next())["op"] == 10
            yield gateway

    @asynccontextmanager
    async def online(self, intents: int = GUILDS | GUILD_MESSAGES) -> AsyncIterator["RawGateway"]:
        """An identified gateway, READY read."""
        async with self.gateway() as gateway:
            await gateway.send(2, {"token": self.sandbox.bot_token, "intents": intents, "properties": {}})
            gateway.ready = (await gateway.event("READY"))["d"]
            yield gateway


class RawGateway:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.ready: Json = {}
        self.sequence = 0

    async def send(self, op: int, data: Any) -> None:
        await self.socket.send_str(json.dumps({"op": op, "d": data}))

    async def next(self) -> Json:
        """The next frame. Raises TypeError when the socket was closed."""
        frame: Json = await self.socket.receive_json(timeout=WAIT_S)
        self.sequence = frame.get("s") or self.sequence
        return frame

    async def event(self, name: str) -> Json:
        while (frame := await self.next()).get("t") != name:
            pass
        return frame

    async def close_code(self) -> int | None:
        """What it was closed with."""
        while (await self.socket.receive(timeout=WAIT_S)).type not in (
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.CLOSING,
        ):
            pass
        return self.socket.close_code
