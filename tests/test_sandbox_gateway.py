"""The sandbox's gateway: who may connect, what is replayed, what is withheld."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bot.sandbox import Sandbox, Timing
from bot.sandbox.gateway import Intent
from tests.sandbox_client import Person
from tests.sandbox_raw import GUILD_MESSAGES, GUILDS, MESSAGE_CONTENT, WAIT_S, RawBot


@pytest_asyncio.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    disallowed = int(Intent.GUILD_PRESENCES)
    async with Sandbox(tmp_path, disallowed_intents=disallowed, timing=Timing(heartbeat_s=20)) as sandbox:
        yield sandbox


@pytest_asyncio.fixture
async def bot(sandbox: Sandbox) -> AsyncIterator[RawBot]:
    async with RawBot.of(sandbox) as bot:
        yield bot


@pytest.mark.parametrize(
    ("op", "data", "code"),
    [
        (2, {"token": "wrong", "intents": 0}, 4004),
        (2, {"intents": 0}, 4004),
        (2, {"token": "TOKEN", "intents": "many"}, 4013),
        (2, {"token": "TOKEN", "intents": 1 << 40}, 4013),
        (2, {"token": "TOKEN", "intents": int(Intent.GUILD_PRESENCES)}, 4014),
        (2, {"token": "TOKEN", "intents": 0, "shard": [2, 2]}, 4010),
        (6, {"token": "wrong"}, 4004),
        (3, {}, 4003),
        (77, {}, 4003),
    ],
)
async def test_what_cannot_be_let_in_is_closed_with_discords_code(bot: RawBot, op: int, data: Any, code: int) -> None:
    async with bot.gateway() as gateway:
        token = {"token": bot.sandbox.bot_token} if data.get("token") == "TOKEN" else {}
        await gateway.send(op, data | token)
        assert await gateway.close_code() == code


async def test_nonsense_twice_identified_and_an_unknown_opcode_are_closed(bot: RawBot) -> None:
    async with bot.gateway() as gateway:
        await gateway.socket.send_str("no json")
        assert await gateway.close_code() == 4002
    async with bot.online() as gateway:
        await gateway.send(2, {"token": bot.sandbox.bot_token, "intents": 0})
        assert await gateway.close_code() == 4005
    async with bot.online() as gateway:
        await gateway.send(77, {})
        assert await gateway.close_code() == 4001


async def test_more_than_120_sends_a_minute_are_closed(bot: RawBot) -> None:
    async with bot.online() as gateway:
        for _ in range(121):
            await gateway.send(3, {})
        assert await gateway.close_code() == 4008


async def test_a_client_without_heartbeats_is_closed(tmp_path: Path) -> None:
    timing = Timing(heartbeat_s=1.0)  # twice that is also the time it has to identify itself
    async with Sandbox(tmp_path, timing=timing) as sandbox, RawBot.of(sandbox) as bot, bot.online() as gateway:
        assert await gateway.close_code() == 4009


async def test_a_heartbeat_is_acknowledged_and_presence_and_voice_are_let_pass(bot: RawBot) -> None:
    async with bot.online(0) as gateway:
        await gateway.send(3, {"status": "idle"})
        await gateway.send(4, {"guild_id": "1"})
        await gateway.send(1, gateway.sequence)
        assert (await gateway.next())["op"] == 11


async def test_a_session_resumes_with_what_it_missed(sandbox: Sandbox, bot: RawBot) -> None:
    async with Person.join(sandbox, "writer") as wren:
        async with bot.online() as first:
            session_id = first.ready["session_id"]
            await first.event("GUILD_CREATE")
            sequence = first.sequence
            sandbox.backend.gateway.drop_connections()
            await wren.wait_for(lambda event: event.t == "BOT_STATUS" and not event.d["online"])
        await wren.say("missed")
        async with bot.gateway() as second:
            await second.send(6, {"token": sandbox.bot_token, "session_id": session_id, "seq": sequence})
            assert (await second.next())["t"] == "MESSAGE_CREATE"
            assert (await second.next())["t"] == "RESUMED"
            await wren.say("and on")
            assert (await second.event("MESSAGE_CREATE"))["s"] == sequence + 3


@pytest.mark.parametrize("change", [{"session_id": "another"}, {"seq": 99}, {"seq": None}])
async def test_what_cannot_be_resumed_is_invalid(bot: RawBot, change: dict[str, Any]) -> None:
    async with bot.online() as first:
        session = {"session_id": first.ready["session_id"], "token": bot.sandbox.bot_token, "seq": 1}
        async with bot.gateway() as second:
            await second.send(6, session | change)
            assert await second.next() == {"op": 9, "d": False}
            await second.send(2, {"token": bot.sandbox.bot_token, "intents": 0})  # it may begin anew
            assert (await second.event("READY"))["s"] == 1


async def test_a_bot_that_says_goodbye_cannot_resume(sandbox: Sandbox, bot: RawBot) -> None:
    async with Person.join(sandbox, "writer") as wren:
        async with bot.online() as first:
            session = {"session_id": first.ready["session_id"], "token": sandbox.bot_token, "seq": 1}
            await first.socket.close(code=1000)
        await wren.wait_for(lambda event: event.t == "BOT_STATUS" and not event.d["online"])
        async with bot.gateway() as second:
            await second.send(6, session)
            assert (await second.next())["op"] == 9


async def test_each_shard_gets_its_part(sandbox: Sandbox, bot: RawBot) -> None:
    guild_shard = (int(sandbox.world.guild_id) >> 22) % 2
    for number in (0, 1):
        async with bot.gateway() as gateway:
            identity = {"token": sandbox.bot_token, "intents": GUILDS, "shard": [number, 2]}
            await gateway.send(2, identity)
            assert (await gateway.event("READY"))["d"]["shard"] == [number, 2]
            await gateway.send(1, None)
            following = await gateway.next()
            assert (following.get("t") == "GUILD_CREATE") is (number == guild_shard)


async def test_intents_decide_what_is_heard_and_read(sandbox: Sandbox, bot: RawBot) -> None:
    async with (
        Person.join(sandbox, "writer") as wren,
        bot.online(GUILDS) as deaf,
        bot.online(GUILDS | GUILD_MESSAGES) as hearing,
        bot.online(GUILDS | GUILD_MESSAGES | MESSAGE_CONTENT) as reading,
    ):
        await wren.say("words")
        assert (await hearing.event("MESSAGE_CREATE"))["d"]["content"] == ""
        heard = (await reading.event("MESSAGE_CREATE"))["d"]
        assert (heard["content"], heard["member"]["roles"]) == ("words", sandbox.world.member(wren.id)["roles"])
        await deaf.send(1, None)
        await deaf.event("GUILD_CREATE")
        assert (await deaf.next())["op"] == 11  # and no message


async def test_members_are_listed_only_with_their_intent_or_by_name(sandbox: Sandbox, bot: RawBot) -> None:
    for intents, everybody in ((GUILDS, 0), (GUILDS | Intent.GUILD_MEMBERS, 4)):
        async with bot.online(int(intents)) as gateway:
            await gateway.send(8, {"guild_id": sandbox.world.guild_id, "query": "", "limit": 0, "nonce": "n"})
            chunk = (await gateway.event("GUILD_MEMBERS_CHUNK"))["d"]
            assert (len(chunk["members"]), chunk["nonce"]) == (everybody, "n")
            await gateway.send(8, {"guild_id": sandbox.world.guild_id, "user_ids": [sandbox.world.bot_id, "9"]})
            chunk = (await gateway.event("GUILD_MEMBERS_CHUNK"))["d"]
            assert (len(chunk["members"]), chunk["not_found"]) == (1, ["9"])


async def test_the_stream_is_compressed_when_asked_for(sandbox: Sandbox) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{sandbox.base_url}/gateway/?v=10&encoding=json&compress=zlib-stream") as socket,
    ):
        stream = zlib.decompressobj()
        frame = await socket.receive_bytes(timeout=WAIT_S)
        assert frame.endswith(b"\x00\x00\xff\xff")
        assert json.loads(stream.decompress(frame))["op"] == 10


async def test_another_version_is_refused(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{sandbox.base_url}/gateway/?v=6") as socket:
        await asyncio.wait_for(socket.receive(), WAIT_S)
        assert socket.close_code == 4012
