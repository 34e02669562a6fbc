"""Several pictures in one: the faces of a story side by side. Knows no model and no name."""

import io
import math
from collections.abc import Sequence

from PIL import Image

CELL = 160  # pixels; a multiple of 16, so that pixel art stays sharp
GAP = 8
_GROUND = (43, 45, 49)  # Discord's dark theme; in the light one it is a frame
MAX_PIXELS = 4_096 * 4_096  # of one picture: what is larger is refused before it is decoded


class UnreadablePictureError(ValueError):
    """A stored picture is no PNG or far too large."""


def gallery(pictures: Sequence[bytes]) -> bytes:
    """PNGs as one PNG, in rows as near to a square as they come. Blocks: call it in a thread. Raises
    UnreadablePictureError."""
    columns = min(5, math.ceil(math.sqrt(len(pictures))))
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * (CELL + GAP) + GAP, rows * (CELL + GAP) + GAP), _GROUND)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        sheet.paste(_face(picture), (GAP + column * (CELL + GAP), GAP + row * (CELL + GAP)))
    written = io.BytesIO()
    sheet.save(written, "PNG", optimize=True)
    return written.getvalue()


def _face(picture: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(picture), formats=("PNG",)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise UnreadablePictureError(f"{opened.width}x{opened.height} pixels")
            face = opened.convert("RGB")
    except OSError as error:
        raise UnreadablePictureError(str(error)) from error
    return face.resize((CELL, CELL), Image.Resampling.NEAREST)
