"""The last half hour of an engine in numbers, and as a small picture. Knows neither Discord nor any word: what the
picture shows is said by whoever sends it.
"""

import asyncio
import io
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from models.serving.engine import Engine

log = logging.getLogger(__name__)

EVERY_S = 15.0
SPAN_S = 30 * 60.0
LEAST_MOMENTS = 8  # two minutes: fewer make no picture

_WIDTH, _HEIGHT = 640, 220
_TIMES = 2  # drawn larger and scaled down, which smooths the lines
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 46, 12, 14, 26, 22
# Panels of Discord's dark theme, which read well on its light one, too.
_GROUND, _GRID, _INK = "#232428", "#3f4147", "#dbdee1"
_SPEED, _QUEUE = "#3ba58b", "#e8a33d"


@dataclass(frozen=True, kw_only=True)
class Moment:
    """How the engine was at `at`, in seconds of the history's clock."""

    at: float
    tokens_per_s: float
    queued: int
    running: int


class History:
    """Somebody calls `look` every `EVERY_S` seconds."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._moments: deque[Moment] = deque(maxlen=round(SPAN_S / EVERY_S) + 1)

    @property
    def moments(self) -> tuple[Moment, ...]:
        """Oldest first."""
        return tuple(self._moments)

    async def look(self) -> None:
        try:
            health = await self._engine.health()
        except Exception as error:  # a picture is not worth the bot
            log.warning("the engine's health is unknown: %s", error)
            return
        self._moments.append(
            Moment(at=self._clock(), tokens_per_s=health.tokens_per_s, queued=health.queued, running=health.running)
        )

    async def picture(self) -> bytes | None:
        """A PNG, drawn off the event loop; None while there is nothing to see."""
        moments = self.moments
        if len(moments) < LEAST_MOMENTS or not any(each.tokens_per_s or each.queued for each in moments):
            return None
        return await asyncio.to_thread(draw, moments, self._clock())


def draw(moments: Sequence[Moment], now: float) -> bytes:
    """Tokens a second above, stories waiting below, over the half hour before `now`; as PNG."""
    image = Image.new("RGB", (_WIDTH * _TIMES, _HEIGHT * _TIMES), _GROUND)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(11 * _TIMES)
    height = (_HEIGHT - _TOP - _BOTTOM - _GAP) // 2

    def across(at: float) -> float:
        share = max(0.0, 1 - (now - at) / SPAN_S)
        return (_LEFT + share * (_WIDTH - _LEFT - _RIGHT)) * _TIMES

    def panel(top: int, values: Sequence[float], colour: str) -> None:
        most = _round_up(max(values))
        floor = (top + height) * _TIMES
        for share, label in ((0.0, "0"), (1.0, f"{most:g}")):
            y = floor - share * height * _TIMES
            pen.line(((_LEFT * _TIMES, y), ((_WIDTH - _RIGHT) * _TIMES, y)), _GRID, _TIMES)
            pen.text(((_LEFT - 6) * _TIMES, y), label, _INK, font, "rm")
        points = [
            (across(each.at), floor - value / most * height * _TIMES)
            for each, value in zip(moments, values, strict=True)
        ]
        pen.polygon([(points[0][0], floor), *points, (points[-1][0], floor)], fill=_mixed(colour))
        pen.line(points, colour, 2 * _TIMES, joint="curve")

    panel(_TOP, [each.tokens_per_s for each in moments], _SPEED)
    panel(_TOP + height + _GAP, [float(each.queued) for each in moments], _QUEUE)
    for minutes in (30, 20, 10, 0):
        place = (across(now - minutes * 60), (_HEIGHT - _BOTTOM + 8) * _TIMES)
        pen.text(place, f"-{minutes} min" if minutes else "0", _INK, font, "ma" if minutes else "ra")
    buffer = io.BytesIO()
    image.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, …: a scale that a reader can halve in the head."""
    step = 1.0
    while True:
        for factor in (1, 2, 5):
            if value <= step * factor:
                return step * factor
        step *= 10


def _mixed(colour: str) -> tuple[int, int, int]:
    """A third of `colour` over the ground, for the area below its line."""
    channels = zip(_channels(colour), _channels(_GROUND), strict=True)
    red, green, blue = (round(over / 3 + under * 2 / 3) for over, under in channels)
    return red, green, blue


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))
