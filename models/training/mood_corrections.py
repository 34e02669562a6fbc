"""Lets the fast tier of moods learn from what people corrected. Knows no run and no gate.

What is learned is an addition to the shipped weights, one vector for each language and stage, by logistic regression
with the shipped answers as offsets. Two readings are asked to be right at once, the fast tier alone and the calibrated
average that it is a part of, so that neither is bought with the other. Sentences of the base text hold the addition
where it has nothing to say: their targets are the shipped probabilities (distillation, Hinton et al. 2015).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from sklearn.model_selection import GroupKFold

from models.sentiment.calibration import Calibrations, load_calibrations, sigmoid
from models.sentiment.calibration import Stage as Reading
from models.sentiment.combination import default_tiers
from models.sentiment.features import BITS, extract
from models.sentiment.linear import LANGUAGES, expand, linear_file, save_linear, tones_in
from models.sentiment.scorer import ModelLanguage, Prepared
from models.sentiment.tiers import load_tier

Floats = NDArray[np.float64]
Tick = Callable[[], None]

STAGES: Final = ("polar", "positive")
RIDGES: Final = (8.0, 2.0, 0.5)  # a text's feature vector has about length 1: so many corrections weigh like the prior
FOLDS: Final = 3
MIN_SIDE: Final = 4  # corrections on each side of a decision: fewer say nothing of where it lies
ANCHORS: Final = 1.0  # what all sentences of the base text weigh together, as a part of the corrections


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A text as the tiers read it, the right label and a pseudonym: texts of one author are never split in choosing."""

    text: Prepared
    label: str
    author: str


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One decision. `features` (rows, active); `offsets` (readings, rows) are the shipped log odds, `slopes`
    (readings,) what a unit of the fast tier's log odds adds to them; `targets` (readings, rows) in 0..1; `weights`
    (rows,); `groups` (rows,), -1 for a sentence of the base text."""

    features: csr_matrix
    offsets: Floats
    slopes: Floats
    targets: Floats
    weights: Floats
    groups: NDArray[np.int64]

    def part(self, rows: NDArray[np.bool_]) -> "Problem":
        return Problem(
            features=self.features[rows],
            offsets=self.offsets[:, rows],
            slopes=self.slopes,
            targets=self.targets[:, rows],
            weights=self.weights[rows],
            groups=self.groups[rows],
        )


class ShippedReading:
    """The log odds of the tiers in `folder`, and how their calibration combines them."""

    def __init__(self, folder: Path) -> None:
        self._calibrations: Calibrations = load_calibrations(folder / "calibration.json")
        self._tiers = default_tiers(self._calibrations["default"])
        self._scorers = {tier: load_tier(tier, folder) for tier in self._tiers}

    def odds(self, texts: Sequence[Prepared], language: ModelLanguage, stage: int) -> tuple[Floats, Floats]:
        """(2, texts) and (2,): of the fast tier and of the default, and the slope of the fast tier in each."""
        logits = np.stack([self._scorers[tier].score(texts).logits[:, stage] for tier in self._tiers], axis=1)
        fast = self._tiers.index("linear")
        alone = self._stage("linear", language, stage)
        both = self._stage("default", language, stage)
        return (
            np.stack([alone.odds(logits[:, [fast]]), both.odds(logits)]),
            np.array([alone.weights[0], both.weights[fast]]),
        )

    def _stage(self, method: str, language: ModelLanguage, stage: int) -> Reading:
        return cast("Reading", getattr(self._calibrations[method][language], STAGES[stage]))


def fit_corrections(
    lessons: Sequence[Lesson], anchors: Sequence[Prepared], shipped: Path, folder: Path, *, tick: Tick = lambda: None
) -> dict[str, int]:
    """Write both languages' fast tier into `folder`; how many corrections each learned decision had, by its name. A
    decision with fewer than `MIN_SIDE` corrections on a side stays as shipped. `tick` is called between steps and may
    raise to stop."""
    reading = ShippedReading(shipped)
    learned: dict[str, int] = {}
    for language in LANGUAGES:
        stages = stages_of(linear_file(shipped, language))
        own = [lesson for lesson in lessons if lesson.text.language == language]
        still = [text for text in anchors if text.language == language]
        for stage, name in enumerate(STAGES):
            tick()
            rows = own if stage == 0 else [lesson for lesson in own if lesson.label != "neutral"]
            labels = [lesson.label for lesson in rows]
            sides = np.array([label != "neutral" if stage == 0 else label == "positive" for label in labels], bool)
            if min(int(sides.sum()), int((~sides).sum())) < MIN_SIDE:
                continue
            problem, active = _problem(rows, sides, still, reading, language, stage)
            added = fit(problem, best_ridge(problem, tick), tick)
            weights, bias = stages[stage]
            weights[active] += added[:-1]
            stages[stage] = (weights, bias + float(added[-1]))
            learned[f"{language}_{name}"] = len(rows)
        save_linear(linear_file(folder, language), stages, tones_in(linear_file(shipped, language)))
    return learned


def stages_of(path: Path) -> list[tuple[Floats, float]]:
    """Weights (2**BITS,) and bias of each stage, as `save_linear` takes them."""
    tensors = load_file(path)
    return [
        (expand(codes, largest).astype(np.float64), float(bias))
        for codes, largest, bias in zip(tensors["codes"], tensors["largest"], tensors["bias"], strict=True)
    ]


def _problem(
    rows: Sequence[Lesson],
    sides: NDArray[np.bool_],
    anchors: Sequence[Prepared],
    reading: ShippedReading,
    language: ModelLanguage,
    stage: int,
) -> tuple[Problem, NDArray[np.int64]]:
    """The decision over the features that occur, and which those are."""
    texts = [*(lesson.text for lesson in rows), *anchors]
    whole = features_of([text.text for text in texts], language)
    active = np.unique(whole[: len(rows)].indices).astype(np.int64)  # the base text alone has nothing to add
    offsets, slopes = reading.odds(texts, language, stage)
    targets = sigmoid(offsets)
    targets[:, : len(rows)] = sides
    weights = np.ones(len(texts))
    if anchors:
        weights[len(rows) :] = ANCHORS * len(rows) / len(anchors)
    names = {author: number for number, author in enumerate(sorted({lesson.author for lesson in rows}))}
    groups = np.array([*(names[lesson.author] for lesson in rows), *[-1] * len(anchors)])
    problem = Problem(
        features=whole[:, active], offsets=offsets, slopes=slopes, targets=targets, weights=weights, groups=groups
    )
    return problem, active


def features_of(texts: Sequence[str], language: ModelLanguage) -> csr_matrix:
    """(texts, 2**BITS), each row as `LinearScorer` sums it: counts over the square root of all of them."""
    found = extract(texts, language)
    counts = np.diff(found.starts)
    values = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts)
    made = csr_matrix((values, found.index, found.starts), shape=(len(texts), 1 << BITS))
    made.sum_duplicates()
    return made


def loss(problem: Problem, added: Floats) -> tuple[float, Floats]:
    """Weighted cross-entropy in nats over both readings, without the ridge, and its gradient (active + 1,)."""
    moved = problem.features @ added[:-1] + added[-1]
    odds = problem.offsets + problem.slopes[:, None] * moved
    # log(1 + e^odds) - target * odds, which no size of the odds can overflow
    value = problem.weights * (np.logaddexp(0, odds) - problem.targets * odds)
    pull = (problem.slopes[:, None] * problem.weights * (sigmoid(odds) - problem.targets)).sum(axis=0)
    return float(value.sum()), np.append(problem.features.T @ pull, pull.sum())


def fit(problem: Problem, ridge: float, tick: Tick = lambda: None) -> Floats:
    """The addition to the weights of the active features, and to the bias last: (active + 1,)."""

    def objective(added: Floats) -> tuple[float, Floats]:
        value, slope = loss(problem, added)
        return value + 0.5 * ridge * float(added @ added), slope + ridge * added

    start = np.zeros(problem.features.shape[1] + 1)
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 60, "ftol": 1e-6}, callback=lambda _: tick()
    )
    return np.asarray(found.x, np.float64)


def best_ridge(problem: Problem, tick: Tick = lambda: None) -> float:
    """The one under which authors predict each other best; the strongest where there are too few to tell."""
    people = problem.groups >= 0
    folds = min(FOLDS, len(np.unique(problem.groups[people])))
    if folds < 2:
        return RIDGES[0]
    numbers = np.flatnonzero(people)
    losses: Mapping[float, list[float]] = {ridge: [] for ridge in RIDGES}
    for _, tested in GroupKFold(folds).split(numbers, groups=problem.groups[people]):
        left_out = np.zeros(len(people), bool)
        left_out[numbers[tested]] = True
        for ridge in RIDGES:
            added = fit(problem.part(~left_out), ridge, tick)
            losses[ridge].append(loss(problem.part(left_out), added)[0])
    return min(RIDGES, key=lambda ridge: sum(losses[ridge]))
