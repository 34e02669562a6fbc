"""What Discord refuses in messages and commands, and how it counts requests, over bare HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.sandbox import Pace, Sandbox
from tests.sandbox_client import Person
from tests.sandbox_raw import RawBot

Json = dict[str, Any]
V2 = 1 << 15


def button(**fields: Any) -> Json:
    return {"type": 2, "style": 1, "label": "b", "custom_id": "b"} | fields


def row(*components: Json) -> Json:
    return {"type": 1, "components": list(components)}


def select(**fields: Any) -> Json:
    return {"type": 3, "custom_id": "s", "options": [{"label": "a", "value": "a"}]} | fields


def text(content: str = "x") -> Json:
    return {"type": 10, "content": content}


@pytest_asyncio.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(tmp_path, pace=Pace(messages=100)) as sandbox:
        yield sandbox


@pytest_asyncio.fixture
async def bot(sandbox: Sandbox) -> AsyncIterator[RawBot]:
    async with RawBot.of(sandbox) as bot:
        yield bot


def channel(bot: RawBot, name: str = "stories") -> str:
    return next(str(found["id"]) for found in bot.sandbox.world.text_channels() if found["name"] == name)


REFUSED: list[tuple[Json, str]] = [
    ({"content": "x" * 2_001}, "content"),
    ({"content": ["x"]}, "content"),
    ({"embeds": [{"title": "x" * 257}]}, "embeds.0.title"),
    ({"embeds": [{"description": "x" * 4_097}]}, "embeds.0.description"),
    ({"embeds": [{"fields": [{"name": "n", "value": "v"}] * 26}]}, "embeds.0.fields"),
    ({"embeds": [{"fields": [{"name": "n", "value": ""}]}]}, "embeds.0.fields.0.value"),
    ({"embeds": [{"description": "x" * 3_001}] * 2}, "embeds"),
    ({"embeds": [{"title": "x"}] * 11}, "embeds"),
    ({"embeds": [{"image": {"url": "file:///etc/passwd"}}]}, "embeds.0.image.url"),
    ({"content": "x", "components": [row(button())] * 6}, "components"),
    ({"content": "x", "components": [row(*[button(custom_id=str(n)) for n in range(6)])]}, "components.0.components"),
    ({"content": "x", "components": [row(button()), row(button())]}, "components"),
    ({"content": "x", "components": [row(button(custom_id="c" * 101))]}, "components.0.components.0.custom_id"),
    ({"content": "x", "components": [row(button(label="l" * 81))]}, "components.0.components.0.label"),
    ({"content": "x", "components": [row(button(style=9))]}, "components.0.components.0.style"),
    ({"content": "x", "components": [row(button(style=5, url="javascript:x"))]}, "components.0.components.0.url"),
    ({"content": "x", "components": [row(button(label=""))]}, "components.0.components.0"),
    ({"content": "x", "components": [row(select(), button())]}, "components.0.components.0"),
    ({"content": "x", "components": [row(select(options=[]))]}, "components.0.components.0.options"),
    ({"content": "x", "components": [row(select(max_values=2))]}, "components.0.components.0.max_values"),
    ({"content": "x", "components": [row(select(options=[{"label": "a", "value": "a"}] * 2))]},
     "components.0.components.0.options.1.value"),
    ({"content": "x", "components": [text()]}, "components.0.type"),
    ({"content": "x", "flags": V2, "components": [text()]}, "content"),
    ({"embeds": [{"title": "x"}], "flags": V2, "components": [text()]}, "embeds"),
    ({"flags": V2, "components": [text()] * 41}, "components"),
    ({"flags": V2, "components": [{"type": 17, "components": [text()] * 20}] * 2}, "components"),
    ({"flags": V2, "components": [text("x" * 2_001), text("x" * 2_000)]}, "components"),
    ({"flags": V2, "components": [{"type": 9, "components": [text()]}]}, "components.0.accessory"),
    ({"flags": V2, "components": [{"type": 13, "file": {"url": "attachment://none.txt"}}]}, "components"),
    ({"content": "x", "flags": 64}, "flags"),
    ({"content": "x", "nonce": "n" * 26}, "nonce"),
    ({"content": "x", "message_reference": {"message_id": "1"}}, "message_reference"),
    ({"content": "x", "attachments": [{"id": "7"}]}, "attachments.0.id"),
    ({"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}, "allowed_mentions"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "field"), REFUSED, ids=[f"{index}-{field}" for index, (_, field) in enumerate(REFUSED)]
)
async def test_a_message_over_a_limit_is_refused_by_field(bot: RawBot, message: Json, field: str) -> None:
    answer = await bot.ask("POST", f"/channels/{channel(bot)}/messages", message)
    assert (answer.status, answer.body["code"]) == (400, 50035)
    found = answer.body["errors"]
    for key in field.split("."):
        found = found[key]
    assert found["_errors"][0]["message"]
    assert bot.sandbox.world.data.messages == {}


@pytest.mark.parametrize(
    "message",
    [
        {"content": "x" * 2_000},
        {"content": "你" * 2_000},
        {"embeds": [{"description": "x" * 4_096}, {"description": "x" * 1_904}]},
        {"flags": V2, "components": [text()] * 40},
        {"content": "x", "components": [row(*[button(custom_id=f"{r}{n}") for n in range(5)]) for r in range(5)]},
    ],
)
async def test_a_message_at_its_limit_is_taken(bot: RawBot, message: Json) -> None:
    assert (await bot.ask("POST", f"/channels/{channel(bot)}/messages", message)).status == 200


@pytest.mark.parametrize("message", [{}, {"content": ""}, {"content": " \n "}, {"content": None, "embeds": []}])
async def test_an_empty_message_is_refused(bot: RawBot, message: Json) -> None:
    assert (await bot.ask("POST", f"/channels/{channel(bot)}/messages", message)).body["code"] == 50006


@pytest.mark.parametrize("body", [b"{", b'{"a":' * 200, b"\xff", b'"' + b"[" * 3_000])
async def test_what_is_no_json_is_refused(bot: RawBot, body: bytes) -> None:
    answer = await bot.ask("POST", f"/channels/{channel(bot)}/messages", body)
    assert (answer.status, answer.body["code"]) == (400, 50109)


async def test_lone_surrogates_become_the_replacement_character(bot: RawBot) -> None:
    answer = await bot.ask("POST", f"/channels/{channel(bot)}/messages", b'{"content": "a\\ud800b \\ud83d\\ude00"}')
    assert answer.body["content"] == "a\ufffdb \U0001f600"


async def test_components_v2_cannot_be_taken_back_by_an_edit(bot: RawBot) -> None:
    at = f"/channels/{channel(bot)}/messages"
    message = (await bot.ask("POST", at, {"flags": V2, "components": [text()]})).body
    answer = await bot.ask("PATCH", f"{at}/{message['id']}", {"content": "plain", "flags": 0})
    assert (answer.status, list(answer.body["errors"])) == (400, ["content"])


async def test_files_are_listed_kept_by_an_edit_and_removed_by_it(bot: RawBot) -> None:
    at = f"/channels/{channel(bot)}/messages"
    sent = await bot.form("POST", at, {"attachments": [{"id": 0, "description": "alt"}]}, one=b"1", two=b"22")
    one, two = sent.body["attachments"]
    assert (one["filename"], one["description"], two["size"]) == ("one", "alt", 2)
    assert "loose" not in one
    edited = await bot.ask("PATCH", f"{at}/{sent.body['id']}", {"attachments": [{"id": two["id"]}]})
    assert [kept["id"] for kept in edited.body["attachments"]] == [two["id"]]
    assert not bot.sandbox.backend.attachments.path(one["id"]).exists()
    await bot.ask("DELETE", f"{at}/{sent.body['id']}")
    assert not bot.sandbox.backend.attachments.path(two["id"]).exists()


async def test_the_same_nonce_sends_once(bot: RawBot) -> None:
    at, message = f"/channels/{channel(bot)}/messages", {"content": "once", "nonce": "7", "enforce_nonce": True}
    first, second = await bot.ask("POST", at, message), await bot.ask("POST", at, message)
    assert first.body["id"] == second.body["id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/channels/42", 404, 10003),
        ("GET", "/channels/CHANNEL/messages/42", 404, 10008),
        ("GET", "/guilds/42", 404, 10004),
        ("GET", "/guilds/GUILD/members/42", 404, 10007),
        ("GET", "/guilds/GUILD/roles/42", 404, 10011),
        ("GET", "/users/42", 404, 10013),
        ("GET", "/channels/CHANNEL/messages?limit=101", 400, 50035),
        ("GET", "/channels/CHANNEL/messages?limit=many", 400, 50035),
        ("POST", "/channels/CHANNEL/messages/bulk-delete", 403, 50013),
        ("PATCH", "/channels/CHANNEL", 403, 50013),
        ("DELETE", "/channels/CHANNEL", 403, 50013),
        ("POST", "/channels/READONLY/messages", 403, 50013),
        ("GET", "/voice/regions", 404, 0),
        ("PUT", "/users/@me", 404, 0),
    ],
)
async def test_each_refusal_has_discords_code(bot: RawBot, method: str, path: str, status: int, code: int) -> None:
    path = path.replace("CHANNEL", channel(bot)).replace("GUILD", bot.sandbox.world.guild_id)
    path = path.replace("READONLY", channel(bot, "announcements"))
    answer = await bot.ask(method, path, {} if method != "GET" else None)
    assert (answer.status, answer.body["code"]) == (status, code)
    assert "X-RateLimit-Bucket" in answer.headers
    unknown = {f"{method} /api/v10{path}": 1} if code == 0 else {}
    assert bot.sandbox.unknown_routes == unknown


async def test_only_the_author_edits_and_only_moderators_delete_others_messages(bot: RawBot) -> None:
    async with Person.join(bot.sandbox, "writer") as wren:
        message = await wren.say("mine")
    at = f"/channels/{channel(bot)}/messages/{message['id']}"
    assert (await bot.ask("PATCH", at, {"content": "yours"})).body["code"] == 50005
    assert (await bot.ask("DELETE", at)).body["code"] == 50013


# --- requests are counted


async def test_the_sixth_message_in_five_seconds_waits(tmp_path: Path) -> None:
    async with Sandbox(tmp_path) as sandbox, RawBot.of(sandbox) as bot:
        at = f"/channels/{channel(bot)}/messages"
        answers = [await bot.ask("POST", at, {"content": "x"}) for _ in range(6)]
        assert [answer.status for answer in answers] == [200] * 5 + [429]
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0", "0"]
        refused = answers[-1]
        assert 0 < refused.body["retry_after"] <= 5
        assert refused.body["global"] is False
        assert refused.headers["Via"]
        assert float(refused.headers["X-RateLimit-Reset-After"]) <= 5
        # another channel, and editing, are counted apart
        other = channel(bot, "workshop")
        assert (await bot.ask("POST", f"/channels/{other}/messages", {"content": "x"})).status == 200
        assert (await bot.ask("PATCH", f"{at}/{answers[0].body['id']}", {"content": "y"})).status == 200
        assert sandbox.rate_limited == 1


async def test_more_than_fifty_requests_a_second_are_refused_as_a_whole(tmp_path: Path) -> None:
    pace = Pace(everything=5, everything_window_s=30)
    async with Sandbox(tmp_path, pace=pace) as sandbox, RawBot.of(sandbox) as bot:
        paths = ["/users/@me", "/gateway/bot", f"/guilds/{sandbox.world.guild_id}"] * 2
        answers = await asyncio.gather(*(bot.ask("GET", path) for path in paths))
        refused = [answer for answer in answers if answer.status == 429]
        assert [answer.body["global"] for answer in refused] == [True]
        assert refused[0].headers["X-RateLimit-Global"] == "true"


# --- commands

OPTION: Json = {"type": 3, "name": "o", "description": "o"}
BOTH: Json = OPTION | {"choices": [{"name": "c", "value": "c"}], "autocomplete": True}
NESTED: Json = {"type": 1, "name": "s", "description": "s", "options": [OPTION | {"type": 1}]}
BAD_COMMANDS: list[Json] = [
    {"name": "Capital", "description": "d"},
    {"name": "two words", "description": "d"},
    {"name": "x" * 33, "description": "d"},
    {"name": "x", "description": ""},
    {"name": "x", "description": "d" * 101},
    {"name": "x", "type": 2, "description": "menus have none"},
    {"name": "x", "description": "d", "options": [OPTION] * 26},
    {"name": "x", "description": "d", "options": [OPTION, OPTION]},
    {"name": "x", "description": "d", "options": [OPTION, OPTION | {"name": "p", "required": True}]},
    {"name": "x", "description": "d", "options": [OPTION, OPTION | {"type": 1, "name": "sub"}]},
    {"name": "x", "description": "d", "options": [OPTION | {"choices": [{"name": "c", "value": "c"}] * 26}]},
    {"name": "x", "description": "d", "options": [OPTION | {"choices": [{"name": "c", "value": "c" * 101}]}]},
    {"name": "x", "description": "d", "options": [OPTION | {"choices": [{"name": "c", "value": 1}]}]},
    {"name": "x", "description": "d", "options": [BOTH]},
    {"name": "x", "description": "d", "options": [NESTED]},
    {"name": "x", "description": "d", "name_localizations": {"xx": "y"}},
    {"name": "x", "description": "d", "name_localizations": {"zh-CN": "y" * 33}},
    {"name": "x", "description": "d", "contexts": [3]},
    {"name": "x", "description": "d", "default_member_permissions": "some"},
    {"name": "x", "description": "d", "options": [
        OPTION | {"name": f"o{n}", "description": "d" * 100, "choices": [{"name": "n" * 90, "value": "v" * 90}] * 4}
        for n in range(20)]},
]  # fmt: skip


@pytest.mark.parametrize("command", BAD_COMMANDS, ids=range(len(BAD_COMMANDS)))
async def test_a_command_that_discord_would_refuse_is_refused(bot: RawBot, command: Json) -> None:
    answer = await bot.ask("PUT", f"/applications/{bot.sandbox.world.bot_id}/commands", [command])
    assert (answer.status, answer.body["code"]) == (400, 50035)
    assert answer.body["errors"]


async def test_commands_are_overwritten_edited_and_deleted_and_keep_their_ids(bot: RawBot) -> None:
    at = f"/applications/{bot.sandbox.world.bot_id}/commands"
    story = {"name": "故事", "description": "d", "options": [OPTION], "name_localizations": {"en-GB": "story"}}
    first = (await bot.ask("PUT", at, [story, {"name": "Mood", "type": 3}])).body
    second = (await bot.ask("PUT", at, [story | {"description": "changed"}])).body
    assert second[0]["id"] == first[0]["id"]
    assert second[0]["version"] != first[0]["version"]
    third = (await bot.ask("PUT", at, [story | {"description": "changed"}])).body
    assert third == second
    created = await bot.ask("POST", at, {"name": "more", "description": "d"})
    assert created.status == 201
    edited = await bot.ask("PATCH", f"{at}/{created.body['id']}", {"description": "better"})
    assert (edited.body["description"], edited.body["name"]) == ("better", "more")
    assert (await bot.ask("DELETE", f"{at}/{created.body['id']}")).status == 204
    assert (await bot.ask("GET", f"{at}/{created.body['id']}")).body["code"] == 10063
    assert [command["name"] for command in (await bot.ask("GET", at)).body] == ["故事"]


async def test_a_hundred_slash_commands_and_fifteen_menus_are_the_most(bot: RawBot) -> None:
    at = f"/applications/{bot.sandbox.world.bot_id}/commands"
    slash = [{"name": f"c{number}", "description": "d"} for number in range(101)]
    menus = [{"name": f"m {number}", "type": 3} for number in range(16)]
    assert (await bot.ask("PUT", at, slash)).body["code"] == 30032
    assert (await bot.ask("PUT", at, menus)).body["code"] == 30032
    assert len((await bot.ask("PUT", at, slash[:100] + menus[:15])).body) == 115
    assert json.loads(json.dumps(bot.sandbox.world.data.commands["global"]))[0]["name"] == "c0"
