"""REST: the guild, its members and roles, read by the bot. Changes nothing."""

from aiohttp import web

from bot.sandbox.backend import Backend
from bot.sandbox.errors import missing_access, unknown
from bot.sandbox.gateway import Intent
from bot.sandbox.wire import Json, json_response, take


class GuildRoutes:
    def __init__(self, backend: Backend, disallowed_intents: int) -> None:
        self._backend, self._world = backend, backend.world
        self._disallowed = disallowed_intents

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/guilds/{guild_id}", self.guild),
            web.get("/guilds/{guild_id}/channels", self.channels),
            web.get("/guilds/{guild_id}/threads/active", self.active_threads),
            web.get("/guilds/{guild_id}/roles", self.roles),
            web.get("/guilds/{guild_id}/roles/{role_id}", self.role),
            web.get("/guilds/{guild_id}/members", self.members),
            web.get("/guilds/{guild_id}/members/search", self.search_members),
            web.get("/guilds/{guild_id}/members/{user_id}", self.member),
        ]

    def _check(self, request: web.Request) -> None:
        if request.match_info["guild_id"] != self._world.guild_id:
            raise unknown("Guild")

    async def guild(self, request: web.Request) -> web.Response:
        self._check(request)
        guild = self._backend.broadcast.guild()
        if request.query.get("with_counts") in ("1", "true", "True"):
            guild |= {"approximate_member_count": len(self._world.data.members), "approximate_presence_count": 0}
        return json_response(guild)

    async def channels(self, request: web.Request) -> web.Response:
        self._check(request)  # Discord lists hidden ones too
        return json_response([self._backend.channels.for_bot(channel) for channel in self._world.text_channels()])

    async def active_threads(self, request: web.Request) -> web.Response:
        self._check(request)
        world = self._world
        threads = [
            thread
            for thread in world.threads()
            if not thread["thread_metadata"]["archived"] and world.may_see(world.bot_id, thread)
        ]
        joined = [thread["id"] for thread in threads if world.is_member_of_thread(thread["id"], world.bot_id)]
        return json_response(
            {
                "threads": [self._backend.channels.for_bot(thread) for thread in threads],
                "members": [self._backend.channels.thread_member(thread_id, world.bot_id) for thread_id in joined],
            }
        )

    async def roles(self, request: web.Request) -> web.Response:
        self._check(request)
        return json_response(list(self._world.data.roles.values()))

    async def role(self, request: web.Request) -> web.Response:
        self._check(request)
        role = self._world.data.roles.get(request.match_info["role_id"])
        if role is None:
            raise unknown("Role")
        return json_response(role)

    async def members(self, request: web.Request) -> web.Response:
        self._check(request)
        if self._disallowed & Intent.GUILD_MEMBERS:
            raise missing_access()
        after, limit = int(request.query.get("after", "0")), int(request.query.get("limit", "1"))
        ids = sorted((user_id for user_id in self._world.data.members if int(user_id) > after), key=int)
        return json_response([self._world.member(user_id) for user_id in take(ids, min(max(limit, 1), 1_000))])

    async def search_members(self, request: web.Request) -> web.Response:
        self._check(request)
        query = request.query.get("query", "").lower()
        found: list[Json] = [
            member
            for member in (self._world.member(user_id) for user_id in self._world.data.members)
            if member["user"]["username"].startswith(query) or (member["nick"] or "").lower().startswith(query)
        ]
        return json_response(take(found, min(max(int(request.query.get("limit", "1")), 1), 1_000)))

    async def member(self, request: web.Request) -> web.Response:
        self._check(request)
        return json_response(self._world.member(request.match_info["user_id"]))
