"""REST: channels, threads and typing, as the bot uses them with the permissions it holds. Knows no message's body."""

from aiohttp import web

from bot.sandbox.backend import Backend
from bot.sandbox.channels import thread_permission
from bot.sandbox.errors import missing_access, missing_permissions, unknown
from bot.sandbox.permissions import Permission
from bot.sandbox.wire import Json, json_response, no_content, read_body
from bot.sandbox.world import DM, PRIVATE_THREAD, PUBLIC_THREAD


class ChannelRoutes:
    def __init__(self, backend: Backend) -> None:
        self._backend, self._world = backend, backend.world

    def routes(self) -> list[web.RouteDef]:
        at = "/channels/{channel_id}"
        return [
            web.get(at, self.get),
            web.patch(at, self.edit),
            web.delete(at, self.delete),
            web.post(f"{at}/typing", self.typing),
            web.post(f"{at}/threads", self.start_thread),
            web.post(f"{at}/messages/{{message_id}}/threads", self.start_thread_on_message),
            web.get(f"{at}/threads/archived/public", self.archived_public),
            web.get(f"{at}/threads/archived/private", self.archived_private),
            web.get(f"{at}/thread-members", self.thread_members),
            web.put(f"{at}/thread-members/@me", self.join),
            web.delete(f"{at}/thread-members/@me", self.leave),
            web.get(f"{at}/thread-members/{{user_id}}", self.thread_member),
            web.put(f"{at}/thread-members/{{user_id}}", self.add_thread_member),
            web.delete(f"{at}/thread-members/{{user_id}}", self.remove_thread_member),
        ]

    def _channel(self, request: web.Request, *needed: Permission) -> Json:
        """The channel, when the bot sees it and holds what is needed there."""
        return visible_to_bot(self._backend, request.match_info["channel_id"], *needed)

    def _thread(self, request: web.Request, *needed: Permission) -> Json:
        thread = self._channel(request, *needed)
        if not self._world.is_thread(thread):
            raise unknown("Channel")
        return thread

    async def get(self, request: web.Request) -> web.Response:
        return json_response(self._backend.channels.for_bot(self._channel(request)))

    async def edit(self, request: web.Request) -> web.Response:
        channel, form = self._channel(request), (await read_body(request)).form
        world = self._world
        if world.is_thread(channel):
            own = channel["owner_id"] == world.bot_id
            # anyone who may write in an unlocked thread may bring it back
            reopening = form.get("archived") is False and not channel["thread_metadata"]["locked"] and len(form) == 1
            if not (own or reopening or world.may(world.bot_id, Permission.MANAGE_THREADS, channel)):
                raise missing_permissions()
            return json_response(self._backend.channels.for_bot(self._backend.channels.edit_thread(channel, form)))
        if channel["type"] == DM or not world.may(world.bot_id, Permission.MANAGE_CHANNELS, channel):
            raise missing_permissions()
        return json_response(self._backend.channels.for_bot(self._backend.channels.edit_text_channel(channel, form)))

    async def delete(self, request: web.Request) -> web.Response:
        channel = self._channel(request)
        needed = Permission.MANAGE_THREADS if self._world.is_thread(channel) else Permission.MANAGE_CHANNELS
        if not self._world.may(self._world.bot_id, needed, channel):
            raise missing_permissions()
        shown = self._backend.channels.for_bot(channel)
        self._backend.channels.delete(channel)
        return json_response(shown)

    async def typing(self, request: web.Request) -> web.Response:
        self._backend.broadcast.typing(self._channel(request, Permission.SEND_MESSAGES), self._world.bot_id)
        return no_content()

    async def start_thread(self, request: web.Request) -> web.Response:
        form = (await read_body(request)).form
        parent = self._channel(request, thread_permission(form.get("type", PRIVATE_THREAD)))
        thread = self._backend.channels.start_thread(self._world.bot_id, parent, form)
        return json_response(self._backend.channels.for_bot(thread), 201)

    async def start_thread_on_message(self, request: web.Request) -> web.Response:
        form = (await read_body(request)).form
        parent = self._channel(request, Permission.CREATE_PUBLIC_THREADS, Permission.READ_MESSAGE_HISTORY)
        message = self._world.message(parent["id"], request.match_info["message_id"])
        if "ephemeral_for" in message:
            raise unknown("Message")
        thread = self._backend.channels.start_thread(self._world.bot_id, parent, form, message=message)
        return json_response(self._backend.channels.for_bot(thread), 201)

    async def archived_public(self, request: web.Request) -> web.Response:
        return self._archived(self._channel(request, Permission.READ_MESSAGE_HISTORY), PUBLIC_THREAD)

    async def archived_private(self, request: web.Request) -> web.Response:
        needed = (Permission.READ_MESSAGE_HISTORY, Permission.MANAGE_THREADS)
        return self._archived(self._channel(request, *needed), PRIVATE_THREAD)

    def _archived(self, parent: Json, kind: int) -> web.Response:
        threads = [
            self._backend.channels.for_bot(thread)
            for thread in reversed(self._world.threads())
            if thread["parent_id"] == parent["id"] and thread["type"] == kind and thread["thread_metadata"]["archived"]
        ]
        members = [thread["member"] for thread in threads if "member" in thread]
        return json_response({"threads": threads, "members": members, "has_more": False})

    async def thread_members(self, request: web.Request) -> web.Response:
        thread = self._thread(request)
        ids = self._world.data.thread_members.get(thread["id"], {})
        return json_response([self._backend.channels.thread_member(thread["id"], user_id) for user_id in ids])

    async def thread_member(self, request: web.Request) -> web.Response:
        thread, user_id = self._thread(request), request.match_info["user_id"]
        if not self._world.is_member_of_thread(thread["id"], user_id):
            raise unknown("Member")
        return json_response(self._backend.channels.thread_member(thread["id"], user_id))

    async def join(self, request: web.Request) -> web.Response:
        self._backend.channels.join(self._thread(request), self._world.bot_id)
        return no_content()

    async def leave(self, request: web.Request) -> web.Response:
        self._backend.channels.leave(self._thread(request), self._world.bot_id)
        return no_content()

    async def add_thread_member(self, request: web.Request) -> web.Response:
        thread = self._thread(request, Permission.SEND_MESSAGES)
        self._world.member(request.match_info["user_id"])
        self._backend.channels.join(thread, request.match_info["user_id"])
        return no_content()

    async def remove_thread_member(self, request: web.Request) -> web.Response:
        thread = self._thread(request)
        if not self._world.may(self._world.bot_id, Permission.MANAGE_THREADS, thread):
            raise missing_permissions()
        self._backend.channels.leave(thread, request.match_info["user_id"])
        return no_content()


def visible_to_bot(backend: Backend, channel_id: str, *needed: Permission) -> Json:
    """Raises RefusedError: 10003 for no such channel, 50001 for one that the bot can't see, 50013 for what it may not
    do there."""
    world = backend.world
    channel = world.channel(channel_id)
    if not world.may_see(world.bot_id, channel):
        raise missing_access()
    if not all(world.may(world.bot_id, permission, channel) for permission in needed):
        raise missing_permissions()
    return channel
