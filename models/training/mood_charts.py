"""Charts of one method on one set, as PNG: ROC, risk and coverage, reliability, confusion. Knows no model."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from models.sentiment.calibration import COVERAGE
from models.training.mood_metrics import Judged, risk_coverage

_BINS = 10


def draw(judged: Judged, measures: dict[str, Any], title: str, out: Path) -> None:
    """Four panels in one picture."""
    figure = Figure(figsize=(11, 9), layout="constrained")
    figure.suptitle(title.encode("ascii", "replace").decode())
    (roc, risk), (reliability, confusion) = figure.subplots(2, 2)
    _roc(roc, judged, measures)
    _risk(risk, judged)
    _reliability(reliability, judged, measures)
    _confusion(confusion, judged, np.asarray(measures["confusion"]))
    figure.savefig(out, dpi=110)


def _roc(axes: Axes, judged: Judged, measures: dict[str, Any]) -> None:
    for n, name in enumerate(judged.classes):
        if len(judged.classes) == 2 and n == 0:
            continue
        truth = judged.labels == n
        false_alarm, recall, _ = roc_curve(truth, judged.probabilities[:, n])
        (line,) = axes.plot(false_alarm, recall, label=f"{name} against the rest")
        chosen = measures["thresholds"].get(name)
        if chosen:
            axes.plot(chosen["false_alarm_rate"], chosen["recall"], "o", color=line.get_color(),
                      label=f"{name} from {chosen['threshold']:.2f} on (by {chosen['by']})")  # fmt: skip
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=0.8)
    axes.set(title=f"ROC, area {measures['auc']:.3f}", xlabel="false alarms", ylabel="recall")
    axes.legend(fontsize=7, loc="lower right")


def _risk(axes: Axes, judged: Judged) -> None:
    errors = judged.predicted != judged.labels
    coverage, risk = risk_coverage(judged.probabilities.max(1), errors)
    axes.plot(coverage, risk)
    axes.axvline(COVERAGE, linestyle="--", color="grey", linewidth=0.8)
    axes.plot(judged.sure.mean(), errors[judged.sure].mean() if judged.sure.any() else 0, "o", label="sure")
    axes.set(title="Risk and coverage", xlabel="share answered, the surest first", ylabel="error", xlim=(0, 1.02))
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7)


def _reliability(axes: Axes, judged: Judged, measures: dict[str, Any]) -> None:
    confidence = judged.probabilities.max(1)
    correct = judged.predicted == judged.labels
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    filled = [n for n in range(_BINS) if (place == n).any()]
    axes.bar([n / _BINS for n in filled], [correct[place == n].mean() for n in filled], 1 / _BINS, align="edge",
             edgecolor="white")  # fmt: skip
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=0.8)
    axes.set(title=f"Reliability, expected calibration error {measures['ece']:.3f}", xlabel="confidence",
             ylabel="share correct", xlim=(0, 1), ylim=(0, 1))  # fmt: skip


def _confusion(axes: Axes, judged: Judged, confusion: Any) -> None:
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for row, column in np.ndindex(confusion.shape):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, f"{confusion[row, column]:,}", ha="center", va="center", color=colour)
    names = list(judged.classes)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set(title="Confusion", xlabel="said", ylabel="is")
