"""Who may do what where: Discord's permission bits and how roles and overwrites combine. Knows no storage and no route.

https://discord.com/developers/docs/topics/permissions
"""

from collections.abc import Iterable, Mapping
from enum import IntFlag
from typing import Any


class Permission(IntFlag):
    CREATE_INSTANT_INVITE = 1 << 0
    KICK_MEMBERS = 1 << 1
    BAN_MEMBERS = 1 << 2
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    SEND_TTS_MESSAGES = 1 << 12
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_EXTERNAL_EMOJIS = 1 << 18
    CHANGE_NICKNAME = 1 << 26
    MANAGE_NICKNAMES = 1 << 27
    MANAGE_ROLES = 1 << 28
    MANAGE_WEBHOOKS = 1 << 29
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    SEND_MESSAGES_IN_THREADS = 1 << 38
    USE_EXTERNAL_APPS = 1 << 50


ALL = (1 << 53) - 1
NONE = 0

# What both sides of a DM may do.
IN_DM = int(
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.ADD_REACTIONS
    | Permission.USE_EXTERNAL_EMOJIS
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.MENTION_EVERYONE
)

_NEEDS_SENDING = int(
    Permission.MENTION_EVERYONE | Permission.SEND_TTS_MESSAGES | Permission.ATTACH_FILES | Permission.EMBED_LINKS
)


def in_guild(role_bits: Iterable[int], *, owner: bool = False) -> int:
    """Bits of a member with these roles (@everyone among them), before any channel is looked at."""
    bits = NONE
    for role in role_bits:
        bits |= role
    return ALL if owner or bits & Permission.ADMINISTRATOR else bits


def in_channel(
    base: int, overwrites: Iterable[Mapping[str, Any]], *, everyone_id: str, role_ids: Iterable[str], user_id: str
) -> int:
    """`base` after the overwrites: @everyone's, then all of the roles' together, then the member's own."""
    if base & Permission.ADMINISTRATOR:
        return ALL
    by_target = {overwrite["id"]: overwrite for overwrite in overwrites}
    bits = _apply(base, [by_target[everyone_id]] if everyone_id in by_target else [])
    bits = _apply(bits, [by_target[role] for role in role_ids if role in by_target and role != everyone_id])
    bits = _apply(bits, [by_target[user_id]] if user_id in by_target else [])
    return _implied(bits)


def in_thread(parent_bits: int) -> int:
    """A thread's bits are its parent's, with sending governed by its own permission."""
    may_send = parent_bits & Permission.SEND_MESSAGES_IN_THREADS
    bits = parent_bits & ~int(Permission.SEND_MESSAGES)
    return bits | int(Permission.SEND_MESSAGES) if may_send else bits & ~_NEEDS_SENDING


def _apply(bits: int, overwrites: list[Mapping[str, Any]]) -> int:
    allow = deny = NONE
    for overwrite in overwrites:
        allow |= int(overwrite["allow"])
        deny |= int(overwrite["deny"])
    return (bits & ~deny) | allow


def _implied(bits: int) -> int:
    if not bits & Permission.VIEW_CHANNEL:
        return NONE
    # sending in threads has its own bit: what needs sending stays while either is held
    if not bits & (Permission.SEND_MESSAGES | Permission.SEND_MESSAGES_IN_THREADS):
        return bits & ~_NEEDS_SENDING
    return bits
