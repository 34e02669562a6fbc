"""The portraits' part of a training run: tunes the shipped GAN further on pictures that people gave, and holds the
candidate against what draws today. Knows no process and no registry.

Against forgetting it learns from its own pictures too (self-replay): the shipped generator draws what it knew. The
labels of given pictures are those that the shipped classifier sees in them; it stays as it is, and so does how often
each label is drawn. A name keeps its traits by that, and what is new shows most in faces with the traits of given ones.
(Drawing labels as often as they are in the mixture was tried: labels that were given together come apart, and most
faces become neither.)
"""

import io
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.gan.attribute_classifier import AttributeClassifier, split
from models.gan.networks import Generator
from models.gan.portrait_weights import ATTRIBUTES, Config, read, read_config
from models.gan.traits import FIELDS
from models.serving.training import Check, Family, Progressed
from models.training.gan_export import exported, write
from models.training.gan_metrics import kernel_distance, nearest
from models.training.gan_run import CONDITIONS, Judge, sample
from models.training.gan_train import Recipe, Run
from models.training.gate import Judgement
from models.training.snapshot import Snapshot
from models.training.snapshot_rows import Picture
from models.training.train import Candidate, NothingToLearnError, RunContext
from models.weights import PORTRAITS_FOLDER

MIN_PICTURES: Final = 8
MIN_HELD_OUT: Final = 2
STEPS: Final = 20  # of the GAN for one of the adapter's: it makes some 25 a second where that one needs seconds
REPLAY: Final = 0.5  # at least so much of what it sees are its own pictures
RATE: Final = 3e-4  # a fifth of the rate with which the GAN was trained from nothing
CHECKPOINT_EVERY_S: Final = 20.0
GAIN: Final = 0.02  # of the distance to the held-out pictures, by which it has to fall
FORGETTING: Final = 0.05  # of the distance from what it knew to what it draws, by which that may rise
COPIES: Final = 0.01  # of the pictures it draws may be as good as a given one
ATTRIBUTES_LOST: Final = 0.10  # by which the share of asked traits that are seen may fall
_COPY: Final = 4 / 255  # mean difference of a colour value below which nobody tells two pictures apart
_OWN_COLOURS: Final = 128  # of given pictures, beside the shipped palette
_REPLAYED: Final = 1_000
_JUDGED: Final = 400
_GIVEN_ROWS: Final = 2_000  # given pictures are repeated up to here, so that the shares come out right
_BATCH: Final = 16
_SEEDS: Final = {"replay": 11, "known": 12, "drawn": 13}  # other noise for what is learned, known and judged

Pictures = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class _Drawer:
    """A folder's generator as it is served: with its own palette and shares."""

    generator: Generator
    config: Config
    colours: Pictures

    @staticmethod
    def of(folder: Path) -> "_Drawer":
        shape, weights, _ = exported(folder)
        generator = Generator(shape)
        generator.load_state_dict(weights)
        return _Drawer(generator=generator.eval(), config=read_config(folder), colours=read(folder).palette)

    def labels(self, count: int, seed: int) -> Tensor:
        """int64 (count, conditions), each drawn by its share, as a seed draws them."""
        random = torch.Generator().manual_seed(seed)
        columns = [
            torch.multinomial(torch.tensor(row, dtype=torch.float64), count, replacement=True, generator=random)
            for row in self.config.shares
        ]
        return torch.stack(columns, 1)

    def draw(self, labels: Tensor, seed: int) -> Pictures:
        pictures = sample(self.generator, labels, seed)
        return on_palette(pictures, self.colours) if self.config.palette else pictures


class PortraitsTrainer:
    """See `models.training.train.Trainer`."""

    family: Family = "portraits"

    def __init__(self, shipped: Path = PORTRAITS_FOLDER) -> None:
        self._shipped = shipped

    def train(self, snapshot: Snapshot, context: RunContext) -> Candidate:
        """Raises NothingToLearnError for too few pictures."""
        options = context.request.options
        given, held_out = _pictures(snapshot.pictures("train")), sum(1 for _ in snapshot.pictures("held_out"))
        if len(given) < MIN_PICTURES or held_out < MIN_HELD_OUT:
            raise NothingToLearnError(
                f"Pictures: {len(given) + held_out}, of them to test with: {held_out}; the portraits learn from "
                f"{MIN_PICTURES} and {MIN_HELD_OUT}."
            )
        if options.threads:
            torch.set_num_threads(options.threads)
        context.stop_if_cancelled()
        shipped = _Drawer.of(self._shipped)
        classifier = AttributeClassifier.load(self._shipped / ATTRIBUTES)
        seen = seen_labels(classifier, given)
        asked = shipped.labels(_REPLAYED, _SEEDS["replay"])
        known = shipped.draw(asked, _SEEDS["replay"])
        share = max(options.replay, REPLAY)
        pictures, labels = _mixed(given, seen, known, asked, share)
        recipe = Recipe(
            seed=options.seed,
            steps=STEPS * options.steps,
            batch=_BATCH,
            rate=RATE,
            warm_up=min(100, STEPS * options.steps // 4 + 1),
            checkpoint_every_s=CHECKPOINT_EVERY_S,
        )
        shape, *begin = exported(self._shipped)
        run = Run(pictures, labels, shape, recipe, context.folder, (begin[0], begin[1]))
        context.stop_if_cancelled()
        for step in run.steps():
            context.tell(
                Progressed(
                    family=self.family,
                    step=step.step,
                    steps=recipe.steps,
                    loss=step.generator,
                    tokens_per_s=step.pictures_per_s,
                    left_s=step.left_s,
                )
            )
            context.stop_if_cancelled()
        base = read(self._shipped).version
        folder = context.folder / "candidate"
        shutil.rmtree(folder, ignore_errors=True)
        write(
            folder,
            run.average,
            run.discriminator,
            self._shipped / ATTRIBUTES,
            colours=torch.from_numpy(with_colours_of(given, shipped.colours)),
            shares=shipped.config.shares,
            palette=shipped.config.palette,
            origin=f"{recipe.steps} steps on {len(given)} given pictures, from {base}",
        )
        return Candidate(
            folder=folder,
            recipe={
                "objective": "relativistic pairing loss, given pictures and self-replay",
                "seed": recipe.seed,
                "steps": recipe.steps,
                "batch": recipe.batch,
                "rate": recipe.rate,
                "replay": share,
            },
            base=base,
            counts={"train": len(given), "held_out": held_out},
        )

    def judge(self, candidate: Candidate, champion: Path | None, snapshot: Snapshot, context: RunContext) -> Judgement:
        """`champion` is held to the same; what was known is what ships."""
        if context.request.options.threads:
            torch.set_num_threads(context.request.options.threads)
        classifier = AttributeClassifier.load(self._shipped / ATTRIBUTES)
        shipped = _Drawer.of(self._shipped)
        known = shipped.draw(shipped.labels(_JUDGED, _SEEDS["known"]), _SEEDS["known"])
        judge = Judge(classifier, known)
        given, held_out = _pictures(snapshot.pictures("train")), _pictures(snapshot.pictures("held_out"))
        all_given = np.concatenate([given, held_out])
        found: dict[str, float] = {}
        drawers = (("", _Drawer.of(candidate.folder)), ("_before", _Drawer.of(champion) if champion else shipped))
        for name, drawer in drawers:
            context.stop_if_cancelled()
            labels = drawer.labels(_JUDGED, _SEEDS["drawn"])
            drawn = drawer.draw(labels, _SEEDS["drawn"])
            features = judge.features(drawn)
            context.stop_if_cancelled()
            found[f"held_out_distance{name}"] = float(nearest(judge.features(held_out), features).mean())
            found[f"known_distance{name}"] = float(nearest(judge.reference, features).mean())
            found[f"kid{name}"] = kernel_distance(judge.reference, features)
            context.stop_if_cancelled()
            found[f"copies{name}"] = copied(drawn, all_given)
            # Asked by what ships: where people all drew one class it would be the only one asked for.
            wanted = shipped.labels(_JUDGED, _SEEDS["drawn"])
            found[f"attributes{name}"] = obeyed(classifier, drawer.draw(wanted, _SEEDS["drawn"]), wanted)
        return Judgement(checks=_checks(found), metrics=found)


def _checks(found: dict[str, float]) -> tuple[Check, ...]:
    def at_most(name: str, key: str, limit: float) -> Check:
        before = found[f"{key}_before"]
        return Check(name=name, passed=found[key] <= limit, value=found[key], limit=limit, before=before)

    asked, least = found["attributes"], found["attributes_before"] - ATTRIBUTES_LOST
    return (
        at_most("portraits_held_out", "held_out_distance", (1 - GAIN) * found["held_out_distance_before"]),
        at_most("portraits_forgetting", "known_distance", (1 + FORGETTING) * found["known_distance_before"]),
        at_most("portraits_copies", "copies", COPIES),
        Check(
            name="portraits_attributes",
            passed=asked >= least,
            value=asked,
            limit=least,
            before=found["attributes_before"],
        ),
    )


def _pictures(rows: Iterable[Picture]) -> Pictures:
    """uint8 (n, 16, 16, 3)."""
    found = [sixteen(row.png) for row in rows]
    return np.stack(found) if found else np.zeros((0, 16, 16, 3), np.uint8)


def sixteen(png: bytes) -> Pictures:
    """The middle square of a picture (a PNG that a snapshot has made plain), each pixel the mean of what it covers:
    what was enlarged by a whole number comes back as it was."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        small = picture.convert("RGB").resize((16, 16), Image.Resampling.BOX, (left, top, left + side, top + side))
    return np.asarray(small, np.uint8)


@torch.inference_mode()
def seen_labels(classifier: AttributeClassifier, pictures: Pictures) -> Tensor:
    """The likeliest class of each conditioning field, int64 (n, conditions)."""
    inputs = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    logits = dict(zip([field.name for field in FIELDS], split(classifier(inputs)), strict=True))
    return torch.stack([logits[name].argmax(1) for name in CONDITIONS], 1)


def _mixed(given: Pictures, seen: Tensor, known: Pictures, asked: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Pictures float (n, 3, 16, 16) in -1..1 and their labels; about `share` of them are known ones."""
    times = max(1, _GIVEN_ROWS // len(given))
    rows = np.concatenate([given] * times)
    labels = seen.repeat(times, 1)
    wanted = max(1, round(len(rows) * share / (1 - share)))
    repeats = -(-wanted // len(known))
    both = np.concatenate([rows, np.concatenate([known] * repeats)[:wanted]])
    pictures = torch.from_numpy(both).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pictures.contiguous(), torch.cat([labels, asked.repeat(repeats, 1)[:wanted]])


def with_colours_of(given: Pictures, palette: Pictures) -> Pictures:
    """`palette` and the colours of the given pictures, those that cover most where they are too many; uint8 (n, 3)."""
    colours = np.unique(given.reshape(-1, 3), axis=0)
    if len(colours) > _OWN_COLOURS:
        mosaic = Image.fromarray(given.reshape(-1, 16, 3)).quantize(_OWN_COLOURS, Image.Quantize.MEDIANCUT)
        colours = np.array(mosaic.getpalette(), np.uint8).reshape(-1, 3)[:_OWN_COLOURS]
    both: Pictures = np.unique(np.concatenate([palette.reshape(-1, 3), colours]), axis=0)
    return both


def on_palette(pictures: Pictures, colours: Pictures) -> Pictures:
    """Each pixel's nearest colour, as the served model paints."""
    pixels, places = np.unique(pictures.reshape(-1, 3), axis=0, return_inverse=True)
    known = colours.astype(np.int32)
    parts = np.array_split(pixels.astype(np.int32), max(1, len(pixels) // 4_000))
    chosen = np.concatenate([((part[:, None] - known[None]) ** 2).sum(2).argmin(1) for part in parts])
    found: Pictures = colours[chosen[places.reshape(-1)]].reshape(pictures.shape)
    return found


def copied(drawn: Pictures, given: Pictures) -> float:
    """The share of drawn pictures that nobody could tell from a given one, in 0..1."""
    flat = drawn.reshape(len(drawn), -1).astype(np.float32) / 255
    near = np.zeros(len(drawn), np.bool_)
    for picture in given.reshape(len(given), -1).astype(np.float32) / 255:
        near |= np.abs(flat - picture).mean(1) < _COPY
    return float(near.mean())


def obeyed(classifier: AttributeClassifier, pictures: Pictures, asked: Tensor) -> float:
    """The share of asked classes that the classifier sees, in 0..1."""
    return float((seen_labels(classifier, pictures) == asked).double().mean())
