"""The draw of one token for each request of a batch."""

from collections import Counter

import pytest
import torch

from models.language.seeded_sampling import PENALTY_WINDOW, _Row, draw, uniform
from models.serving.requests import Sampling

VOCABULARY = 64


def plain(**changes: float) -> Sampling:
    """Sampling with every filter off, but for `changes`."""
    return Sampling(
        **{"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, **changes}
    )


def scores_of(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)


@pytest.fixture
def scores() -> torch.Tensor:
    return torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(3)) * 2


def drawn(scores: torch.Tensor, sampling: Sampling, count: int = 4_000) -> Counter[int]:
    rows = [_Row(sampling, position, []) for position in range(count)]
    return Counter(draw(scores.expand(count, -1), rows).tolist())


def test_tokens_come_as_often_as_the_softmax_says(scores: torch.Tensor) -> None:
    counts = drawn(scores, plain(), 20_000)
    expected = scores[0].softmax(0) * 20_000
    # A chi-square of 63 degrees of freedom stays under 110 in 99.98% of all seeds; this seed is fixed.
    statistic = sum((counts[token] - float(wanted)) ** 2 / float(wanted) for token, wanted in enumerate(expected))
    assert statistic < 110


def test_temperature_zero_takes_the_best_token(scores: torch.Tensor) -> None:
    assert set(drawn(scores, plain(temperature=0.0), 50)) == {int(scores.argmax())}


def test_top_k_keeps_the_k_best(scores: torch.Tensor) -> None:
    assert set(drawn(scores, plain(top_k=5, temperature=5.0))) == set(scores[0].topk(5).indices.tolist())


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    scores = scores_of([0.5, 0.3, 0.15, 0.05]).log()
    assert set(drawn(scores, plain(top_p=0.8))) == {0, 1}
    assert set(drawn(scores, plain(top_p=0.81))) == {0, 1, 2}
    assert set(drawn(scores, plain(top_p=1e-9))) == {0}


def test_min_p_keeps_what_is_likely_beside_the_best() -> None:
    scores = scores_of([0.5, 0.3, 0.15, 0.05]).log()
    assert set(drawn(scores, plain(min_p=0.29))) == {0, 1, 2}


def test_filters_look_at_chances_before_the_temperature_as_in_llama_cpp() -> None:
    scores = scores_of([0.5, 0.3, 0.15, 0.05]).log()
    assert set(drawn(scores, plain(min_p=0.29, temperature=5.0))) == {0, 1, 2}


def test_the_repetition_penalty_divides_positive_and_multiplies_negative_scores() -> None:
    scores = scores_of([4.0, 3.9, -1.0, -1.05])
    greedy = plain(temperature=0.0, repetition_penalty=1.1)
    assert draw(scores, [_Row(greedy, 0, [0])]).tolist() == [1]
    low = scores_of([-1.0, -1.05, -9.0, -9.0])
    assert draw(low, [_Row(greedy, 0, [0, 0, 0])]).tolist() == [1]  # once, however often it was said
    assert draw(scores, [_Row(plain(temperature=0.0), 0, [0])]).tolist() == [0]


def test_a_seed_draws_the_same_beside_any_neighbours(scores: torch.Tensor) -> None:
    asked = Sampling(seed=5, repetition_penalty=1.3)
    row = _Row(asked, 7, [1, 2, 3])
    alone = draw(scores, [row]).item()
    others = [_Row(Sampling(seed=seed, top_k=(seed * 13) % 50), seed, [seed]) for seed in range(9)]
    for place in range(10):
        rows = [*others[:place], row, *others[place:]]
        noise = torch.randn(10, VOCABULARY, generator=torch.Generator().manual_seed(place))
        noise[place] = scores[0]
        assert draw(noise, rows)[place].item() == alone


def test_the_random_numbers_of_a_seed_are_even_and_differ_by_position() -> None:
    numbers = [uniform(11, position) for position in range(10_000)]
    assert len(set(numbers)) == 10_000
    assert min(numbers) >= 0
    assert max(numbers) < 1
    assert abs(sum(numbers) / 10_000 - 0.5) < 0.01
    assert uniform(2**32 - 1, 0) != uniform(0, 0)


def test_the_penalty_looks_as_far_back_as_llama_cpp_is_told_to() -> None:
    from models.language.llama_cpp import PENALTY_WINDOW as THEIRS

    assert PENALTY_WINDOW == THEIRS
