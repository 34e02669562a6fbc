"""The moods' part of a training run: learns from corrections, and holds the candidate against what answers today. Knows
no process and no registry.

A version is a whole folder of weights: the encoder, naive Bayes and the calibration are those that ship, the fast tier
has learned.
"""

import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from models.sentiment.answer import LABELS
from models.sentiment.encoder_ranges import RANGES_FILE
from models.sentiment.moods import Moods
from models.sentiment.scorer import Prepared, prepare
from models.serving.short_requests import Method
from models.serving.training import Check, Family, Progressed
from models.training.base_text import Split as BaseSplit
from models.training.base_text import pieces
from models.training.gate import Judgement
from models.training.mood_corrections import Lesson, fit_corrections
from models.training.snapshot import Snapshot
from models.training.snapshot_rows import Correction
from models.training.train import Candidate, NothingToLearnError, RunContext
from models.weights import MOODS_FOLDER

MIN_CORRECTIONS: Final = 24
MIN_HELD_OUT: Final = 6  # fewer decide nothing: three of four right may be luck
GAIN: Final = 0.01  # nats by which the log loss has to fall; less is not worth a version
FAST_LOSS: Final = 0.02  # nats by which the fast tier's may rise: it counts channels, the default answers people
AGREEMENT: Final = 0.95  # of the base text's sentences whose mood must be what it was
_FLOOR: Final = 1e-4  # of a probability under the logarithm: one sure mistake is no more than 9 nats
_WEIGHTS: Final = ("encoder.safetensors", RANGES_FILE, "naive_bayes_en.safetensors", "naive_bayes_zh.safetensors",
                   "tokenizer.json", "calibration.json")  # fmt: skip
_SENTENCE: Final = re.compile(r"(?<=[.!?。！？”’\"])\s*(?=\S)")


class MoodTrainer:
    """See `models.training.train.Trainer`. It takes seconds and keeps no checkpoint: a resumed run begins it again,
    with the same result."""

    family: Family = "mood"

    def __init__(self, shipped: Path = MOODS_FOLDER) -> None:
        self._shipped = shipped

    def train(self, snapshot: Snapshot, context: RunContext) -> Candidate:
        """Raises NothingToLearnError for too few corrections."""
        lessons = [_lesson(each) for each in snapshot.corrections("train")]
        held_out = sum(1 for _ in snapshot.corrections("held_out"))
        if len(lessons) < MIN_CORRECTIONS or held_out < MIN_HELD_OUT:
            raise NothingToLearnError(
                f"Corrected moods: {len(lessons) + held_out}, of them to test with: {held_out}; the moods learn from "
                f"{MIN_CORRECTIONS} and {MIN_HELD_OUT}."
            )
        context.tell(Progressed(family="mood", step=0, steps=1, loss=0.0, tokens_per_s=0.0, left_s=0.0))
        folder = context.folder / "candidate"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in _WEIGHTS:
            shutil.copyfile(self._shipped / name, folder / name)
        learned = fit_corrections(lessons, sentences("replay"), self._shipped, folder, tick=context.stop_if_cancelled)
        if not learned:
            raise NothingToLearnError("The corrected moods are all of one kind: there is nothing to tell apart.")
        after = log_loss(Moods(folder), [(lesson.text.text, lesson.label) for lesson in lessons], "default")
        context.tell(Progressed(family="mood", step=1, steps=1, loss=after, tokens_per_s=0.0, left_s=0.0))
        return Candidate(
            folder=folder,
            recipe={"objective": "logistic regression on both readings, shipped answers as offsets"} | learned,
            base=Moods(self._shipped).version,
            counts={"train": len(lessons), "held_out": held_out},
        )

    def judge(self, candidate: Candidate, champion: Path | None, snapshot: Snapshot, context: RunContext) -> Judgement:
        new, old = Moods(candidate.folder), Moods(champion or self._shipped)
        texts = [(each.text, each.label) for each in snapshot.corrections("held_out")]
        found: dict[str, float] = {}
        for name, moods in (("", new), ("_before", old)):
            for method in ("default", "linear"):
                context.stop_if_cancelled()
                found[f"log_loss_{method}{name}"] = log_loss(moods, texts, method)
            found[f"error_rate{name}"] = error_rate(moods, texts)
        context.stop_if_cancelled()
        base = [text.text for text in sentences("held_out")]
        shipped = old if champion is None else Moods(self._shipped)  # its encoder takes seconds to load
        found["agreement"] = agreement(new, shipped, base)
        return Judgement(checks=_checks(found), metrics=found)


def _checks(found: dict[str, float]) -> tuple[Check, ...]:
    before, fast = found["log_loss_default_before"], found["log_loss_linear_before"]

    def at_most(name: str, key: str, limit: float, was: float) -> Check:
        return Check(name=name, passed=found[key] <= limit, value=found[key], limit=limit, before=was)

    return (
        at_most("mood_log_loss", "log_loss_default", before - GAIN, before),
        at_most("mood_error_rate", "error_rate", found["error_rate_before"], found["error_rate_before"]),
        at_most("mood_log_loss_fast", "log_loss_linear", fast + FAST_LOSS, fast),
        Check(name="mood_agreement", passed=found["agreement"] >= AGREEMENT, value=found["agreement"], limit=AGREEMENT),
    )


def _lesson(correction: Correction) -> Lesson:
    return Lesson(text=prepare(correction.text), label=correction.label, author=correction.author)


def sentences(split: BaseSplit) -> list[Prepared]:
    """Of the base text: what the moods shall go on to read as they do."""
    parts = [part.strip() for piece in pieces(split) for part in _SENTENCE.split(piece.text)]
    return [prepare(part) for part in parts if len(part) > 1]


def log_loss(moods: Moods, texts: Sequence[tuple[str, str]], method: Method) -> float:
    """Mean nats of the right labels."""
    read = moods.read([text for text, _ in texts], method)
    chances = [mood.probabilities[LABELS.index(label)] for mood, (_, label) in zip(read, texts, strict=True)]
    return float(np.mean([-math.log(max(chance, _FLOOR)) for chance in chances]))


def error_rate(moods: Moods, texts: Sequence[tuple[str, str]]) -> float:
    """Of the default's labels, in 0..1."""
    read = moods.read([text for text, _ in texts])
    return float(np.mean([mood.label != label for mood, (_, label) in zip(read, texts, strict=True)]))


def agreement(moods: Moods, shipped: Moods, texts: Sequence[str]) -> float:
    """The share of texts that both give the same label, in 0..1."""
    pairs = zip(moods.read(texts), shipped.read(texts), strict=True)
    return float(np.mean([mine.label == theirs.label for mine, theirs in pairs]))
