"""What the bot sends, and what the sandbox answers in Discord's place, checked against Discord's OpenAPI document."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import discord
import pytest
import pytest_asyncio

from bot.client import StoryBot
from bot.sandbox import Pace, Sandbox, point_discord_at
from bot.settings import Settings
from bot.store import Store
from models.serving.in_process import InProcessEngine
from tests.bigram_model import FaultyModel
from tests.discord_openapi import Exchange, OpenApi, Recorder, WrongShapeError, document
from tests.sandbox_client import Person, labels

DOCUMENT = document()
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(DOCUMENT is None, reason="Discord's OpenAPI document is not beside the repository"),
]
OPENING = "The keeper climbed the stairs"
FINISHED = ["Continue", "Retry", "Undo"]


@dataclass(frozen=True, kw_only=True)
class Played:
    """Everything that the bot and the sandbox said to each other in one evening."""

    exchanges: tuple[Exchange, ...]

    def some(self, method: str, beginning: str, ending: str = "") -> list[Exchange]:
        return [
            exchange
            for exchange in self.exchanges
            if exchange.method == method and exchange.path.startswith(beginning) and exchange.path.endswith(ending)
        ]


@pytest.fixture(scope="module")
def discord_api() -> OpenApi:
    assert DOCUMENT is not None
    return OpenApi(DOCUMENT)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def played(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Played]:
    """The real bot in the sandbox: its start, and every answer that a writer can get from it."""
    recorder = Recorder()
    directory = tmp_path_factory.mktemp("openapi")
    settings = Settings(_env_file=None, data_dir=directory, edit_interval_s=0.2, shutdown_grace_s=0.0)
    engine = InProcessEngine(partial(FaultyModel, pause_s=0.02))
    fast = Pace(messages=500, route=500, everything=500)
    async with Store.open(settings.database) as store, Sandbox(directory / "discord", pace=fast) as sandbox:
        await engine.start()
        with point_discord_at(sandbox.base_url):
            async with StoryBot(settings=settings, store=store, engine=engine) as bot:
                recorder.install(bot)
                running = asyncio.create_task(bot.start(sandbox.bot_token))
                await bot.wait_until_ready_or_dead(running)
                async with Person.join(sandbox, "writer") as wren, Person.join(sandbox, "co-author") as tomas:
                    await play(wren, tomas)
                    await bot.close()
                    await running
                    told = await wren.wait_message(lambda message: "restarting" in message["content"])
                    assert labels(told) == []
        await engine.close()
        assert not sandbox.unknown_routes
    yield Played(exchanges=tuple(recorder.exchanges))


def finished(message: dict[str, Any]) -> bool:
    return labels(message) == FINISHED


def running(message: dict[str, Any]) -> bool:
    return labels(message) == ["Stop"]


async def play(wren: Person, tomas: Person) -> None:
    await wren.slash("story", prompt=OPENING, length="short", seed=7)
    first = await wren.wait_message(finished)
    await wren.click(first, "Retry")
    first = await wren.wait_message(lambda message: finished(message) and message["content"] != first["content"])
    await wren.click(first, "Continue")
    second = await wren.wait_message(lambda message: finished(message) and message["id"] != first["id"])
    await tomas.click(second, "Undo")  # not his: an ephemeral refusal
    assert "Only the author" in (await tomas.wait_message(lambda told: bool(told["ephemeral_for"])))["content"]
    await wren.click(second, "Undo")
    await wren.wait_message(lambda message: message["content"].startswith("↩️"))
    await wren.slash("story", prompt="灯塔的灯在九点熄灭了", length="long", locale="zh-CN")
    await wren.click(await wren.wait_message(lambda message: labels(message) == ["停止"]), "停止")
    await wren.wait_message(lambda message: "停止" not in labels(message) and bool(message["components"]))
    await wren.slash("story", prompt=" \u200b ")  # an error before anything was promised
    await wren.wait_message(lambda message: "few words" in message["content"])
    await wren.slash("story", prompt=f"{OPENING} [prefill] [raise]")  # an error after "thinking…"
    await wren.wait_message(lambda message: labels(message) == ["Retry"], timeout=20)
    roles = [role["id"] for role in (await wren.state())["guild"]["roles"]]
    await wren.slash("story", prompt=f"@everyone @here <@&{roles[-1]}> <@{tomas.id}> come", length="short")
    shouted = await wren.wait_message(finished)
    assert f"<@{tomas.id}>" in shouted["content"]
    assert (shouted["mention_everyone"], shouted["mentions"], shouted["mention_roles"]) == (False, [], [])
    await wren.slash("story", prompt="x" * 1_900, length="long")  # the bot is closed under it
    await wren.wait_message(running)


async def test_every_request_of_the_bot_is_one_that_discord_takes(played: Played, discord_api: OpenApi) -> None:
    for exchange in played.exchanges:
        discord_api.check_request(exchange)


async def test_the_evening_held_every_kind_of_request(played: Played) -> None:
    """Else the test above would pass on silence."""
    (synced,) = played.some("PUT", "/applications/", "/commands")
    assert {"story", "inkwell"} <= {command["name"] for command in synced.body}
    callbacks = [exchange.body["type"] for exchange in played.some("POST", "/interactions/", "/callback")]
    assert set(callbacks) == {4, 5, 6, 7}  # message, deferred message, deferred update, update
    assert len(played.some("PATCH", "/webhooks/")) >= 6
    assert len(played.some("POST", "/webhooks/")) >= 1
    assert len(played.some("GET", "/gateway/bot")) == 1
    assert all(exchange.status < 300 for exchange in played.exchanges)


async def test_nobody_can_be_pinged_by_anything_that_was_sent(played: Played) -> None:
    spoken = [*played.some("PATCH", "/webhooks/"), *played.some("POST", "/webhooks/")]
    assert spoken
    assert all(exchange.body["allowed_mentions"] == {"parse": []} for exchange in spoken)


async def test_every_answer_of_the_sandbox_is_one_that_discord_gives(played: Played, discord_api: OpenApi) -> None:
    for exchange in played.exchanges:
        discord_api.check_answer(exchange)


def wrong(exchange: Exchange, **changes: Any) -> Exchange:
    return replace(exchange, body=exchange.body | changes)


async def test_a_wrong_request_is_refused_by_the_same_judge(played: Played, discord_api: OpenApi) -> None:
    edit = next(exchange for exchange in played.some("PATCH", "/webhooks/") if exchange.body.get("components"))
    callback = played.some("POST", "/interactions/", "/callback")[0]
    sync = played.some("PUT", "/applications/", "/commands")[0]
    row = edit.body["components"][0]
    button = row["components"][0]
    for refused in (
        wrong(edit, content="x" * 2_001),
        wrong(edit, content=5),
        wrong(edit, contents="misspelt"),
        wrong(edit, components=[row | {"components": [button | {"type": "button"}]}]),
        wrong(edit, components=[row | {"components": [button | {"custom_id": "x" * 101}]}]),
        wrong(edit, components=[row | {"components": [button | {"labels": "misspelt"}]}]),
        wrong(edit, allowed_mentions={"parse": ["everybody"]}),
        wrong(callback, type=99),
        replace(callback, body=None),
        replace(callback, content_type="text/plain"),
        replace(callback, method="PUT"),
        replace(callback, path="/interactions/1/callback"),
        replace(sync, body=[sync.body[0] | {"name": "x" * 33}]),
        replace(sync, body=[sync.body[0] | {"options": [{"type": 3, "name": "prompt"}]}]),
        replace(played.some("GET", "/gateway/bot")[0], body={"any": 1}),
    ):
        with pytest.raises(WrongShapeError):
            discord_api.check_request(refused)


async def test_a_wrong_answer_is_refused_by_the_same_judge(played: Played, discord_api: OpenApi) -> None:
    edit = played.some("PATCH", "/webhooks/")[0]
    for answer in (edit.answer | {"id": 5}, edit.answer | {"author": None}, {"id": edit.answer["id"]}, None):
        with pytest.raises(WrongShapeError):
            discord_api.check_answer(replace(edit, answer=answer))
    with pytest.raises(WrongShapeError):
        discord_api.check_answer(replace(edit, status=302))


async def test_a_message_with_a_file_is_read_out_of_its_form(discord_api: OpenApi, tmp_path: Path) -> None:
    recorder = Recorder()
    async with Sandbox(tmp_path) as sandbox:
        with point_discord_at(sandbox.base_url):
            async with discord.Client(intents=discord.Intents(guilds=True)) as client:
                recorder.install(client)
                await client.login(sandbox.bot_token)
                channel = next(c for c in sandbox.world.data.channels.values() if c.get("name") == "stories")
                place = client.get_partial_messageable(int(channel["id"]))
                await place.send("a picture", file=discord.File(io.BytesIO(b"png"), "a.png", description="a lamp"))
    sent = recorder.exchanges[-1]
    assert (sent.content_type, sent.body["content"]) == ("multipart/form-data", "a picture")
    discord_api.check_request(sent)
    discord_api.check_answer(sent)
    with pytest.raises(WrongShapeError):
        discord_api.check_request(wrong(sent, attachments=[{"id": 0, "description": 7}]))
