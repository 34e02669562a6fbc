"""The first world: one guild, four channels, three people, one bot. Knows the shapes, not what happens to them."""

import secrets

from bot.sandbox.limits import MAX_FILE_BYTES
from bot.sandbox.permissions import Permission
from bot.sandbox.wire import Json, Snowflakes, timestamp

WORLD_FORMAT = 1

_EVERYONE = int(
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.SEND_MESSAGES_IN_THREADS
    | Permission.CREATE_PUBLIC_THREADS
    | Permission.CREATE_PRIVATE_THREADS
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.ADD_REACTIONS
    | Permission.USE_EXTERNAL_EMOJIS
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.CHANGE_NICKNAME
)

# The least a writing bot asks for in its invite link.
_BOT = int(
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.SEND_MESSAGES_IN_THREADS
    | Permission.CREATE_PUBLIC_THREADS
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
)


def first_world() -> Json:
    """A new world in the shape of `world.WorldData`. Its token, capability and key are random."""
    ids = Snowflakes()
    guild_id, bot_id = ids.next(), ids.next()
    people = {"writer": ("wren", "Wren"), "co-author": ("tomas", "Tomás"), "admin": ("ida", "Ida")}
    users = {bot_id: _user(bot_id, "inkwell", None, bot=True)}
    parts: Json = {}
    for part, (username, global_name) in people.items():
        parts[part] = ids.next()
        users[parts[part]] = _user(parts[part], username, global_name)

    roles = {
        guild_id: _role(guild_id, "@everyone", _EVERYONE, 0),
        **{
            role["id"]: role
            for role in (
                _role(ids.next(), "Writers", 0, 1, color=0x3BA55D),
                _role(ids.next(), "Co-authors", 0, 2, color=0x5865F2, mentionable=True),
                _role(ids.next(), "Inkwell", _BOT, 3, managed_by=bot_id),
                _role(ids.next(), "Admins", int(Permission.ADMINISTRATOR), 4, color=0xED4245),
            )
        },
    }
    by_name = {role["name"]: role["id"] for role in roles.values()}
    members = {
        parts["writer"]: _member([by_name["Writers"]]),
        parts["co-author"]: _member([by_name["Writers"], by_name["Co-authors"]]),
        parts["admin"]: _member([by_name["Admins"]]),
        bot_id: _member([by_name["Inkwell"]]),
    }

    unwritable = _overwrite(guild_id, deny=int(Permission.SEND_MESSAGES | Permission.CREATE_PUBLIC_THREADS))
    hidden = _overwrite(guild_id, deny=int(Permission.VIEW_CHANNEL))
    seen_by_bot = _overwrite(by_name["Inkwell"], allow=int(Permission.VIEW_CHANNEL))
    channels = [
        _text(ids.next(), guild_id, "stories", "Begin one with /story", 0),
        _text(ids.next(), guild_id, "workshop", "Talk about what you are writing", 1),
        _text(ids.next(), guild_id, "announcements", "Only admins write here", 2, [unwritable]),
        _text(ids.next(), guild_id, "admin-desk", "Only admins see this", 3, [hidden, seen_by_bot]),
    ]
    return {
        "format": WORLD_FORMAT,
        "capability": secrets.token_urlsafe(24),
        "bot_token": "sandbox-" + secrets.token_hex(24),
        "signing_key": secrets.token_hex(32),
        "last_id": ids.last,
        "bot_id": bot_id,
        "parts": parts,
        "guild": {
            "id": guild_id,
            "name": "The Writing Room",
            "icon": None,
            "owner_id": parts["admin"],
            "system_channel_id": channels[0]["id"],
        },
        "roles": roles,
        "users": users,
        "members": members,
        "channels": {channel["id"]: channel for channel in channels},
        "messages": {},
        "thread_members": {},
        "commands": {},
        "attachments": {},
        "interactions": {},
    }


def _user(user_id: str, username: str, global_name: str | None, *, bot: bool = False) -> Json:
    return {
        "id": user_id,
        "username": username,
        "discriminator": "0001" if bot else "0",
        "global_name": global_name,
        "avatar": None,
        "bot": bot,
        "system": False,
        "public_flags": 0,
        "flags": 0,
        "primary_guild": None,
    }


def _role(
    role_id: str,
    name: str,
    permissions: int,
    position: int,
    *,
    color: int = 0,
    mentionable: bool = False,
    managed_by: str | None = None,
) -> Json:
    role: Json = {
        "id": role_id,
        "name": name,
        "description": None,
        "color": color,
        "colors": {"primary_color": color, "secondary_color": None, "tertiary_color": None},
        "hoist": color != 0,
        "icon": None,
        "unicode_emoji": None,
        "position": position,
        "permissions": str(permissions),
        "managed": managed_by is not None,
        "mentionable": mentionable,
        "flags": 0,
    }
    return role | ({"tags": {"bot_id": managed_by}} if managed_by else {})


def _member(roles: list[str]) -> Json:
    return {
        "avatar": None,
        "banner": None,
        "communication_disabled_until": None,
        "flags": 0,
        "joined_at": timestamp(),
        "nick": None,
        "pending": False,
        "premium_since": None,
        "roles": roles,
        "deaf": False,
        "mute": False,
    }


def _overwrite(role_id: str, *, allow: int = 0, deny: int = 0) -> Json:
    return {"id": role_id, "type": 0, "allow": str(allow), "deny": str(deny)}


def _text(
    channel_id: str, guild_id: str, name: str, topic: str, position: int, overwrites: list[Json] | None = None
) -> Json:
    return {
        "id": channel_id,
        "type": 0,
        "guild_id": guild_id,
        "name": name,
        "topic": topic,
        "position": position,
        "parent_id": None,
        "nsfw": False,
        "rate_limit_per_user": 0,
        "last_message_id": None,
        "permission_overwrites": overwrites or [],
        "flags": 0,
    }


def application(bot: Json, owner: Json, flags: int) -> Json:
    """The application that the bot belongs to, as /applications/@me shows it."""
    return {
        "id": bot["id"],
        "name": "Inkwell",
        "icon": None,
        "description": "Continues your story, in the sandbox.",
        "summary": "",
        "type": None,
        "bot": bot,
        "bot_public": False,
        "bot_require_code_grant": False,
        "owner": owner,
        "team": None,
        "verify_key": "0" * 64,
        "flags": flags,
        "flags_new": str(flags),
        "explicit_content_filter": 0,
        "eligible_oauth2_scopes": ["bot", "applications.commands"],
        "hook": True,
        "is_monetized": False,
        "is_verified": False,
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "approximate_guild_count": 1,
        "approximate_user_install_count": 0,
        "approximate_user_authorization_count": 0,
        "integration_types_config": {"0": {}, "1": {}},
        "max_file_size": MAX_FILE_BYTES,
    }
