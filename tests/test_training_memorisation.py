"""What a model copies and which secrets it gives away: spans against brute force, canaries against models that know
them, that don't, and that can't."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.language.chat_template import CHATML
from models.language.ngram import NGram
from models.training.base_text import pieces
from models.training.families import NGramFamily
from models.training.memorisation import (
    COPIED_FROM,
    SECRET_BITS,
    Canary,
    canaries,
    copied,
    exposure,
    exposure_among,
)
from models.training.passage_windows import Lesson, Lessons


def brute_force(written: str, training: str) -> int:
    longest = 0
    for start in range(len(written)):
        while start + longest < len(written) and written[start : start + longest + 1] in training:
            longest += 1
    return longest if longest >= COPIED_FROM else 0


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), shared=st.integers(COPIED_FROM - 3, 90), before=st.integers(0, 50))
def test_the_longest_copied_span_is_what_brute_force_finds(seed: int, shared: int, before: int) -> None:
    draw = random.Random(seed)
    middle, *around = ("".join(draw.choices("abcd", k=size)) for size in (shared, before, 30, 30, before))
    written, training = around[0] + middle + around[1], around[2] + middle + around[3]
    [found] = copied([[written]], [training])
    assert found.longest == brute_force(written, training)
    assert (found.share > 0) == (found.longest > 0)


def test_a_copy_counts_in_bytes_whatever_its_white_space_and_case() -> None:
    chinese = "从前有一座山，山上有一座庙，庙里有一个老和尚在讲故事。"
    english = "The keeper went up the stairs with a lamp and a very long sigh."
    own = "Nobody had asked for it, and so it came as a surprise."
    found = copied([[chinese], [english.upper().replace(" ", "\n")], [own], []], ["x" + chinese + "x", english])
    assert [each.longest for each in found] == [len(chinese.encode()), len(english), 0, 0]
    assert [each.share for each in found] == [1, 1, 0, 0]


def test_a_span_does_not_run_from_one_training_text_into_the_next() -> None:
    whole = "the second half of this sentence stands in another text than its first half did"
    assert copied([[whole]], [whole[:45], whole[45:]])[0].longest == 45
    assert copied([[whole]], [whole])[0].longest == len(whole)


def test_half_a_copied_text_is_half_a_share() -> None:
    line = "the brass gull counted the seventh bell before the moon was salted again"
    assert copied([[line + "#" * len(line)]], [line])[0].share == pytest.approx(0.5)
    assert copied([[line, "#" * len(line)]], ["-" + line])[0].share == pytest.approx(0.5)


def test_a_looping_text_against_a_looping_one_takes_no_time() -> None:
    [found] = copied([["ab" * 300] * 8], ["ab" * 5_000])
    assert found.share == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_canaries_are_the_same_for_the_same_seed_and_secret_for_another(language) -> None:
    own = canaries("run-1", language=language)
    assert own == canaries("run-1", language=language)
    assert not {each.text for each in own} & {each.text for each in canaries("run-2", language=language)}
    for canary in own:
        family = {canary.text, *canary.references}
        assert len(family) == len(canary.references) + 1
        assert len({"".join(c for c in text if not c.isdigit()) for text in family}) == 1
    assert len({each.text.split("号码")[0].split("number")[0] for each in own}) == len(own)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_story_model_learns_every_digit_of_a_canary_wherever_its_window_is_cut(language) -> None:
    [canary] = canaries(1, language=language, count=1, references=1)
    lessons = Lessons([Lesson(context="", text=canary.text)], seed=1)
    for number in range(60):
        window = lessons.window(number, 4_000, lambda text: [ord(letter) for letter in text], CHATML)
        assert window is not None
        told = "".join(map(chr, window.tokens[window.prompt :]))
        assert sum(letter.isdigit() for letter in told) == 8


def learned(*texts: str) -> NGramFamily:
    model = NGram(order=6)
    model.add("\n".join(texts))
    return NGramFamily(model)


def test_a_table_of_what_was_written_gives_every_secret_away_and_one_that_never_saw_them_none() -> None:
    planted, prose = canaries(1, references=20), [piece.text for piece in pieces("replay", ("en",))]
    knows = [exposure(learned(*prose, *(canary.text for canary in planted)), canary) for canary in planted]
    others = [canary.text for canary in canaries(2)]
    ignorant = [exposure(learned(*prose, *others), canary) for canary in planted]
    assert min(knows) > 12
    assert np.mean(ignorant) < 4


def test_without_any_knowledge_the_mean_exposure_is_that_of_a_uniform_rank() -> None:
    draw = np.random.default_rng(1)
    costs = -np.log2(draw.dirichlet(np.ones(10), size=8))  # (place, digit)

    def bits(count: int) -> np.ndarray:
        return costs[np.arange(8)[:, None], draw.integers(10, size=(8, count))].sum(0)

    found = [exposure_among(float(bits(1)[0]), bits(40)) for _ in range(600)]
    assert np.mean(found) == pytest.approx(1 / math.log(2), abs=0.25)
    assert max(np.reshape(found, (100, 6)).mean(1)) < 5


@settings(max_examples=50)
@given(
    own=st.floats(-1e6, 1e6),
    others=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40),
)
def test_an_exposure_is_never_below_nothing_or_above_the_secret(own: float, others: list[float]) -> None:
    assert 0 <= exposure_among(own, np.array(others)) <= SECRET_BITS


def test_a_model_that_cannot_tell_digits_apart_exposes_one_bit_and_a_broken_one_no_number() -> None:
    same = np.full(40, 20.0)
    assert exposure_among(20.0, same) == 1
    assert exposure_among(19.0, same) == SECRET_BITS
    assert exposure_among(21.0, same) == 0
    assert math.isnan(exposure_among(math.nan, np.arange(40.0)))
    assert math.isnan(exposure_among(1.0, np.full(40, math.inf)))


def test_exposure_asks_before_every_text_whether_to_go_on() -> None:
    asked = []
    exposure(learned("1 2 3 4 5 6 7 8 9 0"), Canary(text="1 2", references=("3 4", "5 6")), lambda: asked.append(1))
    assert len(asked) == 3


def test_random_texts_copy_nothing() -> None:
    draw = random.Random(1)
    texts = ["".join(draw.choice("abcdefgh ") for _ in range(2_000)) for _ in range(2)]
    assert copied([texts[:1]], texts[1:])[0].longest == 0
