"""Which of the bot's commands a person may use, and whether what they typed fits. Knows no interaction's life."""

from typing import Any

from bot.sandbox import limits
from bot.sandbox.attachments import Attachments
from bot.sandbox.command_forms import (
    ATTACHMENT,
    BOOLEAN,
    CHANNEL,
    CHAT_INPUT,
    GROUP,
    INTEGER,
    MENTIONABLE,
    NUMBER,
    ROLE,
    STRING,
    SUBCOMMAND,
    USER,
)
from bot.sandbox.errors import RefusedError
from bot.sandbox.permissions import ALL
from bot.sandbox.wire import Body, Json
from bot.sandbox.world import DM, World

IN_GUILD, IN_BOT_DM, IN_PRIVATE = 0, 1, 2  # a command's contexts
GUILD_INSTALL, USER_INSTALL = 0, 1


class CommandAccess:
    """Reads the world's commands on behalf of people."""

    def __init__(self, world: World) -> None:
        self._world = world

    def all(self) -> list[Json]:
        commands = self._world.data.commands
        return [*commands.get(self._world.guild_id, []), *commands.get("global", [])]

    def usable_by(self, user_id: str) -> list[Json]:
        """Commands that the person may use somewhere; each says where in its `contexts`."""
        everywhere = (IN_GUILD, IN_BOT_DM, IN_PRIVATE)
        somewhere = (
            command | {"contexts": [context for context in everywhere if self._may(user_id, command, context)]}
            for command in self.all()
        )
        return [command for command in somewhere if command["contexts"]]

    def context_of(self, channel: Json) -> int:
        if channel["type"] != DM:
            return IN_GUILD
        return IN_BOT_DM if self._world.bot_id in channel["recipient_ids"] else IN_PRIVATE

    def find(self, user_id: str, channel: Json, data: Json) -> Json:
        """The command that `data` names by id, or by name and type. Raises RefusedError with a sentence."""
        wanted = data.get("id")
        for command in self.all():
            by_name = command["name"] == data.get("name") and command["type"] == (data.get("type") or CHAT_INPUT)
            if command["id"] == wanted or (wanted is None and by_name):
                if not self._may(user_id, command, self.context_of(channel)):
                    raise RefusedError(403, 0, "You can't use this command here.")
                return command
        raise RefusedError(404, 10063, "This command no longer exists. Reload the page.")

    def _may(self, user_id: str, command: Json, context: int) -> bool:
        contexts, installs = command["contexts"], command["integration_types"]
        if contexts is not None and context not in contexts:
            return False
        if contexts is None and context != IN_GUILD and not command["dm_permission"]:
            return False
        if context == IN_PRIVATE and USER_INSTALL not in installs:  # the bot is not there: only the person brings it
            return False
        if command.get("guild_id") and context != IN_GUILD:
            return False
        if context != IN_GUILD or command["default_member_permissions"] is None:
            return True
        held, needed = self._world.guild_permissions(user_id), int(command["default_member_permissions"])
        return held == ALL if needed == 0 else held & needed == needed


class OptionReader:
    """Checks the options of one command call against the command, and collects what Discord calls `resolved`."""

    def __init__(
        self, world: World, attachments: Attachments, channel: Json, user_id: str, body: Body, *, partial: bool
    ) -> None:
        self._world, self._attachments, self._channel, self._user_id = world, attachments, channel, user_id
        self._body, self._partial = body, partial
        self.resolved: Json = {}
        self.focused: Json | None = None  # the option being typed, of an autocomplete

    def read(self, definitions: list[Json], given: Any) -> list[Json]:
        """The checked options, nested as given. `partial` (an autocomplete) lets required ones be missing. Raises
        RefusedError with a sentence that names the option."""
        given = given or []
        if not isinstance(given, list) or not all(isinstance(option, dict) for option in given):
            raise RefusedError(400, 0, "The options are malformed.")
        by_name = {definition["name"]: definition for definition in definitions}
        checked, seen = [], set()
        for option in given:
            definition = by_name.get(option.get("name"))
            if definition is None or definition["name"] in seen:
                raise RefusedError(400, 0, f"“{str(option.get('name'))[:40]}” is no option here, or given twice.")
            seen.add(definition["name"])
            checked.append(self._option(definition, option))
        nested = [definition for definition in definitions if definition["type"] in (SUBCOMMAND, GROUP)]
        if nested and len(checked) != 1:
            raise RefusedError(400, 0, "Choose one of: " + ", ".join(definition["name"] for definition in nested) + ".")
        for definition in definitions:
            if definition.get("required") and definition["name"] not in seen and not self._partial:
                raise RefusedError(400, 0, f"“{definition['name']}” is required.")
        return checked

    def _option(self, definition: Json, option: Json) -> Json:
        kind, name = definition["type"], definition["name"]
        if kind in (SUBCOMMAND, GROUP):
            inner = self.read(definition["options"], option.get("options"))
            return {"type": kind, "name": name, "options": inner}
        checked: Json = {"type": kind, "name": name}
        if self._partial and option.get("focused"):
            self.focused = definition
            # half typed: Discord hands it over as text, whatever the option's type
            return checked | {"value": str(option.get("value", "")), "focused": True}
        return checked | {"value": self._value(definition, option.get("value"))}

    def _value(self, definition: Json, value: Any) -> Any:
        kind, name = definition["type"], definition["name"]
        if kind == STRING:
            value = self._string(definition, value)
        elif kind in (INTEGER, NUMBER):
            value = self._number(definition, value)
        elif kind == BOOLEAN:
            if not isinstance(value, bool):
                raise RefusedError(400, 0, f"“{name}” must be true or false.")
        elif kind in (USER, CHANNEL, ROLE, MENTIONABLE):
            value = resolve(self._world, self._channel, self._user_id, kind, str(value), self.resolved, name)
            allowed = definition.get("channel_types")
            if kind == CHANNEL and allowed and self._world.channel(value)["type"] not in allowed:
                raise RefusedError(400, 0, f"“{name}” must be another kind of channel.")
        elif kind == ATTACHMENT:
            value = keep_upload(self._attachments, self._channel, self._body, value, self.resolved, name)
        choices = definition.get("choices")
        if choices and value not in [choice["value"] for choice in choices]:
            raise RefusedError(400, 0, f"“{name}” must be one of: {', '.join(choice['name'] for choice in choices)}.")
        return value

    def _string(self, definition: Json, value: Any) -> str:
        name = definition["name"]
        if not isinstance(value, str):
            raise RefusedError(400, 0, f"“{name}” must be a text.")
        least = definition.get("min_length", 1 if definition["required"] else 0)
        most = min(definition.get("max_length", limits.MAX_STRING_OPTION_CHARS), limits.MAX_STRING_OPTION_CHARS)
        if len(value) > most:
            raise RefusedError(400, 0, f"“{name}” may have at most {most:,} characters; it has {len(value):,}.")
        if len(value) < least:
            raise RefusedError(400, 0, f"“{name}” needs at least {least:,} characters.")
        return value

    def _number(self, definition: Json, value: Any) -> int | float:
        name, whole = definition["name"], definition["type"] == INTEGER
        fits = isinstance(value, int) if whole else isinstance(value, int | float)
        if not fits or isinstance(value, bool) or not abs(value) <= 2**53:
            raise RefusedError(400, 0, f"“{name}” must be a {'whole ' if whole else ''}number.")
        number: int | float = value
        if "min_value" in definition and number < definition["min_value"]:
            raise RefusedError(400, 0, f"“{name}” must be at least {definition['min_value']}.")
        if "max_value" in definition and number > definition["max_value"]:
            raise RefusedError(400, 0, f"“{name}” must be at most {definition['max_value']}.")
        return number


def resolve(world: World, channel: Json, viewer_id: str, kind: int, target_id: str, resolved: Json, name: str) -> str:
    """Put a user, channel or role into `resolved` as Discord does; return its id. Raises RefusedError."""
    data = world.data
    if kind in (USER, MENTIONABLE) and target_id in data.users:
        resolved.setdefault("users", {})[target_id] = data.users[target_id]
        if channel["type"] != DM and target_id in data.members:
            bits = str(world.permissions_in(channel, target_id))
            resolved.setdefault("members", {})[target_id] = {
                key: value for key, value in data.members[target_id].items() if key not in ("deaf", "mute")
            } | {"permissions": bits}
        return target_id
    if kind in (ROLE, MENTIONABLE) and target_id in data.roles:
        resolved.setdefault("roles", {})[target_id] = data.roles[target_id]
        return target_id
    if kind == CHANNEL and target_id in data.channels and world.may_see(viewer_id, data.channels[target_id]):
        target = data.channels[target_id]
        if target["type"] != DM:
            shown = {key: value for key, value in target.items() if key != "permission_overwrites"}
            bits = str(world.permissions_in(target, viewer_id))
            resolved.setdefault("channels", {})[target_id] = shown | {"permissions": bits}
            return target_id
    raise RefusedError(400, 0, f"“{name}” names nobody and nothing here.")


def keep_upload(attachments: Attachments, channel: Json, body: Body, key: Any, resolved: Json, name: str) -> str:
    """Keep the file `files[key]` and put it into `resolved`; return its id. Raises RefusedError."""
    upload = body.files.get(str(key))
    if upload is None:
        raise RefusedError(400, 0, f"“{name}” needs a file.")
    record = attachments.add(channel["id"], upload, loose=True)
    resolved.setdefault("attachments", {})[record["id"]] = attachments.present(record, ephemeral=True)
    return str(record["id"])
