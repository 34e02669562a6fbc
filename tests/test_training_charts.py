"""Pictures and times of training: every run can be drawn, every schedule is due exactly once."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bot.training_charts import Held, Past, of_history, of_run
from bot.training_families import NoSuchFamilyError, completions, families_of
from bot.training_schedule import last_time, next_time
from models.serving.training import FAMILIES, Family

DAY_S = 86_400.0
times = st.floats(0.0, 4e9)
hours = st.integers(0, 23)
weekdays = st.none() | st.integers(0, 6)
helds = st.builds(
    Held,
    family=st.sampled_from(FAMILIES),
    before=st.none() | st.floats(0.1, 8.0),
    after=st.floats(0.1, 8.0),
    accepted=st.booleans(),
)


def size(picture: bytes | None) -> tuple[int, int]:
    assert picture is not None
    return Image.open(io.BytesIO(picture)).size


@given(times, hours, weekdays)
def test_the_last_time_is_a_scheduled_one_and_less_than_a_period_ago(
    now: float, hour: int, weekday: int | None
) -> None:
    at = last_time(hour, weekday, now)
    when = datetime.fromtimestamp(at, UTC)
    assert (when.hour, when.minute, when.second) == (hour, 0, 0)
    assert weekday is None or when.weekday() == weekday
    assert at <= now < at + (DAY_S if weekday is None else 7 * DAY_S)
    following = next_time(hour, weekday, now)
    assert last_time(hour, weekday, following) == following
    assert last_time(hour, weekday, following - 1) == at


def test_without_anything_to_show_there_is_no_picture() -> None:
    assert of_run({}, ()) is None
    assert of_run({"gpt": []}, ()) is None
    assert of_history((), {}) is None


@pytest.mark.parametrize("losses", [[1.0], [2.0, 2.0], [3.0, float(10**7), 0.0, -1.0]])
@pytest.mark.parametrize("before", [None, 1.7, 1.5])
def test_a_run_is_drawn_whatever_its_numbers_are(losses: list[float], before: float | None) -> None:
    curves: Any = {family: list(enumerate(losses, 1)) for family in FAMILIES}
    held = [Held(family=family, before=before, after=1.5, accepted=family != "gpt") for family in FAMILIES]
    wide, tall = size(of_run(curves, held))
    assert wide == 720
    assert tall < 500
    assert size(of_run(curves, ()))[1] < tall
    assert size(of_run({}, held))[1] < tall


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 10**8), st.lists(helds, max_size=5)), min_size=1, max_size=20))
def test_a_history_is_drawn_whatever_its_numbers_are(runs: list[tuple[int, list[Held]]]) -> None:
    past = [Past(label="11-30", characters=characters, held=tuple(held)) for characters, held in runs]
    assert size(of_history(past, {}))[0] == 720


def test_colours_tell_a_rejected_version_from_an_accepted_one() -> None:
    pictures = {
        of_run({}, [Held(family="story", before=1.7, after=1.5, accepted=accepted)]) for accepted in (True, False)
    }
    assert len(pictures) == 2


@pytest.mark.parametrize(
    ("typed", "families"),
    [
        (None, FAMILIES), ("", FAMILIES), (" Everything ", FAMILIES), ("gpt,STORY", ("story", "gpt")),
        ("ngram、mood，mood", ("ngram", "mood")),
    ],
)  # fmt: skip
def test_families_are_read_as_people_type_them(typed: str | None, families: tuple[Family, ...]) -> None:
    assert families_of(typed, FAMILIES) == families


def test_what_is_no_family_is_refused_and_what_is_begun_is_completed() -> None:
    for typed in ("stories", "story, everything", "story;gpt"):
        with pytest.raises(NoSuchFamilyError):
            families_of(typed, FAMILIES)
    with pytest.raises(NoSuchFamilyError):
        families_of("story", ("gpt",))
    assert completions("", ("gpt", "ngram")) == ["everything", "gpt", "ngram"]
    assert completions("gpt, ", ("gpt", "ngram")) == ["gpt, ngram"]
    assert completions("n", ("gpt", "ngram")) == ["ngram"]
    assert completions("x", ("gpt", "ngram")) == []
