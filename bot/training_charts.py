"""Training as pictures: how the losses fell, what a version knows better than the one before, how much was learned
from. As PNG. Knows no word of any language: families stand as they are typed; whoever sends a picture describes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.chart_sheet import DIM, DOWN, EVEN, GRID, INK, UP, WIDTH, Point, Sheet
from bot.store.training_runs import Curves
from models.serving.training import Family

_LEFT, _RIGHT, _GAP = 54, 24, 26
_LOSS_HEIGHT, _ROW, _BITS_HEIGHT, _DATA_HEIGHT = 150, 34, 170, 70
_SHOWN_RUNS = 16
# Beside each other in one panel: told apart by shape and hue, for colour-blind eyes, too.
_HUES: dict[Family, str] = {
    "story": "#4cc2a8", "gpt": "#f09a4a", "ngram": "#7aa7f0", "mood": "#c792d8", "portraits": "#d8c46a",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Held:
    """A version on the text that nobody trained on, in bits per byte: `before` is the champion's, None where there was
    none to compare with."""

    family: Family
    before: float | None
    after: float
    accepted: bool


@dataclass(frozen=True, kw_only=True)
class Past:
    """A run in the history; `label` in digits."""

    label: str
    characters: int
    held: tuple[Held, ...]


def of_run(curves: Curves, held: Sequence[Held]) -> bytes | None:
    """The losses of one run, and below the held-out text before (hollow) and after (full); None: nothing to show."""
    shown = _with_points(curves)
    if not shown and not held:
        return None
    top = 12.0
    height = top + (_LOSS_HEIGHT + _GAP if shown else 0) + _ROW * len(held) + 12
    sheet = Sheet(round(height))
    if shown:
        _losses(sheet, shown, top)
        top += _LOSS_HEIGHT + _GAP
    if held:
        _dumbbells(sheet, held, top)
    return sheet.png()


def of_history(past: Sequence[Past], curves: Curves) -> bytes | None:
    """Oldest run on the left: the held-out text before and after each version (green and full: accepted), the
    characters learned from, and the losses of the latest run. None: nothing to show."""
    past = past[-_SHOWN_RUNS:]
    shown = _with_points(curves)
    if not past and not shown:
        return None
    versions = any(each.held for each in past)
    parts = (_BITS_HEIGHT + _GAP if versions else 0, _DATA_HEIGHT + 2 * _GAP if past else 0)
    sheet = Sheet(round(14 + sum(parts) + (_LOSS_HEIGHT + _GAP if shown else 0)))
    top = 14.0
    if versions:
        _bits(sheet, past, top)
        top += parts[0]
    if past:
        _data(sheet, past, top)
        top += parts[1]
    if shown:
        _losses(sheet, shown, top)
    return sheet.png()


def _losses(sheet: Sheet, curves: Curves, top: float) -> None:
    """A panel for each family: their units differ."""
    wide = (WIDTH - _LEFT - _RIGHT - _GAP * 2 * (len(curves) - 1)) / len(curves)
    bottom = top + _LOSS_HEIGHT - 20
    for number, (family, points) in enumerate(curves.items()):
        left = _LEFT + number * (wide + _GAP * 2)
        low, high = min(loss for _, loss in points), max(loss for _, loss in points)
        span = (high - low) or max(abs(high), 1.0) * 0.1
        first, last = points[0][0], points[-1][0]

        def place(
            point: tuple[int, float], left: float = left, first: int = first, last: int = last, low: float = low,
            span: float = span,
        ) -> Point:  # fmt: skip
            across = (point[0] - first) / (last - first) if last > first else 0.5
            return left + across * wide, bottom - (point[1] - low) / span * (bottom - top - 8)

        for y, value in ((top + 8, high), (bottom, low)):
            sheet.line(((left, y), (left + wide, y)), GRID)
            sheet.label((left - 6, y), _short(value), "rm", DIM)
        line = [place(point) for point in points]
        if len(line) > 1:
            sheet.line(line, _HUES[family], 2.0)
        sheet.disc(line[-1], 3.5, _HUES[family])
        sheet.label((left, bottom + 5), family, "la", INK)
        sheet.label((left + wide, bottom + 5), f"{last:,}", "ra", DIM)


def _dumbbells(sheet: Sheet, held: Sequence[Held], top: float) -> None:
    values = [value for each in held for value in (each.before, each.after) if value is not None]
    low, high = min(values), max(values)
    span = (high - low) or 0.1
    left, right = _LEFT + 60.0, WIDTH - _RIGHT - 60.0

    def across(value: float) -> float:
        return left + 50 + (value - low) / span * (right - left - 100)

    for number, each in enumerate(held):
        y = top + number * _ROW + _ROW / 2
        colour = UP if each.accepted else DOWN
        sheet.line(((left, y), (right, y)), GRID)
        sheet.label((left - 10, y), each.family, "rm", INK)
        if each.before is not None:
            sheet.line(((across(each.before), y), (across(each.after), y)), colour, 2.0)
            sheet.disc((across(each.before), y), 5.0, EVEN, hollow=True)
            leftmost = each.before < each.after
            sheet.label(
                (across(each.before) + (-9 if leftmost else 9), y),
                f"{each.before:.3f}",
                "rm" if leftmost else "lm",
                DIM,
            )
        rightmost = each.before is not None and each.after > each.before
        (sheet.disc if each.accepted else sheet.diamond)((across(each.after), y), 5.5, colour)
        sheet.label(
            (across(each.after) + (9 if rightmost else -9), y), f"{each.after:.3f}", "lm" if rightmost else "rm", INK
        )


def _bits(sheet: Sheet, past: Sequence[Past], top: float) -> None:
    values = [value for run in past for each in run.held for value in (each.before, each.after) if value is not None]
    low, high = min(values), max(values)
    margin = ((high - low) or 0.1) * 0.1
    low, high = low - margin, high + margin
    bottom = top + _BITS_HEIGHT

    def height(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    for share in (0.0, 0.5, 1.0):
        value = low + share * (high - low)
        sheet.line(((_LEFT, height(value)), (WIDTH - _RIGHT, height(value))), GRID)
        sheet.label((_LEFT - 7, height(value)), f"{value:.2f}", "rm", DIM)
    for number, run in enumerate(past):
        for place, each in enumerate(run.held):
            x = _across(number, len(past)) + (place - (len(run.held) - 1) / 2) * 15
            colour = _HUES[each.family]
            if each.before is not None:
                sheet.line(((x, height(each.before)), (x, height(each.after))), colour, 2.0)
                sheet.disc((x, height(each.before)), 4.0, EVEN, hollow=True)
            if each.accepted:
                sheet.disc((x, height(each.after)), 4.5, colour)
            else:
                sheet.diamond((x, height(each.after)), 5.5, DOWN)
    left = float(WIDTH - _RIGHT)
    families: Mapping[Family, None] = dict.fromkeys(each.family for run in past for each in run.held)
    for family in reversed(list(families)):
        sheet.label((left, bottom + 6), family, "ra", _HUES[family])
        left -= 12 * len(family) + 14


def _data(sheet: Sheet, past: Sequence[Past], top: float) -> None:
    floor = top + _DATA_HEIGHT
    most = max(run.characters for run in past) or 1
    sheet.line(((_LEFT, floor), (WIDTH - _RIGHT, floor)), GRID)
    sheet.label((_LEFT - 7, top + 4), _short(most), "rm", DIM)
    every = -(-len(past) // 8)
    for number, run in enumerate(past):
        x, half = _across(number, len(past)), min(16.0, (WIDTH - _LEFT - _RIGHT) / len(past) * 0.35)
        if run.characters:
            sheet.box(x - half, floor - max(2.0, _DATA_HEIGHT * run.characters / most), x + half, floor, EVEN)
        if (len(past) - 1 - number) % every == 0:
            sheet.label((x, floor + 7), run.label, "ma", DIM)


def _across(number: int, count: int) -> float:
    return _LEFT + (number + 0.5) * (WIDTH - _LEFT - _RIGHT) / count


def _with_points(curves: Curves) -> Curves:
    return {family: points for family, points in curves.items() if points and family in _HUES}


def _short(value: float) -> str:
    """At most five characters."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:.1f}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.0f}k"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
