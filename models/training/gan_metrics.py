"""Distances between two sets of feature vectors, as the papers define them. Knows no picture, no network and no file.

Features are float64 (pictures, width).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def kernel_distance(a: Array, b: Array) -> float:
    """KID (Binkowski et al. 2018): the unbiased squared maximum mean discrepancy with the kernel (x.y / width + 1)^3,
    over all pairs. May be slightly negative where the sets are alike."""
    width, n, m = a.shape[1], len(a), len(b)

    def kernel(x: Array, y: Array) -> Array:
        result: Array = (x @ y.T / width + 1) ** 3
        return result

    own_a, own_b = kernel(a, a), kernel(b, b)
    within = (own_a.sum() - np.trace(own_a)) / (n * (n - 1)) + (own_b.sum() - np.trace(own_b)) / (m * (m - 1))
    return float(within - 2 * kernel(a, b).mean())


def frechet_distance(a: Array, b: Array) -> float:
    """Between normal distributions with the sets' means and covariances (Heusel et al. 2017, equation 6)."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the root of AB is that of (A^1/2 B A^1/2)^1/2, which is symmetric: no complex numbers.
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def squared_distances(a: Array, b: Array) -> Array:
    """(len(a), len(b)), never negative."""
    distances: Array = ((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T).clip(0)
    return distances


@dataclass(frozen=True, kw_only=True)
class PrecisionRecall:
    precision: float
    recall: float


def precision_recall(real: Array, fake: Array, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019): the share of one set inside the other's manifold, the
    balls around its members that reach to their k-th nearest neighbour."""

    def share(of: Array, manifold: Array) -> float:
        own = squared_distances(manifold, manifold)
        np.fill_diagonal(own, np.inf)
        radii = np.partition(own, k - 1, axis=1)[:, k - 1]
        return float((squared_distances(of, manifold) <= radii).any(1).mean())

    return PrecisionRecall(precision=share(fake, real), recall=share(real, fake))


def nearest(a: Array, b: Array) -> Array:
    """For each of `a` the distance to its nearest of `b`."""
    found: Array = np.sqrt(np.concatenate([squared_distances(part, b).min(1) for part in np.array_split(a, 16)]))
    return found
