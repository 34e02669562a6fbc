"""What is asked of the portrait model: how many faces, which seeds, how a receipt's request is changed by a button."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.dreams import (
    EmptySeedError,
    NoSuchNumberError,
    alike,
    any_seed,
    character_seed,
    end_of,
    morph_of,
    only,
    seed_of,
    seeds_of,
    varied,
)
from models.serving.short_requests import MAX_SEED_CHARS, PortraitRequest

ASKED = PortraitRequest(seeds=("Mara", "Tom"), attributes={"hat": "yes"}, truncation=0.5, vary=0.35, vary_seed="x")


@pytest.mark.parametrize("count", [0, -1, 2, 10, 10_000])
def test_a_number_of_faces_that_nobody_can_draw_is_refused(count: int) -> None:
    with pytest.raises(NoSuchNumberError):
        seeds_of("Mara", count)


@pytest.mark.parametrize("frames", [0, 1, 49, 10_000])
def test_a_number_of_frames_that_nobody_can_draw_is_refused(frames: int) -> None:
    with pytest.raises(NoSuchNumberError):
        morph_of(end_of(ASKED), end_of(ASKED), frames=frames, truncation=0.8)


def test_of_many_faces_the_first_is_the_name_s_own() -> None:
    assert seeds_of(" Mara\n", 1) == ("Mara",)
    assert seeds_of("Mara", 4) == ("Mara", "Mara 2", "Mara 3", "Mara 4")
    assert len(set(seeds_of("灯" * MAX_SEED_CHARS, 9))) == 9
    assert len(set(seeds_of(None, 9))) == 9


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_any_words_are_a_seed_that_the_model_takes_or_nothing_that_can_be_seen(words: str) -> None:
    try:
        seed = seed_of(words)
    except EmptySeedError:
        return
    assert 0 < len(seed) <= MAX_SEED_CHARS
    assert seed_of(seed) == seed
    seed.encode()
    assert all(len(each) <= MAX_SEED_CHARS for each in seeds_of(seed, 9))
    assert len(character_seed("0" * 16, seed)) <= MAX_SEED_CHARS


def test_one_face_of_several_keeps_all_that_was_asked_of_it() -> None:
    one = only(ASKED, 2)
    assert (one.seeds, one.attributes, one.truncation, one.vary, one.vary_seed) == (
        ("Tom",),
        {"hat": "yes"},
        0.5,
        0.35,
        "x",
    )
    for number in (0, 3, -1):
        with pytest.raises(NoSuchNumberError):
            only(ASKED, number)


def test_varying_twice_takes_another_step_from_the_same_face() -> None:
    first, second = varied(ASKED), varied(varied(ASKED))
    assert first.seeds == second.seeds == ASKED.seeds
    assert first.vary_seed != second.vary_seed
    assert first.vary == second.vary > 0


def test_what_is_alike_shares_looks_and_what_was_asked_and_no_seed() -> None:
    seen = {"skin": "tan", "hat": "no", "background": "blue", "mouth": "sad"}
    found = alike(only(ASKED, 1), seen)
    assert len(found.seeds) == 4
    assert found.attributes == {"skin": "tan", "hat": "yes"}
    assert found.vary == 0
    assert len(alike(ASKED, None).seeds) == 2


def test_a_seed_that_was_chosen_can_be_typed_again() -> None:
    for _ in range(50):
        seed = any_seed()
        assert seed_of(f" {seed} ") == seed
        assert seed.isascii()
