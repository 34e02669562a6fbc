"""Charts of the verse generators, as PNG: a run's losses, and the quality-diversity curve. Knows no network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from models.training.verse_evaluate import JUDGED, Point

_NAMES = {"en": "English", "zh5": "Chinese, five characters", "zh7": "Chinese, seven characters"}


def draw_run(lines: Sequence[Mapping[str, float]], out: Path) -> None:
    """`lines` of log.jsonl: training loss and held-out loss, or both networks' losses, over CPU-minutes."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    names = {"loss": "training", "d": "discriminator", "g": "generator"}
    for key, name in names.items():
        if points := [(each["cpu_s"] / 60, each[key]) for each in lines if key in each]:
            axes.plot(*zip(*points, strict=True), linewidth=1, label=name)
    if points := [(each["cpu_s"] / 60, each["held_out"]) for each in lines if "held_out" in each]:
        axes.plot(*zip(*points, strict=True), "o-", markersize=3, label="held out, nats a token")
    axes.set(xlabel="CPU-minutes", ylabel="loss (nats)")
    axes.legend()
    figure.savefig(out, dpi=110)


def draw_plane(points: Sequence[Point], out: Path, order: int = JUDGED) -> None:
    """Quality against diversity (Caccia et al. 2020): BLEU to the right is better, self-BLEU downwards is more
    various. Each generator is a curve over temperatures; the runs' kept generators are dots."""
    forms = list(dict.fromkeys(point.form for point in points))
    figure = Figure(figsize=(5 * len(forms), 4.8), layout="constrained")
    for axes, form in zip(figure.subplots(1, len(forms), squeeze=False)[0], forms, strict=True):
        here = [point for point in points if point.form == form]
        _curve(axes, [p for p in here if p.name == "likelihood"], order, "maximum likelihood", "tab:blue")
        _curve(axes, [p for p in here if p.name == "adversarial"], order, "adversarial", "tab:red")
        on_the_way = [p for p in here if p.name.startswith("kept")]
        if on_the_way:
            axes.plot(
                [p.bleu[order] for p in on_the_way], [p.self_bleu[order] for p in on_the_way], ".:", color="tab:orange",
                label="adversarial, during training (temperature 1)",
            )  # fmt: skip
        for p in here:
            if p.name == "real":
                axes.plot(p.bleu[order], p.self_bleu[order], "k*", markersize=11, label="real, held out")
        axes.set(title=_NAMES[form], xlabel=f"BLEU-{order} against held-out verses (quality →)")
        axes.set_ylabel(f"self-BLEU-{order} (← diversity)")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", loc="upper left")
    figure.savefig(out, dpi=110)


def _curve(axes: Any, points: Sequence[Point], order: int, name: str, colour: str) -> None:
    along = sorted(points, key=lambda point: point.temperature)
    axes.plot([p.bleu[order] for p in along], [p.self_bleu[order] for p in along], "o-", color=colour, label=name)
    for p in along:
        axes.annotate(
            f"{p.temperature:g}", (p.bleu[order], p.self_bleu[order]), fontsize=7, color=colour,
            xytext=(4, -8), textcoords="offset points",
        )  # fmt: skip
