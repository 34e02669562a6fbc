"""Fits the fast tier with scikit-learn, which is needed here only. Knows no files but the weights that it writes.

Two stages for each language: neutral or polar, from three-class corpora alone; then negative or positive, from all.
Before the logistic regression every feature is scaled by how far its log-count ratio lies from zero (NB-SVM, Wang and
Manning 2012) and the scale is folded into the weights, so that use costs nothing more. How much the listed words weigh
beside the features is fitted on what features say of rows that they did not learn from: on their own rows they know
all, and the words would weigh nothing.
"""

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags, vstack
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from models.sentiment.calibration import class_sizes, sigmoid, source_weights
from models.sentiment.features import BITS, extract, split
from models.sentiment.linear import LANGUAGES, linear_file, save_linear
from models.sentiment.scorer import ModelLanguage, Scorer, model_text, prepare
from models.sentiment.tones import TONES, tones_of
from models.training.mood_corpus import LABELS, Row, percent_of, training_rows

_BATCH = 512
_SMOOTHING = 0.5
STRENGTH = 4.0  # C of the logistic regression
# Of some sets only a part: there are more shop reviews than all else in Chinese, and they are much alike. Chat lines
# are few, and what is read: they count thrice.
PARTS = {"online_shopping_10_cats": 0.5, "chat_lines": 3.0}
# CPED's "neutral" depends on the scene, not on the words; its sides do help.
NO_NEUTRAL_STAGE = frozenset({"cped"})

TEACHING = 0.8  # part of a target that is the teacher's answer, the rest is the label
TEMPERATURE = 2.0  # by which the teacher's log odds are divided
_TOLD_EVERY = 20  # batches: half a minute or more
_LEAST_PART = 1e-3  # of a row's target: what is less is left out
FOLDS = 3
# Languages whose rows the teacher is asked about, and those whose classes are evened out: half in training, wholly when
# tones are weighed and in calibration. English corpora are half neutral and a seventh negative: a reader that expects
# that overlooks more than a third of unpleasant tweets. In Chinese each costs half a point or more on Weibo or takeaway
# reviews.
TAUGHT: frozenset[ModelLanguage] = frozenset({"en"})
EVEN: frozenset[ModelLanguage] = frozenset({"en"})
_TONE_STRENGTH = 10.0  # C of the regression over a text's log odds and tones

Stage = tuple[NDArray[np.float64], float]


def matrix(texts: Sequence[str], language: ModelLanguage) -> csr_matrix:
    """(texts, 2**BITS): counts over the square root of all of them."""
    index: list[NDArray[np.int32]] = []
    sizes: list[NDArray[np.int64]] = []
    for at in range(0, len(texts), _BATCH):
        found = extract([model_text(text, language) for text in texts[at : at + _BATCH]], language)
        index.append(found.index)
        sizes.append(np.diff(found.starts))
    counts = np.concatenate(sizes)
    starts = np.concatenate([[0], np.cumsum(counts)])
    values = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts)
    made = csr_matrix((values, np.concatenate(index), starts), shape=(len(texts), 1 << BITS))
    made.sum_duplicates()
    return made


def fit_stage(
    features: csr_matrix, target: NDArray[np.float64], importance: NDArray[np.float64] | None = None, seed: int = 1
) -> Stage:
    """Weights and bias of one binary decision. `target` (rows,): how likely the answer is "yes", 0 or 1 where only a
    label says it; `importance` (rows,): what each row weighs, 1 where it isn't given. A row of an unsure target counts
    for both sides, by its parts."""
    importance = np.ones(len(target)) if importance is None else importance
    yes, no = importance * target, importance * (1 - target)
    present = features.copy()
    present.data[:] = 1
    of_positive = _SMOOTHING + np.asarray(present.T @ yes)
    of_negative = _SMOOTHING + np.asarray(present.T @ no)
    ratio = np.abs(np.log(of_positive / of_positive.sum()) - np.log(of_negative / of_negative.sum()))
    scale = ratio / max(ratio.mean(), 1e-12)
    scaled = (features @ diags(scale)).tocsr()
    for_yes, for_no = yes > _LEAST_PART, no > _LEAST_PART
    model = LogisticRegression(solver="liblinear", dual=True, C=STRENGTH, max_iter=60, tol=1e-3, random_state=seed)
    with warnings.catch_warnings():
        # Sixty rounds over all rows are enough: what comes after moves no answer.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(
            vstack([scaled[for_yes], scaled[for_no]]).tocsr(),
            np.repeat([True, False], [for_yes.sum(), for_no.sum()]),
            sample_weight=np.concatenate([yes[for_yes], no[for_no]]),
        )
    return model.coef_[0] * scale, float(model.intercept_[0])


class OneSidedError(ValueError):
    """The rows of a decision are all on one side."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Rows of one language as both stages learn from them: `features` (rows, 2**BITS), `labels` and `sources` (rows,),
    `knows`: whether its corpus knows "neutral", `told` (rows, 2): a teacher's log odds, NaN where none was asked."""

    rows: Sequence[Row]
    language: ModelLanguage
    features: csr_matrix
    labels: NDArray[np.int64]
    sources: NDArray[np.str_]
    knows: NDArray[np.bool_]
    told: NDArray[np.float64]

    def decisions(self) -> tuple[tuple[NDArray[np.bool_], NDArray[np.bool_]], ...]:
        """For each stage the rows that it learns from, and which of all rows are on its "yes" side."""
        polar = self.labels != LABELS.index("neutral")
        return (self.knows, polar), (polar, self.labels == LABELS.index("positive"))

    def stage(self, number: int, among: NDArray[np.bool_], seed: int) -> Stage:
        """From the rows `among` (rows,) all. Raises OneSidedError where they don't hold both sides."""
        mask, positive = self.decisions()[number]
        mask = mask & among
        if len(set(positive[mask].tolist())) < 2:
            raise OneSidedError(f"The training rows in {self.language} don't hold both sides of a decision.")
        own = positive[mask].astype(np.float64)
        told = sigmoid(self.told[mask, number] / TEMPERATURE)
        target = np.where(np.isnan(told), own, (1 - TEACHING) * own + TEACHING * told)
        importance = half_even(self.sources[mask], self.labels[mask]) if self.language in EVEN else None
        return fit_stage(self.features[mask], target, importance, seed)


def lesson_of(
    rows: Sequence[Row], language: ModelLanguage, taught: Mapping[str, NDArray[np.float64]] | None = None
) -> Lesson:
    """From `rows` of that language. `taught`: by text, a teacher's two log odds."""
    chosen = [row for row in rows if row.language == language]
    unknown = np.full(2, np.nan)
    return Lesson(
        rows=chosen,
        language=language,
        features=matrix([row.text for row in chosen], language),
        labels=np.array([LABELS.index(row.label) for row in chosen]),
        sources=np.array([row.source for row in chosen]),
        knows=np.array([row.classes == 3 and row.source not in NO_NEUTRAL_STAGE for row in chosen]),
        told=np.array([(taught or {}).get(row.text, unknown) for row in chosen]),
    )


def fit_language(
    rows: Sequence[Row], language: ModelLanguage, seed: int = 1, *, two_class: bool = False
) -> list[Stage]:
    """Both stages, from `rows` of that language; with `two_class` the second alone. Raises OneSidedError when a stage
    has no two sides."""
    lesson = lesson_of(rows, language)
    everything = np.ones(len(lesson.rows), bool)
    return [lesson.stage(number, everything, seed) for number in ((1,) if two_class else (0, 1))]


def half_even(sources: NDArray[np.str_], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each row, (rows,) with mean 1: half way, as a root, from one for each to every class of a source weighing the
    same. Tweets are mostly pleasant, Weibo posts mostly not: that shall not become a weight of what a tweet looks like.
    """
    rows, kinds, alike = class_sizes(sources, classes)
    weights: NDArray[np.float64] = np.sqrt(rows / kinds / alike)
    weights /= weights.mean()
    return weights


def fit_tones(lesson: Lesson, stages: Sequence[Stage], seed: int = 1) -> tuple[list[Stage], NDArray[np.float64]]:
    """`stages`, fitted on the lesson's rows, with the biases that go with tones, and the tones' weights (2, TONES).
    Each row's log odds come from stages that did not learn from its group: on rows that they know, features know all.
    """
    folds = np.array([percent_of(row.group, "tones") % FOLDS for row in lesson.rows])
    tones = _tones([row.text for row in lesson.rows], lesson.language)
    found: list[Stage] = []
    weights = np.zeros((2, TONES))
    for number, (mask, side) in enumerate(lesson.decisions()):
        odds = np.zeros(len(lesson.rows))
        for fold in range(FOLDS):
            own, bias = lesson.stage(number, folds != fold, seed)
            odds[folds == fold] = lesson.features[folds == fold] @ own + bias
        classes = side if number else lesson.labels if lesson.language in EVEN else np.zeros(len(side), np.int64)
        model = LogisticRegression(C=_TONE_STRENGTH, max_iter=1000)
        importance = source_weights(lesson.sources[mask], classes[mask])
        model.fit(np.column_stack([odds, tones])[mask], side[mask], sample_weight=importance)
        slope, *others = model.coef_[0]
        if slope <= 0:  # features that say the opposite on new rows: too few rows, and none to weigh tones by
            found.append(stages[number])
            continue
        weights[number] = np.array(others) / slope
        found.append((stages[number][0], stages[number][1] + float(model.intercept_[0] / slope)))
    return found, weights


def _tones(texts: Sequence[str], language: ModelLanguage) -> NDArray[np.float64]:
    read = [model_text(text, language) for text in texts]
    some = [tones_of(split(read[at : at + _BATCH], language), language) for at in range(0, len(read), _BATCH)]
    return np.concatenate([each.features for each in some])


def require_both_sides(rows: Sequence[Row]) -> None:
    """Raises OneSidedError, before anything costly, where `fit` would."""
    for language in LANGUAGES:
        own = training_rows(rows, language)
        neutral = {row.label == "neutral" for row in own if row.classes == 3 and row.source not in NO_NEUTRAL_STAGE}
        if len(neutral) < 2 or not {"positive", "negative"} <= {row.label for row in own}:
            raise OneSidedError(f"The training rows in {language} don't hold both sides of a decision.")


def fit(
    rows: Sequence[Row],
    folder: Path,
    seed: int = 1,
    *,
    teacher: Scorer | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> None:
    """Write both languages' weights into `folder`. A `teacher` is asked about the English rows of corpora that know
    "neutral": how sure it is tells more than a label, and less of what an annotator slipped on (distillation, Hinton
    et al. 2015)."""
    generator = random.Random(seed)
    for language in LANGUAGES:
        chosen: list[Row] = []
        for row in training_rows(rows, language):
            part = PARTS.get(row.source, 1.0)
            if generator.random() < part:
                chosen += [row] * max(1, round(part))
        taught = _taught(teacher, chosen, language, say) if teacher and language in TAUGHT else None
        lesson = lesson_of(chosen, language, taught)
        everything = np.ones(len(chosen), bool)
        stages = [lesson.stage(number, everything, seed) for number in (0, 1)]
        try:
            stages, tones = fit_tones(lesson, stages, seed)
        except OneSidedError:  # so few rows that a third of them holds all of a side: then the features speak alone
            tones = None
        save_linear(linear_file(folder, language), stages, tones)


def _taught(
    teacher: Scorer, rows: Sequence[Row], language: ModelLanguage, say: Callable[[str], object]
) -> dict[str, NDArray[np.float64]]:
    texts = sorted({row.text for row in rows if row.classes == 3 and row.source not in NO_NEUTRAL_STAGE})
    found: dict[str, NDArray[np.float64]] = {}
    for at in range(0, len(texts), _BATCH):
        if at % (_TOLD_EVERY * _BATCH) == 0:
            say(f"  the encoder has read {at:,} of {len(texts):,} texts")
        some = texts[at : at + _BATCH]
        read = [replace(prepare(text), text=model_text(text, language), language=language) for text in some]
        found |= zip(some, teacher.score(read, explain=False).logits, strict=True)
    return found
