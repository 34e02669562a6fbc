"""The life of an interaction: sent to the bot, acknowledged in time or failed, followed up while its token lives.

Knows no HTTP: routes and the page's requests are elsewhere.
"""

import asyncio
import logging
import secrets
import time
from typing import Any

from bot.sandbox import limits
from bot.sandbox.broadcast import Broadcast
from bot.sandbox.command_access import IN_PRIVATE, USER_INSTALL, CommandAccess
from bot.sandbox.command_forms import CHAT_INPUT, GROUP, STRING, SUBCOMMAND, check_choices
from bot.sandbox.components import check_modal
from bot.sandbox.errors import (
    already_acknowledged,
    invalid_form,
    invalid_webhook_token,
    required,
    too_many_followups,
    unknown,
)
from bot.sandbox.gateway import Gateway
from bot.sandbox.limits import Timing
from bot.sandbox.message_form import EPHEMERAL, LOADING, MessageForm, check_message, require_something
from bot.sandbox.messages import CHAT_INPUT_COMMAND, CONTEXT_MENU_COMMAND, DEFAULT, Messages
from bot.sandbox.wire import Body, Json
from bot.sandbox.world import World

log = logging.getLogger(__name__)

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5
REPLY, DEFERRED_REPLY, DEFERRED_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9

# Which answers fit which interactions; a modal submit may update a message only where a message's button opened it.
_FITTING = {
    COMMAND: {REPLY, DEFERRED_REPLY, MODAL},
    COMPONENT: {REPLY, DEFERRED_REPLY, DEFERRED_UPDATE, UPDATE, MODAL},
    AUTOCOMPLETE: {CHOICES},
    MODAL_SUBMIT: {REPLY, DEFERRED_REPLY, DEFERRED_UPDATE, UPDATE},
}


class Interactions:
    """Keeps interactions in the world, so that a token outlives a restart."""

    def __init__(
        self,
        world: World,
        messages: Messages,
        access: CommandAccess,
        broadcast: Broadcast,
        gateway: Gateway,
        timing: Timing,
    ) -> None:
        self._world, self._messages, self._access = world, messages, access
        self._broadcast, self._gateway, self._timing = broadcast, gateway, timing
        self._timers: dict[str, asyncio.TimerHandle] = {}
        for record in world.data.interactions.values():  # nobody waits any more for what a crash left open
            if record["state"] == "waiting":
                record["state"] = "failed"

    def set_timing(self, timing: Timing) -> None:
        """For interactions that begin from now on."""
        self._timing = timing

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers = {}

    # --- from a person to the bot

    def begin(
        self,
        kind: int,
        user_id: str,
        channel: Json,
        data: Json,
        *,
        command: Json | None = None,
        message: Json | None = None,
        opened_by: Json | None = None,
        locale: str = "en-US",
    ) -> Json:
        """Send an interaction; return its record. `opened_by` is the record whose modal is submitted."""
        context = self._access.context_of(channel)
        record: Json = {
            "id": self._world.new_id(),
            "token": secrets.token_urlsafe(48),
            "type": kind,
            "user_id": user_id,
            "channel_id": channel["id"],
            "guild_id": channel.get("guild_id"),
            "context": context,
            "created": time.time(),
            "state": "waiting",
            "answer": None,
            "message_id": message["id"] if message else None,
            "original_id": None,
            "ephemeral": False,
            "followups": 0,
            "sent": [],
            "modal": None,
            "focused_type": _focused_type(data) if kind == AUTOCOMPLETE else None,
            "name": _full_name(data) if command else None,
            "owners": self._owners(channel, user_id, command, message, opened_by),
            "command_type": command["type"] if command else None,
            "target_id": data.get("target_id"),
            "triggered_by": _metadata(opened_by) if opened_by else None,
        }
        self._world.keep_interaction(record)
        if not self._gateway.reachable:
            self._fail(record["id"], "The bot is offline.")
            return record
        payload = self._payload(record, channel, data, message, locale)
        self._gateway.dispatch("INTERACTION_CREATE", payload, guild_id=record["guild_id"])
        loop = asyncio.get_running_loop()
        self._timers[record["id"]] = loop.call_later(
            self._timing.ack_s, self._fail, record["id"], "The application did not respond"
        )
        return record

    def open_modal(self, user_id: str, custom_id: str) -> Json:
        """The record whose modal the person has open. Raises RefusedError."""
        for record in reversed(self._world.data.interactions.values()):
            modal = record["modal"]
            if modal and record["user_id"] == user_id and modal["custom_id"] == custom_id:
                return record
        raise unknown("interaction")

    def _owners(
        self, channel: Json, user_id: str, command: Json | None, message: Json | None, opened_by: Json | None
    ) -> Json:
        """Who brought the application along: the guild, or the person. Inherited by what a command leads to."""
        if opened_by is not None:
            return dict(opened_by["owners"])
        if command is None:
            metadata = (message or {}).get("interaction_metadata") or {}
            inherited = metadata.get("authorizing_integration_owners")
            return dict(inherited) if inherited else {"0": channel.get("guild_id") or "0"}
        owners: Json = {}
        if self._access.context_of(channel) != IN_PRIVATE:
            owners["0"] = channel.get("guild_id") or "0"
        if USER_INSTALL in command["integration_types"]:
            owners["1"] = user_id
        return owners

    def _payload(self, record: Json, channel: Json, data: Json, message: Json | None, locale: str) -> Json:
        world, user_id = self._world, record["user_id"]
        shown = self._broadcast.channels.for_user(channel, world.bot_id)
        shown["permissions"] = str(world.permissions_in(channel, user_id))
        payload: Json = {
            "id": record["id"],
            "application_id": world.bot_id,
            "type": record["type"],
            "token": record["token"],
            "version": 1,
            "data": data,
            "channel": shown,
            "channel_id": channel["id"],
            "app_permissions": str(world.permissions_in(channel, world.bot_id)),
            "locale": locale,
            "entitlements": [],
            "authorizing_integration_owners": record["owners"],
            "context": record["context"],
            "attachment_size_limit": limits.MAX_FILE_BYTES,
        }
        if record["guild_id"]:
            payload["guild_id"] = record["guild_id"]
            payload["guild"] = {"id": record["guild_id"], "locale": "en-US", "features": []}
            payload["guild_locale"] = "en-US"
            bits = str(world.permissions_in(channel, user_id))
            payload["member"] = world.member(user_id) | {"permissions": bits}
        else:
            payload["user"] = world.user(user_id)
        if message is not None:
            payload["message"] = self._messages.for_bot(message)
        return payload

    def _fail(self, interaction_id: str, reason: str) -> None:
        self._timers.pop(interaction_id, None)
        record = self._world.data.interactions.get(interaction_id)
        if record is None or record["state"] != "waiting":
            return
        record["state"] = "failed"
        self._world.touch()
        if reason != "The bot is offline.":
            log.warning("The bot did not acknowledge an interaction within %g s.", self._timing.ack_s)
        self._broadcast.to_person(record["user_id"], "INTERACTION_FAILURE", {"id": interaction_id, "reason": reason})

    # --- from the bot: the first answer

    def respond(self, interaction_id: str, token: str, body: Body) -> Json:
        """The callback. Returns Discord's `with_response` body. Raises RefusedError: 10062 when it comes too late,
        40060 when it was answered before, 50035 for a malformed one (which leaves it unanswered)."""
        record = self._world.data.interactions.get(interaction_id)
        if record is None or not secrets.compare_digest(record["token"].encode(), token.encode()):
            raise unknown("interaction")
        if record["state"] == "failed":
            raise unknown("interaction")
        if record["state"] == "acked":
            raise already_acknowledged()
        answer = body.form.get("type")
        fitting = _FITTING[record["type"]]
        if not isinstance(answer, int) or answer not in fitting or (answer in (6, 7) and record["message_id"] is None):
            raise invalid_form("type", "BASE_TYPE_CHOICES", f"Value must be one of {sorted(fitting)}.")
        message = self._answer(record, answer, body)
        record["state"], record["answer"] = "acked", answer
        if (timer := self._timers.pop(interaction_id, None)) is not None:
            timer.cancel()
        self._world.touch()
        self._broadcast.to_person(record["user_id"], "INTERACTION_SUCCESS", {"id": interaction_id})
        return self._callback(record, answer, message)

    def _answer(self, record: Json, answer: int, body: Body) -> Json | None:
        data = body.form.get("data")
        data = {} if data is None else data
        if not isinstance(data, dict):
            raise required("data")
        inner = Body(payload=data, files=body.files)
        if answer == CHOICES:
            self._complete(record, data)
            return None
        if answer == MODAL:
            record["modal"] = check_modal(data)
            self._broadcast.to_person(record["user_id"], "INTERACTION_MODAL", {"id": record["id"], **record["modal"]})
            return None
        if answer in (UPDATE, DEFERRED_UPDATE):
            message = self._world.message(record["channel_id"], record["message_id"])
            record["original_id"] = message["id"]
            record["ephemeral"] = "ephemeral_for" in message
            if answer == UPDATE:
                names = self._messages.filenames(message)
                self._messages.edit(message, check_message(inner, editing=message, filenames=names))
            return message
        form = check_message(inner)
        if answer == REPLY:
            require_something(form)
        record["ephemeral"] = bool(form.flags & EPHEMERAL)
        message = self._send(record, form, loading=answer == DEFERRED_REPLY)
        record["original_id"] = message["id"]
        return message

    def _complete(self, record: Json, data: Json) -> None:
        choices = check_choices(data.get("choices"), record["focused_type"], "data.choices")
        self._broadcast.to_person(
            record["user_id"], "INTERACTION_AUTOCOMPLETE", {"id": record["id"], "choices": choices}
        )

    def _callback(self, record: Json, answer: int, message: Json | None) -> Json:
        told: Json = {"id": record["id"], "type": record["type"]}
        callback: Json = {"interaction": told}
        if message is not None:
            told |= {
                "response_message_id": message["id"],
                "response_message_loading": bool(message["flags"] & LOADING),
                "response_message_ephemeral": "ephemeral_for" in message,
            }
        if message is not None and answer in (REPLY, UPDATE):  # a deferred answer has no message to show yet
            callback["resource"] = {"type": answer, "message": self._messages.for_bot(message)}
        return callback

    # --- from the bot: with the token

    def by_token(self, application_id: str, token: str) -> Json:
        """The record of a living token. Raises RefusedError: 10015 for one never given, 50027 for one that expired or
        whose interaction was not acknowledged."""
        if application_id != self._world.bot_id:
            raise unknown("Webhook")
        for record in self._world.data.interactions.values():
            if secrets.compare_digest(record["token"].encode(), token.encode()):
                if time.time() - record["created"] > self._timing.token_s:
                    raise invalid_webhook_token()
                if record["state"] != "acked":
                    raise unknown("Webhook")
                return record
        raise unknown("Webhook")

    def follow_up(self, record: Json, body: Body) -> Json:
        """A message after the first answer; the first one after a deferred reply takes its place."""
        form = check_message(body)
        require_something(form)
        if record["answer"] == DEFERRED_REPLY and (waiting := self._loading(record)) is not None:
            return self._messages.edit(waiting, form)
        if record["context"] == IN_PRIVATE and record["followups"] >= limits.MAX_FOLLOWUPS_WITHOUT_BOT:
            raise too_many_followups()
        record["followups"] += 1
        return self._send(record, form, ephemeral=bool(form.flags & EPHEMERAL), followup=True)

    def message_of(self, record: Json, message_id: str) -> Json:
        """`@original`, or a message that this token sent. Raises RefusedError (10008)."""
        wanted = record["original_id"] if message_id == "@original" else message_id
        if wanted is None or wanted not in (record["original_id"], *record["sent"]):
            raise unknown("Message")
        return self._world.message(record["channel_id"], wanted)

    def edit(self, message: Json, body: Body) -> Json:
        form = check_message(body, editing=message, filenames=self._messages.filenames(message))
        return self._messages.edit(message, form)

    def _loading(self, record: Json) -> Json | None:
        message = self._world.data.messages.get(record["channel_id"], {}).get(record["original_id"])
        return message if message is not None and message["flags"] & LOADING else None

    def _send(
        self,
        record: Json,
        form: MessageForm,
        *,
        loading: bool = False,
        ephemeral: bool | None = None,
        followup: bool = False,
    ) -> Json:
        hidden = record["ephemeral"] if ephemeral is None else ephemeral
        metadata = _metadata(record)
        if followup and record["original_id"]:
            metadata["original_response_message_id"] = record["original_id"]
        extra: Json = {
            "webhook_id": self._world.bot_id,
            "application_id": self._world.bot_id,
            "interaction_metadata": metadata,
        }
        kind = DEFAULT
        if record["type"] == COMMAND and not followup:
            kind = CHAT_INPUT_COMMAND if record["command_type"] == CHAT_INPUT else CONTEXT_MENU_COMMAND
            extra["interaction"] = {
                "id": record["id"],
                "type": COMMAND,
                "name": record["name"],
                "user": {"id": record["user_id"]},
            }
        message = self._messages.create(
            self._world.bot_id,
            self._world.channel(record["channel_id"]),
            form,
            kind=kind,
            ephemeral_for=record["user_id"] if hidden else None,
            loading=loading,
            extra=extra,
        )
        record["sent"].append(message["id"])
        self._world.touch()
        return message


def _metadata(record: Json) -> Json:
    metadata: Json = {
        "id": record["id"],
        "type": record["type"],
        "user": {"id": record["user_id"]},
        "authorizing_integration_owners": record["owners"],
    }
    if record["type"] == COMMAND:
        metadata |= {"name": record["name"], "command_type": record["command_type"]}
        if record["target_id"] and record["command_type"] == 3:
            metadata["target_message_id"] = record["target_id"]
        elif record["target_id"]:
            metadata["target_user"] = {"id": record["target_id"]}
    elif record["type"] == COMPONENT:
        metadata["interacted_message_id"] = record["message_id"]
    elif record["triggered_by"]:
        metadata["triggering_interaction_metadata"] = record["triggered_by"]
    return metadata


def _full_name(data: Json) -> str:
    """ "story prompt": the command with its group and sub-command."""
    name, options = str(data["name"]), data.get("options") or []
    while options and options[0]["type"] in (SUBCOMMAND, GROUP):
        name, options = f"{name} {options[0]['name']}", options[0]["options"]
    return name


def _focused_type(data: Json) -> int:
    """The option type of what is being typed."""
    pending: list[Any] = list(data.get("options") or [])
    while pending:
        option = pending.pop()
        if option.get("focused"):
            return int(option["type"])
        pending += option.get("options") or []
    return STRING
