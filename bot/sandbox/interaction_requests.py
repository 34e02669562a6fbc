"""What a person does with a command, a component or a modal, checked and put in the gateway's shape. Sends nothing."""

from typing import Any

from bot.sandbox import components as kinds
from bot.sandbox.attachments import Attachments
from bot.sandbox.command_access import CommandAccess, OptionReader, keep_upload, resolve
from bot.sandbox.command_forms import CHANNEL, CHAT_INPUT, MENTIONABLE, MESSAGE_MENU, ROLE, USER
from bot.sandbox.components import walk
from bot.sandbox.errors import RefusedError
from bot.sandbox.limits import MAX_TEXT_INPUT_CHARS
from bot.sandbox.messages import Messages
from bot.sandbox.wire import Body, Json
from bot.sandbox.world import World

_RESOLVED_KIND = {
    kinds.USER_SELECT: USER,
    kinds.ROLE_SELECT: ROLE,
    kinds.MENTIONABLE_SELECT: MENTIONABLE,
    kinds.CHANNEL_SELECT: CHANNEL,
}


class RequestReader:
    """Raises RefusedError with a sentence for the person wherever something does not fit."""

    def __init__(self, world: World, attachments: Attachments, access: CommandAccess, messages: Messages) -> None:
        self._world, self._attachments, self._access, self._messages = world, attachments, access, messages

    def command(self, user_id: str, channel: Json, data: Json, body: Body, *, partial: bool) -> tuple[Json, Json]:
        """(the command, the interaction's data); `partial` for an autocomplete."""
        command = self._access.find(user_id, channel, data)
        shown: Json = {"id": command["id"], "name": command["name"], "type": command["type"]}
        if command.get("guild_id"):
            shown["guild_id"] = command["guild_id"]
        if command["type"] != CHAT_INPUT:
            return command, shown | self._target(user_id, channel, command, str(data.get("target_id")))
        reader = OptionReader(self._world, self._attachments, channel, user_id, body, partial=partial)
        shown["options"] = reader.read(command["options"], data.get("options"))
        if partial and not (reader.focused and reader.focused.get("autocomplete")):
            raise RefusedError(400, 0, "No option that completes itself is being typed.")
        if reader.resolved:
            shown["resolved"] = reader.resolved
        return command, shown

    def _target(self, user_id: str, channel: Json, command: Json, target_id: str) -> Json:
        resolved: Json = {}
        if command["type"] == MESSAGE_MENU:
            message = self._world.message(channel["id"], target_id)
            if not self._world.may_see_message(user_id, message):
                raise RefusedError(404, 10008, "This message is no longer there.")
            resolved["messages"] = {target_id: self._messages.for_bot(message)}
        else:
            resolve(self._world, channel, user_id, USER, target_id, resolved, "user")
        return {"target_id": target_id, "resolved": resolved}

    def component(self, user_id: str, channel: Json, message: Json, data: Json) -> Json:
        if not self._world.may_see_message(user_id, message):
            raise RefusedError(404, 10008, "This message is no longer there.")
        custom_id = data.get("custom_id")
        found = [item for item in walk(message["components"]) if item.get("custom_id") == custom_id]
        if not found or found[0]["type"] not in kinds.CLICKABLE or custom_id is None:
            raise RefusedError(404, 0, "This button or menu is no longer there.")
        component = found[0]
        if component.get("disabled"):
            raise RefusedError(403, 0, "This button or menu is switched off.")
        shown: Json = {"custom_id": custom_id, "component_type": component["type"], "id": component["id"]}
        if component["type"] == kinds.BUTTON:
            return shown
        resolved: Json = {}
        shown["values"] = self._values(user_id, channel, component, data.get("values"), resolved)
        return shown | ({"resolved": resolved} if component["type"] != kinds.STRING_SELECT else {})

    def modal(self, user_id: str, channel: Json, modal: Json, data: Json, body: Body) -> Json:
        """The answers to every field of `modal`, nested as the modal is."""
        given = {item["custom_id"]: item for item in walk(_given(data)) if isinstance(item.get("custom_id"), str)}
        resolved: Json = {}
        shown: list[Json] = []
        for component in modal["components"]:
            numbered: Json = {"type": component["type"], "id": component["id"]}
            if component["type"] == kinds.ACTION_ROW:
                field = component["components"][0]
                answer = self._answer(user_id, channel, field, field["label"], given, body, resolved)
                shown.append(numbered | {"components": [answer]})
            elif component["type"] == kinds.LABEL:
                field = component["component"]
                answer = self._answer(user_id, channel, field, component["label"], given, body, resolved)
                shown.append(numbered | {"component": answer})
            else:
                shown.append(numbered)
        return {"custom_id": modal["custom_id"], "components": shown} | ({"resolved": resolved} if resolved else {})

    def _answer(
        self, user_id: str, channel: Json, field: Json, label: str, given: Json, body: Body, resolved: Json
    ) -> Json:
        kind, custom_id = field["type"], field["custom_id"]
        item = given.get(custom_id, {})
        answer: Json = {"type": kind, "id": field["id"], "custom_id": custom_id}
        needed = field.get("required", True) is not False
        if kind == kinds.TEXT_INPUT:
            return answer | {"value": _text(field, label, item.get("value"), needed)}
        if kind == kinds.CHECKBOX:
            return answer | {"value": item.get("value") is True}
        if kind == kinds.RADIO_GROUP:
            chosen = _among(field, label, [item["value"]] if item.get("value") is not None else [], needed, most=1)
            return answer | {"value": chosen[0] if chosen else None}
        if kind == kinds.CHECKBOX_GROUP:
            most = field.get("max_values") or len(field["options"])
            return answer | {"values": _among(field, label, item.get("values"), needed, most=most)}
        if kind == kinds.FILE_UPLOAD:
            keys = item.get("values") or []
            if not isinstance(keys, list) or len(keys) > field.get("max_values", 1):
                raise RefusedError(400, 0, f"“{label}” takes fewer files.")
            if needed and len(keys) < max(1, field.get("min_values", 1)):
                raise RefusedError(400, 0, f"“{label}” needs a file.")
            kept = [keep_upload(self._attachments, channel, body, key, resolved, label) for key in keys]
            return answer | {"values": kept}
        if not needed and not item.get("values"):
            return answer | {"values": []}
        return answer | {"values": self._values(user_id, channel, field, item.get("values"), resolved)}

    def _values(self, user_id: str, channel: Json, select: Json, values: Any, resolved: Json) -> list[str]:
        values = values or []
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise RefusedError(400, 0, "The choice is malformed.")
        least, most = select.get("min_values", 1), select.get("max_values", 1)
        if not least <= len(values) <= most or len(set(values)) != len(values):
            raise RefusedError(400, 0, f"Choose {least}." if least == most else f"Choose {least} to {most}.")
        if select["type"] == kinds.STRING_SELECT:
            return _among(select, "menu", values, True, most=most)
        kind = _RESOLVED_KIND[select["type"]]
        return [resolve(self._world, channel, user_id, kind, value, resolved, "menu") for value in values]


def _given(data: Json) -> list[Json]:
    items = data.get("components")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise RefusedError(400, 0, "The answers are malformed.")
    return items


def _text(field: Json, label: str, value: Any, needed: bool) -> str:
    text = "" if value is None else value
    if not isinstance(text, str):
        raise RefusedError(400, 0, f"“{label}” must be a text.")
    least, most = field.get("min_length") or 0, field.get("max_length") or MAX_TEXT_INPUT_CHARS
    if needed and not text:
        raise RefusedError(400, 0, f"“{label}” is required.")
    if len(text) > most:
        raise RefusedError(400, 0, f"“{label}” may have at most {most:,} characters; it has {len(text):,}.")
    if text and len(text) < least:
        raise RefusedError(400, 0, f"“{label}” needs at least {least:,} characters.")
    return text


def _among(field: Json, label: str, values: Any, needed: bool, *, most: int) -> list[str]:
    values = values or []
    offered = [option["value"] for option in field["options"]]
    if not isinstance(values, list) or len(values) > most or any(value not in offered for value in values):
        raise RefusedError(400, 0, f"“{label}” has no such choice.")
    if needed and not values and field.get("min_values", 1) != 0:
        raise RefusedError(400, 0, f"“{label}” is required.")
    return values
