"""Channels, threads and DMs: how they are shown, made and changed. Permissions are the callers' business."""

from typing import TYPE_CHECKING, Any

from bot.sandbox.errors import RefusedError, invalid_form, required, too_long
from bot.sandbox.limits import KEPT_THREADS, MAX_CHANNEL_NAME_CHARS
from bot.sandbox.permissions import Permission
from bot.sandbox.wire import Json, timestamp
from bot.sandbox.world import DM, PRIVATE_THREAD, PUBLIC_THREAD, TEXT, World

if TYPE_CHECKING:
    from bot.sandbox.attachments import Attachments
    from bot.sandbox.broadcast import Broadcast

_ARCHIVE_MINUTES = (60, 1_440, 4_320, 10_080)


class Channels:
    """Shows and changes the channels of a world."""

    def __init__(self, world: World, attachments: "Attachments", broadcast: "Broadcast") -> None:
        self._world, self._attachments, self._broadcast = world, attachments, broadcast

    # --- showing

    def for_bot(self, channel: Json) -> Json:
        """A channel as Discord sends it to the bot."""
        shown = self.for_user(channel, self._world.bot_id)
        shown.pop("permissions")
        return shown

    def for_user(self, channel: Json, user_id: str) -> Json:
        """A channel with `permissions` of one user; a DM with its other side; a thread with that user's membership."""
        shown = {key: value for key, value in channel.items() if key != "recipient_ids"}
        if channel["type"] == DM:
            others = [other for other in channel["recipient_ids"] if other != user_id]
            shown["recipients"] = [self._world.data.users[other] for other in others]
        elif self._world.is_thread(channel):
            members = self._world.data.thread_members.get(channel["id"], {})
            shown["member_count"] = min(len(members), 50)
            if user_id in members:
                shown["member"] = self.thread_member(channel["id"], user_id)
        shown["permissions"] = str(self._world.permissions_in(channel, user_id))
        return shown

    def thread_member(self, thread_id: str, user_id: str) -> Json:
        joined = self._world.data.thread_members[thread_id][user_id]
        return {"id": thread_id, "user_id": user_id, "join_timestamp": joined, "flags": 0}

    # --- threads

    def start_thread(self, owner_id: str, parent: Json, form: Json, *, message: Json | None = None) -> Json:
        """A new thread under `parent`, on `message` when given. Raises RefusedError for what Discord refuses."""
        if parent["type"] != TEXT:
            raise RefusedError(400, 50024, "Cannot execute action on this channel type")
        if message is not None and message["id"] in self._world.data.channels:
            raise RefusedError(400, 160004, "A thread has already been created for this message")
        kind = PUBLIC_THREAD if message is not None else form.get("type", PRIVATE_THREAD)
        if kind not in (PUBLIC_THREAD, PRIVATE_THREAD):
            raise invalid_form("type", "BASE_TYPE_CHOICES", "Value must be one of {11, 12}.")
        thread_id = message["id"] if message is not None else self._world.new_id()
        now = timestamp()
        thread: Json = {
            "id": thread_id,
            "type": kind,
            "guild_id": self._world.guild_id,
            "parent_id": parent["id"],
            "owner_id": owner_id,
            "name": _name(form.get("name")),
            "last_message_id": None,
            "rate_limit_per_user": 0,
            "message_count": 0,
            "member_count": 1,
            "total_message_sent": 0,
            "flags": 0,
            "thread_metadata": {
                "archived": False,
                "archive_timestamp": now,
                "auto_archive_duration": _archive_minutes(form.get("auto_archive_duration", 1_440)),
                "locked": False,
                "create_timestamp": now,
                **({"invitable": form.get("invitable") is not False} if kind == PRIVATE_THREAD else {}),
            },
        }
        self._world.data.thread_members[thread_id] = {owner_id: now}
        self._world.add_channel(thread)
        self._drop_oldest_threads()
        self._broadcast.channel("THREAD_CREATE", thread)
        if message is not None:
            self._broadcast.message("MESSAGE_UPDATE", message)  # it now shows its thread
        return thread

    def edit_thread(self, thread: Json, form: Json) -> Json:
        metadata = thread["thread_metadata"]
        if "name" in form:
            thread["name"] = _name(form["name"])
        if "auto_archive_duration" in form:
            metadata["auto_archive_duration"] = _archive_minutes(form["auto_archive_duration"])
        for key in ("archived", "locked"):
            if key in form:
                metadata[key] = form[key] is True
        if "archived" in form:
            metadata["archive_timestamp"] = timestamp()
        self._world.touch()
        self._broadcast.channel("THREAD_UPDATE", thread)
        return thread

    def edit_text_channel(self, channel: Json, form: Json) -> Json:
        if "name" in form:
            channel["name"] = _name(form["name"]).lower().replace(" ", "-")
        if "topic" in form:
            if form["topic"] is not None and len(str(form["topic"])) > 1_024:
                raise too_long("topic", 1_024)
            channel["topic"] = form["topic"]
        self._world.touch()
        self._broadcast.channel("CHANNEL_UPDATE", channel)
        return channel

    def unarchive(self, thread: Json) -> None:
        """Writing in a thread brings it back."""
        if thread["thread_metadata"]["archived"]:
            self.edit_thread(thread, {"archived": False})

    def join(self, thread: Json, user_id: str) -> None:
        members = self._world.data.thread_members.setdefault(thread["id"], {})
        if user_id not in members:
            members[user_id] = timestamp()
            self._world.touch()
            self._broadcast.thread_members(thread, added=[user_id])

    def leave(self, thread: Json, user_id: str) -> None:
        members = self._world.data.thread_members.get(thread["id"], {})
        if members.pop(user_id, None) is not None:
            self._world.touch()
            self._broadcast.thread_members(thread, removed=[user_id])

    def delete(self, channel: Json) -> None:
        """With everything in it, its threads too."""
        for thread in self._world.threads():
            if thread["parent_id"] == channel["id"]:
                self.delete(thread)
        event = "THREAD_DELETE" if self._world.is_thread(channel) else "CHANNEL_DELETE"
        self._broadcast.channel(event, channel)
        for message in self._world.remove_channel(channel["id"]):
            self._attachments.remove(message["attachment_ids"])

    # --- DMs

    def open_dm(self, user_id: str, other_id: str) -> Json:
        self._world.user(other_id)
        if user_id == other_id:
            raise RefusedError(400, 50033, "Invalid Recipient(s)")
        channel, new = self._world.open_dm(user_id, other_id)
        if new:
            self._broadcast.channel("CHANNEL_CREATE", channel)
        return channel

    def _drop_oldest_threads(self) -> None:
        threads = sorted(self._world.threads(), key=lambda thread: int(thread["last_message_id"] or thread["id"]))
        for thread in threads[: max(0, len(threads) - KEPT_THREADS)]:
            self.delete(thread)


def thread_permission(kind: int) -> Permission:
    return Permission.CREATE_PRIVATE_THREADS if kind == PRIVATE_THREAD else Permission.CREATE_PUBLIC_THREADS


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        raise required("name")
    if len(name.strip()) > MAX_CHANNEL_NAME_CHARS:
        raise too_long("name", MAX_CHANNEL_NAME_CHARS)
    return name.strip()


def _archive_minutes(minutes: Any) -> int:
    if minutes not in _ARCHIVE_MINUTES:
        raise invalid_form(
            "auto_archive_duration", "BASE_TYPE_CHOICES", "Value must be one of {60, 1440, 4320, 10080}."
        )
    return int(minutes)
