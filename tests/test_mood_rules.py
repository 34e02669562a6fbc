"""Methods 1, 2 and 4: counting words, and rules."""

import time
from collections.abc import Callable
from math import isclose

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sentiment.clean_text import clean as clean_for_training
from models.sentiment.emoji_valence import EMOJI
from models.sentiment.lexicon import negative_lexicon, positive_lexicon
from models.sentiment.method import SentimentMethod
from models.sentiment.polar_words import chinese, english, english_phrases, polar_words
from models.sentiment.reading import read, simplify
from models.sentiment.rules import Rules
from models.sentiment.score_map import fit_score_map
from models.serving.short_requests import MAX_MOOD_CHARS, Mood

RULES = Rules()
METHODS: list[SentimentMethod] = [positive_lexicon(), negative_lexicon(), RULES]
PIECES = """good bad not never very but although great horrible I you ! ? :) 😭 :( 好 不 没 但是 虽然 太 差 喜欢 讨厌 又
了 ， 。 吗 哈哈哈 别 难过 yyds WOW soooo <@1> https://a.b `x`"""
WORDS = st.sampled_from(PIECES.split())


def pleasantness(text: str) -> float:
    negative, _, positive = RULES.read([text])[0].probabilities
    return positive - negative


def check(mood: Mood) -> None:
    assert isclose(sum(mood.probabilities), 1.0, abs_tol=1e-9)
    assert all(0 <= p <= 1 for p in mood.probabilities)
    assert mood.probabilities[("negative", "neutral", "positive").index(mood.label)] == max(mood.probabilities)
    strengths = [abs(piece.weight) for piece in mood.evidence]
    assert strengths == sorted(strengths, reverse=True)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@settings(max_examples=60)
@given(text=st.one_of(st.text(), st.lists(WORDS).map(" ".join), st.lists(WORDS).map("".join)))
def test_any_text_has_a_whole_mood(method: SentimentMethod, text: str) -> None:
    check(method.read([text])[0])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@settings(max_examples=25)
@given(texts=st.lists(st.lists(WORDS, max_size=8).map(" ".join), max_size=5))
def test_company_changes_no_answer(method: SentimentMethod, texts: list[str]) -> None:
    assert method.read(texts) == [method.read([text])[0] for text in texts]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("text", ["", "  ", "https://example.org", "`code`", "12345"])
def test_what_has_no_words_is_neutral_and_unsure(method: SentimentMethod, text: str) -> None:
    mood = method.read([text])[0]
    assert (mood.label, mood.sure, mood.evidence) == ("neutral", False, ())
    assert set(mood.notes) <= {"empty", "no_words"} and mood.notes


def test_another_language_is_never_sure() -> None:
    mood = RULES.read(["que buena historia, me encanta muchísimo 😍😍"])[0]
    assert not mood.sure and "other_language" in mood.notes


@pytest.mark.parametrize(
    ("plain", "turned"),
    [
        ("this is good", "this is not good"),
        ("I like the ending, it is great", "I don't think the ending is great"),
        ("a funny story", "nothing funny here"),
        ("很好看", "不好看"),
        ("我喜欢这个结局", "我不喜欢这个结局"),
        ("有意思", "一点意思都没有"),
        ("這個故事好看", "這個故事一點都不好看"),
        ("写得很精彩", "写得不够精彩"),
    ],
)
def test_a_negation_makes_a_pleasant_text_less_pleasant(plain: str, turned: str) -> None:
    assert pleasantness(plain) > 0 > pleasantness(turned)


@pytest.mark.parametrize(
    "text",
    [
        "not bad at all",
        "you're not wrong, it isn't terrible",
        "不得不佩服",
        "没有人不喜欢",
        "别难过",
        "不错",
        "never been happier",
    ],
)
def test_a_negated_unpleasant_or_doubly_negated_text_is_not_unpleasant(text: str) -> None:
    assert pleasantness(text) > 0


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ("great start but a terrible ending", "terrible start but a great ending"),
        ("although it is pretty, it is boring", "although it is boring, it is pretty"),
        ("虽然画面很美，但是剧情很烂", "虽然剧情很烂，但是画面很美"),
        ("前面精彩，不过后面无聊", "前面无聊，不过后面精彩"),
    ],
)
def test_what_follows_a_turn_weighs_more(worse: str, better: str) -> None:
    assert pleasantness(worse) < pleasantness(better)


@pytest.mark.parametrize(
    ("weak", "strong"),
    [
        ("it is good", "it is really very good"),
        ("it is good", "it is GOOD"),
        ("it is good", "it is good!!!"),
        ("有点好看", "非常好看"),
        ("好看", "好看死了"),
    ],
)
def test_degree_capitals_and_marks_make_a_word_stronger(weak: str, strong: str) -> None:
    assert pleasantness(weak) < pleasantness(strong)


@pytest.mark.parametrize("text", ["the chapter is up", "更新了一章"])
def test_an_emoji_moves_a_text_its_own_way(text: str) -> None:
    for sign, valence in EMOJI.items():
        if abs(valence) >= 0.8:
            assert (pleasantness(f"{text} {sign}") - pleasantness(text)) * valence > 0, sign


def test_evidence_is_what_the_author_wrote_with_the_sign_it_got() -> None:
    mood = RULES.read(["這篇不精彩"])[0]
    assert [(piece.text, piece.weight < 0) for piece in mood.evidence] == [("精彩", True)]
    mood = positive_lexicon().read(["a brilliant, gorgeous, not terrible story"])[0]
    assert {piece.text for piece in mood.evidence} == {"brilliant", "gorgeous"}


def test_counting_ignores_the_other_list() -> None:
    assert positive_lexicon().read(["gorgeous awful"])[0].evidence[0].text == "gorgeous"
    assert negative_lexicon().read(["gorgeous awful"])[0].evidence[0].text == "awful"
    assert negative_lexicon().read(["awful"])[0].label == "negative"
    assert positive_lexicon().read(["好看"])[0].label == "positive"


def test_strong_words_of_both_kinds_are_noted_as_mixed_and_sarcasm_as_irony() -> None:
    assert "mixed" in RULES.read(["I adore the art and I hate the writing"])[0].notes
    assert "mixed" not in RULES.read(["I adore the art"])[0].notes
    ironic = RULES.read(["oh great, the site is down"])[0]
    assert "irony" in ironic.notes
    assert not ironic.sure


@pytest.mark.parametrize(
    "text",
    [
        "good " * 5000,
        "不" * MAX_MOOD_CHARS,
        "好，但是" * 5000,
        "😭" * 9000,
        "not " * 6000 + "good",
        "哈哈good，" * 3000,
        "🙂好" * 9000,
        "[a](http://" * 1800,
    ],
)
def test_a_long_text_is_read_within_its_cpu_second(text: str) -> None:
    before = time.process_time()
    for method in METHODS:
        check(method.read([text])[0])
    assert time.process_time() - before < 3.0


@pytest.mark.parametrize("clean", [read, clean_for_training])
def test_an_endless_character_reference_is_one_strange_character(clean: Callable[[str], object]) -> None:
    assert "\ufffd" in str(clean(f"good &#{'1' * 5000}; day"))


def test_the_lists_are_well_formed_and_simplified() -> None:
    for lexicon in (chinese(), english()):
        assert all(-4 <= valence <= 4 for valence in lexicon.values())
    assert sum(bool(valence) for valence in chinese().values()) >= 1500
    assert all(simplify(word) == word == word.lower() for word in chinese())
    assert all(" " not in word for word in english())
    assert any(phrase == ("not", "bad") for phrase, _ in english_phrases()["not"])


def test_the_longest_chinese_word_wins() -> None:
    reading = read("好像不好意思，好看")
    assert [reading.text[word.start : word.end] for word in polar_words(reading)] == ["好看"]


def test_a_score_map_learns_the_classes_apart_and_ignores_their_frequency() -> None:
    rng = np.random.default_rng(5)
    score = np.concatenate([rng.normal(-1, 0.3, 900), rng.normal(0, 0.3, 90), rng.normal(1, 0.3, 30)])
    classes = np.repeat([0, 1, 2], [900, 90, 30])
    fitted = fit_score_map(np.stack([np.ones_like(score), score, abs(score)], 1), classes)
    assert [int(np.argmax(fitted.probabilities([1.0, s, abs(s)]))) for s in (-1.0, 0.0, 1.0)] == [0, 1, 2]
