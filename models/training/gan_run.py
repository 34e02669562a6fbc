"""One training of the portrait GAN from a folder of data to a folder of weights: progress, grids, curves, the judge.
Knows no loss and no metric's definition.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn
from torch import Tensor

from models.gan.attribute_classifier import AttributeClassifier
from models.gan.networks import Generator, Shape
from models.gan.traits import FIELD, FIELDS, TRAITS
from models.training.gan_classifier import as_tensors
from models.training.gan_data import Portraits
from models.training.gan_metrics import kernel_distance
from models.training.gan_pictures import draw_curves, sheet
from models.training.gan_train import Recipe, Run, Step

CONDITIONS: Final = tuple(dict.fromkeys(trait.field for trait in TRAITS))  # what can be asked for; z has all the rest
_COLUMNS = [each.name for each in FIELDS]
_SHOWN: Final = 60  # pictures of a progress grid


def condition_labels(portraits: Portraits) -> Tensor:
    """int64 (n, conditions)."""
    return torch.from_numpy(portraits.labels[:, [_COLUMNS.index(name) for name in CONDITIONS]])


def condition_shape(shape: Shape) -> Shape:
    """`shape` with a class for each label that can be asked for."""
    return msgspec.structs.replace(shape, classes=tuple(len(FIELD[name].classes) for name in CONDITIONS))


def independent_labels(labels: Tensor, count: int, seed: int) -> Tensor:
    """`count` rows whose every label is drawn by its share in the data, apart from the others: as a seed draws them."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(labels), (count, labels.shape[1]), generator=random)
    return labels.gather(0, rows)


@torch.inference_mode()
def sample(generator: Generator, labels: Tensor, seed: int, truncation: float = 1.0) -> NDArray[np.uint8]:
    """A picture for each row of labels, uint8 (n, size, size, 3)."""
    random = torch.Generator().manual_seed(seed)
    z = truncation * torch.randn(len(labels), generator.shape.z, generator=random)
    parts = zip(z.split(250), labels.split(250), strict=True)  # type: ignore[no-untyped-call]
    return as_bytes(torch.cat([generator(*each) for each in parts]))


def as_bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """(n, 3, size, size) about -1..1 to uint8 (n, size, size, 3)."""
    found: NDArray[np.uint8] = ((pictures + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return found


class Judge:
    """Features of pictures, each divided by its standard deviation among the reference pictures, so that no one of them
    decides a distance by its scale alone."""

    def __init__(self, classifier: AttributeClassifier, reference: NDArray[np.uint8]) -> None:
        self._classifier = classifier
        raw = self._see(reference)
        self._scale = raw.std(0) + 1e-3  # a feature that is never on stays near 0
        self.reference: NDArray[np.float64] = raw / self._scale

    @torch.inference_mode()
    def _see(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        inputs = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
        parts = inputs.split(500)  # type: ignore[no-untyped-call]
        found: NDArray[np.float64] = torch.cat([self._classifier.see(part) for part in parts]).double().numpy()
        return found

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self._see(pictures) / self._scale
        return found


def train(
    portraits: Portraits,
    shape: Shape,
    recipe: Recipe,
    folder: Path,
    judge: Judge | None,
    *,
    show_every_s: float = 240.0,
    judged: int = 1000,
    quiet: bool = False,
    begin: tuple[dict[str, Tensor], dict[str, Tensor]] | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Run:
    """Run the schedule to its end, from the newest checkpoint in `folder` if there is one. Every `show_every_s` of wall
    time: grid-<CPU minutes>.png, grid.png, curves.png and a line in log.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures, _ = as_tensors(portraits)
    labels = condition_labels(portraits)
    run = Run(pictures, labels, condition_shape(shape), recipe, folder, begin)
    log = folder / "log.jsonl"
    _forget_after(log, run.position.step)
    shown = time.monotonic()
    sums, count = np.zeros(3), 0
    bar = Progress(
        TextColumn("step {task.fields[step]}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %, D {task.fields[d]:.3f} G {task.fields[g]:.3f}"),
        TextColumn("{task.fields[speed]:.0f} pictures/s, {task.fields[left]} left"),
        disable=quiet,
    )
    with bar:
        task = bar.add_task("train", total=1.0, step=0, d=0.0, g=0.0, speed=0.0, left="?")
        last: Step | None = None
        for last in run.steps():
            sums += np.array([last.discriminator, last.generator, last.penalty])
            count += 1
            minutes, seconds = divmod(int(last.left_s), 60)
            bar.update(
                task,
                completed=run.position.progress,
                step=last.step,
                d=last.discriminator,
                g=last.generator,
                speed=last.pictures_per_s,
                left=f"{minutes}:{seconds:02d}",
            )
            if on_step is not None:
                on_step(last)
            if last.step % 50 == 0:
                _write(log, step=last.step, cpu_s=last.cpu_s, rate=last.rate, **_means(sums, count))
                sums, count = np.zeros(3), 0
            if time.monotonic() - shown >= show_every_s:
                _show(run, labels, folder, judge, judged, last)
                shown = time.monotonic()
        if last is not None:
            _show(run, labels, folder, judge, judged, last)
    return run


def _means(sums: NDArray[np.float64], count: int) -> dict[str, float]:
    d_loss, g_loss, penalty = (sums / max(1, count)).tolist()
    return {"d": d_loss, "g": g_loss, "penalty": penalty}


def _show(run: Run, labels: Tensor, folder: Path, judge: Judge | None, judged: int, step: Step) -> None:
    drawn = sample(run.average, independent_labels(labels, max(judged, _SHOWN), 7), 7)
    grid = sheet(drawn[:_SHOWN], 12)
    grid.save(folder / "grid.png")
    grid.save(folder / f"grid-{step.cpu_s / 60:05.1f}.png")
    if judge is not None:
        distance = kernel_distance(judge.reference[: 2 * judged], judge.features(drawn))
        _write(folder / "log.jsonl", step=step.step, cpu_s=step.cpu_s, kid=distance)
    curves(folder)


def curves(folder: Path) -> None:
    """Draw curves.png from log.jsonl."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    losses = [(each["cpu_s"] / 60, each["d"], each["g"]) for each in lines if "d" in each]
    distances = [(each["cpu_s"] / 60, each["kid"]) for each in lines if "kid" in each]
    draw_curves(losses, distances, folder / "curves.png")


def _write(log: Path, **values: float) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps({name: round(value, 6) for name, value in values.items()}) + "\n")


def _forget_after(log: Path, step: int) -> None:
    """Cut the log back to the checkpoint: steps that a crash lost are made again."""
    if log.exists():
        lines = log.read_text("utf-8").splitlines(keepends=True)
        log.write_text("".join(x for x in lines if x.endswith("\n") and json.loads(x)["step"] <= step), "utf-8")
    else:
        log.touch()
