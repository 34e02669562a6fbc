"""Moods as pictures: the arc of a story and the trend of a channel, as PNG. Knows no word of any language: faces stand
for moods and digits for the rest, so that no font lacks a reader's script; whoever sends a picture describes it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.chart_sheet import DIM, DOWN, EVEN, GRID, UP, WIDTH, Point, Sheet
from bot.mood_trend import Slice

_LEFT, _RIGHT, _TOP = 54, 32, 18


@dataclass(frozen=True, kw_only=True)
class Beat:
    """One turn of a story: its `score` from -1 (negative) to 1 (positive); `by_model` tells who wrote it."""

    score: float
    sure: bool
    by_model: bool


def arc(beats: Sequence[Beat], first_number: int = 1) -> bytes:
    """A story's turns from left to right, happier ones higher; discs are people's, diamonds the model's, hollow ones
    unsure. `first_number` is the first shown turn's place in the story. At least one beat."""
    top, bottom = _TOP, 222
    sheet = Sheet(264)
    middle = (top + bottom) / 2

    def place(number: int) -> Point:
        span = WIDTH - _LEFT - _RIGHT - 16
        across = span / 2 if len(beats) == 1 else span * number / (len(beats) - 1)
        return _LEFT + 8 + across, middle - beats[number].score * (bottom - top) / 2

    for y, colour, mood in ((top, UP, 1), (middle, EVEN, 0), (bottom, DOWN, -1)):
        sheet.line(((_LEFT, y), (WIDTH - _RIGHT, y)), GRID)
        sheet.face((_LEFT - 22, y), 11, colour, mood)
    points = [place(number) for number in range(len(beats))]
    if len(points) > 1:
        sheet.line(points, DIM, 1.5)
    radius = 6.0 if len(beats) <= 40 else 4.0
    for beat, point in zip(beats, points, strict=True):
        colour = UP if beat.score > 0.15 else DOWN if beat.score < -0.15 else EVEN
        (sheet.diamond if beat.by_model else sheet.disc)(
            point, radius + (1.5 if beat.by_model else 0), colour, hollow=not beat.sure
        )
    for number in _ticks(len(beats), 12):
        sheet.label((points[number][0], bottom + 20), str(first_number + number), "ma", DIM)
    return sheet.png()


def trend(slices: Sequence[Slice], labels: Sequence[str]) -> bytes:
    """The share of positive and of negative messages with their 95% bands, and below how many were read. `labels` (in
    digits; empty ones are not drawn) belong to the slices. A slice with nothing to show leaves a gap."""
    top, bottom, floor = _TOP, 208, 276
    sheet = Sheet(312)
    wide = (WIDTH - _LEFT - _RIGHT) / len(slices)
    most = max((share.high for each in slices if each.read for share in (each.positive, each.negative)), default=1.0)
    quarters = max(2, math.ceil(most * 4 - 1e-9))  # the scale ends at the quarter above all bands

    def across(number: int) -> float:
        return _LEFT + (number + 0.5) * wide

    def height(share: float) -> float:
        return bottom - share * 4 / quarters * (bottom - top)

    for share in (quarter / 4 for quarter in range(quarters + 1)):
        sheet.line(((_LEFT, height(share)), (WIDTH - _RIGHT, height(share))), GRID)
        sheet.label((_LEFT - 7, height(share)), f"{share:.0%}", "rm", DIM)
    runs = _runs(slices)
    for run in runs:
        for up in (False, True):
            shares = [slices[n].positive if up else slices[n].negative for n in run]
            colour = UP if up else DOWN
            edge = min(wide * 0.3, 10.0)
            xs = [across(n) for n in run]
            xs = [xs[0] - edge, *xs, xs[-1] + edge]  # so that one slice alone has a band, too
            ends = [shares[0], *shares, shares[-1]]
            over = [(x, height(share.high)) for x, share in zip(xs, ends, strict=True)]
            under = [(x, height(share.low)) for x, share in zip(xs, ends, strict=True)]
            sheet.area([*over, *reversed(under)], colour, 0.28)
    for run in runs:
        for up in (False, True):
            colour = UP if up else DOWN
            points = [(across(n), height((slices[n].positive if up else slices[n].negative).value)) for n in run]
            if len(points) > 1:
                sheet.line(points, colour, 2.2)
            for point in points:
                sheet.disc(point, 3.2, colour)
    if runs:
        _faces_at_the_end(sheet, slices[runs[-1][-1]], height)
    _bars(sheet, slices, across, wide, floor)
    named = [number for number, label in enumerate(labels) if label]
    for place in _ticks(len(named), 10):
        sheet.label((across(named[place]), floor + 8), labels[named[place]], "ma", DIM)
    return sheet.png()


def _faces_at_the_end(sheet: Sheet, last: Slice, height: Callable[[float], float]) -> None:
    """Which line is which, beside its end; moved apart where they would touch."""
    up, down = height(last.positive.value), height(last.negative.value)
    if abs(up - down) < 22:
        middle, sign = (up + down) / 2, 1 if up <= down else -1
        up, down = middle - 11 * sign, middle + 11 * sign
    sheet.face((WIDTH - _RIGHT + 15, up), 9, UP, 1)
    sheet.face((WIDTH - _RIGHT + 15, down), 9, DOWN, -1)


def _bars(sheet: Sheet, slices: Sequence[Slice], across: Callable[[int], float], wide: float, floor: float) -> None:
    most = max((each.read for each in slices), default=0)
    tall = 44.0
    sheet.line(((_LEFT, floor), (WIDTH - _RIGHT, floor)), GRID)
    sheet.label((_LEFT - 7, floor - tall + 5), f"{most:,}" if most < 10_000 else f"{most / 1000:.0f}k", "rm", DIM)
    for number, each in enumerate(slices):
        if each.read:
            half = min(wide * 0.35, 12.0)
            sheet.box(
                across(number) - half, floor - max(2.0, tall * each.read / most), across(number) + half, floor, EVEN
            )


def _runs(slices: Sequence[Slice]) -> list[list[int]]:
    """Neighbouring slices that have something to show."""
    runs: list[list[int]] = []
    for number, each in enumerate(slices):
        if not each.read:
            continue
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _ticks(count: int, most: int) -> range:
    return range(0, count, max(1, -(-count // most)))
