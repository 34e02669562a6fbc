"""The sampler of moods: whom it tells apart and for how long, what it hands on, and how little a flood costs."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from bot import mood_sampling
from bot.mood_sampling import BATCH, MAX_TEXT_CHARS, MAX_WAITING_TEXTS, MoodSampler
from bot.store.moods import MoodCount
from models.serving.in_process_short import InProcessShortEngine
from tests.word_moods import WordMoods

HOUR = 3600.0
NOON = 487_644 * HOUR  # 12:00 UTC


@dataclass
class Sampling:
    sampler: MoodSampler
    model: WordMoods
    now: list[float]
    kept: list[tuple[int, MoodCount]] = field(default_factory=list)

    async def write(self, *texts: str, channel: int = 1, authors: int = 5) -> None:
        """Everybody writes every text, and all are read."""
        for text in texts:
            for author in range(authors):
                self.sampler.offer(channel, author, text)
        await self.read()

    async def read(self) -> None:
        while self.sampler.waiting or (self.sampler._reading is not None and not self.sampler._reading.done()):
            await asyncio.sleep(0.005)

    async def flush_after(self, hours: float) -> list[MoodCount]:
        self.now[0] += hours * HOUR
        await self.sampler.flush()
        counts, self.kept[:] = [count for _, count in self.kept], []
        return counts


@asynccontextmanager
async def sampling(*channels: int, per_s: int = 100_000) -> AsyncIterator[Sampling]:
    model, now = WordMoods(), [NOON]
    short = InProcessShortEngine({"mood": model})
    await short.start()
    kept: list[tuple[int, MoodCount]] = []

    async def keep(channel_id: int, count: MoodCount) -> None:
        kept.append((channel_id, count))

    sampler = MoodSampler(short, keep, clock=lambda: now[0], per_s=per_s)
    sampler.sample(channels or (1,))
    yield Sampling(sampler, model, now, kept)
    await sampler.close()
    await short.close()


async def test_an_hour_of_enough_people_becomes_numbers() -> None:
    async with sampling() as at:
        await at.write("good", "bad", "so so", "good and bad")
        await at.write("good", authors=1)
        assert await at.flush_after(0.9) == []
        (count,) = await at.flush_after(0.1)
        assert (count.hour, count.hours, count.authors) == (NOON // HOUR, 1, 5)
        assert (count.positive, count.negative, count.neutral, count.unsure, count.skipped) == (6, 5, 5, 5, 0)
        assert {(request.method, len(request.text) > 0) for request in at.model.asked} == {("linear", True)}
        assert await at.flush_after(1) == []


async def test_too_few_people_wait_for_a_fifth_until_midnight_and_are_then_forgotten() -> None:
    async with sampling() as at:
        await at.write("good", authors=4)
        assert await at.flush_after(3) == []
        at.sampler.offer(1, 99, "good")
        await at.read()
        (count,) = await at.flush_after(1)
        assert (count.hour, count.hours, count.authors, count.positive) == (NOON // HOUR, 4, 5, 5)
        await at.write("bad", authors=4)
        assert await at.flush_after(9) == []
        at.sampler.offer(1, 99, "bad")
        await at.read()
        assert await at.flush_after(24) == [], "yesterday's four are gone, and one is left"


async def test_hashes_and_salt_of_a_closed_count_are_gone_and_differ_from_count_to_count() -> None:
    async with sampling() as at:
        await at.write("good")
        first = at.sampler._open[1]
        hashes = set(first.authors)
        await at.flush_after(1)
        assert (first.salt, first.authors) == (b"", set())
        await at.write("good")
        assert not hashes & at.sampler._open[1].authors
        assert not hashes & {first.hash_of(author) for author in range(5)}


async def test_what_is_read_after_its_count_closed_is_not_counted() -> None:
    async with sampling() as at:
        await at.write("good")
        for author in range(5):
            at.sampler.offer(1, author, "bad")
        (count,) = await at.flush_after(1)
        await at.read()
        assert (count.positive, count.negative) == (5, 0)


async def test_a_channel_left_is_forgotten_and_others_are_not_silenced_by_a_loud_one() -> None:
    async with sampling(1, 2, 3) as at:
        for number in range(1_000):
            at.sampler.offer(1, number % 9, "good" * 5_000)
            if number < 5:
                at.sampler.offer(2, number, "bad")
                at.sampler.offer(3, number, "bad")
        assert at.sampler.waiting == MAX_WAITING_TEXTS + 10
        at.sampler.offer(4, 1, "not sampled")
        at.sampler.leave([3])
        await at.read()
        assert max(len(request.text) for request in at.model.asked) == MAX_TEXT_CHARS
        assert [request.text for request in at.model.asked[:BATCH]].count("bad") == 5
        counts = dict(at.kept)
        at.now[0] += HOUR
        await at.sampler.flush()
        counts = dict(at.kept)
        assert set(counts) == {1, 2}
        assert (counts[1].read, counts[1].skipped) == (MAX_WAITING_TEXTS, 1_000 - MAX_WAITING_TEXTS)


async def test_more_channels_than_a_batch_holds_all_have_their_turn() -> None:
    async with sampling(*range(1, 60)) as at:
        for _ in range(3):
            for channel in range(1, 60):
                for author in range(5):
                    at.sampler.offer(channel, author, "good")
        await at.read()
        at.now[0] += HOUR
        await at.sampler.flush()
        assert {count.read for _, count in at.kept} == {15}
        assert len(at.kept) == 59


async def test_without_a_model_messages_count_as_skipped_and_it_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mood_sampling, "_PAUSE_S", 0.0)
    async with sampling() as at:
        at.model.missing = ("linear",)
        await at.write(*["unmistakable words"] * 10)
        at.model.missing = ()
        await at.write("good")
        (count,) = await at.flush_after(1)
        assert (count.read, count.skipped) == (5, 50)
        assert caplog.text.count("can't be read") == 1
        assert "unmistakable" not in caplog.text


async def test_closing_keeps_only_what_may_be_kept() -> None:
    async with sampling(1, 2) as at:
        await at.write("good", channel=1)
        await at.write("good", channel=2, authors=4)
        await at.sampler.close()
        assert [(channel, count.positive) for channel, count in at.kept] == [(1, 5)]


async def test_any_number_of_messages_takes_the_memory_of_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    async with sampling() as at:
        tracemalloc.start()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):  # 40 MB of text
            at.sampler.offer(1, number % 5_000, f"good {number} " + "x" * 2_000)
        assert at.sampler.waiting == MAX_WAITING_TEXTS
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert grown < 500_000
        monkeypatch.setattr(mood_sampling, "MAX_AUTHORS", 8)
        await at.flush_after(1)
        await at.write("good", authors=20)
        assert (await at.flush_after(1))[0].authors == 8
