"""From hourly counts to a trend that may be shown, and whether it fell suddenly. Pure arithmetic: knows no Discord, no
text and no person.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bot.store.moods import MoodCount

Period = Literal["day", "week", "month"]
SLICES: dict[Period, tuple[int, int]] = {"day": (24, 1), "week": (28, 6), "month": (30, 24)}  # slices, hours of each

Z95 = 1.959964  # two-sided 95%
# A drop is told when it is clear (99%), large, and rests on enough; it has passed when half of it is made up for.
_Z99 = 2.575829
_ALERT_DROP, _PASSED_DROP = 0.25, 0.12  # of the mean, which goes from -1 to 1
_ALERT_LEAST_MESSAGES = 20
_BASE_HOURS, _BASE_LEAST_COUNTS, _BASE_LEAST_MESSAGES = 14 * 24, 12, 200


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Part of a trend. `read` 0: nothing that may be shown, the shares mean nothing then."""

    first_hour: int
    hours: int
    read: int
    skipped: int
    authors: int
    positive: Share
    negative: Share


def wilson(successes: int, trials: int, z: float = Z95) -> Share:
    """The share of successes with Wilson's score interval (E. B. Wilson, Probable Inference, 1927, eq. 4), which stays
    within 0 and 1 and is right for few trials. It takes the trials as independent; messages of one talk are not quite,
    so the true interval is somewhat wider."""
    if trials <= 0:
        return Share(value=0.0, low=0.0, high=1.0)
    p = successes / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    return Share(value=p, low=max(0.0, centre - half), high=min(1.0, centre + half))


def first_hour_of(period: Period, now_hour: int) -> int:
    """Where the period that ends with `now_hour` begins. Slices lie on whole multiples of their hours (UTC)."""
    slices, hours = SLICES[period]
    return (now_hour // hours - slices + 1) * hours


def trend(counts: Sequence[MoodCount], period: Period, now_hour: int) -> tuple[Slice, ...]:
    """The period's slices, oldest first, empty ones included. A count that spans several slices belongs to the one in
    which its middle lies."""
    slices, hours = SLICES[period]
    first = first_hour_of(period, now_hour)
    parts: list[list[MoodCount]] = [[] for _ in range(slices)]
    for count in counts:
        place = (count.hour + count.hours // 2 - first) // hours
        if count.hour >= first:
            parts[min(place, slices - 1)].append(count)
    return tuple(_slice(first + number * hours, hours, part) for number, part in enumerate(parts))


def _slice(first_hour: int, hours: int, counts: Sequence[MoodCount]) -> Slice:
    read = sum(count.read for count in counts)
    return Slice(
        first_hour=first_hour,
        hours=hours,
        read=read,
        skipped=sum(count.skipped for count in counts),
        authors=max((count.authors for count in counts), default=0),
        positive=wilson(sum(count.positive for count in counts), read),
        negative=wilson(sum(count.negative for count in counts), read),
    )


def whole(slices: Sequence[Slice], counts: Sequence[MoodCount]) -> Slice:
    """All of a trend as one slice."""
    return _slice(slices[0].first_hour, sum(each.hours for each in slices), counts)


@dataclass(frozen=True, kw_only=True)
class Drop:
    """What to tell: the share of negative messages now and usually."""

    negative_now: float
    negative_usual: float


def drop(latest: MoodCount, before: Sequence[MoodCount], *, alerted: bool) -> Drop | bool:
    """Whether the mood just fell: a Drop when it should be told, False when it is (again) as usual, True when nothing
    changes: the drop that was told lasts, or there is too little to say.

    The mood is the mean of -1, 0 and 1 over messages. It fell when even the upper end of its 99% interval lies
    `_ALERT_DROP` below the mean of the two weeks before; a drop that was told is over only above the smaller
    `_PASSED_DROP`, so that a mood at the edge is told once.
    """
    base = [count for count in before if latest.hour - _BASE_HOURS <= count.hour < latest.hour]
    if len(base) < _BASE_LEAST_COUNTS or sum(count.read for count in base) < _BASE_LEAST_MESSAGES:
        return True
    if latest.read < _ALERT_LEAST_MESSAGES:
        return True
    usual = _mean(base)[0]
    mean, spread = _mean([latest])
    if alerted:
        return mean < usual - _PASSED_DROP
    if mean + _Z99 * spread < usual - _ALERT_DROP:
        read = sum(count.read for count in base)
        return Drop(
            negative_now=latest.negative / latest.read,
            negative_usual=sum(count.negative for count in base) / read,
        )
    return False


def _mean(counts: Sequence[MoodCount]) -> tuple[float, float]:
    """The mean mood and its standard error."""
    read = sum(count.read for count in counts)
    up, down = sum(count.positive for count in counts), sum(count.negative for count in counts)
    mean = (up - down) / read
    return mean, math.sqrt(max(0.0, (up + down) / read - mean * mean) / read)
