"""Makes a contributed picture fit to learn from: a plain PNG without what else its file told. Knows no author."""

import io
from typing import Final

from PIL import Image

MAX_BYTES: Final = 10 * 2**20  # Discord: a file
MAX_SIDE, MIN_SIDE = 4_096, 16


def plain_picture(png: bytes) -> bytes | None:
    """The picture in RGB, without metadata (places, names, texts); None for what is no PNG, damaged or of a size that
    is refused. The same for what it returned."""
    if len(png) > MAX_BYTES:
        return None
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
            if not all(MIN_SIDE <= side <= MAX_SIDE for side in picture.size):
                return None
            plain = Image.new("RGB", picture.size, "white")
            shown = picture.convert("RGBA")
            plain.paste(shown, mask=shown)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow's words for a damaged file
        return None
    written = io.BytesIO()
    plain.save(written, "PNG")
    return written.getvalue()
