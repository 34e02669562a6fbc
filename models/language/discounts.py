"""Absolute discounts of modified Kneser-Ney: estimated from the counts alone, or fitted on a text that was not counted.
Knows no dictionary and no disk.

The estimate (Chen & Goodman 1999, equation 17) leaves out one occurrence at a time of the very text that was counted.
Another book differs more from it than it does from itself, so its best discounts are larger; the paper's own
"optimised" variants search for them on held-out data, as `fit` does.
"""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
_LARGEST = np.array([1.0, 2.0, 3.0])  # a discount may not exceed the count it is taken from
_SMALLEST_STEP, _LARGEST_STEP = 1e-4, 0.5


def estimate(counts_of_counts: NDArray[np.int64]) -> Vector:
    """(4,) n1..n4 -> (4,) discounts for counts 0, 1, 2, 3+. Where a text is too small for the estimate (an n is 0 or
    the result leaves 0..count) the discount is half of the count, at most one and a half."""
    n1, n2, n3, n4 = (float(each) for each in counts_of_counts)
    fallback = np.array([0.0, 0.5, 1.0, 1.5])
    if not (n1 and n2 and n3):
        return fallback
    y = n1 / (n1 + 2 * n2)
    found = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    within = (found >= 0) & (found <= np.arange(4))
    return np.where(within, found, fallback)


def fit(
    counts: NDArray[np.int64], totals: NDArray[np.int64], uniform: float, start: list[Vector], *, rounds: int = 120
) -> list[Vector]:
    """The (4,) discounts of each order that make n held-out symbols most likely, by resilient gradient descent
    (Riedmiller & Braun 1993), which needs no step size and no second dependency.

    `counts` (orders, n) are those of each symbol after its context, `totals` (orders, n, 4) those of the context (see
    `Layer.totals`), `uniform` is what each symbol has when no context helps.
    """
    classes = np.minimum(counts, 3)
    safe = np.maximum(totals[..., 0], 1).astype(np.float64)  # (orders, n)
    kinds = totals[..., 1:].astype(np.float64)  # (orders, n, 3): continuations counted once, twice, more often
    seen = totals[..., 0] > 0
    part = np.clip(np.stack([each[1:] for each in start]) / _LARGEST, 0.01, 0.99)
    logits = np.log(part / (1 - part))  # (orders, 3), so that a discount stays within 0..count
    step, before = np.full_like(logits, 0.05), np.zeros_like(logits)
    best, best_bits = logits.copy(), np.inf
    for _ in range(rounds):
        part = 1 / (1 + np.exp(-logits))
        bits, gradient = _gradient(part * _LARGEST, counts, classes, safe, kinds, seen, uniform)
        if bits < best_bits:
            best, best_bits = logits.copy(), bits
        gradient *= part * (1 - part) * _LARGEST
        agrees = gradient * before
        step = np.clip(np.where(agrees > 0, 1.2, np.where(agrees < 0, 0.5, 1.0)) * step, _SMALLEST_STEP, _LARGEST_STEP)
        before = np.where(agrees < 0, 0.0, gradient)
        logits = np.clip(logits - np.sign(before) * step, -8, 8)
    fitted = _LARGEST / (1 + np.exp(-best))
    return [np.concatenate([[0.0], each]) for each in fitted]


def _gradient(
    discounts: Vector,
    counts: NDArray[np.int64],
    classes: NDArray[np.int64],
    safe: Vector,
    kinds: Vector,
    seen: NDArray[np.bool_],
    uniform: float,
) -> tuple[float, Vector]:
    """Nats a symbol under the (orders, 3) `discounts`, and what they change per unit of each."""
    orders, n = counts.shape
    padded = np.concatenate([np.zeros((orders, 1)), discounts], axis=1)
    shorter, rests = [], []
    probability = np.full(n, uniform)
    for m in range(orders):
        rest = np.where(seen[m], kinds[m] @ discounts[m] / safe[m], 1.0)
        shorter.append(probability)
        rests.append(rest)
        probability = (counts[m] - padded[m][classes[m]]) / safe[m] + rest * probability
    slope = -1 / (probability * n)  # of the nats by each order's probability, the longest first
    gradient = np.empty_like(discounts)
    for m in range(orders - 1, -1, -1):
        per_total = slope / safe[m]
        given_on = np.where(seen[m], per_total * shorter[m], 0.0) @ kinds[m]
        taken = np.bincount(classes[m], weights=per_total, minlength=4)[1:]
        gradient[m] = given_on - taken
        slope = slope * rests[m]
    return -float(np.log(probability).mean()), gradient
