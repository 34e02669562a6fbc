"""What an engine measures of itself: tokens a second, first-token latencies, the time between two turns. Knows no
engine; the clock is handed in.
"""

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence

from models.serving.requests import Distribution

_LATENCIES = 200
_FIRST_TOKEN_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
_SERVICES = 50
RATE_WINDOW_S = 60


class Meter:
    """Counts over the last minute, latencies over the last 200 requests, service times over the last 50."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tokens: deque[tuple[int, int]] = deque()  # (second, tokens in it), oldest first
        self._first_token_s: deque[float] = deque(maxlen=_LATENCIES)
        self._service_s: deque[float] = deque(maxlen=_SERVICES)
        self._first_token_counts = [0] * (len(_FIRST_TOKEN_BOUNDS_S) + 1)
        self._first_token_sum_s = 0.0
        self.served = 0
        self.failed = 0
        self.generated_tokens = 0

    def add_tokens(self, count: int) -> None:
        """A negative `count` takes back what was counted too much; the total since the start never falls."""
        self.generated_tokens += max(0, count)
        second = int(self._clock())
        if self._tokens and self._tokens[-1][0] == second:
            self._tokens[-1] = (second, self._tokens[-1][1] + count)
        else:
            self._tokens.append((second, count))
            self._forget(second)

    def add_first_token(self, seconds: float) -> None:
        """From submission to the first piece of text, waiting included."""
        self._first_token_s.append(seconds)
        self._first_token_counts[bisect_left(_FIRST_TOKEN_BOUNDS_S, seconds)] += 1
        self._first_token_sum_s += seconds

    def first_token(self) -> Distribution:
        """Of every request since the start."""
        return Distribution(
            bounds=_FIRST_TOKEN_BOUNDS_S, counts=tuple(self._first_token_counts), sum_s=self._first_token_sum_s
        )

    def add_service(self, seconds: float) -> None:
        """How long a finished request held its slot."""
        self._service_s.append(seconds)

    def tokens_per_s(self) -> float:
        self._forget(int(self._clock()))
        return max(0, sum(count for _, count in self._tokens)) / RATE_WINDOW_S

    def turn_s(self, slots: int) -> float | None:
        """The time between two turns of a queue in front of `slots` slots; None when nothing was measured."""
        if not self._service_s or not slots:
            return None
        return sum(self._service_s) / len(self._service_s) / slots

    def first_token_s(self, percent: int) -> float | None:
        """Percentile by nearest rank; None when nothing was measured."""
        return percentile(self._first_token_s, percent)

    def _forget(self, now: int) -> None:
        while self._tokens and self._tokens[0][0] <= now - RATE_WINDOW_S:
            self._tokens.popleft()


def percentile(values: Sequence[float] | deque[float], percent: int) -> float | None:
    """Nearest rank: the smallest value that at least `percent` of the values do not exceed."""
    if not values:
        return None
    rank = max(1, -(-len(values) * percent // 100))
    return sorted(values)[rank - 1]
