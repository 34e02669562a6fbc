"""Tones of the fast tier: listed words beside the hashed features, and how both are weighed in training."""

from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sentiment.calibration import fit_calibration, source_weights
from models.sentiment.features import BITS, spans_of, split
from models.sentiment.linear import LinearScorer, save_linear, tones_in
from models.sentiment.polar_words import chinese, english, match_chinese
from models.sentiment.scorer import Prepared, Scores, prepare
from models.sentiment.tones import TONES, tones_of
from models.training.mood_corpus import Row
from models.training.mood_corrections import Lesson, fit_corrections
from models.training.mood_linear import fit, fit_stage, fit_tones, half_even, lesson_of
from models.weights import MOODS_FOLDER


def tones(*texts: str) -> np.ndarray:
    return tones_of(split(texts, "en"), "en").features


def squashed(total: float) -> float:
    return total / sqrt(total * total + 15)


def test_listed_words_are_summed_as_vader_does() -> None:
    love, sad = english()["love"], english()["sad"]
    assert love > 0 > sad
    found = tones("I LOVE it", "love, but sad", "a table")
    assert found[0].tolist() == pytest.approx([squashed(love), squashed(love), 1, 0])
    assert found[1].tolist() == pytest.approx(
        [squashed(love + sad), abs(squashed(love + sad)), 1, squashed(min(love, -sad))]
    )
    assert found[2].tolist() == [0, 0, 0, 0]


def test_a_negation_turns_a_listed_word_and_a_clause_ends_its_reach() -> None:
    plain, negated, behind, unpleasant = tones(
        "it is great", "it is not great", "of course not, great", "it is not sad"
    )
    assert negated[0] < 0 < plain[0]
    assert behind[0] == plain[0]
    assert 0 < unpleasant[0] < plain[0]


def test_a_stretched_word_is_the_listed_one() -> None:
    assert english()["niiice"] > 0
    assert tones("niiice")[0][0] == tones("niiiiiice")[0][0] > 0


def test_an_emoji_counts_as_a_word() -> None:
    assert tones("👍")[0][0] > 0 > tones("💔")[0][0]


@pytest.mark.parametrize("language", ["en", "zh"])
@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=6))
def test_a_text_has_the_same_tones_in_any_company(language: Literal["en", "zh"], texts: list[str]) -> None:
    together = tones_of(split(texts, language), language).features
    assert together.shape == (len(texts), TONES)
    assert np.abs(together).max() <= 1
    for text, found in zip(texts, together, strict=True):
        np.testing.assert_allclose(tones_of(split([text], language), language).features[0], found)


_WORDS = sorted(word for word in chinese() if len(word) < 4 and not word.isascii())[::40]
_PIECES = [*_WORDS, "我", "的", "。", "天天"]


@given(st.lists(st.sampled_from(_PIECES), max_size=12))
def test_chinese_words_are_found_as_the_rules_find_them(pieces: list[str]) -> None:
    text = "".join(pieces)
    units = split([text], "zh")
    found = tones_of(units, "zh")
    begin, end = spans_of(units, found.begin, found.end)
    assert list(zip(begin.tolist(), end.tolist(), strict=True)) == [(w.start, w.end) for w in match_chinese(text)]


def test_a_chinese_negation_turns_the_word_behind_it() -> None:
    liked, not_liked, behind = tones_of(split(["我很喜欢", "我不喜欢", "不，我喜欢"], "zh"), "zh").features
    assert not_liked[0] < 0 < liked[0]
    assert behind[0] == liked[0]


def test_a_sign_of_negation_inside_another_word_negates_nothing() -> None:
    said = ["我很喜欢", "我特别喜欢", "我非常喜欢", "别人很喜欢", "未来喜欢", "不仅喜欢", "无比喜欢"]
    found = tones_of(split(said, "zh"), "zh").features[:, 0]
    assert found.tolist() == pytest.approx([found[0]] * len(said))
    good, better, bad = tones_of(
        split(["不错的故事，精彩", "不错，故事精彩", "不错，故事不精彩"], "zh"), "zh"
    ).features[:, 0]
    assert good == better > bad


def weights_of_tones_only(folder: Path) -> Path:
    for language in ("en", "zh"):
        nothing = [(np.zeros(1 << BITS), 0.0)] * 2
        weights = np.array([[0.0, 2, 0, 0], [3, 0, 0, 0]]) if language == "en" else None
        save_linear(folder / f"linear-{language}.safetensors", nothing, weights)
    return folder


def test_tones_move_the_log_odds_and_are_named_as_what_decided(tmp_path: Path) -> None:
    scorer = LinearScorer(weights_of_tones_only(tmp_path))
    scores = scorer.score([prepare("we love tea"), prepare("a table"), prepare("我们爱茶")])
    score = squashed(english()["love"])
    np.testing.assert_allclose(scores.logits, [[2 * score, 3 * score], [0, 0], [0, 0]], atol=1e-6)
    assert [(word.text, word.weight) for word in scores.evidence[0]] == [("love", round(3 * score, 3))]
    assert scores.evidence[1:] == [(), ()]
    assert tones_in(tmp_path / "linear-zh.safetensors") is None


def test_corrections_leave_the_weights_of_tones_as_they_were(tmp_path: Path) -> None:
    said = [
        (f"{word} page {n}", label) for n in range(6) for word, label in (("glorp", "positive"), ("vexu", "negative"))
    ]
    lessons = [Lesson(text=prepare(text), label=label, author=text) for text, label in said]
    assert fit_corrections(lessons, [], MOODS_FOLDER, tmp_path)
    shipped = tones_in(MOODS_FOLDER / "linear-en.safetensors")
    assert shipped is not None
    np.testing.assert_array_equal(tones_in(tmp_path / "linear-en.safetensors"), shipped)


# --- training -------------------------------------------------------------------------------------------------------


def made(part: str, repeats: int = 8, source: str = "made") -> list[Row]:
    said = [("I adore this {}", "positive"), ("I detest this {}", "negative"), ("see you at {}", "neutral")]
    said += [("我很喜欢{}", "positive"), ("太糟糕{}", "negative"), ("明天{}点开会", "neutral")]
    return [
        Row(
            text=text.format(f"{part}{n}"), label=label, classes=3, language="zh" if text[0] in "我太明" else "en",
            source=source, group=f"{part}{n}", part=part,
        )
        for n in range(repeats)
        for text, label in said
    ]  # type: ignore[arg-type]  # fmt: skip


def test_tones_are_weighed_by_what_features_say_of_rows_that_they_did_not_learn_from(tmp_path: Path) -> None:
    listed = sorted(word for word, valence in english().items() if valence > 2 and word.isalpha())[:24]
    bad = sorted(word for word, valence in english().items() if valence < -2 and word.isalpha())[:24]
    said = [(f"{word} qqq", "positive") for word in listed] + [(f"{word} qqq", "negative") for word in bad]
    said += [(f"zz{n} qqq", "neutral") for n in range(24)]
    rows = [
        Row(text=text, label=label, classes=3, language="en", source="made", group=text, part="train")
        for text, label in said
    ]  # type: ignore[arg-type]
    lesson = lesson_of(rows, "en")
    stages = [lesson.stage(number, np.ones(len(rows), bool), 1) for number in (0, 1)]
    _, weights = fit_tones(lesson, stages)
    assert weights[1, 0] > 1, "each word stands in one row: only the list can know it"


def test_a_target_between_the_sides_counts_for_both() -> None:
    from scipy.sparse import csr_matrix

    features = csr_matrix(np.eye(2).repeat(40, axis=0), shape=(80, 2))
    weights, bias = fit_stage(features, np.repeat([0.5, 0.9], 40))
    unsure, sure = weights + bias
    assert abs(unsure) < 0.15
    assert sure > 1.5


class Contrarian:
    """A teacher that is sure that all is unpleasant."""

    version = "contrarian@1"

    def __init__(self) -> None:
        self.asked: list[Prepared] = []

    def score(self, texts: Sequence[Prepared], *, explain: bool = True) -> Scores:
        self.asked += texts
        nothing: list[tuple[()]] = [()] * len(texts)
        return Scores(logits=np.tile([8.0, -8.0], (len(texts), 1)), evidence=[*nothing], notes=[*nothing])


def test_the_fast_tier_learns_what_its_teacher_answers_more_than_the_labels(tmp_path: Path) -> None:
    rows = [*made("train"), *made("calibration")]
    teacher = Contrarian()
    for name, asked in (("alone", None), ("taught", teacher)):
        (tmp_path / name).mkdir()
        fit(rows, tmp_path / name, teacher=asked)
    praise = [prepare("I adore this one"), prepare("我很喜欢")]
    alone, taught = (LinearScorer(tmp_path / name).score(praise).logits[:, 1] for name in ("alone", "taught"))
    assert (alone > 0).all()
    assert taught[0] < alone[0] - 0.5
    assert taught[1] == alone[1]
    assert {text.language for text in teacher.asked} == {"en"}
    assert all("calibration" not in text.text for text in teacher.asked), "held-back rows are not taught"


def test_with_even_classes_neutral_is_as_likely_as_each_side_before_a_text_is_read() -> None:
    random = np.random.default_rng(3)
    labels = random.choice(3, 6_000, p=[0.1, 0.6, 0.3])
    logits = random.normal(size=(1, 6_000, 2))  # that say nothing
    sources, three = ["tweets"] * 6_000, np.ones(6_000, bool)
    for even, expected in ((True, [1 / 3] * 3), (False, [0.2, 0.6, 0.2])):
        fitted = fit_calibration(logits, labels, three, sources, even=even)
        assert fitted.probabilities(logits).mean(axis=0) == pytest.approx(expected, abs=0.02)


def test_classes_of_a_source_are_weighed_even_or_half_even() -> None:
    sources = np.array(["a"] * 10 + ["b"] * 4)
    classes = np.array([0] * 9 + [1] + [0, 0, 1, 1])
    even, half = source_weights(sources, classes), half_even(sources, classes)
    for weights in (even, half):
        assert weights.mean() == pytest.approx(1)
    assert even[:9].sum() == pytest.approx(even[9])
    assert even[:10].sum() / even[10:].sum() == pytest.approx(sqrt(10 / 4))
    assert half[9] / half[0] == pytest.approx(sqrt(9))
    assert half[10:] == pytest.approx(np.full(4, half[10]))
