"""`inkwell mood train` as a whole, on a few made rows and a tiny encoder: tuning, ranges, counting, teaching,
tones, calibration."""

from pathlib import Path

import pytest

from models.sentiment.encoder_ranges import RANGES_FILE
from models.sentiment.linear import tones_in
from models.sentiment.moods import Moods
from models.training.mood_corpus import Row
from models.training.mood_linear import OneSidedError
from models.training.mood_train import train_all
from tests.small_moods import write_small_moods

SAID = {
    "en": (("I love page {}", "positive"), ("I hate page {}", "negative"), ("see you at {}", "neutral")),
    "zh": (("我很喜欢第{}页", "positive"), ("第{}页太糟糕", "negative"), ("明天{}点开会", "neutral")),
}
SOURCES = {"en": "semeval", "zh": "smp2020"}


def rows() -> list[Row]:
    return [
        Row(
            text=text.format(f"{part}{n}"), label=label, classes=3, language=language, source=SOURCES[language],
            group=f"{part}{n}", part=part,
        )
        for language, said in SAID.items()
        for part, count in (("train", 16), ("calibration", 6))
        for n in range(count)
        for text, label in said
    ]  # type: ignore[arg-type]  # fmt: skip


def test_training_ends_with_a_folder_that_answers(tmp_path: Path) -> None:
    start, out, told = write_small_moods(tmp_path / "start"), tmp_path / "out", list[str]()
    train_all(rows(), out, start=start, minutes=0.03, chat=None, seed=1, bf16=False, say=told.append)
    assert [line.split(" ")[0] for line in told if line[0] != " "] == [
        "Counting", "Tuning", "Watching", "Fitting", "Calibrating", "The"
    ]  # fmt: skip
    assert "  the encoder has read 0 of 48 texts" in told
    assert all(tones_in(out / f"linear-{language}.safetensors") is not None for language in SAID)
    moods = Moods(out)
    assert moods.read(["我很喜欢"], "linear")[0].label == "positive"  # in English a teacher of two seconds has its say
    assert (out / RANGES_FILE).is_file()
    for method in ("naive_bayes", "linear", "encoder", "default"):
        for mood in moods.read(["I love it", "我很喜欢", "see you at 9"], method):  # type: ignore[arg-type]
            assert sum(mood.probabilities) == pytest.approx(1)


def test_rows_without_a_side_are_refused_before_the_encoder_is_tuned(tmp_path: Path) -> None:
    start, out = write_small_moods(tmp_path / "start"), tmp_path / "out"
    pleasant = [row for row in rows() if row.label != "negative"]
    with pytest.raises(OneSidedError, match="both sides"):
        train_all(pleasant, out, start=start, minutes=1, chat=None, seed=1, say=print)
    assert not out.exists()
