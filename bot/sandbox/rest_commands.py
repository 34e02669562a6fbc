"""REST: the bot's application commands, global and of the guild. Knows no interaction."""

from aiohttp import web

from bot.sandbox.backend import Backend
from bot.sandbox.command_forms import check_command, check_count
from bot.sandbox.errors import invalid_form, unknown
from bot.sandbox.wire import Json, json_response, no_content, read_body


class CommandRoutes:
    def __init__(self, backend: Backend) -> None:
        self._backend, self._world = backend, backend.world

    def routes(self) -> list[web.RouteDef]:
        routes = []
        for at in (
            "/applications/{application_id}/commands",
            "/applications/{application_id}/guilds/{guild_id}/commands",
        ):
            routes += [
                web.get(at, self.list),
                web.post(at, self.create),
                web.put(at, self.overwrite),
                web.get(f"{at}/{{command_id}}", self.get),
                web.patch(f"{at}/{{command_id}}", self.edit),
                web.delete(f"{at}/{{command_id}}", self.delete),
            ]
        return routes

    def _scope(self, request: web.Request) -> str:
        """ "global" or the guild's id: where the commands are kept."""
        if request.match_info["application_id"] != self._world.bot_id:
            raise unknown("Application")
        guild_id = request.match_info.get("guild_id")
        if guild_id is not None and guild_id != self._world.guild_id:
            raise unknown("Guild")
        return guild_id or "global"

    def _kept(self, scope: str) -> list[Json]:
        return self._world.data.commands.setdefault(scope, [])

    def _find(self, request: web.Request, scope: str) -> Json:
        for command in self._kept(scope):
            if command["id"] == request.match_info["command_id"]:
                return command
        raise unknown("application command")

    def _identified(self, scope: str, command: Json) -> Json:
        """A command of the same name and type keeps its id, as Discord does."""
        kept = {(old["type"], old["name"]): old for old in self._kept(scope)}.get((command["type"], command["name"]))
        identity: Json = {
            "id": kept["id"] if kept else self._world.new_id(),
            "application_id": self._world.bot_id,
            "version": self._world.new_id(),
        }
        if scope != "global":
            identity["guild_id"] = scope
        if kept is not None and all(kept.get(key) == value for key, value in command.items()):
            identity["version"] = kept["version"]
        return identity | command

    def _keep(self, scope: str, commands: list[Json]) -> None:
        check_count(commands)
        self._world.data.commands[scope] = commands
        self._world.touch()
        self._backend.broadcast.commands_changed()

    async def list(self, request: web.Request) -> web.Response:
        return json_response(self._kept(self._scope(request)))

    async def get(self, request: web.Request) -> web.Response:
        return json_response(self._find(request, self._scope(request)))

    async def create(self, request: web.Request) -> web.Response:
        scope = self._scope(request)
        command = self._identified(scope, check_command((await read_body(request)).form))
        before = self._kept(scope)
        others = [old for old in before if old["id"] != command["id"]]
        self._keep(scope, [*others, command])
        return json_response(command, 201 if len(others) == len(before) else 200)

    async def overwrite(self, request: web.Request) -> web.Response:
        scope, forms = self._scope(request), (await read_body(request)).payload
        if not isinstance(forms, list):
            raise invalid_form("0", "LIST_TYPE_CONVERT", "Only a list of commands is accepted here")
        commands = [self._identified(scope, check_command(form, str(index))) for index, form in enumerate(forms)]
        self._keep(scope, commands)
        return json_response(commands)

    async def edit(self, request: web.Request) -> web.Response:
        scope = self._scope(request)
        kept, form = self._find(request, scope), (await read_body(request)).form
        changed = kept | check_command(kept | form | {"type": kept["type"]}) | {"version": self._world.new_id()}
        self._keep(scope, [changed if old["id"] == kept["id"] else old for old in self._kept(scope)])
        return json_response(changed)

    async def delete(self, request: web.Request) -> web.Response:
        scope = self._scope(request)
        kept = self._find(request, scope)
        self._keep(scope, [old for old in self._kept(scope) if old["id"] != kept["id"]])
        return no_content()
