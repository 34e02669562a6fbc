"""The page's face, as PROTOCOL.md says: state, history, writing, interactions. A person acts with a member's rights."""

from pathlib import Path
from typing import Any

from aiohttp import web

from bot.sandbox.attachments import SHOWN_TYPES
from bot.sandbox.backend import Backend
from bot.sandbox.channels import thread_permission
from bot.sandbox.errors import RefusedError
from bot.sandbox.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL_SUBMIT
from bot.sandbox.limits import MAX_HISTORY_PAGE
from bot.sandbox.message_form import check_message, require_something
from bot.sandbox.permissions import Permission
from bot.sandbox.safety import FILE_POLICY
from bot.sandbox.wire import Body, Json, json_response, no_content, read_body, take
from bot.sandbox.world import DM, PRIVATE_THREAD, PUBLIC_THREAD

PAGE_DIRECTORY = Path(__file__).with_name("page")
_PAGE_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".json": "application/json",
}


class PageRoutes:
    """Every handler raises RefusedError with a sentence; the application turns it into `{message}`."""

    def __init__(self, backend: Backend, page_policy: str) -> None:
        self._backend, self._world, self._page_policy = backend, backend.world, page_policy

    def routes(self) -> list[web.RouteDef]:
        at = "/{capability}"
        return [
            web.get(at, self.to_page, allow_head=False),
            web.get(f"{at}/", self.page),
            web.get(f"{at}/page/{{path:.+}}", self.page_file),
            web.get(f"{at}/attachments/{{channel_id}}/{{attachment_id}}/{{filename}}", self.attachment),
            web.get(f"{at}/ui/state", self.state),
            web.get(f"{at}/ui/socket", self.socket),
            web.post(f"{at}/ui/channels", self.open_channel),
            web.get(f"{at}/ui/channels/{{channel_id}}/messages", self.history),
            web.post(f"{at}/ui/channels/{{channel_id}}/messages", self.say),
            web.delete(f"{at}/ui/channels/{{channel_id}}/messages/{{message_id}}", self.delete_message),
            web.post(f"{at}/ui/channels/{{channel_id}}/typing", self.typing),
            web.post(f"{at}/ui/interactions", self.interact),
        ]

    # --- the page's own files

    async def to_page(self, request: web.Request) -> web.Response:
        raise web.HTTPFound(f"/{request.match_info['capability']}/")

    async def page(self, request: web.Request) -> web.Response:
        return self._page_file("index.html")

    async def page_file(self, request: web.Request) -> web.Response:
        return self._page_file(request.match_info["path"])

    def _page_file(self, name: str) -> web.Response:
        path = (PAGE_DIRECTORY / name).resolve()
        kind = _PAGE_TYPES.get(path.suffix)
        if kind is None or not path.is_relative_to(PAGE_DIRECTORY.resolve()) or not path.is_file():
            raise RefusedError(404, 0, f"The page's file {name[:100]} is missing from this installation.")
        response = web.Response(body=path.read_bytes(), content_type=kind, charset="utf-8")
        response.headers["Content-Security-Policy"] = self._page_policy
        return response

    async def attachment(self, request: web.Request) -> web.StreamResponse:
        return send_attachment(self._backend, request)

    # --- reading

    def _person(self, user_id: Any) -> str:
        """The member whom the request acts as."""
        if user_id not in self._world.data.parts.values():
            raise RefusedError(403, 0, "Say as whom: one of the sandbox's people.")
        return str(user_id)

    def _channel(self, user_id: str, channel_id: Any, *needed: Permission) -> Json:
        channel = self._world.data.channels.get(str(channel_id))
        if channel is None or not self._world.may_see(user_id, channel):
            raise RefusedError(404, 10003, "This channel does not exist, or you can't see it.")
        if not all(self._world.may(user_id, permission, channel) for permission in needed):
            raise RefusedError(403, 50013, "You may not do that in this channel.")
        return channel

    async def state(self, request: web.Request) -> web.Response:
        # a page that opens for the first time knows nobody yet
        me = self._person(request.query.get("as") or self._world.data.parts["writer"])
        world, channels = self._world, self._backend.channels
        parts = {user_id: part for part, user_id in world.data.parts.items()}
        users = [user | {"part": parts.get(user["id"], "bot")} for user in world.data.users.values()]
        seen = [channel for channel in world.data.channels.values() if world.may_see(me, channel)]
        texts = [channel for channel in world.text_channels() if channel in seen]
        guild = world.data.guild | {
            "roles": list(world.data.roles.values()),
            "members": [world.member(user_id) for user_id in world.data.members],
        }
        return json_response(
            {
                "me": next(user for user in users if user["id"] == me),
                "users": users,
                "guild": guild,
                "channels": [channels.for_user(channel, me) for channel in texts],
                "threads": [channels.for_user(channel, me) for channel in seen if world.is_thread(channel)],
                "dms": [channels.for_user(channel, me) for channel in seen if channel["type"] == DM],
                "commands": self._backend.commands.usable_by(me),
                "bot": {"user": world.bot, "online": self._backend.gateway.online},
            }
        )

    async def history(self, request: web.Request) -> web.Response:
        me = self._person(request.query.get("as"))
        channel = self._channel(me, request.match_info["channel_id"], Permission.READ_MESSAGE_HISTORY)
        before, limit = request.query.get("before"), request.query.get("limit", "50")
        if not limit.isdecimal() or (before is not None and not before.isdecimal()):
            raise RefusedError(400, 0, "limit and before must be numbers.")
        found = self._world.history(channel["id"], before=before)
        seen = (message for message in found if self._world.may_see_message(me, message))
        page = take(seen, min(max(int(limit), 1), MAX_HISTORY_PAGE))
        return json_response([self._backend.messages.for_page(message) for message in page])

    async def socket(self, request: web.Request) -> web.StreamResponse:
        return await self._backend.pages.handle(request, self._person(request.query.get("as")))

    # --- writing

    async def say(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        me = self._person(body.form.get("as"))
        channel = self._channel(me, request.match_info["channel_id"], Permission.SEND_MESSAGES)
        if body.files and not self._world.may(me, Permission.ATTACH_FILES, channel):
            raise RefusedError(403, 50013, "You may not attach files in this channel.")
        payload: Json = {"content": body.form.get("content"), "nonce": body.form.get("nonce")}
        if reply_to := body.form.get("reply_to"):
            payload["message_reference"] = {"message_id": str(reply_to)}
        if "attachments" in body.form:
            payload["attachments"] = body.form["attachments"]
        form = check_message(Body(payload=payload, files=body.files))
        require_something(form)
        if self._world.is_thread(channel):
            if channel["thread_metadata"]["locked"] and not self._world.may(me, Permission.MANAGE_THREADS, channel):
                raise RefusedError(403, 160005, "This thread is locked.")
            self._backend.channels.unarchive(channel)
            self._backend.channels.join(channel, me)
        message = self._backend.messages.create(me, channel, form)
        return json_response(self._backend.messages.for_page(message))

    async def delete_message(self, request: web.Request) -> web.Response:
        me = self._person(request.query.get("as"))
        channel = self._channel(me, request.match_info["channel_id"])
        message = self._world.message(channel["id"], request.match_info["message_id"])
        if not self._world.may_see_message(me, message):
            raise RefusedError(404, 10008, "This message is no longer there.")
        dismissing = message.get("ephemeral_for") == me
        moderating = self._world.may(me, Permission.MANAGE_MESSAGES, channel) and channel["type"] != DM
        if not (dismissing or moderating or message["author"]["id"] == me):
            raise RefusedError(403, 50013, "You may delete only your own messages here.")
        self._backend.messages.delete(message)
        return no_content()

    async def typing(self, request: web.Request) -> web.Response:
        me = self._person((await read_body(request)).form.get("as"))
        channel = self._channel(me, request.match_info["channel_id"], Permission.SEND_MESSAGES)
        self._backend.broadcast.typing(channel, me)
        return no_content()

    async def open_channel(self, request: web.Request) -> web.Response:
        form = (await read_body(request)).form
        me, kind, channels = self._person(form.get("as")), form.get("type"), self._backend.channels
        if kind == DM:
            dm = channels.open_dm(me, str(form.get("recipient")))
            return json_response(channels.for_user(dm, me))
        if kind not in (PUBLIC_THREAD, PRIVATE_THREAD):
            raise RefusedError(400, 0, "Only threads (11, 12) and DMs (1) can be opened.")
        parent = self._channel(me, form.get("parent_id"), thread_permission(kind))
        message = None
        if form.get("message_id"):
            message = self._world.message(parent["id"], str(form["message_id"]))
            if "ephemeral_for" in message:
                raise RefusedError(400, 0, "A message that only you see can't carry a thread.")
        thread = channels.start_thread(me, parent, form, message=message)
        return json_response(channels.for_user(thread, me))

    # --- interactions

    async def interact(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        form = body.form
        me, kind, data = self._person(form.get("as")), form.get("type"), form.get("data")
        channel = self._channel(me, form.get("channel_id"))
        if not isinstance(data, dict) or kind not in (COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT):
            raise RefusedError(400, 0, "type must be 2, 3, 4 or 5, and data an object.")
        requests, begin = self._backend.requests, self._backend.interactions.begin
        locale = str(form.get("locale") or "en-US")[:8]
        if kind in (COMMAND, AUTOCOMPLETE):
            if not self._world.may(me, Permission.USE_APPLICATION_COMMANDS, channel):
                raise RefusedError(403, 50013, "You may not use commands in this channel.")
            command, checked = requests.command(me, channel, data, body, partial=kind == AUTOCOMPLETE)
            record = begin(kind, me, channel, checked, command=command, locale=locale)
        elif kind == COMPONENT:
            message = self._world.message(channel["id"], str(form.get("message_id")))
            checked = requests.component(me, channel, message, data)
            record = begin(kind, me, channel, checked, message=message, locale=locale)
        else:
            opened_by = self._backend.interactions.open_modal(me, str(data.get("custom_id")))
            checked = requests.modal(me, channel, opened_by["modal"], data, body)
            source = opened_by["message_id"]
            origin = self._world.data.channels.get(opened_by["channel_id"], channel)
            shown_on = self._world.data.messages.get(origin["id"], {}).get(source) if source else None
            opened_by["modal"] = None  # submitted once
            record = begin(kind, me, origin, checked, message=shown_on, opened_by=opened_by, locale=locale)
        return json_response({"id": record["id"]})


def send_attachment(backend: Backend, request: web.Request) -> web.StreamResponse:
    """A file, shown in place only where its type can't carry a script."""
    record = backend.attachments.find(request.match_info["channel_id"], request.match_info["attachment_id"])
    path = backend.attachments.path(record["id"])
    if not path.is_file():
        raise RefusedError(404, 0, "This file is no longer kept.")
    suffix = Path(record["filename"]).suffix.lower()
    shown = suffix in SHOWN_TYPES
    place = "inline" if shown else "attachment"
    return web.FileResponse(
        path,
        headers={
            "Content-Type": SHOWN_TYPES.get(suffix, "application/octet-stream"),
            "Content-Disposition": f'{place}; filename="{record["filename"]}"',
            "Content-Security-Policy": FILE_POLICY,
        },
    )
