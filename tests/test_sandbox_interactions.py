"""The rules of interactions, over bare HTTP: when an answer counts, what it may be, how long its token lives."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.sandbox import Pace, Sandbox, Timing
from tests.sandbox_client import NoAnswerError, Person
from tests.sandbox_raw import RawBot, RawGateway

Json = dict[str, Any]
COMMANDS: list[Json] = [
    {
        "name": "go",
        "description": "Go",
        "options": [{"type": 3, "name": "to", "description": "To", "autocomplete": True}],
    },
    {"name": "brought", "description": "Brought along", "integration_types": [1], "contexts": [0, 1, 2]},
]
BUTTON: Json = {"type": 1, "components": [{"type": 2, "style": 1, "label": "Press", "custom_id": "press"}]}
MODAL: Json = {
    "title": "Form",
    "custom_id": "form",
    "components": [{"type": 1, "components": [{"type": 4, "custom_id": "text", "label": "Text", "style": 1}]}],
}


class Scene:
    """A person, a bare bot that is online, and the interaction that the bot received last."""

    def __init__(self, bot: RawBot, gateway: RawGateway, person: Person) -> None:
        self.bot, self.gateway, self.person = bot, gateway, person
        self.received: Json = {}

    async def receive(self) -> Json:
        self.received = (await self.gateway.event("INTERACTION_CREATE"))["d"]
        return self.received

    async def command(self, name: str = "go") -> Json:
        await self.person.slash(name, acknowledged=False)
        return await self.receive()

    async def answer(self, kind: int, data: Json | None = None, **changed: str) -> Any:
        interaction = self.received | changed
        path = f"/interactions/{interaction['id']}/{interaction['token']}/callback?with_response=1"
        body = {"type": kind} | ({"data": data} if data is not None else {})
        return await self.bot.ask("POST", path, body, Authorization="")  # the token is the credential

    async def webhook(self, method: str, end: str = "", body: Json | None = None, token: str = "") -> Any:
        path = f"/webhooks/{self.bot.sandbox.world.bot_id}/{token or self.received['token']}{end}"
        return await self.bot.ask(method, path, body, Authorization="")


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with Sandbox(tmp_path, pace=Pace(messages=100)) as sandbox, RawBot.of(sandbox) as bot:
        answer = await bot.ask("PUT", f"/applications/{sandbox.world.bot_id}/commands", COMMANDS)
        assert answer.status == 200
        async with bot.online() as gateway, Person.join(sandbox, "writer") as person:
            yield Scene(bot, gateway, person)
        assert not sandbox.unknown_routes


async def test_an_interaction_says_who_where_and_with_what_rights(scene: Scene) -> None:
    received = await scene.command()
    assert received["member"]["user"]["username"] == "wren"
    assert received["channel"]["name"] == "stories"
    assert int(received["member"]["permissions"]) & 1 << 11
    assert int(received["app_permissions"]) & 1 << 11
    assert (received["context"], received["authorizing_integration_owners"]) == (0, {"0": received["guild_id"]})
    assert (received["version"], received["locale"], received["attachment_size_limit"]) == (1, "en-US", 10_485_760)


async def test_an_answer_in_time_counts_and_a_second_is_refused(scene: Scene) -> None:
    await scene.command()
    answer = await scene.answer(4, {"content": "here"})
    assert answer.status == 200
    assert answer.body["resource"]["message"]["content"] == "here"
    assert answer.body["interaction"]["response_message_ephemeral"] is False
    again = await scene.answer(4, {"content": "again"})
    assert (again.status, again.body["code"]) == (400, 40060)


async def test_an_answer_that_comes_late_finds_the_interaction_unknown(scene: Scene) -> None:
    scene.bot.sandbox.backend.interactions.set_timing(Timing(ack_s=0.1))
    with pytest.raises(NoAnswerError, match="did not respond"):
        await scene.person.slash("go")
    await scene.receive()
    answer = await scene.answer(4, {"content": "late"})
    assert (answer.status, answer.body["code"], answer.body["message"]) == (404, 10062, "Unknown interaction")
    assert (await scene.webhook("POST", body={"content": "late"})).body["code"] == 10015


async def test_a_wrong_token_finds_nothing(scene: Scene) -> None:
    await scene.command()
    assert (await scene.answer(4, {"content": "x"}, token="wrong")).body["code"] == 10062
    assert (await scene.webhook("POST", body={"content": "x"}, token="wrong")).body["code"] == 10015


async def test_a_malformed_answer_leaves_the_interaction_open(scene: Scene) -> None:
    await scene.command()
    assert (await scene.answer(4, {"content": "x" * 2_001})).body["code"] == 50035
    assert (await scene.answer(4, {"content": ""})).body["code"] == 50006
    assert (await scene.answer(7, {"content": "no message to update"})).body["code"] == 50035
    assert (await scene.answer(8, {"choices": []})).body["code"] == 50035
    assert (await scene.answer(4, {"content": "right"})).status == 200


async def test_a_token_ends_after_its_time(scene: Scene) -> None:
    await scene.command()
    await scene.answer(5)
    record = scene.bot.sandbox.world.data.interactions[scene.received["id"]]
    record["created"] = time.time() - 901
    for method, end in (("POST", ""), ("PATCH", "/messages/@original"), ("GET", "/messages/@original")):
        answer = await scene.webhook(method, end, {"content": "x"})
        assert (answer.status, answer.body["code"]) == (401, 50027)


async def test_the_first_follow_up_takes_the_place_of_thinking(scene: Scene) -> None:
    await scene.command()
    assert (await scene.answer(5, {"flags": 64})).body["interaction"]["response_message_loading"] is True
    thinking = await scene.person.wait_message()
    assert (thinking["flags"], thinking["ephemeral_for"]) == (64 | 128, scene.person.id)
    first = await scene.webhook("POST", body={"content": "done"})
    assert (first.body["id"], first.body["flags"], first.body["edited_timestamp"]) == (thinking["id"], 64, None)
    second = await scene.webhook("POST", body={"content": "more"})
    assert second.body["id"] != thinking["id"]
    assert second.body["interaction_metadata"]["original_response_message_id"] == thinking["id"]
    assert "ephemeral_for" not in second.body  # the page's word, never the bot's


async def test_a_tokens_messages_can_be_read_edited_and_deleted_and_no_others(scene: Scene) -> None:
    other = await scene.person.say("mine")
    await scene.command()
    await scene.answer(4, {"content": "original"})
    extra = (await scene.webhook("POST", body={"content": "extra", "flags": 64})).body
    assert (await scene.webhook("PATCH", f"/messages/{extra['id']}", {"content": "new"})).body["content"] == "new"
    assert (await scene.webhook("GET", "/messages/@original")).body["content"] == "original"
    assert (await scene.webhook("PATCH", f"/messages/{other['id']}", {"content": "new"})).body["code"] == 10008
    assert (await scene.webhook("DELETE", "/messages/@original")).status == 204
    assert (await scene.webhook("GET", "/messages/@original")).body["code"] == 10008
    await scene.person.wait_for(lambda event: event.t == "MESSAGE_DELETE")


async def test_a_button_updates_its_message_at_once_or_later(scene: Scene) -> None:
    await scene.command()
    await scene.answer(4, {"content": "press", "components": [BUTTON]})
    message = await scene.person.wait_message()
    await scene.person.click(message, "Press", acknowledged=False)
    received = await scene.receive()
    assert (received["type"], received["message"]["id"]) == (3, message["id"])
    assert (await scene.answer(7, {"content": "pressed"})).status == 200
    await scene.person.wait_message(lambda changed: changed["content"] == "pressed")
    await scene.person.click(message, "Press", acknowledged=False)
    await scene.receive()
    assert (await scene.answer(6)).status == 200
    assert (await scene.webhook("PATCH", "/messages/@original", {"content": "twice"})).body["id"] == message["id"]


async def test_a_modal_is_opened_once_and_submitted_from_where_it_came(scene: Scene) -> None:
    await scene.command()
    assert (await scene.answer(9, MODAL | {"title": "x" * 46})).body["code"] == 50035
    assert (await scene.answer(9, MODAL)).status == 200
    modal = await scene.person.modal()
    pressed = asyncio.create_task(scene.person.submit_modal(modal, {"Text": "words"}))
    received = await scene.receive()
    assert received["data"]["components"][0]["components"][0]["value"] == "words"
    assert (await scene.answer(9, MODAL)).body["code"] == 50035  # a form can't open a form
    assert (await scene.answer(7, {"content": "x"})).body["code"] == 50035  # no message's button opened it
    assert (await scene.answer(4, {"content": "thanks"})).status == 200
    await pressed
    metadata = (await scene.person.wait_message())["interaction_metadata"]
    assert metadata["triggering_interaction_metadata"]["name"] == "go"


async def test_more_than_25_choices_or_of_a_wrong_kind_are_refused(scene: Scene) -> None:
    pressed = asyncio.create_task(scene.person.complete("go", to="a"))
    received = await scene.receive()
    assert received["data"]["options"] == [{"type": 3, "name": "to", "value": "a", "focused": True}]
    assert (await scene.answer(8, {"choices": [{"name": "a", "value": "a"}] * 26})).body["code"] == 50035
    assert (await scene.answer(8, {"choices": [{"name": "a", "value": 1}]})).body["code"] == 50035
    assert (await scene.answer(4, {"content": "x"})).body["code"] == 50035
    assert (await scene.answer(8, {"choices": [{"name": "A", "value": "a"}]})).status == 200
    assert await pressed == [{"name": "A", "value": "a"}]


async def test_a_command_brought_along_by_a_person_has_five_follow_ups(scene: Scene) -> None:
    other = scene.bot.sandbox.world.data.parts["co-author"]
    await scene.person.open_dm(other)
    received = await scene.command("brought")
    assert (received["context"], received["authorizing_integration_owners"]) == (2, {"1": scene.person.id})
    assert received["user"]["id"] == scene.person.id
    await scene.answer(4, {"content": "here"})
    answers = [await scene.webhook("POST", body={"content": str(number)}) for number in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [400]
    assert answers[-1].body["code"] == 40094
    dm = scene.person.channel_id
    assert (await scene.bot.ask("POST", f"/channels/{dm}/messages", {"content": "x"})).body["code"] == 50001


async def test_a_token_outlives_a_restart(tmp_path: Path) -> None:
    async with Sandbox(tmp_path) as sandbox, RawBot.of(sandbox) as bot:
        await bot.ask("PUT", f"/applications/{sandbox.world.bot_id}/commands", COMMANDS)
        async with bot.online() as gateway, Person.join(sandbox, "writer") as person:
            scene = Scene(bot, gateway, person)
            await scene.command()
            await scene.answer(5)
            received = scene.received
    async with Sandbox(tmp_path) as sandbox, RawBot.of(sandbox) as bot, Person.join(sandbox, "writer") as person:
        path = f"/webhooks/{sandbox.world.bot_id}/{received['token']}/messages/@original"
        assert (await bot.ask("PATCH", path, {"content": "after"})).status == 200
        assert [message["content"] for message in await person.messages()] == ["after"]
