"""Cleaning, de-duplication and the split of the story corpora."""

from pathlib import Path

import pytest

from models.language.normal_form import normalise
from models.training.corpus import (
    clean,
    load_stories,
    strip_editors_notes,
    strip_english_apparatus,
    write_corpus,
)
from models.training.overlap import shared_with, shared_with_earlier

PROSE = "It was the best of days and the king went to the wood with his men, for he would not stay at home. " * 4
OTHER = "She had a small house by the sea, and in it were all the things that she loved, and no one came to her. " * 4


def test_normal_form_is_stable_and_keeps_chinese_punctuation() -> None:
    text = normalise("\ufeff“Hi”—he\u00a0said…\r\n\r\n\r\n\r\nＡ１  b\u200b\n")
    assert text == '"Hi"--he said...\n\nA1 b'
    assert normalise(text) == text
    assert normalise("他说：“好。”——我　想……") == "他说：“好。”——我 想……"


def test_english_apparatus_goes_and_prose_stays() -> None:
    book = "\n\n".join(
        ["THE BOOK", "By SOMEBODY", "CONTENTS 1 The Fox 2 The Wolf", PROSE.strip() + "[12]", "CHAPTER II",
         OTHER.strip(), "[12] See Smith, p. 3.", "[Illustration: a fox]", *[PROSE.strip() + f" {i}" for i in range(20)],
         "INDEX", "Fox, 12, 13; Wolf, 14"]
    )  # fmt: skip
    cleaned = strip_english_apparatus(book)
    assert cleaned.startswith("It was the best of days")
    assert "CHAPTER II" in cleaned
    for gone in ("[12]", "Illustration", "INDEX", "Wolf, 14", "CONTENTS", "Smith"):
        assert gone not in cleaned


def test_a_book_of_one_paragraph_is_kept_whole() -> None:
    assert len(strip_english_apparatus("Copyright by nobody. " + PROSE * 20)) > 7_000


def test_editors_notes_go_with_their_continuations_and_marks() -> None:
    text = "\n".join(
        ["奔月〔1〕", "羿在垃圾堆边下了马〔2〕，家将们接过缰绳。", "一九二六年十二月作。",
         "〔1〕本篇最初发表于某刊。", "这是注文的第二段。", "〔2〕羿，传说中善射的英雄。", "理水〔1〕",
         "这时候是汤汤洪水方割。", "〔1〕本篇未发表过。"]
    )  # fmt: skip
    assert (
        strip_editors_notes(text)
        == "奔月\n羿在垃圾堆边下了马，家将们接过缰绳。\n一九二六年十二月作。\n理水\n这时候是汤汤洪水方割。"
    )


def test_the_frame_of_a_transcription_goes() -> None:
    assert (
        clean("书名沉沦郁达夫著他近来觉得孤冷得可怜。沉沦", title="沉沦", collection="zh-modern-pg")
        == "他近来觉得孤冷得可怜。"
    )


def test_shared_eight_grams_are_found_and_chance_is_not() -> None:
    words = "one two three four five six seven eight nine ten"
    assert shared_with([words], [[words.upper() + "!", "one two three four five six seven", "nothing of it"]])[
        0
    ].tolist() == [1, 0, 0]
    first, second = shared_with_earlier(
        [[words, words], [words, "quite another thing that nobody said before today ever"]]
    )
    assert first.tolist() == [0, 0]
    assert second.tolist() == [1, 0]
    assert shared_with(["我在院子里看见两株枣树"], [["我在院子里看见两株枣树"]])[0].tolist() == [1]


def test_held_out_titles_leave_no_paragraph_in_the_training_text(tmp_path: Path) -> None:
    for name, text in {
        "en-novels/Doyle_Lost_1912": PROSE, "en-novels/Some_Other_1900": f"{OTHER}\n\n{PROSE}\n\n{OTHER}",
        "en-novels/Third_1901": f"{OTHER}\n\n{'He had not been there and it was all that they could do. ' * 5}",
        "zh-modern-pg/欧游杂记": "威尼斯是一个别致地方。",
    }.items():  # fmt: skip
        path = tmp_path / "in" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    sizes = write_corpus(tmp_path / "in", tmp_path / "one")
    train = (tmp_path / "one" / "train-en.txt").read_text(encoding="utf-8")
    assert "best of days" not in train
    assert train.count("small house by the sea") == 8  # twice in one book is its author's; the third book's is a copy
    assert "could do" in train
    assert sizes["test-en"] > 0
    assert sizes["train-zh"] == 0  # its rights are unclear
    write_corpus(tmp_path / "in", tmp_path / "two")
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_a_folder_without_stories_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_stories(tmp_path)
