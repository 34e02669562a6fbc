"""Judges a portrait model by the field's measures, against real pictures and a simple baseline. Knows no training.

Pictures come from the served path (`models.gan.portraits`), bytes and all; features from the attribute classifier. The
reference is the data's rows 0..3999, real pictures judged beside it are rows 4000..6999, as in the data set's split.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from models.gan.asked_traits import seen_traits
from models.gan.attribute_classifier import AttributeClassifier, split
from models.gan.latent import truncate
from models.gan.portraits import PortraitModel
from models.gan.traits import FIELD, FIELDS, TRAITS
from models.training.gan_data import HELD_OUT, HIDDEN, REFERENCE, VALIDATION, Portraits
from models.training.gan_metrics import frechet_distance, kernel_distance, nearest, precision_recall
from models.training.gan_pictures import sheet
from models.training.gan_run import Judge

_FIELD_NUMBER: Final = {field.name: number for number, field in enumerate(FIELDS)}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One set of pictures against the reference. `nearest_pixel` is the median distance to the nearest reference one
    (root mean square over pixels and channels, in bytes), `near_copies` the share that are nearer to one than 99 % of
    real held-out pictures are, `copies` how many pictures are one of all training pictures to the bit.
    `coverage` is the share of the real pictures' classes, over all fields, that the classifier sees at least once;
    `shift` the mean over fields of the total variation between what it sees in the set and in the reference."""

    name: str
    pictures: int
    kid: float
    frechet: float
    precision: float
    recall: float
    nearest_pixel: float
    nearest_feature: float
    copies: int
    near_copies: float
    coverage: float
    shift: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """`obeyed`: of each trait, how often the classifier sees in a generated picture what its label said; `accuracy` the
    same for real pictures that the classifier has not learned from."""

    version: str
    rows: tuple[Row, ...]
    obeyed: Mapping[str, float]
    accuracy: Mapping[str, float]


class Evaluation:
    """Everything that is computed once from the data."""

    def __init__(
        self,
        portraits: Portraits,
        classifier: AttributeClassifier,
        reference: slice = REFERENCE,
        held_out: slice = HELD_OUT,
    ) -> None:
        self.portraits, self.classifier, self._rows = portraits, classifier, reference
        self.reference = portraits.pictures[reference]
        self.judge = Judge(classifier, self.reference)
        self._train = _flat(portraits.pictures)
        self._bytes = {each.tobytes() for each in portraits.pictures}
        real = nearest(_flat(portraits.pictures[held_out]), self._train[reference])
        self._near = float(np.quantile(real, 0.01))
        self._seen_reference = self._classes(self.reference)

    def row(self, name: str, pictures: NDArray[np.uint8], *, held_out: bool = False) -> Row:
        """`held_out`: the pictures are training data themselves, and copies of it aren't counted."""
        features = self.judge.features(pictures)
        pixel = nearest(_flat(pictures), self._train[self._rows])
        both = precision_recall(self.judge.reference[: len(features)], features[: len(self.judge.reference)])
        seen = self._classes(pictures)
        shifts, covered, there = [], 0, 0
        for number, field in enumerate(FIELDS):
            ours = np.bincount(seen[number], minlength=len(field.classes)) / len(pictures)
            real = np.bincount(self._seen_reference[number], minlength=len(field.classes)) / len(self.reference)
            shifts.append(0.5 * float(np.abs(ours - real).sum()))
            covered += int(((ours > 0) & (real > 0)).sum())
            there += int((real > 0).sum())
        return Row(
            name=name,
            pictures=len(pictures),
            kid=kernel_distance(self.judge.reference, features),
            frechet=frechet_distance(self.judge.reference, features),
            precision=both.precision,
            recall=both.recall,
            nearest_pixel=float(np.median(pixel)),
            nearest_feature=float(np.median(nearest(features, self.judge.reference))),
            copies=0 if held_out else sum(each.tobytes() in self._bytes for each in pictures),
            near_copies=float((pixel < self._near).mean()),
            coverage=covered / there,
            shift=float(np.mean(shifts)),
        )

    def nearest_training(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The training picture that is nearest to each, in pixels."""
        flat = _flat(pictures)
        far = [((self._train - each) ** 2).sum(1).argmin() for each in flat]
        found: NDArray[np.uint8] = self.portraits.pictures[np.array(far)]
        return found

    @torch.inference_mode()
    def logits(self, pictures: NDArray[np.uint8]) -> torch.Tensor:
        inputs = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
        parts = inputs.split(500)  # type: ignore[no-untyped-call]
        return torch.cat([self.classifier(part) for part in parts])

    def _classes(self, pictures: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
        return [each.argmax(1).numpy() for each in split(self.logits(pictures))]

    def obeyed(self, pictures: NDArray[np.uint8], labels: Sequence[Mapping[str, int]]) -> dict[str, float]:
        """The share of pictures in which each trait is seen as `labels` (field -> class) says."""
        found = [seen_traits(each) for each in self.logits(pictures).numpy()]
        shares = {}
        for trait in TRAITS:
            classes = FIELD[trait.field].classes
            words = {classes.index(each): word for word, group in trait.groups.items() for each in group}
            right = [
                seen.get(trait.name, "no") == words[label[trait.field]]
                for seen, label in zip(found, labels, strict=True)
            ]
            shares[trait.name] = float(np.mean(right))
        return shares


def _flat(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, pixels and channels), scaled so that a distance is the root mean square difference in bytes."""
    flat = pictures.reshape(len(pictures), -1)
    scaled: NDArray[np.float64] = flat.astype(np.float64) / flat.shape[1] ** 0.5
    return scaled


def gaussian_pictures(pictures: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.uint8]:
    """The baseline: samples of the normal distribution with the pictures' mean and principal components (those that
    hold 99 % of the variance)."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(flat, rowvar=False))
    values, vectors = values[::-1].clip(0), vectors[:, ::-1]
    kept = int(np.searchsorted(np.cumsum(values) / values.sum(), 0.99)) + 1
    z = np.random.default_rng(seed).standard_normal((count, kept))
    drawn = flat.mean(0) + (z * np.sqrt(values[:kept])) @ vectors[:, :kept].T
    painted: NDArray[np.uint8] = drawn.round().clip(0, 255).astype(np.uint8).reshape(count, *pictures.shape[1:])
    return painted


def served_pictures(
    model: PortraitModel, count: int, truncation: float
) -> tuple[NDArray[np.uint8], list[dict[str, int]]]:
    """Pictures of the seeds "evaluation 0", "evaluation 1" ... and the labels that those drew."""
    pictures, labels = [], []
    for number in range(count):
        point = model.point(f"evaluation {number}", {})
        pictures.append(model.paint(model.start(truncate(point, truncation))))
        labels.append(dict(zip(model.fields, point.labels, strict=True)))
    return np.stack(pictures), labels


def evaluate(
    portraits: Portraits,
    model: PortraitModel,
    classifier: AttributeClassifier,
    out: Path,
    *,
    count: int = 3000,
    truncations: Sequence[float] = (1.0, 0.8),
    reference: slice = REFERENCE,
    held_out: slice = HELD_OUT,
    unseen: slice = VALIDATION,
) -> Report:
    """Judge, and write evaluation.json and samples.png (each sample above its nearest training picture) into `out`."""
    evaluation = Evaluation(portraits, classifier, reference, held_out)
    real = portraits.pictures[held_out][:count]
    rows = [evaluation.row("real, held out", real, held_out=True)]
    rows.append(evaluation.row("PCA-Gaussian", gaussian_pictures(portraits.pictures, count, 1)))
    obeyed: dict[str, float] = {}
    for truncation in truncations:
        pictures, labels = served_pictures(model, count, truncation)
        rows.append(evaluation.row(f"generator, truncation {truncation:g}", pictures))
        if not obeyed:
            obeyed = evaluation.obeyed(pictures, labels)
            shown = np.concatenate(
                [
                    each
                    for start in range(0, min(72, count), 12)
                    for each in (
                        pictures[start : start + 12],
                        evaluation.nearest_training(pictures[start : start + 12]),
                    )
                ]
            )
    names = [field.name for field in FIELDS]
    known = [
        {name: int(row[_FIELD_NUMBER[name]]) for name in names if row[_FIELD_NUMBER[name]] != HIDDEN}
        for row in portraits.labels[unseen]
    ]
    report = Report(
        version=model.version,
        rows=tuple(rows),
        obeyed=obeyed,
        accuracy=evaluation.obeyed(portraits.pictures[unseen], known),
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json.dumps(asdict(report), indent=2) + "\n", "utf-8")
    sheet(shown, 12).save(out / "samples.png")
    return report
