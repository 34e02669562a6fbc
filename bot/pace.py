"""How often one person and one server may ask. Knows no Discord and no story."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable

_KEYS_KEPT = 20_000  # people and servers remembered at once; the longest silent are forgotten first


class TooFastError(Exception):
    """Asked too often. Try again in `retry_after_s`; `scope` is "user" or "guild"."""

    def __init__(self, scope: str, retry_after_s: float) -> None:
        super().__init__(f"{scope} asked too often, try again in {retry_after_s:.0f} s")
        self.scope, self.retry_after_s = scope, retry_after_s


class Pace:
    """A sliding minute per user and per guild."""

    def __init__(
        self, *, user_per_minute: int, guild_per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = {"user": user_per_minute, "guild": guild_per_minute}
        self._asked: OrderedDict[tuple[str, int], deque[float]] = OrderedDict()
        self._clock = clock

    def ask(self, *, user: int, guild: int | None) -> None:
        """Count one request. Raises TooFastError, and then counts nothing."""
        now = self._clock()
        keys = [("user", user)] + ([("guild", guild)] if guild is not None else [])
        for scope, key in keys:
            times = self._asked.get((scope, key), deque())
            while times and times[0] <= now - 60.0:
                times.popleft()
            if len(times) >= self._limits[scope]:
                raise TooFastError(scope, max(1.0, times[0] + 60.0 - now))
        for entry in keys:
            self._asked.setdefault(entry, deque()).append(now)
            self._asked.move_to_end(entry)
        while len(self._asked) > _KEYS_KEPT:
            self._asked.popitem(last=False)
