"""Charts of training runs and comparisons of language models, as PNG. Knows no model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from models.training.evaluate import Prediction


def draw_comparison(predictions: Sequence[Prediction], out: Path) -> None:
    """Bars of bits per byte: a group per text, a colour per family."""
    texts = list(dict.fromkeys(each.text for each in predictions))
    families = list(dict.fromkeys(each.family for each in predictions))
    values = {(each.family, each.text): each.bits_per_byte for each in predictions}
    figure = Figure(figsize=(max(6.0, 1.5 * len(texts)), 4.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(families)
    for number, family in enumerate(families):
        places = np.arange(len(texts)) + width * (number - (len(families) - 1) / 2)
        bars = axes.bar(places, [values.get((family, text), 0.0) for text in texts], width, label=family)
        axes.bar_label(bars, fmt="%.2f", fontsize=7)
    axes.set_xticks(range(len(texts)), [text.encode("ascii", "replace").decode() for text in texts])
    axes.set_ylabel("bits per byte")
    axes.legend(fontsize=8)
    figure.savefig(out, dpi=120)


def draw_curve(losses: Sequence[tuple[int, float]], developments: Sequence[tuple[int, float]], out: Path) -> None:
    """The loss in nats per token at each step, smoothed, and the development set's bits per byte."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    steps, values = zip(*losses, strict=True)
    axes.plot(steps, values, linewidth=0.5, alpha=0.4, label="training, each step")
    window = max(1, len(values) // 50)
    smooth = np.convolve(values, np.ones(window) / window, mode="valid")
    axes.plot(steps[window - 1 :], smooth, label=f"training, mean of {window}")
    axes.set(xlabel="step", ylabel="nats per token")
    if developments:
        twin = axes.twinx()
        twin.plot(*zip(*developments, strict=True), "o-", color="tab:red", markersize=3, label="development set")
        twin.set_ylabel("bits per byte", color="tab:red")
    axes.legend(loc="upper right")
    figure.savefig(out, dpi=120)
