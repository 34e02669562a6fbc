"""Grids of portraits and the chart of a GAN's run, as PNG. Knows no network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image


def sheet(pictures: NDArray[np.uint8], columns: int, scale: int = 4) -> Image.Image:
    """Pictures (n, size, size, 3) side by side, each pixel `scale` times as large, one pixel between them."""
    count, size = len(pictures), pictures.shape[1]
    rows = -(-count // columns)
    canvas = np.full((rows * (size + 1) + 1, columns * (size + 1) + 1, 3), 40, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // columns * (size + 1) + 1, place % columns * (size + 1) + 1
        canvas[top : top + size, left : left + size] = picture
    return Image.fromarray(canvas).resize((canvas.shape[1] * scale, canvas.shape[0] * scale), Image.Resampling.NEAREST)


def draw_curves(
    losses: Sequence[tuple[float, float, float]], distances: Sequence[tuple[float, float]], out: Path
) -> None:
    """`losses` are (CPU-minutes, discriminator, generator) of some steps, `distances` (CPU-minutes, KID)."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    if losses:
        minutes, d_loss, g_loss = (np.array(each) for each in zip(*losses, strict=True))
        window = max(1, len(minutes) // 100)
        box = np.ones(window) / window
        for values, name in ((d_loss, "discriminator"), (g_loss, "generator")):
            axes.plot(minutes[window - 1 :], np.convolve(values, box, "valid"), label=f"{name}, mean of {window}")
        axes.legend(loc="upper left")
    axes.set(xlabel="CPU-minutes", ylabel="loss (nats)")
    if distances:
        twin = axes.twinx()
        twin.plot(*zip(*distances, strict=True), "o-", color="tab:red", markersize=3, label="KID of the average")
        twin.set_yscale("symlog", linthresh=1e-3)  # unbiased, so it may be negative
        twin.set_ylabel("KID", color="tab:red")
    figure.savefig(out, dpi=110)
