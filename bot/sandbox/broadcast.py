"""Tells what happened to whoever may know: the bot over its gateway, people over their pages. Changes nothing."""

import time
from typing import TYPE_CHECKING

from bot.sandbox.gateway import Gateway, Intent, Session
from bot.sandbox.limits import MAX_FILE_BYTES, Timing
from bot.sandbox.page_sockets import PageSockets
from bot.sandbox.seed import application
from bot.sandbox.wire import Json
from bot.sandbox.world import DM, World

if TYPE_CHECKING:
    from bot.sandbox.channels import Channels
    from bot.sandbox.command_access import CommandAccess
    from bot.sandbox.messages import Messages

APPROVED_LIMITED = {  # application flags: a privileged intent that is switched on for a bot in few guilds
    Intent.GUILD_PRESENCES: 1 << 13,
    Intent.GUILD_MEMBERS: 1 << 15,
    Intent.MESSAGE_CONTENT: 1 << 19,
}


class Broadcast:
    """The gateway's audience, and the one place that decides who hears of a change.

    `gateway`, `messages`, `channels` and `commands` are set by the composition root: each of them needs this one.
    """

    gateway: Gateway
    messages: "Messages"
    channels: "Channels"
    commands: "CommandAccess"

    def __init__(self, world: World, pages: PageSockets, timing: Timing, disallowed_intents: int) -> None:
        self._world, self._pages, self._timing = world, pages, timing
        self._disallowed = disallowed_intents

    @property
    def content_intent_allowed(self) -> bool:
        """Whether the application may read others' messages at all, over REST too."""
        return not self._disallowed & Intent.MESSAGE_CONTENT

    def application(self) -> Json:
        flags = sum(flag for intent, flag in APPROVED_LIMITED.items() if not self._disallowed & intent)
        world = self._world
        return application(world.bot, world.data.users[world.data.parts["admin"]], flags)

    # --- changes

    def message(self, event: str, message: Json) -> None:
        """MESSAGE_CREATE, MESSAGE_UPDATE or MESSAGE_DELETE. The bot never hears of ephemeral messages this way."""
        world = self._world
        channel = world.data.channels.get(message["channel_id"])
        if channel is None:
            return
        guild_id = channel.get("guild_id")
        deleted = {"id": message["id"], "channel_id": message["channel_id"]}
        if guild_id:
            deleted["guild_id"] = guild_id
        if "ephemeral_for" not in message and world.may_see(world.bot_id, channel):

            def for_session(session: Session) -> Json:
                if event == "MESSAGE_DELETE":
                    return deleted
                with_content = session.wants(Intent.MESSAGE_CONTENT)
                return self.messages.for_bot(message, with_content=with_content, in_gateway=True)

            intent = Intent.GUILD_MESSAGES if guild_id else Intent.DIRECT_MESSAGES
            self.gateway.dispatch(event, for_session, guild_id=guild_id, intent=intent)
        shown = deleted if event == "MESSAGE_DELETE" else None
        for user_id in self._pages.watching():
            if world.may_see_message(user_id, message):
                shown = shown or self.messages.for_page(message)
                self._pages.send(user_id, event, shown)

    def channel(self, event: str, channel: Json) -> None:
        """CHANNEL_… or THREAD_… of a channel that is (or, for …_DELETE, still is) there."""
        world = self._world
        if channel["type"] != DM and world.may_see(world.bot_id, channel):
            shown = self.channels.for_bot(channel)
            if event == "THREAD_CREATE":
                shown["newly_created"] = True
            self.gateway.dispatch(event, shown, guild_id=world.guild_id, intent=Intent.GUILDS)
        for user_id in self._pages.watching():
            if world.may_see(user_id, channel):
                self._pages.send(user_id, event, self.channels.for_user(channel, user_id))

    def thread_members(self, thread: Json, *, added: list[str] | None = None, removed: list[str] | None = None) -> None:
        world = self._world
        if world.bot_id in (added or []) or world.may_see(world.bot_id, thread):
            for_bot: Json = {
                "id": thread["id"],
                "guild_id": world.guild_id,
                "member_count": len(world.data.thread_members.get(thread["id"], {})),
                "added_members": [self.channels.thread_member(thread["id"], user_id) for user_id in added or []],
                "removed_member_ids": removed or [],
            }
            self.gateway.dispatch("THREAD_MEMBERS_UPDATE", for_bot, guild_id=world.guild_id, intent=Intent.GUILDS)
        self.channel("THREAD_UPDATE", thread)

    def typing(self, channel: Json, user_id: str) -> None:
        world = self._world
        guild_id = channel.get("guild_id")
        if user_id != world.bot_id and world.may_see(world.bot_id, channel):
            data: Json = {"channel_id": channel["id"], "user_id": user_id, "timestamp": int(time.time())}
            if guild_id:
                data |= {"guild_id": guild_id, "member": world.member(user_id)}
            intent = Intent.GUILD_MESSAGE_TYPING if guild_id else Intent.DIRECT_MESSAGE_TYPING
            self.gateway.dispatch("TYPING_START", data, guild_id=guild_id, intent=intent)
        for viewer in self._pages.watching():
            if viewer != user_id and world.may_see(viewer, channel):
                self._pages.send(viewer, "TYPING_START", {"channel_id": channel["id"], "user_id": user_id})

    def commands_changed(self) -> None:
        for user_id in self._pages.watching():
            self._pages.send(user_id, "COMMANDS_UPDATE", {"commands": self.commands.usable_by(user_id)})

    def to_person(self, user_id: str, event: str, data: Json) -> None:
        self._pages.send(user_id, event, data)

    # --- the gateway's audience

    def ready(self) -> Json:
        shown = self.application()
        return {
            "user": self._world.bot | {"verified": True, "mfa_enabled": False, "email": None, "locale": "en-US"},
            "guilds": [{"id": self._world.guild_id, "unavailable": True}],
            "application": {"id": shown["id"], "flags": shown["flags"]},
            "private_channels": [],
            "relationships": [],
            "presences": [],
            "user_settings": {},
            "geo_ordered_rtc_regions": [],
            "session_type": "normal",
            "_trace": [],
        }

    def guilds(self, session: Session) -> list[Json]:
        world = self._world
        if not session.serves(world.guild_id):
            return []
        bot = world.member(world.bot_id)
        seen = [channel for channel in world.text_channels() if world.may_see(world.bot_id, channel)]
        threads = [
            self.channels.for_bot(thread)
            for thread in world.threads()
            if world.may_see(world.bot_id, thread) and not thread["thread_metadata"]["archived"]
        ]
        return [
            self.guild()
            | {
                "joined_at": bot["joined_at"],
                "large": False,
                "unavailable": False,
                "member_count": len(world.data.members),
                "voice_states": [],
                # without the members intent Discord shows a bot only itself
                "members": self._members() if session.wants(Intent.GUILD_MEMBERS) else [bot],
                "channels": [self.channels.for_bot(channel) for channel in seen],
                "threads": threads,
                "presences": [],
                "stage_instances": [],
                "guild_scheduled_events": [],
                "soundboard_sounds": [],
            }
        ]

    def guild(self) -> Json:
        return {
            "icon_hash": None,
            "splash": None,
            "discovery_splash": None,
            "banner": None,
            "description": None,
            "region": "local",
            "afk_channel_id": None,
            "afk_timeout": 300,
            "verification_level": 0,
            "default_message_notifications": 1,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "nsfw": False,
            "application_id": None,
            "system_channel_flags": 0,
            "rules_channel_id": None,
            "public_updates_channel_id": None,
            "safety_alerts_channel_id": None,
            "preferred_locale": "en-US",
            "premium_tier": 0,
            "premium_subscription_count": 0,
            "premium_progress_bar_enabled": False,
            "vanity_url_code": None,
            "widget_enabled": False,
            "widget_channel_id": None,
            "home_header": None,
            "hub_type": None,
            "incidents_data": None,
            "owner_configured_content_level": 0,
            "max_members": 500_000,
            "max_presences": None,
            "max_video_channel_users": 25,
            "max_stage_video_channel_users": 50,
            "max_file_size": MAX_FILE_BYTES,
            "features": [],
            "emojis": [],
            "stickers": [],
            "roles": list(self._world.data.roles.values()),
            **self._world.data.guild,
        }

    def members(self, session: Session, request: Json) -> list[Json]:
        world = self._world
        chosen = self._members()
        ids, query = request.get("user_ids"), str(request.get("query") or "").lower()
        if ids is not None:
            wanted = {str(user_id) for user_id in (ids if isinstance(ids, list) else [ids])}
            chosen = [member for member in chosen if member["user"]["id"] in wanted]
        elif query:
            chosen = [member for member in chosen if member["user"]["username"].startswith(query)]
        elif not session.wants(Intent.GUILD_MEMBERS):
            chosen = []
        missing = [] if ids is None else sorted(wanted - {member["user"]["id"] for member in chosen})
        chunk: Json = {
            "guild_id": world.guild_id,
            "members": chosen[: int(request.get("limit") or 1_000)],
            "chunk_index": 0,
            "chunk_count": 1,
            "not_found": missing,
        }
        return [chunk | ({"nonce": request["nonce"]} if "nonce" in request else {})]

    def online_changed(self, online: bool) -> None:
        for user_id in self._pages.watching():
            self._pages.send(user_id, "BOT_STATUS", {"online": online})

    def _members(self) -> list[Json]:
        return [self._world.member(user_id) for user_id in self._world.data.members]
