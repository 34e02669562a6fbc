"""The measures against their definitions on numbers that can be checked by hand."""

import numpy as np
import pytest

from models.training.gan_metrics import frechet_distance, kernel_distance, nearest, precision_recall


def points(rows: int, width: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width))


def test_the_kernel_distance_is_the_unbiased_estimate_over_all_pairs() -> None:
    a, b = points(5), points(4, seed=1) + 0.5

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 3 + 1) ** 3)

    own_a = np.mean([kernel(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    own_b = np.mean([kernel(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(own_a + own_b - 2 * across, rel=1e-12)


def test_the_kernel_distance_of_two_draws_of_one_distribution_is_zero_on_average() -> None:
    found = [kernel_distance(points(60, seed=2 * n), points(60, seed=2 * n + 1)) for n in range(200)]
    error = np.std(found) / len(found) ** 0.5
    assert abs(np.mean(found)) < 4 * error
    assert min(found) < 0  # unbiased, so some are negative


def test_the_frechet_distance_is_that_of_the_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((200_000, 2)) * [1.0, 2.0]
    b = rng.standard_normal((200_000, 2)) * [3.0, 2.0] + [4.0, 0.0]
    assert frechet_distance(a, b) == pytest.approx(16 + (3 - 1) ** 2, rel=0.02)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_the_frechet_distance_bears_a_feature_that_is_never_on() -> None:
    a = np.c_[points(50), np.zeros(50)]
    assert np.isfinite(frechet_distance(a, a + 1))


def test_precision_falls_with_pictures_off_the_manifold_and_recall_with_modes_left_out() -> None:
    left, right = points(300, 2), points(300, 2, seed=1) + 50
    real = np.concatenate([left, right])
    everything = np.concatenate([points(300, 2, seed=2), points(300, 2, seed=3) + 50])
    one_mode = points(600, 2, seed=4)
    half_wrong = np.concatenate([everything[:300:2], everything[300::2], points(300, 2, seed=5) - 500])
    full, half, wrong = (precision_recall(real, each) for each in (everything, one_mode, half_wrong))
    assert full.precision > 0.9
    assert full.recall > 0.9
    assert half.precision > 0.9
    assert half.recall == pytest.approx(0.5, abs=0.05)
    assert wrong.precision == pytest.approx(0.5, abs=0.05)


def test_a_copy_is_at_no_distance() -> None:
    a = points(40)
    assert nearest(a[:7], a) == pytest.approx(np.zeros(7), abs=1e-6)
    assert nearest(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [6.0, 8.0]])) == pytest.approx([5.0])
