"""Charts of training runs and comparisons of language models, as PNG. Knows no model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from models.training.evaluate import Prediction, Writing

_MEASURES = {
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "loops": "loops per 1,000",
    "self_bleu": "self-BLEU",
    "longest_copy": "longest copy",
}


def draw_comparison(predictions: Sequence[Prediction], out: Path, writings: Sequence[Writing] = ()) -> None:
    """Bars of bits per byte: a group per text, a colour per family; below them, where families wrote, a small chart per
    measure of their texts."""
    texts = list(dict.fromkeys(each.text for each in predictions))
    families = list(dict.fromkeys(each.family for each in predictions))
    values = {(each.family, each.text): each.bits_per_byte for each in predictions}
    figure = Figure(figsize=(max(8.0, 1.5 * len(texts)), 7.5 if writings else 4.5), layout="constrained")
    parts: Any = figure.subfigures(2, height_ratios=(3, 2)) if writings else [figure, None]  # its stub says: one
    above, below = parts
    axes = above.subplots()
    width = 0.8 / len(families)
    for number, family in enumerate(families):
        places = np.arange(len(texts)) + width * (number - (len(families) - 1) / 2)
        bars = axes.bar(places, [values.get((family, text), 0.0) for text in texts], width, label=family)
        axes.bar_label(bars, fmt="%.2f", fontsize=7)
    axes.set_xticks(range(len(texts)), [text.encode("ascii", "replace").decode() for text in texts])
    axes.set_ylabel("bits per byte")
    axes.legend(fontsize=8)
    if below is not None:
        colours = [f"C{families.index(each.family)}" if each.family in families else "grey" for each in writings]
        known = {name: title for name, title in _MEASURES.items() if None not in (getattr(w, name) for w in writings)}
        for each, (name, title) in zip(below.subplots(1, len(known)), known.items(), strict=True):
            heights = [float(getattr(writing, name)) for writing in writings]
            each.bar_label(each.bar(range(len(writings)), heights, color=colours), fmt="%.3g", fontsize=7)
            each.set_xticks([])
            each.set_title(title, fontsize=8)
            each.tick_params(labelsize=7)
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
