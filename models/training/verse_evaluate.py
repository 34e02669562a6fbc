"""Judges verse generators the way their field does: BLEU against held-out verses, self-BLEU, and both over a sweep of
temperatures (Caccia et al. 2020, "Language GANs Falling Short"). Knows no training and draws nothing.

A GAN that is better than maximum likelihood must lie beyond the curve that maximum likelihood draws when its
temperature alone is turned: better BLEU at the same self-BLEU.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from torch import Tensor

from models.gan.verse_forms import BREAK, Form
from models.gan.verse_networks import VerseGenerator, VerseShape
from models.training.verse_data import Corpus, Verses
from models.training.verse_likelihood import held_out_loss
from models.training.verse_metrics import ORDERS, References, bleu, self_bleu
from models.training.verse_sampling import sample

# The order that decides. Hardly two verses of so few have four characters in a row in common: smoothing would decide.
JUDGED: Final = 3
TEMPERATURES: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)
Weights = Mapping[str, Tensor]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One set of verses. `bleu` and `self_bleu` by their highest order."""

    form: Form
    name: str  # "real", "likelihood", "adversarial", or "kept-STEP"
    temperature: float
    bleu: dict[int, float]
    self_bleu: dict[int, float]
    distinct: float  # different verses among all


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`lead`: for each form, BLEU-3 of the adversarial generator less that of maximum likelihood at the same self-BLEU,
    averaged over the adversarial generator's temperatures whose self-BLEU both reach; None where they share none."""

    count: int
    references: int
    points: list[Point]
    held_out_loss: dict[str, float]  # nats a token, by generator
    lead: dict[Form, float | None]


def evaluate(
    corpus: Corpus,
    shape: VerseShape,
    generators: Mapping[str, Weights],
    *,
    count: int = 500,
    references: int = 700,
    temperatures: Sequence[float] = TEMPERATURES,
    seed: int = 7,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """`generators` by name: "likelihood", "adversarial" and any "kept-STEP", which are judged at temperature 1 alone.
    Of the held-out verses of each form `references` judge quality, and the `count` after them are the real set."""
    points: list[Point] = []
    losses = {}
    network = VerseGenerator(shape)
    sides: dict[Form, tuple[References, list[list[int]]]] = {}
    for verses in corpus.held_out:
        rows = shuffled(verses.complete())
        judges, real = rows[:references], rows[references : references + count]
        sides[verses.form] = References(judges), judges
        if len(real) >= min(count, 100):
            points.append(_point(verses.form, "real", 1.0, real, sides[verses.form][0]))
    held_out = [each.complete() for each in corpus.held_out]
    for name, weights in generators.items():
        network.load_state_dict(weights)
        losses[name] = held_out_loss(network, held_out)
        for form in sides:
            for temperature in (1.0,) if name.startswith("kept") else temperatures:
                tell(f"{form} {name} at {temperature}")
                drawn = sample(network, form, corpus.pieces, count, temperature=temperature, seed=seed)
                rows = [trimmed(form, row) for row in drawn.tolist()]
                points.append(_point(form, name, temperature, rows, sides[form][0]))
    return Report(
        count=count,
        references=references,
        points=points,
        held_out_loss=losses,
        lead={form: lead([point for point in points if point.form == form]) for form in sides},
    )


def shuffled(verses: Verses) -> list[list[int]]:
    order = np.random.default_rng(1).permutation(len(verses.tokens))
    return [trimmed(verses.form, row) for row in verses.tokens[order].tolist()]


def trimmed(form: Form, row: Sequence[int]) -> list[int]:
    """A verse without what fills its row: an English one ends with its last line's BREAK."""
    if form != "en":
        return list(row)
    end = len(row)
    while end and row[end - 1] == BREAK:
        end -= 1
    return [*row[:end], BREAK]


def _point(form: Form, name: str, temperature: float, rows: Sequence[list[int]], judges: References) -> Point:
    own = References(rows)
    return Point(
        form=form,
        name=name,
        temperature=temperature,
        bleu={order: bleu(rows, judges, order) for order in ORDERS},
        self_bleu={order: self_bleu(rows, order, own) for order in ORDERS},
        distinct=len({tuple(row) for row in rows}) / len(rows),
    )


def lead(points: Sequence[Point], order: int = JUDGED) -> float | None:
    """By how much the adversarial curve lies beyond that of maximum likelihood: the mean difference of BLEU at the same
    self-BLEU, the latter curve interpolated linearly between its temperatures. None where they don't overlap."""
    curve = sorted((p.self_bleu[order], p.bleu[order]) for p in points if p.name == "likelihood")
    if len(curve) < 2:
        return None
    at, quality = zip(*curve, strict=True)
    others = [p for p in points if p.name == "adversarial" and at[0] <= p.self_bleu[order] <= at[-1]]
    if not others:
        return None
    return float(np.mean([p.bleu[order] - np.interp(p.self_bleu[order], at, quality) for p in others]))


def read_report(path: Path) -> Report:
    """Raises ValueError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError) as error:
        raise ValueError(f"{path} is no report of an evaluation: {error}") from error


def write(report: Report, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
