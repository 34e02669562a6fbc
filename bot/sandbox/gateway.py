"""Discord's gateway v10 towards the bot: sessions, heartbeats, replay. Knows no event's meaning, only who gets it.

https://discord.com/developers/docs/events/gateway
"""

import asyncio
import contextlib
import json
import logging
import secrets
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Callable
from enum import IntFlag
from typing import Any, Protocol

from aiohttp import WSMsgType, web

from bot.sandbox.limits import (
    GATEWAY_SENDS,
    GATEWAY_SENDS_WINDOW_S,
    KEPT_REPLAY_EVENTS,
    KEPT_SESSIONS,
    MAX_GATEWAY_PAYLOAD_BYTES,
    Timing,
)
from bot.sandbox.wire import Json

log = logging.getLogger(__name__)

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE_STATE, RESUME = 0, 1, 2, 3, 4, 6
RECONNECT, REQUEST_MEMBERS, INVALID_SESSION, HELLO, HEARTBEAT_ACK, SOUNDBOARD = 7, 8, 9, 10, 11, 31

# discord.py notes when it sent a heartbeat only after it has left; an answer that is there sooner is measured from the
# heartbeat before, and told to the operator as a connection 41 s behind. No real network is that fast.
_ACK_S = 0.05

UNKNOWN_OPCODE, DECODE_ERROR, NOT_AUTHENTICATED, AUTHENTICATION_FAILED = 4001, 4002, 4003, 4004
ALREADY_AUTHENTICATED, INVALID_SEQUENCE, RATE_LIMITED, SESSION_TIMED_OUT = 4005, 4007, 4008, 4009
INVALID_SHARD, INVALID_API_VERSION, INVALID_INTENTS, DISALLOWED_INTENTS = 4010, 4012, 4013, 4014


class Intent(IntFlag):
    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15


PRIVILEGED = Intent.GUILD_MEMBERS | Intent.GUILD_PRESENCES | Intent.MESSAGE_CONTENT
_ALL_INTENTS = (1 << 26) - 1


class Audience(Protocol):
    """What the gateway asks of the world when a bot connects."""

    def ready(self) -> Json:
        """READY's own part: user, guilds, application."""

    def guilds(self, session: "Session") -> list[Json]:
        """GUILD_CREATE payloads for a session."""

    def members(self, session: "Session", request: Json) -> list[Json]:
        """GUILD_MEMBERS_CHUNK payloads."""

    def online_changed(self, online: bool) -> None: ...


class Session:
    """What survives a dropped socket: the sequence, what was sent, and what the bot asked for."""

    def __init__(self, shard: tuple[int, int], intents: int) -> None:
        self.id = secrets.token_hex(16)
        self.shard, self.intents = shard, intents
        self.sequence = 0
        self.replay: deque[tuple[int, Json]] = deque(maxlen=KEPT_REPLAY_EVENTS)
        self.socket: Socket | None = None
        self.dropped_at: float | None = None

    def wants(self, intent: int) -> bool:
        return self.intents & intent == intent

    def serves(self, guild_id: str | None) -> bool:
        """A guild belongs to one shard; DMs to the first."""
        shard, count = self.shard
        return shard == 0 if guild_id is None else (int(guild_id) >> 22) % count == shard

    def can_replay_after(self, sequence: int) -> bool:
        oldest = self.replay[0][0] if self.replay else self.sequence + 1
        return oldest - 1 <= sequence <= self.sequence

    def send(self, event: str, data: Json) -> None:
        self.sequence += 1
        payload = {"op": DISPATCH, "t": event, "s": self.sequence, "d": data}
        self.replay.append((self.sequence, payload))
        if self.socket is not None:
            self.socket.send(payload)


class Socket:
    """One connection: its compression, and a bounded queue so that a stuck bot can't hold memory."""

    def __init__(self, request: web.Request, response: web.WebSocketResponse) -> None:
        self.response = response
        self._transport = request.transport
        self._encode = _encoder(request.query.get("compress"))
        self._queue: asyncio.Queue[Json] = asyncio.Queue(2 * KEPT_REPLAY_EVENTS)
        self._writer = asyncio.create_task(self._write(), name="sandbox-gateway-writer")
        self._received: deque[float] = deque(maxlen=GATEWAY_SENDS)

    def send(self, payload: Json) -> None:
        try:
            self._queue.put_nowait(payload)
        except asyncio.QueueFull:
            log.warning("The bot reads its gateway too slowly: the connection is dropped (it can resume).")
            self.abort()

    def abort(self) -> None:
        """Break the connection as a network would."""
        if self._transport is not None:
            self._transport.abort()

    def too_many_received(self) -> bool:
        now = time.monotonic()
        full = len(self._received) == GATEWAY_SENDS and now - self._received[0] < GATEWAY_SENDS_WINDOW_S
        self._received.append(now)
        return full

    async def close(self, code: int, message: str = "") -> None:
        await self.response.close(code=code, message=message.encode())
        self._writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writer

    async def _write(self) -> None:
        try:
            while True:
                encoded = self._encode(await self._queue.get())
                if isinstance(encoded, str):
                    await self.response.send_str(encoded)
                else:
                    await self.response.send_bytes(encoded)
        except (ConnectionError, asyncio.CancelledError):
            if not self.response.closed:
                await self.response.close(code=4000)


class Gateway:
    """All connections and sessions of the bot."""

    def __init__(self, *, token: str, audience: Audience, timing: Timing, disallowed_intents: int = 0) -> None:
        self._token, self._audience, self._timing = token, audience, timing
        self._disallowed = disallowed_intents
        self._sessions: dict[str, Session] = {}
        self._sockets: set[Socket] = set()
        self.url = ""  # ws://…/gateway, known when the port is

    @property
    def online(self) -> bool:
        return any(session.socket is not None for session in self._sessions.values())

    @property
    def reachable(self) -> bool:
        """Connected, or able to resume: an interaction would reach it."""
        self._forget_old()
        return bool(self._sessions)

    def dispatch(
        self,
        event: str,
        data: Json | Callable[[Session], Json | None],
        *,
        guild_id: str | None = None,
        intent: int = 0,
    ) -> None:
        """Send to every session whose shard and intents fit. `data` may be made for each session; None skips it."""
        for session in self._sessions.values():
            if session.serves(guild_id) and session.wants(intent):
                made = data(session) if callable(data) else data
                if made is not None:
                    session.send(event, made)

    def drop_connections(self, *, invalidate: bool = False) -> None:
        """Break every socket as a network would; `invalidate` also forgets the sessions, so that none resumes."""
        if invalidate:
            self._sessions = {}
        for socket in list(self._sockets):
            socket.abort()

    def ask_to_reconnect(self) -> None:
        for socket in list(self._sockets):
            socket.send({"op": RECONNECT, "d": None})

    async def close(self) -> None:
        for socket in list(self._sockets):
            await socket.close(1001, "The sandbox is shutting down.")

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse(max_msg_size=1 << 16, autoping=True)
        await response.prepare(request)
        socket = Socket(request, response)
        self._sockets.add(socket)
        session: Session | None = None
        try:
            if request.query.get("v", "10") not in ("9", "10") or request.query.get("encoding", "json") != "json":
                await socket.close(INVALID_API_VERSION, "The sandbox speaks v10, JSON.")
                return response
            socket.send({"op": HELLO, "d": {"heartbeat_interval": int(self._timing.heartbeat_s * 1000), "_trace": []}})
            while True:
                # a client that sends nothing, not even heartbeats, is gone
                frame = await response.receive(timeout=self._timing.heartbeat_s * 2)
                if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                session = await self._received(socket, session, frame.data)
                if response.closed:
                    break
        except TimeoutError:
            await socket.close(SESSION_TIMED_OUT, "No heartbeat.")
        finally:
            self._sockets.discard(socket)
            self._detach(socket, session)
            await socket.close(1000)
        return response

    async def _received(self, socket: Socket, session: Session | None, raw: str | bytes) -> Session | None:
        if socket.too_many_received():
            await socket.close(RATE_LIMITED, f"More than {GATEWAY_SENDS} payloads in {GATEWAY_SENDS_WINDOW_S:.0f} s.")
            return session
        try:
            if len(raw) > MAX_GATEWAY_PAYLOAD_BYTES:
                raise ValueError("the payload is too large")
            payload = json.loads(raw)
            op, data = int(payload["op"]), payload.get("d")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            await socket.close(DECODE_ERROR, "The payload can't be decoded.")
            return session
        if op == HEARTBEAT:
            asyncio.get_running_loop().call_later(_ACK_S, socket.send, {"op": HEARTBEAT_ACK})
        elif op in (IDENTIFY, RESUME):
            if session is not None:
                await socket.close(ALREADY_AUTHENTICATED, "Already identified.")
                return session
            start: Callable[[Socket, Json], Awaitable[Session | None]]
            start = self._identify if op == IDENTIFY else self._resume
            session = await start(socket, data if isinstance(data, dict) else {})
        elif session is None:
            await socket.close(NOT_AUTHENTICATED, "Not identified.")
        elif op == REQUEST_MEMBERS:
            for chunk in self._audience.members(session, data if isinstance(data, dict) else {}):
                session.send("GUILD_MEMBERS_CHUNK", chunk)
        elif op not in (PRESENCE, VOICE_STATE, SOUNDBOARD):  # those are heard and have no effect here
            await socket.close(UNKNOWN_OPCODE, f"Unknown opcode {op}.")
        return session

    async def _identify(self, socket: Socket, data: Json) -> Session | None:
        if not self._token_fits(data):
            log.error("The bot identified with a token that is not this sandbox's.")
            await socket.close(AUTHENTICATION_FAILED, "Authentication failed.")
            return None
        shard, intents = data.get("shard", [0, 1]), data.get("intents")
        if not _is_shard(shard):
            await socket.close(INVALID_SHARD, "Invalid shard.")
            return None
        if not isinstance(intents, int) or intents & ~_ALL_INTENTS:
            await socket.close(INVALID_INTENTS, "Invalid intents.")
            return None
        if intents & self._disallowed:
            await socket.close(DISALLOWED_INTENTS, "Disallowed intents.")
            return None
        session = Session((shard[0], shard[1]), intents)
        self._sessions[session.id] = session
        self._attach(socket, session)
        ready = self._audience.ready() | {
            "v": 10,
            "session_id": session.id,
            "resume_gateway_url": self.url,
            "shard": list(session.shard),
        }
        session.send("READY", ready)
        if session.wants(Intent.GUILDS):
            for guild in self._audience.guilds(session):
                session.send("GUILD_CREATE", guild)
        return session

    async def _resume(self, socket: Socket, data: Json) -> Session | None:
        if not self._token_fits(data):
            await socket.close(AUTHENTICATION_FAILED, "Authentication failed.")
            return None
        self._forget_old()
        session = self._sessions.get(str(data.get("session_id")))
        sequence = data.get("seq")
        sequence = sequence if isinstance(sequence, int) else -1
        if session is None or not session.can_replay_after(sequence):
            socket.send({"op": INVALID_SESSION, "d": False})
            return None
        if session.socket is not None:  # the old connection is half open
            stale, session.socket = session.socket, None
            await stale.close(4000)
        missed = [payload for number, payload in session.replay if number > sequence]
        self._attach(socket, session)
        for payload in missed:
            socket.send(payload)
        session.send("RESUMED", {"_trace": []})
        return session

    def _token_fits(self, data: Json) -> bool:
        token = str(data.get("token", "")).removeprefix("Bot ")
        return secrets.compare_digest(token.encode(), self._token.encode())

    def _attach(self, socket: Socket, session: Session) -> None:
        was_online = self.online
        session.socket, session.dropped_at = socket, None
        if not was_online:
            self._audience.online_changed(True)

    def _detach(self, socket: Socket, session: Session | None) -> None:
        if session is None or session.socket is not socket:
            return
        session.socket, session.dropped_at = None, time.monotonic()
        if socket.response.close_code in (1000, 1001):  # a bot that says goodbye gives its session up
            self._sessions.pop(session.id, None)
        if not self.online:
            self._audience.online_changed(False)

    def _forget_old(self) -> None:
        now = time.monotonic()
        for session in list(self._sessions.values()):
            expired = session.dropped_at is not None and now - session.dropped_at > self._timing.resume_s
            if expired:
                del self._sessions[session.id]
        dropped = [session for session in self._sessions.values() if session.socket is None]
        for session in dropped[: max(0, len(dropped) - KEPT_SESSIONS)]:
            del self._sessions[session.id]


def _is_shard(shard: Any) -> bool:
    return (
        isinstance(shard, list)
        and len(shard) == 2
        and all(isinstance(number, int) for number in shard)
        and 0 <= shard[0] < shard[1] <= 1_000
    )


def _encoder(compress: str | None) -> Callable[[Json], str | bytes]:
    """JSON text, or one compressed stream over the whole connection, flushed after each payload."""
    if compress == "zlib-stream":
        stream = zlib.compressobj()

        def with_zlib(payload: Json) -> bytes:
            return stream.compress(json.dumps(payload).encode()) + stream.flush(zlib.Z_SYNC_FLUSH)

        return with_zlib
    if compress == "zstd-stream" and (zstd := _zstd()) is not None:
        compressor, flush_block = zstd

        def with_zstd(payload: Json) -> bytes:
            return bytes(compressor.compress(json.dumps(payload).encode()) + compressor.flush(flush_block))

        return with_zstd
    return json.dumps  # a client that asked for compression still reads plain text frames


def _zstd() -> tuple[Any, Any] | None:
    """A stream compressor and its flag to flush a block, where Python or a package brings Zstandard."""
    with contextlib.suppress(ImportError):
        import zstandard  # type: ignore[import-not-found,unused-ignore]

        return zstandard.ZstdCompressor().compressobj(), zstandard.COMPRESSOBJ_FLUSH_BLOCK
    with contextlib.suppress(ImportError):
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14

        return zstd.ZstdCompressor(), zstd.ZstdCompressor.FLUSH_BLOCK
    return None
