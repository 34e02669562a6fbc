"""What a set of answers is worth: scikit-learn's metrics, calibration, coverage and their uncertainty. Knows no model.

A set of two classes is measured on the two: probabilities of negative and positive are divided by their sum, and the
label is the greater (or `positive` from a chosen threshold on). A text that a method calls neutral there still gets a
side; what "unsure" means stays as the method said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from models.sentiment.calibration import COVERAGE, two_class
from models.training.mood_sets import LABELS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ThresholdBy = Literal["f1", "youden", "cost"]

_BINS = 15
_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Judged:
    """`labels` and `predicted` (rows,) are places in `classes`; `probabilities` (rows, classes); `sure` (rows,)."""

    classes: tuple[str, ...]
    labels: Ints
    predicted: Ints
    probabilities: Floats
    sure: NDArray[np.bool_]


def judge(labels: Sequence[int], probabilities: Floats, sure: NDArray[np.bool_]) -> Judged:
    """`labels` are places in LABELS, `probabilities` (rows, 3)."""
    truth = np.asarray(labels)
    if (truth == 1).any():
        return Judged(classes=LABELS, labels=truth, predicted=probabilities.argmax(1), probabilities=probabilities,
                      sure=sure)  # fmt: skip
    polar = two_class(probabilities)
    return Judged(classes=("negative", "positive"), labels=truth // 2, predicted=polar.argmax(1), probabilities=polar,
                  sure=sure)  # fmt: skip


def measure(judged: Judged, *, threshold_by: ThresholdBy = "f1", costs: tuple[float, float] = (1.0, 1.0),
            seed: int = 1) -> dict[str, Any]:  # fmt: skip
    """All numbers of one method on one set, ready for JSON. `costs` are of a missed and of a false alarm."""
    y, p, rows = judged.labels, judged.predicted, judged.probabilities
    names = range(len(judged.classes))
    present = sorted(set(y.tolist()))
    precision, recall, f1, support = precision_recall_fscore_support(y, p, labels=list(names), zero_division=0)
    confusion = confusion_matrix(y, p, labels=list(names))
    errors = p != y
    confidence = rows.max(1)
    return {
        "rows": len(y),
        "classes": list(judged.classes),
        "accuracy": float(accuracy_score(y, p)),
        "error_rate": float(errors.mean()),
        "macro_recall": float(recall_score(y, p, labels=present, average="macro", zero_division=0)),
        "macro_f1": float(f1_score(y, p, labels=present, average="macro", zero_division=0)),
        "auc": area(judged),
        "ece": expected_calibration_error(confidence, ~errors),
        "coverage": float(judged.sure.mean()),
        "error_when_sure": float(errors[judged.sure].mean()) if judged.sure.any() else None,
        f"error_at_{COVERAGE:.0%}_coverage".replace("%", ""): _error_at(confidence, errors, COVERAGE),
        "per_class": {
            name: {"precision": float(precision[n]), "recall": float(recall[n]), "f1": float(f1[n]),
                   "support": int(support[n])}
            for n, name in enumerate(judged.classes)
        },
        "confusion": confusion.tolist(),
        "intervals": intervals(confusion, seed),
        "thresholds": {
            name: choose_threshold(y == n, rows[:, n], threshold_by, costs)
            for n, name in enumerate(judged.classes)
            if name != "neutral" and (y == n).any() and (y != n).any()
        },
    }  # fmt: skip


def area(judged: Judged) -> float:
    """Under the ROC curve; of three classes the mean of one against the rest, each weighing the same."""
    if len(judged.classes) == 2:
        return float(roc_auc_score(judged.labels, judged.probabilities[:, 1]))
    present = sorted(set(judged.labels.tolist()))
    areas = [roc_auc_score(judged.labels == n, judged.probabilities[:, n]) for n in present]
    return float(np.mean(areas))


def expected_calibration_error(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    """Guo et al. 2017, eq. 3, with 15 bins of equal width."""
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gap = 0.0
    for n in range(_BINS):
        within = place == n
        if within.any():
            gap += float(within.mean()) * abs(float(confidence[within].mean()) - float(correct[within].mean()))
    return gap


def risk_coverage(confidence: Floats, errors: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Share of texts answered, the surest first, and the error among them."""
    order = np.argsort(-confidence, kind="stable")
    count = np.arange(1, len(errors) + 1)
    return count / len(errors), np.cumsum(errors[order]) / count


def _error_at(confidence: Floats, errors: NDArray[np.bool_], coverage: float) -> float:
    answered, risk = risk_coverage(confidence, errors)
    return float(risk[min(int(np.searchsorted(answered, coverage)), len(risk) - 1)])


def intervals(confusion: NDArray[np.int64], seed: int) -> dict[str, tuple[float, float]]:
    """Bootstrap intervals (95 %, percentile) over resampled rows. A resample of rows is a multinomial draw of the
    confusion matrix's cells, since these metrics know rows by their cell only."""
    size = int(confusion.sum())
    drawn = np.random.default_rng(seed).multinomial(size, (confusion / size).ravel(), _RESAMPLES)
    drawn = drawn.reshape(-1, *confusion.shape).astype(float)
    hits = drawn.diagonal(axis1=1, axis2=2)
    truth, guessed = drawn.sum(2), drawn.sum(1)
    present = confusion.sum(1) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(truth > 0, hits / truth, 0.0)[:, present]
        f1 = np.where(truth + guessed > 0, 2 * hits / (truth + guessed), 0.0)[:, present]
    samples = {"accuracy": hits.sum(1) / size, "macro_recall": recall.mean(1), "macro_f1": f1.mean(1)}
    return {name: (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975)))
            for name, values in samples.items()}  # fmt: skip


def choose_threshold(
    truth: NDArray[np.bool_], chance: Floats, by: ThresholdBy, costs: tuple[float, float]
) -> dict[str, float | str]:
    """From which probability on a class should be said, and what precision, recall and false alarms that gives: the
    greatest F1, the greatest recall minus false alarms (Youden 1950), or the least cost of misses and false alarms. It
    is chosen on the rows that it is reported on."""
    false_alarm, recall, thresholds = roc_curve(truth, chance)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    hits, alarms = recall * positives, false_alarm * negatives
    f1 = 2 * hits / np.maximum(hits + alarms + positives, 1e-12)
    worth = {
        "f1": f1,
        "youden": recall - false_alarm,
        "cost": -(costs[0] * (positives - hits) + costs[1] * alarms),
    }[by]
    worth[0] = -np.inf  # scikit-learn's first threshold is infinite: never say it
    best = int(np.argmax(worth))
    return {
        "by": by,
        "threshold": float(thresholds[best]),
        "precision": float(hits[best] / max(hits[best] + alarms[best], 1e-12)),
        "recall": float(recall[best]),
        "false_alarm_rate": float(false_alarm[best]),
        "f1": float(f1[best]),
    }
