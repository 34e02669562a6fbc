"""Reading labelled files, the numbers made of answers, and `inkwell mood evaluate` as a process."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from models.training.mood_evaluate import cross_validate
from models.training.mood_linear import fit
from models.training.mood_metrics import choose_threshold, expected_calibration_error, judge, measure
from models.training.mood_sets import LabelledSet, read_set, read_sets
from tests.small_moods import write_small_moods
from tests.test_mood_corpus import write_sets

ROOT = Path(__file__).parents[1]
GOOD = ("what a lovely chapter", "I love this ending", "great work, thank you", "so happy with it", "wonderful writing")
BAD = ("what a dull chapter", "I hate this ending", "terrible work, really", "so sad about it", "boring writing")
PLAIN = (
    "the meeting is at nine",
    "page four has a table",
    "it was sent on Monday",
    "see channel two",
    "the file is here",
)


def lines(count: int, *, neutral: bool = True) -> list[tuple[str, str]]:
    found = []
    for n in range(count):
        found += [(f"{GOOD[n % 5]} {n}", "positive"), (f"{BAD[n % 5]} {n}", "negative")]
        if neutral:
            found.append((f"{PLAIN[n % 5]} {n}", "neutral"))
    return found


def write_tsv(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
    return path


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "text\tlabel\nfine day\tpositive\noh no\tnegative\n",
        "\ufefftext\tlabel\r\nfine day\tpositive\r\noh no\tnegative\r\n\r\n",
        'label\tid\ttext\npositive\t1\t"fine day"\nNegative\t2\toh no',
        "Text\tLABEL\nfine day\tpositive\noh no\tnegative",
    ],
)
def test_the_same_set_in_several_spellings(tmp_path: Path, content: str) -> None:
    path = tmp_path / "s.tsv"
    path.write_bytes(content.encode())
    found = read_set(path)
    assert (found.texts, found.labels, found.two_class) == (["fine day", "oh no"], [2, 0], True)


def test_stray_quotes_stay_and_quoted_cells_may_hold_tabs_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"so it begins\tneutral\nhe said ""hi""\tpositive\n"a ""b"" c"\tnegative\n')
    assert read_set(path).texts == ['"so it begins', 'he said ""hi""', 'a "b" c']
    path.write_text('text\tlabel\n"two\nlines\tand a tab"\tneutral\nplain\tpositive\n')
    assert read_set(path).texts == ["two\nlines\tand a tab", "plain"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("words\tlabel\nx\tpositive\n", "no column text"),
        ("text\tmood\nx\tpositive\n", "no column label"),
        ("", "no column text"),
        ("text\tlabel\n", "no row"),
        ("text\tlabel\nx\tpositive\ny\t1\n", "row 3 has the label '1'"),
        ("text\tlabel\nx\tpositive\ny\n", "row 3 has 1 cells"),
        ("text\tlabel\nx\tpositive\ny\tpositive\n", "one label only"),
    ],
)
def test_a_file_that_cannot_be_measured_is_refused_in_a_sentence(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "b.tsv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_set(path)
    with pytest.raises(ValueError, match=r"no \.tsv file"):
        read_sets(tmp_path / "nowhere")
    path.write_bytes(b"text\tlabel\n\xff\xfe\tpositive\n")
    with pytest.raises(ValueError, match="isn't UTF-8"):
        read_set(path)


# --- numbers --------------------------------------------------------------------------------------------------------


def test_the_numbers_of_a_small_set_are_those_worked_out_by_hand() -> None:
    rows = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1]])
    found = measure(judge([0, 1, 2, 2], rows, np.array([True, True, False, True])))
    assert found["accuracy"] == 0.75
    assert found["macro_recall"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert found["confusion"] == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert found["per_class"]["negative"]["precision"] == 0.5
    assert found["coverage"] == 0.75
    assert found["error_when_sure"] == pytest.approx(1 / 3)
    assert found["error_at_75_coverage"] == 0.0
    low, high = found["intervals"]["accuracy"]
    assert low < 0.75 < high


def test_a_set_of_two_classes_is_measured_on_two() -> None:
    rows = np.array([[0.3, 0.6, 0.1], [0.1, 0.7, 0.2], [0.4, 0.1, 0.5]])
    judged = judge([0, 2, 0], rows, np.ones(3, bool))
    assert judged.classes == ("negative", "positive")
    assert judged.predicted.tolist() == [0, 1, 1]
    assert np.allclose(judged.probabilities[0], [0.75, 0.25])
    assert measure(judged)["auc"] == 1.0


def test_calibration_error_is_zero_for_honest_confidence_and_the_gap_otherwise() -> None:
    correct = np.array([True] * 7 + [False] * 3)
    assert expected_calibration_error(np.full(10, 0.7), correct) == pytest.approx(0.0)
    assert expected_calibration_error(np.full(10, 0.9), correct) == pytest.approx(0.2)


def test_each_way_of_choosing_a_threshold_finds_its_own_best() -> None:
    truth = np.array([False] * 6 + [True] * 4)
    chance = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.8, 0.45, 0.6, 0.7, 0.9])
    assert choose_threshold(truth, chance, "youden", (1, 1))["threshold"] in (0.45, 0.6)
    dear_misses = choose_threshold(truth, chance, "cost", (100, 1))
    dear_alarms = choose_threshold(truth, chance, "cost", (1, 100))
    assert dear_misses["recall"] == 1.0
    assert dear_alarms["false_alarm_rate"] == 0.0
    best = choose_threshold(truth, chance, "f1", (1, 1))
    assert best["f1"] == max(
        choose_threshold(truth, chance, "f1", (1, 1))["f1"], dear_misses["f1"], dear_alarms["f1"]
    )  # fmt: skip


@pytest.mark.parametrize("neutral", [True, False])
def test_folds_train_on_the_set_itself_and_keep_groups_together(neutral: bool) -> None:
    rows = lines(20, neutral=neutral)
    places = {"negative": 0, "neutral": 1, "positive": 2}
    each = LabelledSet(
        name="s", texts=[text for text, _ in rows], labels=[places[label] for _, label in rows],
        groups=[text.rsplit(" ", 1)[1] for text, _ in rows],
    )  # fmt: skip
    found = cross_validate(each, "linear", 4)
    assert found["folds"] == 4
    assert found["mean"]["accuracy"] > 0.7
    assert "error" in cross_validate(each, "linear", 21)


# --- the commands ---------------------------------------------------------------------------------------------------


def inkwell(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "bot", "mood", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=110
    )


def test_evaluate_writes_json_with_every_number_of_the_interface_and_charts(tmp_path: Path) -> None:
    weights = write_small_moods(tmp_path / "weights")
    data = tmp_path / "data"
    data.mkdir()
    write_tsv(data / "three.tsv", lines(8))
    write_tsv(data / "two.tsv", lines(8, neutral=False))
    done = inkwell("evaluate", "--data", str(data), "--out", str(tmp_path / "out"), "--weights", str(weights),
                   "--method", "default", "--method", "rules", "--threshold-by", "youden")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out/moods.json").read_text())
    assert set(found["sets"]) == {"three", "two"}
    for name, own in found["sets"].items():
        assert {"accuracy", "macro_recall", "macro_f1", "auc", "ece", "coverage", "messages_per_second"} <= own.keys()
        assert own["method"] == "default"
        assert set(own["methods"]) == {"default", "rules"}
        assert own["accuracy"] == own["methods"]["default"]["accuracy"]
        assert own["methods"]["rules"]["accuracy"] > 0.6
        assert len(own["methods"]["rules"]["confusion"]) == (3 if name == "three" else 2)
        assert own["methods"]["rules"]["thresholds"]["positive"]["by"] == "youden"
        assert (tmp_path / f"out/{name}-rules.png").read_bytes().startswith(b"\x89PNG")
    assert "messages" not in done.stderr
    assert "three" in done.stdout


def test_evaluate_refuses_in_a_sentence(tmp_path: Path) -> None:
    done = inkwell("evaluate", "--data", str(tmp_path))
    assert done.returncode == 2
    assert "holds no .tsv file" in done.stderr
    assert "Traceback" not in done.stderr
    done = inkwell("evaluate", "--data", str(tmp_path), "--method", "tarot")
    assert done.returncode != 0
    assert "There is no method tarot" in done.stderr


def test_the_fast_tier_trains_the_same_twice_and_learns(tmp_path: Path) -> None:
    from models.sentiment.linear import LinearScorer
    from models.sentiment.scorer import prepare
    from models.training.mood_corpus import Row, read_corpora

    base = read_corpora(write_sets(tmp_path / "sets"))
    made = [
        Row(text=text, label=label, classes=3, language="en", source="made", group=text, part="train")
        for text, label in lines(20)
    ]  # type: ignore[arg-type]
    chinese = [
        Row(text=f"{word}{n}", label=label, classes=3, language="zh", source="made", group=str(n), part="train")
        for n in range(9)
        for word, label in (("很喜欢", "positive"), ("太糟糕", "negative"), ("明天开会", "neutral"))
    ]  # type: ignore[arg-type]
    versions = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        fit([*base, *made, *chinese], folder)
        versions.append(LinearScorer(folder).version)
    assert versions[0] == versions[1]
    scores = LinearScorer(tmp_path / "a").score([prepare("I love this chapter"), prepare("I hate this chapter")])
    assert scores.logits[0, 1] > 0 > scores.logits[1, 1]
    assert "love" in [piece.text for piece in scores.evidence[0]]
