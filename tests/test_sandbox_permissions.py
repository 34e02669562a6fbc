"""Roles, overwrites and what follows from them, in the sandbox's world."""

import msgspec
import pytest

from bot.sandbox import permissions
from bot.sandbox.permissions import Permission
from bot.sandbox.seed import first_world
from bot.sandbox.world import PRIVATE_THREAD, World, WorldData

VIEW, SEND, MANAGE = int(Permission.VIEW_CHANNEL), int(Permission.SEND_MESSAGES), int(Permission.MANAGE_MESSAGES)


@pytest.fixture
def world() -> World:
    return World(msgspec.convert(first_world(), WorldData))


def in_channel(base: int, *overwrites: tuple[str, int, int], roles: tuple[str, ...] = ("a", "b")) -> int:
    listed = [{"id": target, "allow": str(allow), "deny": str(deny)} for target, allow, deny in overwrites]
    return permissions.in_channel(base, listed, everyone_id="all", role_ids=roles, user_id="me")


def test_an_administrator_may_do_everything_whatever_the_overwrites_say() -> None:
    assert in_channel(int(Permission.ADMINISTRATOR), ("all", 0, VIEW)) == permissions.ALL


def test_a_roles_allow_wins_over_everyones_deny_and_over_another_roles_deny() -> None:
    assert in_channel(VIEW | SEND, ("all", 0, SEND)) == VIEW
    assert in_channel(VIEW, ("all", 0, SEND), ("a", 0, SEND), ("b", SEND, 0)) == VIEW | SEND


def test_the_members_own_overwrite_comes_last() -> None:
    assert in_channel(VIEW | SEND, ("a", SEND, 0), ("me", 0, SEND)) == VIEW


def test_who_cannot_see_a_channel_may_do_nothing_there() -> None:
    assert in_channel(VIEW | SEND | MANAGE, ("all", 0, VIEW)) == permissions.NONE


def test_who_cannot_send_cannot_attach_or_ping_either() -> None:
    assert in_channel(VIEW | int(Permission.ATTACH_FILES | Permission.MENTION_EVERYONE)) == VIEW


def test_the_first_world_has_a_hidden_and_a_read_only_channel(world: World) -> None:
    writer, admin = world.data.parts["writer"], world.data.parts["admin"]
    by_name = {channel["name"]: channel for channel in world.text_channels()}
    assert not world.may_see(writer, by_name["admin-desk"])
    assert world.may_see(admin, by_name["admin-desk"])
    assert world.may_see(writer, by_name["announcements"])
    assert not world.may(writer, Permission.SEND_MESSAGES, by_name["announcements"])
    assert world.may(admin, Permission.SEND_MESSAGES, by_name["announcements"])
    assert world.may(world.bot_id, Permission.SEND_MESSAGES, by_name["admin-desk"])


def test_a_private_thread_is_seen_by_its_members_and_by_who_manages_threads(world: World) -> None:
    parts = world.data.parts
    thread = {
        "id": "1",
        "type": PRIVATE_THREAD,
        "parent_id": world.text_channels()[0]["id"],
        "guild_id": world.guild_id,
    }
    world.data.thread_members["1"] = {parts["writer"]: ""}
    assert world.may_see(parts["writer"], thread)
    assert not world.may_see(parts["co-author"], thread)
    assert world.may_see(parts["admin"], thread)


def test_a_stranger_may_do_nothing(world: World) -> None:
    assert world.permissions_in(world.text_channels()[0], "42") == permissions.NONE
