"""A file that somebody wants to give as a drawing, as 16x16 pixels, or the reason why it is none. Knows no Discord and
no model.

What is made of it holds nothing but the pixels: no place, no name, no text. All of it blocks: call it in a thread.
"""

import io
from collections.abc import Sequence
from typing import Final, Literal

from PIL import Image, ImageOps, UnidentifiedImageError

from bot.gallery import gallery

MAX_BYTES: Final = 2**20
MIN_SIDE, MAX_SIDE = 16, 2_048
SIDE: Final = 16  # what portraits are drawn in
_SHOWN: Final = 512  # pixels along an edge of the preview
_FORMATS: Final = ("PNG", "JPEG", "GIF")  # none of them takes memory for its pixels before it was asked for its size

Reason = Literal["size", "format", "animated", "pixels", "small", "damaged", "flat"]


class NotADrawingError(Exception):
    """No drawing can be taken from this file. `reason` says what to bring instead."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"refused a picture: {reason}")
        self.reason: Reason = reason


def check_size(size: int) -> None:
    """What can be said before the file is fetched; in bytes. Raises NotADrawingError."""
    if size > MAX_BYTES:
        raise NotADrawingError("size")


def drawing_of(data: bytes) -> bytes:
    """A PNG of 16x16 pixels, RGB: the middle square of the picture on white, each pixel the mean of what it covers, so
    that pixel art that was enlarged comes back as it was. Raises NotADrawingError."""
    check_size(len(data))
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            _require_modest(picture)
            shown = picture.convert("RGBA")
    except UnidentifiedImageError as error:
        raise NotADrawingError("format") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise NotADrawingError("pixels") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:  # Pillow's words for a damaged file
        raise NotADrawingError("damaged") from error
    plain = Image.new("RGB", shown.size, "white")
    plain.paste(shown, mask=shown)
    small = ImageOps.fit(plain, (SIDE, SIDE), Image.Resampling.BOX)
    if small.getcolors(1) is not None:
        raise NotADrawingError("flat")
    return _png(small)


def _require_modest(picture: Image.Image) -> None:
    if max(picture.size) > MAX_SIDE:
        raise NotADrawingError("pixels")
    if min(picture.size) < MIN_SIDE:
        raise NotADrawingError("small")
    if getattr(picture, "is_animated", False):
        raise NotADrawingError("animated")


def preview(drawing: bytes) -> bytes:
    """The drawing as a PNG that people can see."""
    with Image.open(io.BytesIO(drawing), formats=("PNG",)) as picture:
        return _png(picture.resize((_SHOWN, _SHOWN), Image.Resampling.NEAREST))


def sheet(drawings: Sequence[bytes]) -> bytes:
    """Drawings side by side, in rows of five from the left above."""
    return gallery(drawings)


def _png(picture: Image.Image) -> bytes:
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True)
    return written.getvalue()
