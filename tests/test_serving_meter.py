"""What an engine measures of itself, against a clock that is turned by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.serving.meter import Meter, percentile


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_tokens_a_second_are_those_of_the_last_minute():
    clock = Clock()
    meter = Meter(clock)
    meter.add_tokens(60)
    clock.now += 30
    meter.add_tokens(120)
    assert meter.tokens_per_s() == pytest.approx(3.0)
    clock.now += 45
    assert meter.tokens_per_s() == pytest.approx(2.0)
    clock.now += 45
    assert meter.tokens_per_s() == 0


def test_nothing_measured_is_no_estimate():
    meter = Meter()
    assert meter.turn_s(4) is None
    assert meter.first_token_s(50) is None
    meter.add_service(8.0)
    assert meter.turn_s(4) == 2.0
    assert meter.turn_s(0) is None


def test_latencies_are_those_of_the_last_two_hundred_requests():
    meter = Meter()
    for _ in range(50):
        meter.add_first_token(100.0)
    for milliseconds in range(1, 201):
        meter.add_first_token(milliseconds / 1000)
    assert meter.first_token_s(50) == 0.100
    assert meter.first_token_s(95) == 0.190


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values, percent):
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_the_total_never_falls_and_every_latency_has_its_place():
    meter = Meter()
    for count in (3, -2, 4):
        meter.add_tokens(count)
    assert meter.generated_tokens == 7
    for seconds in (0.01, 0.05, 0.3, 2_000.0):
        meter.add_first_token(seconds)
    told = meter.first_token()
    assert len(told.counts) == len(told.bounds) + 1
    assert [told.counts[0], told.counts[told.bounds.index(0.5)], told.counts[-1], sum(told.counts)] == [2, 1, 1, 4]
    assert told.sum_s == pytest.approx(2_000.36)
