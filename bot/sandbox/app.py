"""The sandbox as one application on loopback: built, started, stopped, and its refusals put into words."""

import asyncio
import errno
import logging
import secrets
import socket
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.sandbox.backend import Backend, build
from bot.sandbox.errors import RefusedError, SandboxError, SandboxPortTakenError, request_too_large
from bot.sandbox.limits import MAX_REQUEST_BYTES, Pace, Timing
from bot.sandbox.page_api import PageRoutes, send_attachment
from bot.sandbox.rate_limits import RateLimits
from bot.sandbox.rest_application import ApplicationRoutes
from bot.sandbox.rest_channels import ChannelRoutes
from bot.sandbox.rest_commands import CommandRoutes
from bot.sandbox.rest_guilds import GuildRoutes
from bot.sandbox.rest_interactions import InteractionRoutes
from bot.sandbox.rest_messages import MessageRoutes
from bot.sandbox.safety import Safety
from bot.sandbox.wire import json_response
from bot.sandbox.world import World
from bot.sandbox.world_file import WorldFile

log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_API = "/api/v10"
# The credential of these is the token in their path.
_WITHOUT_BOT_TOKEN = (f"{_API}/interactions/", f"{_API}/webhooks/")


class Sandbox:
    """A small local Discord. `async with Sandbox(directory) as sandbox:` serves until the block is left.

    `directory` keeps the world and its files; `port` 0 takes a free one. `disallowed_intents` are privileged intents
    that are "not switched on in the developer portal". Raises SandboxPortTakenError, or SandboxError when the world
    can't be read or written.
    """

    def __init__(
        self,
        directory: Path,
        port: int = 0,
        *,
        timing: Timing | None = None,
        pace: Pace | None = None,
        disallowed_intents: int = 0,
    ) -> None:
        self._directory, self._port = directory, port
        self._timing, self._disallowed = timing or Timing(), disallowed_intents
        self._rate_limits = RateLimits(pace or Pace())
        self._unknown: Counter[str] = Counter()
        self._file: WorldFile | None = None
        self._backend: Backend | None = None
        self._safety: Safety | None = None
        self._runner: web.AppRunner | None = None

    # --- what others need to know

    @property
    def backend(self) -> Backend:
        """The pieces; for tests that look or reach into the world."""
        if self._backend is None:
            raise SandboxError("The sandbox is not running.")
        return self._backend

    @property
    def world(self) -> World:
        return self.backend.world

    @property
    def port(self) -> int:
        return self._port

    @property
    def base_url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://{_HOST}:{self._port}"

    @property
    def page_url(self) -> str:
        """The page's address: whoever has it may act as any of the people."""
        return f"{self.base_url}/{self.world.data.capability}/"

    @property
    def bot_token(self) -> str:
        """What the bot logs in with. Random, of this world only."""
        return self.world.data.bot_token

    @property
    def unknown_routes(self) -> Counter[str]:
        """Requests of the bot that the sandbox does not know, as "METHOD /path". Empty when all is well."""
        return self._unknown

    @property
    def rate_limited(self) -> int:
        """How many of the bot's requests were answered 429."""
        return self._rate_limits.limited

    # --- life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        # 1. the port first: its number is part of every link that the world's pieces make
        server = self._listen()
        try:
            # 2. the world, then everything that works on it
            self._file = await asyncio.to_thread(WorldFile, self._directory / "world.json")
            world = World(self._file.data, self._file.touch)
            self._backend = build(world, self._directory, self.base_url, self._timing, self._disallowed)
            self._safety = Safety(self._port, world.data.capability, world.data.bot_token)
            self._file.start()
            # 3. the routes
            self._runner = web.AppRunner(self._application(), access_log=None, handle_signals=False, shutdown_timeout=2)
            await self._runner.setup()
            await web.SockSite(self._runner, server).start()
        except BaseException:
            server.close()
            await self.close()
            raise

    async def close(self) -> None:
        """Say goodbye to bot and pages, write the world."""
        if (backend := self._backend) is not None:
            backend.interactions.close()
            await backend.gateway.close()
            await backend.pages.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._file is not None:
            await self._file.close()
            self._file = None

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, self._port))
        except OSError as reason:
            listener.close()
            if reason.errno in (errno.EADDRINUSE, errno.EACCES):
                raise SandboxPortTakenError(self._port) from reason
            raise SandboxError(f"The sandbox can't listen on port {self._port}: {reason}.") from reason
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        return listener

    def _application(self) -> web.Application:
        backend, safety = self.backend, self._safety
        assert safety is not None
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_REQUEST_BYTES)
        rest = [
            *ApplicationRoutes(backend).routes(),
            *GuildRoutes(backend, self._disallowed).routes(),
            *ChannelRoutes(backend).routes(),
            *MessageRoutes(backend).routes(),
            *CommandRoutes(backend).routes(),
            *InteractionRoutes(backend).routes(),
        ]
        for route in rest:
            app.router.add_route(route.method, _API + route.path, route.handler)
        app.router.add_route("*", "/api/{rest:.*}", self._unknown_route)
        app.router.add_get("/gateway", backend.gateway.handle)
        app.router.add_get("/gateway/", backend.gateway.handle)
        app.router.add_get("/attachments/{channel_id}/{attachment_id}/{filename}", self._signed_attachment)
        app.add_routes(PageRoutes(backend, safety.page_policy).routes())
        return app

    # --- every request

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await self._checked(request, handler)
        except RefusedError as refusal:
            api = request.path.startswith("/api/")
            response = json_response(
                refusal.body if api else {"message": refusal.sentence, "code": refusal.code}, refusal.status
            )
        except web.HTTPRequestEntityTooLarge:
            response = json_response(request_too_large().body, 413)
        except web.HTTPMethodNotAllowed:
            return await self._unknown_route(request)
        except web.HTTPNotFound:
            response = json_response({"message": "There is nothing here.", "code": 0}, 404)
        except web.HTTPException:
            raise
        except Exception:
            response = self._defect(request)
        if not response.prepared:
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            response.headers.setdefault("Referrer-Policy", "no-referrer")
            response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
            response.headers.setdefault("Cache-Control", "no-store")
            response.headers.setdefault("Content-Security-Policy", "default-src 'none'")
        return response

    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        safety = self._safety
        assert safety is not None
        safety.check_host(request)
        if request.path.startswith(("/api/", "/gateway", "/attachments/")):
            safety.check_bot(request)
            if request.path.startswith("/api/"):
                return await self._rate_limits.enforce(request, lambda _: self._api(request, handler, safety))
            return await handler(request)
        safety.check_page(request)
        return await handler(request)

    async def _api(self, request: web.Request, handler: Handler, safety: Safety) -> web.StreamResponse:
        """The handler, with refusals as answers, so that these too carry the rate limit's headers."""
        try:
            if not request.path.startswith(_WITHOUT_BOT_TOKEN):
                safety.check_token(request)
            return await handler(request)
        except RefusedError as refusal:
            return json_response(refusal.body, refusal.status)
        except ValueError as reason:  # a query like limit=many
            return json_response({"message": f"Invalid Form Body: {reason}", "code": 50035}, 400)
        except web.HTTPException:
            raise
        except Exception:
            return self._defect(request)

    def _defect(self, request: web.Request) -> web.Response:
        """A fault of the sandbox itself: logged whole, told without its inside."""
        log.exception("The sandbox failed at %s %s.", request.method, request.match_info.route.resource)
        return json_response({"message": "500: Internal Server Error: the sandbox itself failed", "code": 0}, 500)

    async def _unknown_route(self, request: web.Request) -> web.Response:
        name = f"{request.method} {request.path}"
        self._unknown[name] += 1
        log.error("The bot asked for %s, which the sandbox does not know.", name)
        return json_response({"message": f"404: Not Found: the sandbox does not know {name}", "code": 0}, 404)

    async def _signed_attachment(self, request: web.Request) -> web.StreamResponse:
        given = request.query.get("hm", "")
        made = self.backend.attachments.signature(request.match_info["attachment_id"])
        if not secrets.compare_digest(given.encode("utf-8", "replace"), made.encode()):
            raise RefusedError(403, 0, "This link is not signed by this sandbox.")
        return send_attachment(self.backend, request)
