"""REST: messages, as the bot sends, reads, edits and deletes them with the permissions it holds."""

from aiohttp import web

from bot.sandbox.backend import Backend
from bot.sandbox.errors import RefusedError, invalid_form, missing_permissions, not_the_author, unknown
from bot.sandbox.limits import MAX_BULK_DELETE, MAX_HISTORY_PAGE
from bot.sandbox.message_form import EPHEMERAL, MessageForm, check_message, require_something
from bot.sandbox.permissions import Permission
from bot.sandbox.rest_channels import visible_to_bot
from bot.sandbox.wire import Json, json_response, no_content, read_body, take


class MessageRoutes:
    def __init__(self, backend: Backend) -> None:
        self._backend, self._world = backend, backend.world

    def routes(self) -> list[web.RouteDef]:
        at = "/channels/{channel_id}/messages"
        return [
            web.get(at, self.history),
            web.post(at, self.create),
            web.post(f"{at}/bulk-delete", self.bulk_delete),
            web.get(f"{at}/{{message_id}}", self.get),
            web.patch(f"{at}/{{message_id}}", self.edit),
            web.delete(f"{at}/{{message_id}}", self.delete),
        ]

    def _channel(self, request: web.Request, *needed: Permission) -> Json:
        return visible_to_bot(self._backend, request.match_info["channel_id"], *needed)

    def _message(self, request: web.Request, channel: Json) -> Json:
        """Ephemeral messages exist only for whoever holds their interaction's token."""
        message = self._world.message(channel["id"], request.match_info["message_id"])
        if "ephemeral_for" in message:
            raise unknown("Message")
        return message

    def _shown(self, message: Json) -> Json:
        allowed = self._backend.broadcast.content_intent_allowed
        return self._backend.messages.for_bot(message, with_content=allowed)

    async def history(self, request: web.Request) -> web.Response:
        channel, query = self._channel(request), request.query
        limit = int(query.get("limit", "50"))
        if not 1 <= limit <= MAX_HISTORY_PAGE:
            raise invalid_form("limit", "NUMBER_TYPE_COERCE", f"Must be between 1 and {MAX_HISTORY_PAGE}.")
        if not self._world.may(self._world.bot_id, Permission.READ_MESSAGE_HISTORY, channel):
            return json_response([])
        found = self._world.history(
            channel["id"], before=query.get("before"), after=query.get("after"), around=query.get("around")
        )
        page = take((message for message in found if "ephemeral_for" not in message), limit)
        page.sort(key=lambda message: int(message["id"]), reverse=True)
        return json_response([self._shown(message) for message in page])

    async def get(self, request: web.Request) -> web.Response:
        channel = self._channel(request, Permission.READ_MESSAGE_HISTORY)
        return json_response(self._shown(self._message(request, channel)))

    async def create(self, request: web.Request) -> web.Response:
        channel = self._channel(request, Permission.SEND_MESSAGES)
        form = check_message(await read_body(request))
        if form.flags & EPHEMERAL:
            raise invalid_form("flags", "MESSAGE_FLAGS_INVALID", "Only an interaction's answer can be ephemeral")
        require_something(form)
        self._check_rights(channel, form)
        if self._world.is_thread(channel):
            if channel["thread_metadata"]["locked"]:
                raise RefusedError(400, 160005, "Thread is locked")
            self._backend.channels.unarchive(channel)
            self._backend.channels.join(channel, self._world.bot_id)
        return json_response(self._shown(self._backend.messages.create(self._world.bot_id, channel, form)))

    async def edit(self, request: web.Request) -> web.Response:
        channel = self._channel(request)
        message = self._message(request, channel)
        if message["author"]["id"] != self._world.bot_id:
            raise not_the_author()
        names = self._backend.messages.filenames(message)
        form = check_message(await read_body(request), editing=message, filenames=names)
        self._check_rights(channel, form)
        return json_response(self._shown(self._backend.messages.edit(message, form)))

    async def delete(self, request: web.Request) -> web.Response:
        channel = self._channel(request)
        message = self._message(request, channel)
        own = message["author"]["id"] == self._world.bot_id
        if not own and not self._world.may(self._world.bot_id, Permission.MANAGE_MESSAGES, channel):
            raise missing_permissions()
        self._backend.messages.delete(message)
        return no_content()

    async def bulk_delete(self, request: web.Request) -> web.Response:
        channel = self._channel(request, Permission.MANAGE_MESSAGES)
        ids = (await read_body(request)).form.get("messages")
        if not isinstance(ids, list) or not 2 <= len(ids) <= MAX_BULK_DELETE:
            raise invalid_form(
                "messages", "BASE_TYPE_BAD_LENGTH", f"Must be between 2 and {MAX_BULK_DELETE} in length."
            )
        for message_id in ids:
            message = self._world.data.messages.get(channel["id"], {}).get(str(message_id))
            if message is not None and "ephemeral_for" not in message:
                self._backend.messages.delete(message)
        return no_content()

    def _check_rights(self, channel: Json, form: MessageForm) -> None:
        needed = [Permission.ATTACH_FILES] if form.uploads else []
        needed += [Permission.READ_MESSAGE_HISTORY] if form.reference else []
        if not all(self._world.may(self._world.bot_id, permission, channel) for permission in needed):
            raise missing_permissions()
        if form.embeds and not self._world.may(self._world.bot_id, Permission.EMBED_LINKS, channel):
            raise missing_permissions()
