"""The reader of the public sentiment sets, on tiny files of the same forms."""

import csv
import json
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from models.sentiment.clean_text import clean, language_of
from models.training.mood_corpus import LABELS, Row, keys, read_corpora, sentences_of, training_rows

LONG = (
    "客房里的灯光十分柔和而且床单也非常干净前台的小姑娘说话很客气"
    "早餐品种虽然不算多但是味道都还可以下次再来杭州出差还会住这里的各位朋友也可以试试看看"
)


def write_sets(folder: Path) -> Path:
    """A few rows of every set that these tests read, in its own form."""

    def write(path: str, text: str) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")

    write("sst2/dev.tsv", "label\tcontent\n1\ta truly wonderful little picture , warm and funny .\n")
    write(
        "sst2/train_phrases.tsv",
        "label\tsentence\n0\tdull\n0\ta dull and lifeless remake\n1\ttruly wonderful little picture , warm\n"
        "1\twonderful\n",
    )
    write("tweeteval_sentiment/val_text.txt", "Great game tonight @user http://t.co/x \nTrain is at nine\n")
    write("tweeteval_sentiment/val_labels.txt", "2\n1\n")
    write(
        "semeval2013_2016/twitter-2013train-A.tsv",
        '1\tpositive\t"Love it\\u002c really!"\n2\tneutral\tNot Available\n3\tnegative\tGREAT game tonight @bob\n'
        "4\tneutral\tmeeting moved to ten\nhalf a tweet\n",
    )
    write(
        "semeval2013_2016/twitter-2014test-A.tsv",
        "9\tnegative\tmeeting moved to ten!\n8\tpositive\tlove it, REALLY\n",
    )
    write("goemotions/group_train.tsv", "thanks a lot\t3\ta\nwhat now\t0\tb\nodd one\t1,3\tc\n")
    write("goemotions/group_dev.tsv", "it is a chair\t2\td\n")
    write("meld/dev.csv", 'Sr No.,Utterance,Sentiment\n1,"Oh no, not again",negative\n')
    write("vader_gt/tweets_GroundTruth.txt", "1\t2.7\tso lucky\n2\t0.1\ta table\n3\t-1.9\tworst day\n")
    write("chnsenticorp/dev.tsv", f"label\ttext_a\n1\t{LONG}\n")
    write("chnsenticorp/train.tsv", "label\ttext_a\n0\t太差了,不推荐\n")
    write("chnsenticorp_htl/ChnSentiCorp_htl_all.csv", f'label,review\n1,"{LONG}再补充一句"\n0,"太差了，不推荐！"\n')
    smp = [("开心", "happy"), ("惊了", "surprise"), ("通知：明天开会", "neutral")]
    texts = [{"id": n, "content": text, "label": label} for n, (text, label) in enumerate(smp)]
    write("smp2020_ewect/virus_train.json", json.dumps(texts))
    write("smp2020_ewect/virus_eval_labeled.json", json.dumps([{"id": 1, "content": "好难过", "label": "sad"}]))
    write("smp2020_ewect/usual_eval_labeled.json", "[]")
    write("cped/valid.csv", "\ufeffDialogue_ID,Sentiment,Utterance\n1_0,negative,怎么了\n1_0,neutral,好\n")
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    return read_corpora(write_sets(tmp_path), chat_lines=None)


def texts(rows: list[Row], source: str, part: str = "train") -> set[str]:
    return {row.text for row in rows if row.source == source and row.part == part}


def test_a_training_text_that_repeats_a_held_out_one_is_dropped_whatever_its_case_marks_and_mentions(
    rows: list[Row],
) -> None:
    assert texts(rows, "tweeteval_sentiment", "dev") == {"Great game tonight @user http", "Train is at nine"}
    assert not any("game" in row.text for row in rows if row.part == "train")


def test_a_longer_copy_of_a_held_out_review_is_a_near_duplicate(rows: list[Row]) -> None:
    assert texts(rows, "chnsenticorp", "dev") == {LONG}
    assert not any("再补充" in row.text for row in rows)


def test_phrases_of_held_out_sentences_do_not_train_but_single_words_may(rows: list[Row]) -> None:
    trained = {row.text for row in rows if row.source == "sst2" and row.part != "dev"}
    assert "truly wonderful little picture, warm" not in trained
    assert "a dull and lifeless remake" in trained
    assert "wonderful" in trained


def test_phrases_of_one_sentence_share_its_group(rows: list[Row]) -> None:
    groups = {row.group for row in rows if row.source == "sst2" and "dull" in row.text}
    assert groups == {"sst2:a dull and lifeless remake"}


def test_a_text_with_two_labels_in_training_is_dropped_and_a_repeat_counts_once(rows: list[Row]) -> None:
    both = [row for row in rows if row.source == "semeval"]
    assert [row.text for row in both] == ["Love it, really!"]
    assert sum("不推荐" in row.text for row in rows) <= 1


def test_evaluation_only_sets_never_train(rows: list[Row]) -> None:
    parts = {row.part for row in rows if row.source in ("meld", "vader_gt")}
    assert parts == {"evaluation"}
    trained = training_rows(rows, "en") + training_rows(rows, "zh")
    assert trained
    assert not {row.source for row in trained} & {"meld", "vader_gt"}


def test_two_class_corpora_say_nothing_about_neutral(rows: list[Row]) -> None:
    assert all(row.label != "neutral" for row in rows if row.classes == 2)
    assert all(row.classes == 3 for row in training_rows(rows, "en", classes=3))
    assert {row.source for row in rows if row.classes == 2} >= {"sst2", "chnsenticorp", "vader_gt"}


def test_surprise_ambiguous_and_barely_felt_rows_are_left_out(rows: list[Row]) -> None:
    everything = {row.text for row in rows}
    assert not everything & {"惊了", "what now", "odd one", "a table"}
    assert {row.label for row in rows} == set(LABELS)


def test_utterances_of_one_dialogue_stay_on_one_side(rows: list[Row]) -> None:
    cped = [row for row in rows if row.source == "cped"]
    assert len({row.group for row in cped}) == 1
    assert len({row.part for row in cped}) == 1


def test_the_same_files_give_the_same_rows(tmp_path: Path) -> None:
    assert read_corpora(write_sets(tmp_path / "a")) == read_corpora(write_sets(tmp_path / "b"))


def test_our_own_chat_lines_train_beside_the_sets_and_know_neutral(tmp_path: Path) -> None:
    found = [row for row in read_corpora(write_sets(tmp_path)) if row.source == "chat_lines"]
    assert {row.language for row in found} == {"en", "zh"}
    assert {row.part for row in found} == {"train", "calibration"}
    assert {row.classes for row in found} == {3}
    for language in ("en", "zh"):
        assert len(training_rows(found, language)) > 800


def test_no_chat_line_that_trains_is_nearly_one_that_measures(tmp_path: Path) -> None:
    trained = [row.text.lower() for row in read_corpora(write_sets(tmp_path)) if row.source == "chat_lines"]
    fixture = Path(__file__).parent / "fixtures" / "chat_moods.tsv"
    with fixture.open(encoding="utf-8", newline="") as file:
        held_out = [line["text"].lower() for line in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    marks = {mark for text in held_out for mark in keys(clean(text))}
    assert not [text for text in trained if not marks.isdisjoint(keys(text))]
    near = SequenceMatcher(autojunk=False)
    for text in held_out:
        near.set_seq2(text)  # what it keeps of the second text is reused for each first
        for other in trained:
            near.set_seq1(other)
            if near.real_quick_ratio() > 0.75 and near.quick_ratio() > 0.75:
                assert near.ratio() <= 0.75, (text, other)


def test_a_folder_without_sets_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds none of the sets sst2"):
        read_corpora(tmp_path)


def test_every_phrase_finds_the_longest_phrase_that_holds_it_by_whole_words() -> None:
    assert sentences_of(["a b c", "b c", "b", "bc", "a b c d"]) == ["a b c d", "a b c d", "a b c d", "bc", "a b c d"]


def test_emoji_alone_are_recognised_by_themselves() -> None:
    assert keys("😀") == ("😀",)
    assert keys("RT @user Hello!") == keys("hello") == ("hello",)


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("it 's bad , is it ?", "it's bad, is it?"),
        ("do n't", "don't"),
        ("see https://example.org/a?b=c now", "see http now"),
        ("<@123456> hi <:party:998877> @bob", "@user hi :party: @user"),
        ("plan\\u002c \u2019tis \u201cfine\u201d &amp; done", 'plan, \'tis "fine" & done'),
        ("ＡＢＣ１２，好！", "ABC12，好！"),
        ("a\u200b\n\n b\t c", "a b c"),
        ("-LRB- yes -rrb-", "( yes )"),
        ("lone \ud800 half", "lone  half"),
        ("mail me at bob@example.org", "mail me at bob@example.org"),
    ],
)
def test_one_spelling(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("what a day", "en"),
        ("今天真好 lol", "zh"),
        ("это очень хорошо", "other"),
        ("今日はとても楽しかったです", "other"),
        ("el servicio es muy malo y la comida está fría", "other"),
        ("das ist nicht schön, aber ich mag es", "other"),
        ("😀😀", "none"),
        ("12:30", "none"),
        ("café", "en"),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert language_of(text) == language
