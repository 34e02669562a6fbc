"""An unmodified discord.py bot in the sandbox, over real sockets, met by people over the page's own protocol."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import discord
import pytest
import pytest_asyncio

from bot.sandbox import Pace, Sandbox, Timing
from bot.sandbox.permissions import Permission
from tests.sandbox_client import File, NoAnswerError, Person, RefusedToPersonError, labels, walk
from tests.sandbox_demo_bot import DemoBot, demo_bot

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x07\x00\x00\x00\x05\x08\x02\x00\x00\x00"
FAST = Pace(messages=500, route=500, everything=500)


@pytest_asyncio.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(tmp_path, pace=FAST) as sandbox:
        yield sandbox
        assert not sandbox.unknown_routes


@pytest_asyncio.fixture
async def bot(sandbox: Sandbox) -> AsyncIterator[DemoBot]:
    async with demo_bot(sandbox) as bot:
        yield bot


@pytest_asyncio.fixture
async def wren(sandbox: Sandbox, bot: DemoBot) -> AsyncIterator[Person]:
    async with Person.join(sandbox, "writer") as person:
        yield person


async def test_a_deferred_command_streams_its_edits_into_one_message(wren: Person) -> None:
    await wren.slash("stream", prompt="Once", seed=7, length="l")
    finished = await wren.wait_message(lambda message: message["content"] == "Once done")
    assert labels(finished) == ["Continue", "Rename", "Off"]
    updates = [event.d["content"] for event in wren.events if event.t == "MESSAGE_UPDATE"]
    assert updates == ["Once 7l", "Once one", "Once one two", "Once done"]
    assert finished["interaction"]["name"] == "stream"
    assert finished["interaction"]["user"]["id"] == wren.id
    assert [message["id"] for message in await wren.messages()] == [finished["id"]]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "“prompt” is required."),
        ({"prompt": "x"}, "“prompt” needs at least 2 characters."),
        ({"prompt": "x" * 101}, "“prompt” may have at most 100 characters; it has 101."),
        ({"prompt": "ab", "seed": 10}, "“seed” must be at most 9."),
        ({"prompt": "ab", "seed": "many"}, "“seed” must be a whole number."),
        ({"prompt": "ab", "length": "z"}, "“length” must be one of: Short, Long."),
        ({"prompt": "ab", "colour": "red"}, "“colour” is no option here, or given twice."),
    ],
)
async def test_options_are_checked_before_the_bot_hears_of_them(
    wren: Person, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RefusedToPersonError) as refused:
        await wren.slash("stream", **options)
    assert refused.value.sentence == sentence


async def test_buttons_selects_and_modals_reach_the_bot_and_change_the_message(wren: Person) -> None:
    await wren.slash("stream", prompt="Once")
    message = await wren.wait_message(lambda message: bool(message["components"]))

    await wren.choose(message, "demo:tone", "calm", "wry")
    told = await wren.wait_message()
    assert (told["content"], told["ephemeral_for"]) == ("calm and wry", wren.id)
    await wren.choose(message, "demo:who", wren.id)
    assert (await wren.wait_message())["content"] == "wren"
    with pytest.raises(RefusedToPersonError, match="Choose 1 to 2"):
        await wren.choose(message, "demo:tone")
    with pytest.raises(RefusedToPersonError, match="switched off"):
        await wren.click(message, "Off")

    await wren.click(message, "Rename")
    modal = await wren.modal()
    with pytest.raises(RefusedToPersonError, match="“Name” needs at least 2"):
        await wren.submit_modal(modal, {"Name": "x"})
    await wren.submit_modal(modal, {"Name": "Lamp", "Cover": File("cover.png", PNG)})
    renamed = await wren.wait_message(lambda changed: changed["id"] == message["id"])
    assert renamed["content"] == f"named Lamp [{len(PNG)}]"
    with pytest.raises(RefusedToPersonError):  # it was submitted
        await wren.submit_modal(modal, {"Name": "Lamp"})

    await wren.click(message, "Continue")
    done = await wren.wait_message(lambda changed: changed["content"] == "continued")
    assert done["components"] == []


async def test_what_is_typed_is_completed_by_the_bot(wren: Person) -> None:
    choices = await wren.complete("library open_one", title="Wi")
    assert [choice["name"] for choice in choices] == ["Winter", "Wind"]
    await wren.slash("library open_one", title="Winter")
    assert (await wren.wait_message())["content"] == "opened Winter"


async def test_an_ephemeral_answer_is_seen_by_nobody_else(sandbox: Sandbox, bot: DemoBot, wren: Person) -> None:
    async with Person.join(sandbox, "admin") as ida:
        await wren.slash("library open_one", title="Secret")
        told = await wren.wait_message()
        await wren.say("marker")
        await ida.wait_message(lambda message: message["content"] == "marker")
        assert "Secret" not in str(ida.events)
        assert [message["content"] for message in await ida.messages()] == ["marker"]
        assert [message["content"] for message in await wren.messages()] == ["marker", "opened Secret"]
        channel = bot.get_channel(int(wren.channel_id))
        assert isinstance(channel, discord.TextChannel)
        assert [message.content async for message in channel.history()] == ["marker"]
        with pytest.raises(discord.NotFound):
            await channel.fetch_message(int(told["id"]))


async def test_menus_on_messages_and_members_carry_their_target(wren: Person) -> None:
    message = await wren.say("a sad story")
    await wren.menu("Mood", message=message)
    assert (await wren.wait_message())["content"] == "mood of a sad story"
    await wren.menu("Who", user_id=wren.id)
    assert (await wren.wait_message())["content"] == "wren 2"


async def test_files_go_to_the_bot_and_come_back(wren: Person) -> None:
    await wren.slash("mirror", file=File("ma\u00f1ana \u4f60.png", PNG))
    message = await wren.wait_message()
    assert message["content"] == str(len(PNG))
    image = message["embeds"][0]["image"]
    assert (image["width"], image["height"]) == (7, 5)
    assert message["attachments"] == []  # shown in the embed
    assert await wren.fetch(image["url"]) == PNG


async def test_only_those_with_the_permission_see_a_command_and_only_where_it_belongs(
    sandbox: Sandbox, wren: Person
) -> None:
    assert "desk" not in [command["name"] for command in (await wren.state())["commands"]]
    async with Person.join(sandbox, "admin") as ida:
        await ida.slash("desk", locale="zh-CN")
        assert (await ida.wait_message())["content"] == "locale zh-CN"
        await ida.open_dm(sandbox.world.bot_id)
        with pytest.raises(RefusedToPersonError, match="can't use this command here"):
            await ida.slash("desk")


async def test_a_thread_is_made_written_in_and_joined(wren: Person, sandbox: Sandbox) -> None:
    await wren.slash("run", what="thread")
    await wren.wait_for(lambda event: event.t == "THREAD_UPDATE" and event.d.get("member") is not None)
    thread_id = await wren.go("Renamed")
    assert [message["content"] for message in await wren.messages()] == ["first line"]
    await wren.say("a second line")
    await wren.slash("stream", prompt="In it")
    assert (await wren.wait_message(lambda message: "done" in message["content"]))["channel_id"] == thread_id


async def test_a_member_opens_a_thread_and_the_bot_hears_what_is_said_there(wren: Person, bot: DemoBot) -> None:
    message = await wren.say("a story")
    thread = await wren.open_thread("About it", message=message)
    assert thread["id"] == message["id"]
    await bot.heard.get()
    await wren.say("inside")
    heard = await asyncio.wait_for(bot.heard.get(), 60)
    assert isinstance(heard.channel, discord.Thread)
    assert heard.channel.name == "About it"


async def test_the_bot_writes_to_a_person_and_commands_work_in_that_dm(wren: Person, bot: DemoBot) -> None:
    await wren.slash("run", what="dm")
    message = await wren.wait_message(lambda message: message["content"] == "only to you")
    await wren.go(message["channel_id"])
    await wren.slash("stream", prompt="Here")
    await wren.wait_message(lambda message: message["content"] == "Here done")
    await wren.say("hello bot")
    heard = await asyncio.wait_for(bot.heard.get(), 60)
    assert heard.content == "hello bot"  # in its own DM a bot reads without the intent


@pytest.mark.parametrize(
    ("what", "status", "code"), [("elsewhere", 403, 50013), ("too long", 400, 50035), ("unknown", 404, 0)]
)
async def test_discord_refuses_the_bot_with_its_own_codes(
    wren: Person, bot: DemoBot, sandbox: Sandbox, what: str, status: int, code: int
) -> None:
    await wren.slash("run", what=what)
    error = await asyncio.wait_for(bot.caught.get(), 60)
    assert isinstance(error, discord.HTTPException)
    assert (error.status, error.code) == (status, code)
    if what == "unknown":
        assert "GET /api/v10/sticker-packs" in error.text
        assert sandbox.unknown_routes == {"GET /api/v10/sticker-packs": 1}
        sandbox.unknown_routes.clear()


async def test_a_channel_that_the_bot_cannot_see_is_missing_access(sandbox: Sandbox, bot: DemoBot) -> None:
    world = sandbox.world
    channel_id = world.text_channels()[1]["id"]
    world.set_overwrite(channel_id, world.bot_id, deny=Permission.VIEW_CHANNEL)
    with pytest.raises(discord.Forbidden) as refused:
        await bot.fetch_channel(int(channel_id))
    assert refused.value.code == 50001


async def test_people_are_held_to_their_permissions_too(sandbox: Sandbox, wren: Person) -> None:
    await wren.go("announcements")
    with pytest.raises(RefusedToPersonError) as refused:
        await wren.say("me too")
    assert refused.value.status == 403
    desk = next(channel["id"] for channel in sandbox.world.text_channels() if channel["name"] == "admin-desk")
    with pytest.raises(RefusedToPersonError) as refused:
        await wren.messages(desk)
    assert refused.value.status == 404


async def test_nothing_is_pinged_that_the_bot_does_not_allow(wren: Person) -> None:
    await wren.slash("run", what="pings")
    message = await wren.wait_message(lambda message: "@everyone" in message["content"])
    assert (message["mention_everyone"], message["mentions"]) == (False, [])
    assert 'class="mention ping"' not in message["html"]


async def test_a_layout_of_components_arrives_with_its_text_rendered(wren: Person) -> None:
    await wren.slash("layout")
    message = await wren.wait_message()
    texts = [part["html"] for part in walk(message["components"]) if part["type"] == 10]
    assert texts == ["<h1>Heading</h1>", "<p>text</p>"]
    assert labels(message) == ["Open"]


async def test_a_silent_bot_fails_the_interaction(sandbox: Sandbox, wren: Person) -> None:
    sandbox.backend.interactions.set_timing(Timing(ack_s=0.1))
    with pytest.raises(NoAnswerError, match="The application did not respond"):
        await wren.slash("silence")


async def test_answering_twice_is_refused(wren: Person, bot: DemoBot) -> None:
    await wren.slash("twice")
    error = await asyncio.wait_for(bot.caught.get(), 60)
    assert isinstance(error, discord.HTTPException)
    assert (error.status, error.code) == (400, 40060)
    assert [message["content"] for message in await wren.messages()] == ["once"]


async def test_without_the_intent_the_bot_hears_but_does_not_read(wren: Person, bot: DemoBot) -> None:
    await wren.say("private words", File("a.txt", b"words"))
    heard = await asyncio.wait_for(bot.heard.get(), 60)
    assert (heard.content, heard.attachments) == ("", [])
    assert bot.user is not None
    await wren.say(f"<@{bot.user.id}> for you")
    assert "for you" in (await asyncio.wait_for(bot.heard.get(), 60)).content


async def test_with_the_intent_the_bot_reads(sandbox: Sandbox) -> None:
    intents = discord.Intents.default()
    intents.message_content = intents.members = True
    async with demo_bot(sandbox, intents) as bot, Person.join(sandbox, "co-author") as tomas:
        await tomas.say("open words", File("a.txt", b"words"))
        heard = await asyncio.wait_for(bot.heard.get(), 60)
        assert heard.content == "open words"
        assert await heard.attachments[0].read() == b"words"
        assert len(bot.guilds[0].members) == 4  # asked for over the gateway


async def test_discord_py_paces_itself_by_the_headers(tmp_path: Path) -> None:
    pace = Pace(messages=5, messages_window_s=0.5)
    async with (
        Sandbox(tmp_path, pace=pace) as sandbox,
        demo_bot(sandbox),
        Person.join(sandbox, "writer") as wren,
    ):
        began = asyncio.get_running_loop().time()
        await wren.slash("run", what="edits")
        await wren.wait_message(lambda message: message["content"] == "all edited")
        took = asyncio.get_running_loop().time() - began
        assert took >= 0.4  # eight edits do not fit into one window
        assert sandbox.rate_limited <= 5  # the first burst meets an unknown bucket; after that nothing is refused
        assert not sandbox.unknown_routes


async def test_a_dropped_socket_is_resumed_and_nothing_is_missed(sandbox: Sandbox, bot: DemoBot, wren: Person) -> None:
    await wren.slash("stream", prompt="Once")
    message = await wren.wait_message(lambda message: message["content"] == "Once done")
    sandbox.backend.gateway.drop_connections()
    await wren.wait_for(lambda event: event.t == "BOT_STATUS" and not event.d["online"])
    await wren.say("while it was away")
    assert (await asyncio.wait_for(bot.heard.get(), 60)).author.name == "wren"
    await asyncio.wait_for(bot.resumed.wait(), 60)
    await wren.click(message, "Continue")  # a persistent view works on


async def test_a_bot_that_is_offline_fails_at_once(sandbox: Sandbox) -> None:
    async with demo_bot(sandbox):
        pass
    async with Person.join(sandbox, "writer") as wren:
        assert (await wren.state())["bot"]["online"] is False
        with pytest.raises(NoAnswerError, match="The bot is offline"):
            await wren.slash("silence")


async def test_a_world_and_its_persistent_buttons_outlive_a_restart(tmp_path: Path) -> None:
    async with Sandbox(tmp_path, pace=FAST) as sandbox:
        token, page_url = sandbox.bot_token, sandbox.page_url
        async with demo_bot(sandbox), Person.join(sandbox, "writer") as wren:
            await wren.say("before", File("a.png", PNG))
            await wren.slash("stream", prompt="Once")
            await wren.wait_message(lambda message: message["content"] == "Once done")
    async with Sandbox(tmp_path, port=sandbox.port, pace=FAST) as sandbox:
        assert (sandbox.bot_token, sandbox.page_url) == (token, page_url)
        async with Person.join(sandbox, "writer") as wren:
            newest, oldest = await wren.messages()
            assert (newest["content"], oldest["content"]) == ("Once done", "before")
            assert await wren.fetch(oldest["attachments"][0]["url"]) == PNG
            async with demo_bot(sandbox):
                await wren.click(newest, "Continue")
                await wren.wait_message(lambda message: message["content"] == "continued")
