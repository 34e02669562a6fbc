"""Method 3: class-conditional language models, fitted on small texts of our own."""

from dataclasses import replace
from importlib import resources
from math import isclose
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from models.sentiment.language_model_scorer import LanguageModelScorer
from models.sentiment.naive_bayes import (
    CorpusLanguage,
    LanguageTables,
    NaiveBayes,
    batch_of,
    load_naive_bayes,
    load_tables,
    model_scores,
    save_tables,
)
from models.sentiment.reading import read
from models.sentiment.scorer import prepare
from models.sentiment.text_units import _short_unit_hash, character_hashes, ngram_hashes, unit_hash, units_of
from models.serving.short_requests import Label
from models.training.mood_corpus import Row
from models.training.mood_methods import train_naive_bayes
from models.training.mood_naive_bayes import fit_naive_bayes

TEXTS: dict[CorpusLanguage, dict[Label, tuple[list[str], list[str]]]] = {
    "en": {
        "positive": (
            ["lovely", "bright", "charming", "warm"],
            ["I enjoyed this", "what a story", "we all smiled at it"],
        ),
        "negative": (["dreary", "awful", "clumsy", "cold"], ["I skipped this", "what a bore", "we all frowned at it"]),
        "neutral": (
            ["blue", "square", "wooden", "tall"],
            ["the table stands here", "it is on page", "we meet at noon"],
        ),
    },
    "zh": {
        "positive": (["精彩", "可爱", "温暖"], ["我很喜欢", "大家都笑了", "还想再看"]),
        "negative": (["无聊", "难看", "糟糕"], ["我不想看", "大家都走了", "再也不来"]),
        "neutral": (["蓝色", "方形", "木头"], ["桌子在这里", "第三页写着", "中午见面"]),
    },
}


def rows_of(language: CorpusLanguage, times: int = 6) -> list[Row]:
    """Every ending after every word; every second one from a corpus without neutral."""
    rows = []
    for label, (words, endings) in TEXTS[language].items():
        for number in range(times * len(words) * len(endings)):
            word, ending = words[number % len(words)], endings[number // len(words) % len(endings)]
            classes: Literal[2, 3] = 3 if label == "neutral" or number % 2 else 2
            row = Row(
                text=f"{word} {ending}", label=label, classes=classes, language=language, source=f"own{number % 2}",
                group=str(number), part="train",
            )  # fmt: skip
            rows.append(row)
    return rows


@pytest.fixture(scope="module")
def fitted() -> dict[CorpusLanguage, LanguageTables]:
    languages: tuple[CorpusLanguage, ...] = ("en", "zh")
    return {language: fit_naive_bayes(rows_of(language), rows_of(language, 2), language) for language in languages}


@pytest.fixture(scope="module")
def method(fitted: dict[CorpusLanguage, LanguageTables]) -> NaiveBayes:
    return NaiveBayes(fitted, "naive_bayes@test")


@pytest.mark.parametrize("part", ["both", "bag", "language_model"])
@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("charming, I enjoyed this", "positive"),
        ("clumsy, what a bore", "negative"),
        ("wooden, it is on page 3", "neutral"),
        ("可爱，我很喜欢", "positive"),
        ("難看，再也不來", "negative"),
        ("方形的桌子在这里", "neutral"),
    ],
)
def test_each_class_is_told_by_the_words_that_it_wrote(
    fitted: dict[CorpusLanguage, LanguageTables], part: str, text: str, label: str
) -> None:
    mood = NaiveBayes(fitted, "naive_bayes@test", part).read([text])[0]  # type: ignore[arg-type]
    assert mood.label == label
    assert mood.method == "naive_bayes"


def test_the_words_that_decided_are_shown_as_written(method: NaiveBayes) -> None:
    shown = {piece.text: piece.weight for piece in method.read(["What a dreary,難看 Bore"])[0].evidence}
    assert any("dreary" in text and weight < 0 for text, weight in shown.items())
    shown = {piece.text: piece.weight for piece in method.read(["這個故事難看"])[0].evidence}
    assert any("難看" in text and weight < 0 for text, weight in shown.items())


@given(texts=st.lists(st.one_of(st.text(), st.sampled_from(["", "lovely", "很喜欢", "😭", "https://a.b"])), max_size=6))
@settings(max_examples=60)
def test_any_text_has_a_whole_mood_and_company_changes_no_answer(method: NaiveBayes, texts: list[str]) -> None:
    moods = method.read(texts)
    for mood in moods:
        assert isclose(sum(mood.probabilities), 1.0, abs_tol=1e-9)
        assert all(0 <= p <= 1 for p in mood.probabilities)
    assert moods == [method.read([text])[0] for text in texts]


def test_two_class_corpora_say_nothing_about_neutral(fitted: dict[CorpusLanguage, LanguageTables]) -> None:
    extra = [replace(row, classes=2) for row in rows_of("en", 40) if row.label != "neutral"]
    more = fit_naive_bayes(rows_of("en") + extra, rows_of("en", 2), "en")
    assert np.array_equal(more.bag[0], fitted["en"].bag[0])
    assert more.totals[:2].tolist() == fitted["en"].totals[:2].tolist()
    assert more.totals[3] > fitted["en"].totals[3]


def test_a_likelihood_ratio_is_the_smoothed_one_of_the_paper(fitted: dict[CorpusLanguage, LanguageTables]) -> None:
    tables = replace(fitted["en"], model_orders=1)
    count = {label: sum(row.text.split().count("lovely") for row in rows_of("en") if row.label == label)
             for label in ("positive", "negative")}  # fmt: skip
    base = tables.priors[0] / tables.vocabulary
    wanted = np.log((count["positive"] + base) / (tables.totals[3] + tables.priors[0])) - np.log(
        (count["negative"] + base) / (tables.totals[2] + tables.priors[0])
    )
    assert model_scores(tables, batch_of([read("lovely")]))[0, 1] == pytest.approx(wanted, abs=0.05)


def test_ngrams_never_reach_over_the_end_of_a_text() -> None:
    batch = batch_of([read("a b"), read("c")])
    hashes = ngram_hashes(batch.hashes, batch.texts, 2)
    assert (hashes != 0).tolist() == [False, True, False]
    again = batch_of([read("a b")])
    assert ngram_hashes(again.hashes, again.texts, 2)[1] == hashes[1]


def test_units_are_words_characters_marks_and_faces() -> None:
    reading = read("Soooooo good!!! 😭👍🏽 结局yyds 123?")
    assert [unit.form for unit in units_of(reading)] == [
        "sooo", "good", "!!", "😭", "👍", "结", "局", "yyds", "0", "?",
    ]  # fmt: skip


def test_units_stand_where_they_were_written_though_a_letter_grows_in_lower_case() -> None:
    reading = read("İİİ good day")
    assert [reading.written[unit.start : unit.end] for unit in units_of(reading)] == ["İİİ", "good", "day"]


def test_invented_words_are_not_kept() -> None:
    before = _short_unit_hash.cache_info().currsize
    assert unit_hash("ab" * 5000) == crc32(b"ab" * 5000)
    assert character_hashes("ab" * 5000) == ()
    assert _short_unit_hash.cache_info().currsize == before


def test_saved_tables_give_the_same_answers(fitted: dict[CorpusLanguage, LanguageTables], tmp_path: Path) -> None:
    for language, tables in fitted.items():
        save_tables(tables, tmp_path / f"naive_bayes_{language}.safetensors")
    loaded = load_naive_bayes(tmp_path)
    texts = ["lovely story", "再也不来", "", "wooden table"]
    ours = NaiveBayes(fitted, loaded.version)
    assert loaded.read(texts) == ours.read(texts)
    assert loaded.version.startswith("naive_bayes@") and len(loaded.version) == len("naive_bayes@") + 8


def test_training_writes_what_is_loaded_and_is_the_same_every_time(tmp_path: Path) -> None:
    rows = [row for language in ("en", "zh") for row in rows_of(language)]  # type: ignore[arg-type]
    rows += [replace(row, part="calibration") for row in rows]
    first, second = (train_naive_bayes(rows, tmp_path / name) for name in ("a", "b"))
    assert first.version == second.version
    assert first.read(["lovely story"])[0].label == "positive"


def test_as_a_member_of_the_default_the_language_model_gives_its_log_ratios(
    fitted: dict[CorpusLanguage, LanguageTables], tmp_path: Path
) -> None:
    for language, tables in fitted.items():
        save_tables(tables, tmp_path / f"naive_bayes_{language}.safetensors")
    scorer = LanguageModelScorer(tmp_path)
    texts = ["lovely: what a story", "再也不来", "wooden table", "温暖，我很喜欢"]
    found = scorer.score([prepare(text) for text in texts]).logits
    for text, own in zip(texts, found, strict=True):
        language: CorpusLanguage = "zh" if read(text).language == "zh" else "en"
        assert own.tolist() == model_scores(fitted[language], batch_of([read(text)]))[0].tolist()
    assert found[0, 1] > 0 > found[1, 1] and found[3, 1] > 0 > found[2, 0]
    assert scorer.version.startswith("language_model@")


def test_a_strange_file_is_refused_by_name(tmp_path: Path) -> None:
    save_file({"x": np.zeros(3)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"x\.safetensors"):
        load_tables(tmp_path / "x.safetensors")


def test_the_shipped_weights_tell_plain_texts_apart() -> None:
    folder = Path(str(resources.files("models.weights"))) / "moods"
    method = load_naive_bayes(folder)
    labels = [
        mood.label for mood in method.read(["this story is wonderful", "what a boring mess", "剧情太烂了，不好看"])
    ]
    assert labels == ["positive", "negative", "negative"]
    assert all(path.stat().st_size < 2_300_000 for path in folder.glob("naive_bayes_*.safetensors"))


def test_fitting_needs_every_class() -> None:
    rows = [row for row in rows_of("en") if row.label != "neutral"]
    with pytest.raises(ValueError, match="all three classes"):
        fit_naive_bayes(rows, rows_of("en"), "en")
