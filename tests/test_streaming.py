"""A growing text before its readers: newest wins, edits are few, the end is exact."""

import asyncio
from typing import Any

import discord
import pytest

from bot.streaming import CURSOR, LiveMessage, MessageGoneError


class Response:
    def __init__(self, status: int) -> None:
        self.status, self.reason = status, "test"


class Channel:
    """A small real channel: messages that can be sent, edited and deleted, and that can refuse."""

    def __init__(self, *, latency_s: float = 0.0) -> None:
        self.latency_s = latency_s
        self.messages: dict[int, tuple[str | None, Any]] = {}
        self.log: list[str] = []
        self.refusals: list[discord.HTTPException] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def request(self, what: str) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency_s)
            self.log.append(what)
            if self.refusals:
                raise self.refusals.pop(0)
        finally:
            self.in_flight -= 1

    async def post(self, content: str, view: discord.ui.View | None) -> "Message":
        await self.request("post")
        message = Message(self, len(self.messages) + 1)
        self.messages[message.id] = (content, view)
        return message


class Message:
    def __init__(self, channel: Channel, message_id: int) -> None:
        self.channel, self.id = channel, message_id

    async def edit(self, *, content: str | None, view: Any, allowed_mentions: Any) -> None:
        await self.channel.request("edit")
        if self.id not in self.channel.messages:
            raise discord.NotFound(Response(404), {"code": 10008, "message": "Unknown Message"})
        assert allowed_mentions.to_dict() == {"parse": []}
        self.channel.messages[self.id] = (content, view)

    async def delete(self) -> None:
        await self.channel.request("delete")
        del self.channel.messages[self.id]


async def live_in(channel: Channel, *, interval_s: float = 0.05, view: Any = None, **kwargs: Any) -> LiveMessage:
    first = await channel.post("", None)
    return LiveMessage(first, channel.post, interval_s=interval_s, view=view, **kwargs)


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_thousand_tokens_cost_few_edits_and_the_final_text_is_exact() -> None:
    channel = Channel(latency_s=0.002)
    live = await live_in(channel)
    text, began = "", asyncio.get_running_loop().time()
    for number in range(1000):
        text += f"w{number} "
        live.show(text[-1500:])
        if number % 100 == 0:
            await asyncio.sleep(0.02)
    await live.finish("The end.", None)
    assert channel.messages == {1: ("The end.", None)}
    assert channel.most_in_flight == 1
    took = asyncio.get_running_loop().time() - began
    assert live.edits <= took / 0.05 + 2, "one each interval, and the last text"


async def test_readers_see_a_cursor_while_it_grows() -> None:
    channel = Channel()
    live = await live_in(channel)
    live.show("Once upon")
    await until(lambda: channel.messages[1][0] == "Once upon" + CURSOR)
    await live.finish("Once upon a time.", None)
    assert channel.messages[1][0] == "Once upon a time."


async def test_slow_edits_coalesce_instead_of_queueing() -> None:
    channel = Channel(latency_s=0.1)
    live = await live_in(channel, interval_s=0.01)
    began = asyncio.get_running_loop().time()
    for number in range(30):
        live.show(f"text {number}")
        await asyncio.sleep(0.01)
    await until(lambda: channel.messages[1][0] == "text 29" + CURSOR)
    assert live.edits <= (asyncio.get_running_loop().time() - began) / 0.1 + 1
    await live.abandon()


async def test_a_long_text_flows_into_further_messages_and_the_button_moves_to_the_last() -> None:
    channel = Channel()
    view: Any = object()
    heard: list[int] = []

    async def on_post(surface: Any) -> None:
        heard.append(surface.id)

    live = await live_in(channel, view=view, on_post=on_post)
    live.show("word " * 390)
    await until(lambda: channel.messages[1][1] is view)
    live.show("word " * 700)
    await until(lambda: len(channel.messages) == 2)
    assert heard == [2]
    assert channel.messages[1][1] is None or channel.log[-1] == "post"
    final: Any = object()
    assert await live.finish("word " * 700, final) == (1, 2)
    assert [entry[1] for entry in channel.messages.values()] == [None, final]
    assert sum((entry[0] or "").count("word") for entry in channel.messages.values()) == 700


async def test_a_final_text_that_became_shorter_removes_the_messages_too_many() -> None:
    channel = Channel()
    live = await live_in(channel)
    live.show("word " * 700)
    await until(lambda: len(channel.messages) == 2)
    assert await live.finish("Short after all.", None) == (1,)
    assert channel.messages == {1: ("Short after all.", None)}


async def test_a_deleted_message_is_noticed() -> None:
    channel = Channel()
    live = await live_in(channel)
    channel.messages.clear()
    live.show("nobody reads this")
    await until(lambda: live.gone)
    with pytest.raises(MessageGoneError):
        await live.finish("nor this", None)


async def test_a_failed_edit_is_made_up_for_by_the_next() -> None:
    channel = Channel()
    live = await live_in(channel)
    channel.refusals = [discord.DiscordServerError(Response(503), "unavailable")]
    live.show("first")
    await until(lambda: not channel.refusals)
    live.show("second")
    await until(lambda: channel.messages[1][0] == "second" + CURSOR)
    await live.abandon()


async def test_the_final_text_is_tried_again_when_discord_stumbles(monkeypatch: pytest.MonkeyPatch) -> None:
    real_sleep = asyncio.sleep
    monkeypatch.setattr("bot.streaming.asyncio.sleep", lambda s: real_sleep(0))
    channel = Channel()
    live = await live_in(channel)
    channel.refusals = [discord.DiscordServerError(Response(502), "bad gateway") for _ in range(3)]
    assert await live.finish("The end.", None) == (1,)
    assert channel.messages[1][0] == "The end."


async def test_a_refusal_that_will_not_pass_is_not_hammered() -> None:
    channel = Channel()
    live = await live_in(channel)
    channel.refusals = [discord.Forbidden(Response(403), {"code": 50013, "message": "Missing Permissions"})]
    with pytest.raises(discord.Forbidden):
        await live.finish("The end.", None)
    assert channel.log.count("edit") == 1


async def test_one_answer_never_floods_a_channel() -> None:
    channel = Channel()
    live = await live_in(channel)
    await live.finish("word " * 20_000, None)
    assert len(channel.messages) == 10


async def test_a_slow_edit_under_way_cannot_overwrite_the_final_text() -> None:
    class Sluggish(Channel):
        """Applies what it has received even when the sender hangs up, as a server does."""

        async def request(self, what: str) -> None:
            await asyncio.shield(asyncio.ensure_future(super().request(what)))

    class LateMessage(Message):
        async def edit(self, *, content: str | None, view: Any, allowed_mentions: Any) -> None:
            await asyncio.shield(
                asyncio.ensure_future(super().edit(content=content, view=view, allowed_mentions=allowed_mentions))
            )

    channel = Sluggish()
    first = await channel.post("", None)
    live = LiveMessage(LateMessage(channel, first.id), channel.post, interval_s=0.01)
    channel.latency_s = 0.3
    live.show("half a sent")
    await until(lambda: channel.in_flight == 1)
    channel.latency_s = 0.0
    await live.finish("The end.", None)
    await asyncio.sleep(0.5)
    assert channel.messages == {1: ("The end.", None)}
