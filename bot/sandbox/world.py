"""Everything that exists in the sandbox, in Discord's own shapes. Knows who may do what; tells nobody what changed."""

import hashlib
import hmac
from collections.abc import Callable, Iterator

import msgspec

from bot.sandbox import permissions
from bot.sandbox.errors import unknown
from bot.sandbox.limits import KEPT_INTERACTIONS, KEPT_MESSAGES
from bot.sandbox.permissions import Permission
from bot.sandbox.wire import Json, Snowflakes

TEXT, DM, ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD = 0, 1, 10, 11, 12
THREAD_TYPES = frozenset({ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD})


class WorldData(msgspec.Struct, kw_only=True):
    """What a world file holds. Dicts are keyed by id; `messages` and `thread_members` by channel id; `commands` by
    guild id, or "global"; `parts` names the people (writer, co-author, admin)."""

    format: int
    capability: str
    bot_token: str
    signing_key: str
    last_id: int
    bot_id: str
    parts: dict[str, str]
    guild: Json
    roles: dict[str, Json]
    users: dict[str, Json]
    members: dict[str, Json]
    channels: dict[str, Json]
    messages: dict[str, dict[str, Json]]
    thread_members: dict[str, dict[str, str]]
    commands: dict[str, list[Json]]
    attachments: dict[str, Json]
    interactions: dict[str, Json]


class World:
    """The live world. `changed` is called after every change; it must be quick."""

    def __init__(self, data: WorldData, changed: Callable[[], None] = lambda: None) -> None:
        self.data = data
        self._ids = Snowflakes(data.last_id)
        self._changed = changed

    # --- identity

    @property
    def guild_id(self) -> str:
        return str(self.data.guild["id"])

    @property
    def bot_id(self) -> str:
        return self.data.bot_id

    @property
    def bot(self) -> Json:
        return self.data.users[self.bot_id]

    @property
    def people(self) -> dict[str, Json]:
        """Human users by their part: writer, co-author, admin."""
        return {part: self.data.users[user_id] for part, user_id in self.data.parts.items()}

    def new_id(self) -> str:
        snowflake = self._ids.next()
        self.data.last_id = self._ids.last
        return snowflake

    def touch(self) -> None:
        self._changed()

    def signature(self, text: str) -> str:
        """What proves that a link was made by this world."""
        return hmac.new(self.data.signing_key.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]

    # --- reading; each raises RefusedError with Discord's "Unknown …" for what is not there

    def user(self, user_id: str) -> Json:
        if user_id not in self.data.users:
            raise unknown("User")
        return self.data.users[user_id]

    def member(self, user_id: str) -> Json:
        """A member with its user inside."""
        if user_id not in self.data.members:
            raise unknown("Member")
        return self.data.members[user_id] | {"user": self.data.users[user_id]}

    def channel(self, channel_id: str) -> Json:
        if channel_id not in self.data.channels:
            raise unknown("Channel")
        return self.data.channels[channel_id]

    def message(self, channel_id: str, message_id: str) -> Json:
        message = self.data.messages.get(channel_id, {}).get(message_id)
        if message is None:
            raise unknown("Message")
        return message

    def history(
        self, channel_id: str, *, before: str | None = None, after: str | None = None, around: str | None = None
    ) -> Iterator[Json]:
        """Messages of a channel, newest first (nearest first for `after` and `around`), ephemeral ones included."""
        newest_first = reversed(self.data.messages.get(channel_id, {}).values())
        if around is not None:
            middle = int(around)
            return iter(sorted(newest_first, key=lambda message: abs(int(message["id"]) - middle)))
        if after is not None:
            oldest_first = self.data.messages.get(channel_id, {}).values()
            return (message for message in oldest_first if int(message["id"]) > int(after))
        return (message for message in newest_first if before is None or int(message["id"]) < int(before))

    def text_channels(self) -> list[Json]:
        channels = (channel for channel in self.data.channels.values() if channel["type"] == TEXT)
        return sorted(channels, key=lambda channel: (channel["position"], int(channel["id"])))

    def threads(self) -> list[Json]:
        return [channel for channel in self.data.channels.values() if channel["type"] in THREAD_TYPES]

    def dms(self) -> list[Json]:
        return [channel for channel in self.data.channels.values() if channel["type"] == DM]

    def is_thread(self, channel: Json) -> bool:
        return channel["type"] in THREAD_TYPES

    def is_member_of_thread(self, thread_id: str, user_id: str) -> bool:
        return user_id in self.data.thread_members.get(thread_id, {})

    # --- permissions

    def guild_permissions(self, user_id: str) -> int:
        member = self.data.members.get(user_id)
        if member is None:
            return permissions.NONE
        held = [self.guild_id, *member["roles"]]
        bits = (int(self.data.roles[role]["permissions"]) for role in held if role in self.data.roles)
        return permissions.in_guild(bits, owner=user_id == self.data.guild["owner_id"])

    def permissions_in(self, channel: Json, user_id: str) -> int:
        """The bits that `user_id` holds in `channel`: a text channel, a thread or a DM."""
        if channel["type"] == DM:
            return permissions.IN_DM if user_id in channel["recipient_ids"] else permissions.NONE
        if self.is_thread(channel):
            parent = self.data.channels.get(channel["parent_id"])
            bits = self.permissions_in(parent, user_id) if parent else permissions.NONE
            outside = channel["type"] == PRIVATE_THREAD and not self.is_member_of_thread(channel["id"], user_id)
            if outside and not bits & Permission.MANAGE_THREADS:
                return permissions.NONE
            return permissions.in_thread(bits)
        member = self.data.members.get(user_id)
        if member is None:
            return permissions.NONE
        return permissions.in_channel(
            self.guild_permissions(user_id),
            channel["permission_overwrites"],
            everyone_id=self.guild_id,
            role_ids=member["roles"],
            user_id=user_id,
        )

    def may(self, user_id: str, permission: Permission, channel: Json) -> bool:
        return self.permissions_in(channel, user_id) & permission == permission

    def may_see(self, user_id: str, channel: Json) -> bool:
        return self.may(user_id, Permission.VIEW_CHANNEL, channel)

    def may_see_message(self, user_id: str, message: Json) -> bool:
        only_for = message.get("ephemeral_for")
        if only_for is not None and only_for != user_id:
            return False
        channel = self.data.channels.get(message["channel_id"])
        return channel is not None and self.may_see(user_id, channel)

    # --- writing

    def add_message(self, message: Json) -> list[Json]:
        """Keep `message`; return those dropped for it (more than KEPT_MESSAGES in its channel)."""
        kept = self.data.messages.setdefault(message["channel_id"], {})
        kept[message["id"]] = message
        channel = self.data.channels[message["channel_id"]]
        if "ephemeral_for" not in message:
            channel["last_message_id"] = message["id"]
            if self.is_thread(channel) and message["id"] != channel["id"]:
                channel["message_count"] += 1
                channel["total_message_sent"] += 1
        dropped = [kept.pop(oldest) for oldest in list(kept)[: max(0, len(kept) - KEPT_MESSAGES)]]
        self.touch()
        return dropped

    def remove_message(self, message: Json) -> None:
        self.data.messages.get(message["channel_id"], {}).pop(message["id"], None)
        channel = self.data.channels.get(message["channel_id"])
        if channel is not None and self.is_thread(channel):
            channel["message_count"] = max(0, channel["message_count"] - 1)
        self.touch()

    def add_channel(self, channel: Json) -> None:
        self.data.channels[channel["id"]] = channel
        self.touch()

    def remove_channel(self, channel_id: str) -> list[Json]:
        """Forget a channel; return its messages, whose files are now nobody's."""
        self.data.channels.pop(channel_id, None)
        self.data.thread_members.pop(channel_id, None)
        self.touch()
        return list(self.data.messages.pop(channel_id, {}).values())

    def dm_between(self, user_id: str, other_id: str) -> Json | None:
        pair = {user_id, other_id}
        return next((channel for channel in self.dms() if set(channel["recipient_ids"]) == pair), None)

    def open_dm(self, user_id: str, other_id: str) -> tuple[Json, bool]:
        """The DM between two users, and whether it is new."""
        existing = self.dm_between(user_id, other_id)
        if existing is not None:
            return existing, False
        channel = {
            "id": self.new_id(),
            "type": DM,
            "recipient_ids": [user_id, other_id],
            "last_message_id": None,
            "flags": 0,
        }
        self.add_channel(channel)
        return channel, True

    def keep_interaction(self, interaction: Json) -> None:
        kept = self.data.interactions
        kept[interaction["id"]] = interaction
        for oldest in list(kept)[: max(0, len(kept) - KEPT_INTERACTIONS)]:
            del kept[oldest]
        self.touch()

    def set_overwrite(self, channel_id: str, target_id: str, *, allow: int = 0, deny: int = 0) -> None:
        """Allow and deny permissions of a role or user in a channel, in place of what was there for it."""
        channel = self.channel(channel_id)
        others = [overwrite for overwrite in channel["permission_overwrites"] if overwrite["id"] != target_id]
        kind = 0 if target_id in self.data.roles else 1
        mine = {"id": target_id, "type": kind, "allow": str(int(allow)), "deny": str(int(deny))}
        channel["permission_overwrites"] = [*others, mine]
        self.touch()
