"""The canvas of every chart: one panel, one set of colours, antialiased. Knows no chart and no word of any language."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

WIDTH, _TIMES = 720, 2  # drawn larger and scaled down, which smooths lines and edges
# A panel of its own that reads well in Discord's dark and light themes; the hues differ for colour-blind eyes, too.
GROUND, GRID, INK, DIM = "#232428", "#3f4147", "#dbdee1", "#949ba4"
UP, DOWN, EVEN = "#4cc2a8", "#f09a4a", "#9aa3ad"

Point = tuple[float, float]


class Sheet:
    """A canvas in units of the finished picture's pixels."""

    def __init__(self, height: int) -> None:
        self._image = Image.new("RGB", (WIDTH * _TIMES, height * _TIMES), GROUND)
        self._pen = ImageDraw.Draw(self._image)
        self._glass = ImageDraw.Draw(self._image, "RGBA")  # blends what it draws, so that bands show through each other
        self._font = ImageFont.load_default(15 * _TIMES)  # Discord shows it at about three quarters
        self._height = height

    def line(self, points: Sequence[Point], colour: str, width: float = 1.0) -> None:
        self._pen.line([_scaled(point) for point in points], colour, round(width * _TIMES), joint="curve")

    def area(self, points: Sequence[Point], colour: str, strength: float) -> None:
        self._glass.polygon([_scaled(point) for point in points], fill=(*_channels(colour), round(255 * strength)))

    def box(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        self._pen.rectangle((*_scaled((left, top)), *_scaled((right, bottom))), fill=colour)

    def disc(self, at: Point, radius: float, colour: str, *, hollow: bool = False) -> None:
        box = _around(at, radius)
        self._pen.ellipse(box, fill=GROUND if hollow else colour, outline=colour, width=2 * _TIMES)

    def diamond(self, at: Point, radius: float, colour: str, *, hollow: bool = False) -> None:
        x, y = at
        corners = [_scaled(corner) for corner in ((x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y))]
        self._pen.polygon(corners, fill=GROUND if hollow else colour, outline=colour, width=2 * _TIMES)

    def face(self, at: Point, radius: float, colour: str, mood: int) -> None:
        """A face that smiles (1), looks straight (0) or frowns (-1)."""
        x, y = at
        self._pen.ellipse(_around(at, radius), outline=colour, width=round(1.5 * _TIMES))
        for side in (-1, 1):
            self._pen.ellipse(_around((x + side * radius * 0.36, y - radius * 0.28), radius * 0.13), fill=colour)
        width = round(1.4 * _TIMES)
        if mood == 0:
            self.line(((x - radius * 0.42, y + radius * 0.36), (x + radius * 0.42, y + radius * 0.36)), colour, 1.4)
        elif mood > 0:
            self._pen.arc(_around((x, y + radius * 0.05), radius * 0.52), 25, 155, colour, width)
        else:
            self._pen.arc(_around((x, y + radius * 0.75), radius * 0.52), 210, 330, colour, width)

    def label(self, at: Point, words: str, anchor: str, colour: str = INK) -> None:
        """Digits and signs only: the built-in font knows no more than Latin."""
        self._pen.text(_scaled(at), words, colour, self._font, anchor)

    def png(self) -> bytes:
        buffer = io.BytesIO()
        self._image.resize((WIDTH, self._height), Image.Resampling.LANCZOS).save(buffer, "PNG", optimize=True)
        return buffer.getvalue()


def _scaled(point: Point) -> Point:
    return point[0] * _TIMES, point[1] * _TIMES


def _around(at: Point, radius: float) -> tuple[float, float, float, float]:
    return (*_scaled((at[0] - radius, at[1] - radius)), *_scaled((at[0] + radius, at[1] + radius)))


def _channels(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
