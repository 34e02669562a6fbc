"""From log odds to probabilities that mean what they say, and when to call an answer unsure. Knows no model; fitting
needs numpy only.

Each stage is a logistic regression on the scores of one tier or of several (Platt 1999; two inputs make the calibrated
average). `sure_from` is the confidence that three quarters of held-back texts reach (the risk-coverage curve, El-Yaniv
and Wiener 2010).
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.sentiment.scorer import ModelLanguage

Floats = NDArray[np.float64]

_RIDGE = 1e-3  # times the rows: keeps weights finite where the two sides never mix
_STEPS = 60
COVERAGE = 0.75


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """log odds = bias + sum of weights times each tier's score."""

    weights: tuple[float, ...]
    bias: float

    def odds(self, scores: Floats) -> Floats:
        """`scores` (texts, tiers) -> (texts,)."""
        found: Floats = scores @ np.asarray(self.weights) + self.bias
        return found


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Of one method in one language."""

    polar: Stage
    positive: Stage
    sure_from: float

    def probabilities(self, logits: Floats) -> Floats:
        """`logits` (tiers, texts, 2) -> (texts, 3): negative, neutral, positive; each row sums to 1."""
        polar = sigmoid(self.polar.odds(logits[:, :, 0].T))
        positive = sigmoid(self.positive.odds(logits[:, :, 1].T))
        return np.stack([polar * (1 - positive), 1 - polar, polar * positive], axis=1)


Calibrations = dict[str, dict[ModelLanguage, Calibration]]  # by method, then by language


def sigmoid(x: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * x))


def load_calibrations(path: Path) -> Calibrations:
    """Raises OSError, and msgspec.DecodeError when the file isn't of this form."""
    return msgspec.json.decode(path.read_bytes(), type=Calibrations)


def save_calibrations(calibrations: Calibrations, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(calibrations), indent=1) + b"\n")


def fit_stage(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> Stage:
    """Weighted logistic regression by Newton's method. `scores` (rows, tiers). Both sides must occur. No tier gets a
    weight below zero: it is left out instead, for a tier that speaks against itself is an accident of few rows."""
    chosen = list(range(scores.shape[1]))
    while True:
        bias, *found = _newton(scores[:, chosen], positive, weights)
        worst = int(np.argmin(found))
        if found[worst] >= 0 or len(chosen) == 1:
            break
        del chosen[worst]
    whole = np.zeros(scores.shape[1])
    whole[chosen] = found
    return Stage(weights=tuple(round(float(w), 6) for w in whole), bias=round(float(bias), 6))


def _newton(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """Bias, then a weight for each column."""
    inputs = np.column_stack([np.ones(len(scores)), scores])
    found = np.zeros(inputs.shape[1])
    found[1:] = 1 / scores.shape[1]
    ridge = np.diag([0.0, *[_RIDGE * weights.sum()] * scores.shape[1]])
    for _ in range(_STEPS):
        chance = sigmoid(inputs @ found)
        gradient = inputs.T @ (weights * (chance - positive)) + ridge @ found
        curvature = (inputs * (weights * chance * (1 - chance) + 1e-9)[:, None]).T @ inputs + ridge
        step = np.linalg.solve(curvature, gradient)
        found = found - step * min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return found


def fit_calibration(
    logits: Floats,
    labels: NDArray[np.int64],
    knows_neutral: NDArray[np.bool_],
    sources: Sequence[str],
    *,
    even: bool = False,
) -> Calibration:
    """`logits` (tiers, rows, 2), `labels` 0, 1, 2 for negative, neutral, positive. Rows of two-class corpora
    (`knows_neutral` False) say nothing about "polar". A source weighs as the root of its size, so that many rows of one
    kind don't decide alone; its positive and negative rows weigh the same together, for how often people praise is the
    source's habit and not the reader's to assume. With `even` its neutral rows do too, as a third of it."""
    polar = labels != 1
    stages = []
    for number, (mask, side) in enumerate(((knows_neutral, polar), (polar, labels == 2))):
        classes = side if number else labels if even else np.zeros(len(labels), np.int64)
        weights = source_weights(np.asarray(sources)[mask], classes[mask])
        stages.append(fit_stage(logits[:, mask, number].T, side[mask], weights))
    fitted = Calibration(polar=stages[0], positive=stages[1], sure_from=0.5)
    rows = fitted.probabilities(logits)
    confidence = np.where(knows_neutral, rows.max(axis=1), two_class(rows).max(axis=1))
    three = confidence[knows_neutral]
    return msgspec.structs.replace(fitted, sure_from=round(float(np.quantile(three, 1 - COVERAGE)), 4))


def source_weights(sources: NDArray[np.str_], classes: NDArray[np.generic]) -> Floats:
    """Of each row, (rows,) with mean 1: a source's rows together weigh the root of their number, and each of its
    `classes` an equal part of that."""
    rows, kinds, alike = class_sizes(sources, classes)
    weights: Floats = np.sqrt(rows) / kinds / alike
    weights /= weights.mean()
    return weights


def class_sizes(sources: NDArray[np.str_], classes: NDArray[np.generic]) -> tuple[Floats, Floats, Floats]:
    """Of each row: how many rows its source has, how many classes, and how many rows of the row's own class."""
    rows, kinds, alike = np.ones((3, len(sources)))
    for source in np.unique(sources):
        own = sources == source
        found, place, counts = np.unique(classes[own], return_inverse=True, return_counts=True)
        rows[own], kinds[own], alike[own] = own.sum(), len(found), counts[place]
    return rows, kinds, alike


def two_class(probabilities: Floats) -> Floats:
    """(texts, 3) -> (texts, 2): negative and positive given that the text isn't neutral."""
    polar = probabilities[:, [0, 2]]
    total = polar.sum(axis=1, keepdims=True)
    even = np.full_like(polar, 0.5)
    np.divide(polar, total, out=even, where=total > 0)
    return even
