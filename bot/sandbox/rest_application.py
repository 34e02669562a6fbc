"""REST: the bot itself, its application and where its gateway is. Knows no message."""

from aiohttp import web

from bot.sandbox.backend import Backend
from bot.sandbox.errors import unknown
from bot.sandbox.wire import json_response, read_body


class ApplicationRoutes:
    def __init__(self, backend: Backend) -> None:
        self._backend, self._world = backend, backend.world

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/gateway", self.gateway),
            web.get("/gateway/bot", self.gateway_bot),
            web.get("/users/@me", self.me),
            web.get("/users/@me/guilds", self.my_guilds),
            web.post("/users/@me/channels", self.open_dm),
            web.get("/users/{user_id}", self.user),
            web.get("/oauth2/applications/@me", self.application),
            web.get("/applications/@me", self.application),
            web.get("/applications/{application_id}/emojis", self.emojis),
        ]

    async def gateway(self, request: web.Request) -> web.Response:
        return json_response({"url": self._backend.gateway.url})

    async def gateway_bot(self, request: web.Request) -> web.Response:
        starts = {"total": 1_000, "remaining": 1_000, "reset_after": 86_400_000, "max_concurrency": 1}
        return json_response({"url": self._backend.gateway.url, "shards": 1, "session_start_limit": starts})

    async def me(self, request: web.Request) -> web.Response:
        account = {"verified": True, "mfa_enabled": False, "email": None, "locale": "en-US"}
        return json_response(self._world.bot | account)

    async def my_guilds(self, request: web.Request) -> web.Response:
        bits = str(self._world.guild_permissions(self._world.bot_id))
        guild = {key: self._world.data.guild[key] for key in ("id", "name", "icon")}
        return json_response([guild | {"owner": False, "permissions": bits, "features": [], "banner": None}])

    async def open_dm(self, request: web.Request) -> web.Response:
        form = (await read_body(request)).form
        channel = self._backend.channels.open_dm(self._world.bot_id, str(form.get("recipient_id")))
        return json_response(self._backend.channels.for_bot(channel))

    async def user(self, request: web.Request) -> web.Response:
        return json_response(self._world.user(request.match_info["user_id"]))

    async def application(self, request: web.Request) -> web.Response:
        return json_response(self._backend.broadcast.application())

    async def emojis(self, request: web.Request) -> web.Response:
        if request.match_info["application_id"] != self._world.bot_id:
            raise unknown("Application")
        return json_response({"items": []})
