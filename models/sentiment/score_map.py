"""From a few numbers about a text (a share of words, a score) to the probabilities of the three classes: multinomial
logistic regression, small enough to be read. Knows no words and no corpus.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import exp

import numpy as np
import numpy.typing as npt

Probabilities = tuple[float, float, float]  # negative, neutral, positive
FILE = "score_maps.json"
_NEWTON_STEPS = 40
_RIDGE = 1e-3  # keeps the fit finite where a feature separates the classes


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """`weights[class][feature]`; the first feature is always 1."""

    weights: tuple[tuple[float, ...], ...]

    def probabilities(self, features: Sequence[float]) -> Probabilities:
        logits = [sum(map(float.__mul__, row, features)) for row in self.weights]
        top = max(logits)
        negative, neutral, positive = (exp(logit - top) for logit in logits)
        total = negative + neutral + positive
        return negative / total, neutral / total, positive / total


def fit_score_map(features: npt.NDArray[np.float64], classes: npt.NDArray[np.int64]) -> ScoreMap:
    """Maximum likelihood with every class weighing the same (so that no corpus's share of neutral is learned), by
    Newton's method (Böhning 1992 for the multinomial Hessian). `features` (texts, d) with a first column of ones,
    `classes` 0 to 2."""
    count, width = features.shape
    target = np.eye(3)[classes]
    importance = (count / (3 * np.maximum(target.sum(0), 1)))[classes]
    weights = np.zeros((3, width))
    for _ in range(_NEWTON_STEPS):
        logits = features @ weights.T
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        gradient = ((p - target) * importance[:, None]).T @ features + _RIDGE * count * weights
        hessian = np.zeros((3, width, 3, width))
        for a in range(3):
            for b in range(3):
                curvature = importance * p[:, a] * ((a == b) - p[:, b])
                hessian[a, :, b, :] = (features * curvature[:, None]).T @ features
        flat = hessian.reshape(3 * width, 3 * width) + _RIDGE * count * np.eye(3 * width)
        step = np.linalg.solve(flat, gradient.ravel()).reshape(3, width)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    return ScoreMap(tuple(tuple(round(float(w), 4) for w in row) for row in weights))


@cache
def load_score_maps() -> dict[str, ScoreMap]:
    """The fitted maps that ship, by "method/language"."""
    stored = json.loads(resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8"))
    return {name: ScoreMap(tuple(map(tuple, weights))) for name, weights in stored["maps"].items()}
