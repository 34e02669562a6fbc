"""From counts to a trend and an alert, and both as pictures."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from bot import charts
from bot.locales import speaker
from bot.mood_trend import SLICES, Drop, Period, drop, first_hour_of, trend, whole, wilson
from bot.mood_trend_words import axis, trend_embed
from bot.store.moods import MoodCount

NOW = 487_654  # Unix hours
_NEAR = [255 if difference < 24 else 0 for difference in range(256)]  # edges are smoothed


def count(hour: int, negative: int = 0, positive: int = 0, neutral: int = 0, hours: int = 1) -> MoodCount:
    return MoodCount(
        hour=hour, hours=hours, negative=negative, neutral=neutral, positive=positive, unsure=0, skipped=1, authors=5
    )


def test_one_message_that_came_too_fast_is_said_in_the_singular() -> None:
    slices = trend([], "day", NOW)
    for counts, words in (
        ([count(NOW, positive=9)], "\n1 message came too fast to be read and is left out.\n"),
        ([count(NOW, positive=9)] * 2, "\n2 messages came too fast to be read and are left out.\n"),
    ):
        embed = trend_embed(7, slices, whole(slices, counts), "day", speaker("en-US"))
        assert words in (embed.description or "")


def test_wilsons_interval_is_the_published_one() -> None:
    newcombe = wilson(81, 263)  # R. G. Newcombe, Two-sided confidence intervals …, 1998, table I, method 3
    assert (round(newcombe.low, 4), round(newcombe.high, 4)) == (0.2553, 0.3662)
    nothing = wilson(0, 20)
    assert (nothing.low, round(nothing.high, 4)) == (0.0, 0.1611)


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(0, 500))
def test_a_share_lies_within_its_interval_and_the_interval_within_zero_and_one(good: int, bad: int) -> None:
    share = wilson(good, good + bad)
    assert 0.0 <= share.low <= share.value + 1e-12
    assert share.value - 1e-12 <= share.high <= 1.0


@pytest.mark.parametrize("period", ["day", "week", "month"])
@settings(max_examples=40, deadline=None)
@given(hours=st.lists(st.tuples(st.integers(0, 800), st.integers(1, 24)), max_size=30))
def test_every_count_of_the_period_lands_in_one_slice(period: Period, hours: list[tuple[int, int]]) -> None:
    counts = [count(NOW - back, positive=1, hours=length) for back, length in hours]
    first = first_hour_of(period, NOW)
    inside = [each for each in counts if each.hour >= first]
    slices = trend(counts, period, NOW)
    assert len(slices) == SLICES[period][0]
    assert sum(each.read for each in slices) == len(inside)
    assert slices[-1].first_hour <= NOW < slices[-1].first_hour + slices[-1].hours
    assert whole(slices, inside).read == len(inside)


def usual(hours: int = 48) -> list[MoodCount]:
    return [count(NOW - back, negative=1, positive=5, neutral=4) for back in range(1, hours + 1)]


def test_a_clear_fall_is_told_once_until_it_has_passed() -> None:
    fallen = drop(count(NOW, negative=30, neutral=10), usual(), alerted=False)
    assert isinstance(fallen, Drop)
    assert (fallen.negative_now, fallen.negative_usual) == (0.75, 0.1)
    assert drop(count(NOW, negative=30, neutral=10), usual(), alerted=True) is True
    half_way = count(NOW, negative=5, positive=15, neutral=20)  # 0.25 against 0.4: neither a fall nor over
    assert drop(half_way, usual(), alerted=False) is False
    assert drop(half_way, usual(), alerted=True) is True
    assert drop(count(NOW, negative=4, positive=20, neutral=16), usual(), alerted=True) is False


@pytest.mark.parametrize(
    ("latest", "before"),
    [
        (count(NOW, negative=19), usual()),  # too few messages now
        (count(NOW, negative=40), usual(11)),  # too little to compare with
        (count(NOW, negative=40), [count(NOW - 500, positive=300)] * 20),  # too long ago
    ],
)
def test_nothing_is_told_on_thin_evidence(latest: MoodCount, before: list[MoodCount]) -> None:
    assert drop(latest, before, alerted=False) is True


def test_a_small_or_unclear_fall_is_none() -> None:
    assert drop(count(NOW, negative=4, positive=8, neutral=12), usual(), alerted=False) is False


def image(png: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(png))
    picture.load()
    return picture.convert("RGB")


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_a_trend_is_drawn_with_gaps_and_bands(period: Period) -> None:
    hours = SLICES[period][1]
    counts = [count(NOW - n * hours, negative=n, positive=9, neutral=5) for n in (0, 1, 2, 5, 9)]
    slices = trend(counts, period, NOW)
    picture = image(charts.trend(slices, axis(slices)))
    colours = {colour for _, colour in picture.getcolors(1 << 20) or []}
    assert (0x4C, 0xC2, 0xA8) in colours
    assert (0xF0, 0x9A, 0x4A) in colours
    assert picture.size == (720, 312)
    assert len(charts.trend(slices, axis(slices))) < 100_000
    empty = trend([], period, NOW)
    assert image(charts.trend(empty, axis(empty))).size == (720, 312)


@settings(max_examples=12, deadline=None)  # each draws a picture
@given(st.lists(st.tuples(st.floats(-1, 1), st.booleans(), st.booleans()), min_size=1, max_size=90))
def test_any_arc_can_be_drawn(turns: list[tuple[float, bool, bool]]) -> None:
    beats = [charts.Beat(score=score, sure=sure, by_model=by_model) for score, sure, by_model in turns]
    assert image(charts.arc(beats, 991)).size == (720, 264)


def test_a_happy_part_stands_above_a_sad_one_and_an_unsure_one_is_hollow() -> None:
    def dots(score: float, sure: bool) -> tuple[float, int]:
        """Where its colour lies on average, and how much of it there is."""
        picture = image(charts.arc([charts.Beat(score=score, sure=sure, by_model=False)] * 2))
        colour = (0x4C, 0xC2, 0xA8) if score > 0 else (0xF0, 0x9A, 0x4A)
        near = ImageChops.difference(picture, Image.new("RGB", picture.size, colour)).convert("L").point(_NEAR)
        rows = [y for y in range(264) for x in range(60, 720) if near.getpixel((x, y))]
        return sum(rows) / len(rows), len(rows)

    high, low = dots(0.8, True), dots(-0.8, True)
    assert high[0] < 132 - 40 < 132 < low[0]
    assert dots(0.8, False)[1] < high[1]
