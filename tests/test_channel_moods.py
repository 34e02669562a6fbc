"""The mood of channels in Discord: who switches it on, what is shown and kept, what is told, and what a flood does."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
import pytest
from discord import app_commands

from bot.client import StoryBot
from bot.cogs.sampling import SamplingCog
from bot.doctor import _intents
from bot.mood_sampling import BATCH, MAX_WAITING_TEXTS
from bot.running import StartError, _end
from bot.sandbox import Sandbox, Timing, point_discord_at
from bot.settings import Settings
from bot.store import Store
from bot.store.moods import MoodCount
from models.serving.in_process import InProcessEngine
from tests.bigram_model import BigramModel
from tests.mood_scene import OpenBot, Scene, answer_of, scene, words_of
from tests.sandbox_client import Person
from tests.word_moods import word_moods

HOUR = 3600.0
READING: dict[str, Any] = {"message_content_intent": True}


async def talk(at: Scene, people: list[Any], *texts: str) -> None:
    for person in people:
        for text in texts:
            await person.send(at.channel, text)


def crowd(at: Scene, count: int = 6) -> list[Any]:
    return [at.guild.add_member(at.env.create_user(f"person{number}")) for number in range(count)]


def cog_of(bot: StoryBot) -> SamplingCog:
    cog = bot.get_cog("Sampling")
    assert isinstance(cog, SamplingCog)
    return cog


async def test_a_sampled_channel_shows_its_trend_and_the_database_no_word_and_no_writer(tmp_path: Path) -> None:
    async with scene(tmp_path, **READING) as at:
        assert "not sampled" in answer_of(await at.member.slash(at.channel, "mood channel")).content
        shown = answer_of(await at.admin.slash(at.channel, "inkwell channels on", channel=at.channel))
        assert "I said so there" in shown.content
        assert "/mood optout" in at.channel.last_message.content
        people = crowd(at)
        now = time.time()
        cog_of(at.bot).sampler._clock = lambda: now  # an hour that began meanwhile would close the count
        await people[5].slash(at.channel, "mood optout")
        await talk(at, people, "a good unmistakable day", "good", "bad")
        hook = at.guild.create_webhook(at.channel)
        await hook.send("bad bad bad")
        tally = cog_of(at.bot).sampler._open[at.channel.id]
        assert (len(tally.authors), tally.classes) == (5, {"negative": 5, "neutral": 0, "positive": 10})
        empty = answer_of(await at.member.slash(at.channel, "mood channel"))
        assert "at least 5 different people" in empty.content
        cog_of(at.bot).sampler._clock = lambda: now + HOUR
        await cog_of(at.bot).sampler.flush()
        message = answer_of(await at.member.slash(at.channel, "mood channel", period="day"))
        words = words_of(message)
        for part in ("Mood of the last 24 hours", "🙂 67%", "🙁 33%", "15 messages read", "/mood optout"):
            assert part in words
        assert message.attachments[0].filename == "mood-channel.png"
        kept = await at.store.moods.counts(at.channel.id, 0, 2**31)
        assert [(count.authors, count.read) for count in kept] == [(5, 15)]
        assert not any("unmistakable" in str(row) for row in await everything(at.store))


async def everything(store: Store) -> list[Any]:
    """Every row of every table."""
    from sqlalchemy import select

    from bot.store.schema import metadata

    async def rows(connection: Any) -> list[Any]:
        return [row for table in metadata.sorted_tables for row in await connection.execute(select(table))]

    return await store._read(rows)


async def test_switching_off_and_leaving_delete_the_counts(tmp_path: Path) -> None:
    async with scene(tmp_path, **READING) as at:
        other = at.guild.create_text_channel("other")
        count = MoodCount(hour=1, hours=1, negative=1, neutral=1, positive=3, unsure=0, skipped=0, authors=5)
        for channel in (at.channel, other):
            await at.admin.slash(at.channel, "inkwell channels on", channel=channel)
            assert await at.store.moods.add_count(channel.id, count)
        listed = words_of(answer_of(await at.admin.slash(at.channel, "inkwell channels list")))
        assert f"<#{at.channel.id}>" in listed
        assert f"<#{other.id}>" in listed
        off = answer_of(await at.admin.slash(at.channel, "inkwell channels off", channel=at.channel))
        assert "deleted" in off.content
        assert cog_of(at.bot).sampler.channels == {other.id}
        again = answer_of(await at.admin.slash(at.channel, "inkwell channels off", channel=at.channel))
        assert "not sampled" in again.content
        guild = at.bot.get_guild(at.guild.id)
        assert guild is not None
        await cog_of(at.bot).on_guild_remove(guild)
        assert await at.store.moods.channels() == ()
        await at.store.moods.sample(123, 456, None)
        await cog_of(at.bot).forget_lost_guilds()
        assert await at.store.moods.channels() == ()


async def test_a_channel_deleted_while_the_bot_was_off_is_forgotten(tmp_path: Path) -> None:
    async with scene(tmp_path, **READING) as at:
        for channel_id in (at.channel.id, 123):
            await at.store.moods.sample(channel_id, at.guild.id, None)
        await cog_of(at.bot).forget_lost_channels()
        assert [each.channel_id for each in await at.store.moods.channels()] == [at.channel.id]
        assert cog_of(at.bot).sampler.channels == {at.channel.id}


async def test_of_two_changes_at_once_the_later_one_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(tmp_path, **READING) as at:
        await at.store.moods.sample(at.channel.id, at.guild.id, None)
        cog, moods = cog_of(at.bot), at.store.moods
        honest, go_on, calls = moods.channels, asyncio.Event(), iter((True, False))

        async def slow_at_first() -> Any:
            slow, found = next(calls), await honest()
            if slow:
                await go_on.wait()
            return found

        monkeypatch.setattr(moods, "channels", slow_at_first)
        first = asyncio.create_task(cog.refresh())
        await asyncio.sleep(0.1)
        await moods.stop_sampling(at.channel.id)
        second = asyncio.create_task(cog.refresh())
        await asyncio.sleep(0.1)
        go_on.set()
        await asyncio.gather(first, second)
        assert cog.sampler.channels == frozenset()


async def test_only_admins_choose_channels_even_where_all_see_the_command(tmp_path: Path) -> None:
    async with scene(tmp_path, OpenBot, **READING) as at:
        for name, options in (("on", {"channel": at.channel}), ("off", {"channel": at.channel}), ("list", {})):
            refused = answer_of(await at.member.slash(at.channel, f"inkwell channels {name}", **options))
            assert "permission" in refused.content
        assert await at.store.moods.channels() == ()
        assert at.met(*[app_commands.MissingPermissions] * 3)


async def test_without_the_intent_it_is_explained_and_everything_else_works(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        assert not at.bot.intents.message_content
        assert not at.bot.intents.guild_messages
        for name, options in (("on", {"channel": at.channel}), ("list", {})):
            words = words_of(answer_of(await at.admin.slash(at.channel, f"inkwell channels {name}", **options)))
            assert "MESSAGE_CONTENT_INTENT=true" in words
            assert "Developer Portal" in words or "discord.com/developers" in words
        assert await at.store.moods.channels() == ()
        await at.store.moods.sample(at.channel.id, at.guild.id, None)  # from the time when it was on
        unread = answer_of(await at.member.slash(at.channel, "mood channel"))
        assert "MESSAGE_CONTENT_INTENT=true" in unread.content
        assert "Positive" in words_of(answer_of(await at.member.slash(at.channel, "mood text", text="good")))


async def test_an_alert_goes_where_an_admin_wanted_it_once(tmp_path: Path) -> None:
    async with scene(tmp_path, **READING) as at:
        desk = at.guild.create_text_channel("desk")
        mute = at.guild.create_text_channel(
            "mute", overwrites={at.guild.default_role: discord.PermissionOverwrite(send_messages=False)}
        )
        refused = answer_of(await at.admin.slash(at.channel, "inkwell channels on", channel=at.channel, alert=mute))
        assert "no alert could go there" in refused.content
        await at.admin.slash(at.channel, "inkwell channels on", channel=at.channel, alert=desk)
        assert f"<#{desk.id}>" in words_of(answer_of(await at.admin.slash(at.channel, "inkwell channels list")))
        cog, hour = cog_of(at.bot), int(time.time() // HOUR)

        def count(at_hour: int, negative: int, positive: int) -> MoodCount:
            return MoodCount(
                hour=at_hour, hours=1, negative=negative, neutral=5, positive=positive, unsure=0, skipped=0, authors=7
            )

        for back in range(20, 0, -1):
            await cog.keep(at.channel.id, count(hour - back, 2, 15))
        assert desk.history() == []
        for later in range(3):
            await cog.keep(at.channel.id, count(hour + later, 40, 0))
        (alert,) = desk.history()
        assert "89% of its messages were negative" in alert.content
        assert f"<#{at.channel.id}>" in alert.content
        await cog.keep(at.channel.id, count(hour + 3, 2, 20))
        channel = await at.store.moods.channel(at.channel.id)
        assert channel is not None
        assert not channel.alerted


async def test_old_counts_and_old_corrections_are_deleted(tmp_path: Path) -> None:
    async with scene(tmp_path, mood_keep_days=2) as at:
        await at.store.moods.sample(at.channel.id, at.guild.id, None)
        now = int(time.time() // HOUR)
        for hour in (now - 49, now - 47):
            await at.store.moods.add_count(
                at.channel.id,
                MoodCount(hour=hour, hours=1, negative=1, neutral=1, positive=3, unsure=0, skipped=0, authors=5),
            )
        await cog_of(at.bot).keep_house()
        assert [count.hour for count in await at.store.moods.counts(at.channel.id, 0, now)] == [now - 47]


def message(channel_id: int, author_id: int, text: str) -> Any:
    """What the gateway's listener gets, as far as the sampling looks at it."""
    return SimpleNamespace(
        channel=SimpleNamespace(id=channel_id),
        guild=SimpleNamespace(id=1),
        content=text,
        author=SimpleNamespace(id=author_id, bot=False),
        webhook_id=None,
        is_system=lambda: False,
    )


async def test_a_flood_does_not_delay_a_story(tmp_path: Path) -> None:
    """2,000 messages a second for some seconds. The machine may be busy otherwise, so the acknowledgement is held
    against Discord's limit only, and the sandbox waits longer: what else the machine does may hold up one of three, a
    flood that delays stories holds up each."""
    settings = Settings(
        _env_file=None, data_dir=tmp_path / "data", edit_interval_s=0.2, shutdown_grace_s=1.0, **READING
    )
    engine, short = InProcessEngine(BigramModel), word_moods()
    patient = Timing(ack_s=60.0)
    async with Store.open(settings.database) as store, Sandbox(tmp_path / "discord", timing=patient) as sandbox:
        await engine.start()
        await short.start()
        with point_discord_at(sandbox.base_url):
            async with StoryBot(settings=settings, store=store, engine=engine, short=short) as bot:
                running = asyncio.create_task(bot.start(sandbox.bot_token))
                await asyncio.wait_for(bot.wait_until_ready_or_dead(running), 60)
                cog, now = cog_of(bot), time.time()
                cog.sampler._clock = lambda: now  # an hour that began meanwhile would close the count
                async with Person.join(sandbox, "writer") as wren:
                    channel = int(wren.channel_id)
                    await store.moods.sample(channel, 1, None)
                    await cog.refresh()
                    await wren.say("a good day")  # over the gateway, with its content
                    while not cog.sampler._open or not cog.sampler._open[channel].authors:
                        await asyncio.sleep(0.01)
                    assert cog.sampler._open[channel].classes["positive"] == 1
                    calm = [await acknowledged_after(wren) for _ in range(2)]
                    sent, stop = 0, asyncio.Event()

                    async def flood() -> None:
                        nonlocal sent
                        loop = asyncio.get_running_loop()
                        began = loop.time()
                        while not stop.is_set():
                            due = int((loop.time() - began) * 2_000) + 1
                            for number in range(sent, min(due, sent + 200)):
                                await cog.on_message(message(channel, number % 300, f"good {number} " + "x" * 1_900))
                            sent = min(due, sent + 200) if due > sent else sent
                            await asyncio.sleep(0.005)

                    flooding = asyncio.create_task(flood())
                    await asyncio.sleep(1.0)
                    under_flood = [await acknowledged_after(wren) for _ in range(3)]
                    await asyncio.sleep(1.0)
                    waiting, tally = cog.sampler.waiting, cog.sampler._open[channel]
                    stop.set()
                    await flooding
                await bot.close()
                await running
        await short.close()
        await engine.close()
    read = sum(tally.classes.values()) + tally.unsure
    print(f"\ncalm {calm}, under flood {under_flood}, sent {sent}, read {read}, skipped {tally.skipped}")
    assert sent > 2_000
    assert waiting <= MAX_WAITING_TEXTS
    assert 0 < read < sent / 3
    assert abs(sent + 1 - read - tally.skipped) <= MAX_WAITING_TEXTS + BATCH
    assert sorted(under_flood)[1] < 3.0


async def acknowledged_after(person: Person) -> float:
    began = time.perf_counter()
    await person.slash("story", prompt="The keeper climbed the stairs")
    return round(time.perf_counter() - began, 3)


async def test_a_portal_that_has_the_intent_off_stops_the_start_with_one_sentence(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", **READING)
    message_content = discord.Intents(message_content=True).value
    async with (
        Store.open(settings.database) as store,
        Sandbox(tmp_path / "discord", disallowed_intents=message_content) as sandbox,
    ):
        with point_discord_at(sandbox.base_url):
            async with StoryBot(settings=settings, store=store, engine=InProcessEngine(BigramModel)) as bot:
                running = asyncio.create_task(bot.start(sandbox.bot_token))
                with pytest.raises(StartError, match="MESSAGE_CONTENT_INTENT=false"):
                    await asyncio.wait_for(_end(running), 30)


def test_the_doctor_says_where_the_intent_is_switched_on() -> None:
    wanted, unwanted = Settings(_env_file=None, **READING), Settings(_env_file=None)
    off, on = discord.ApplicationFlags(), discord.ApplicationFlags(gateway_message_content_limited=True)
    assert [found.verdict for found in _intents(unwanted, off)] == ["ok"]
    assert [found.verdict for found in _intents(wanted, on)] == ["ok"]
    (fault,) = _intents(wanted, off)
    assert fault.verdict == "fix"
    assert "Developer Portal" in fault.words
