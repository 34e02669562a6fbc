"""Makes the portraits' data from the packages that drew it: Node.js runs DiceBear, resvg turns its SVG into pixels.
Knows no network.

In an empty folder: `npm install @dicebear/core@9.4.3 @dicebear/pixel-art@9.4.3` (code MIT, designs CC0 1.0), and in
Inkwell's environment `pip install resvg-py==0.5.0` (MPL-2.0; needed for this alone).
"""

import gzip
import importlib
import io
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

_SCRIPT: Final = Path(__file__).with_name("portrait_data.mjs")


class RecipeError(Exception):
    """Node.js, a package or resvg is missing, or DiceBear failed; the message says which."""


def make(packages: Path, out: Path, count: int) -> int:
    """Write dice16.npz and attributes.json.gz into `out`; the number of pictures. `packages` is the folder that npm
    installed into. Raises RecipeError."""
    render = _renderer()
    pictures, drawn = [], []
    for line in _lines(packages, count):
        avatar = json.loads(line)
        with Image.open(io.BytesIO(render(avatar["svg"]))) as image:
            pictures.append(np.asarray(image.convert("RGB")))
        drawn.append(avatar["extra"])
    if len(pictures) != count:
        raise RecipeError(f"DiceBear drew {len(pictures)} portraits of {count}.")
    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out / "dice16.npz", x=np.stack(pictures), y=np.zeros(count, np.int64))
    text = json.dumps(drawn, separators=(",", ":")).encode()
    (out / "attributes.json.gz").write_bytes(gzip.compress(text, mtime=0))
    return count


def _renderer() -> Callable[[str], bytes]:
    """From SVG to PNG."""
    try:
        resvg: Any = importlib.import_module("resvg_py")
    except ImportError as error:
        raise RecipeError("this needs resvg: pip install resvg-py==0.5.0.") from error
    return lambda svg: bytes(resvg.svg_to_bytes(svg_string=svg))


def _lines(packages: Path, count: int) -> Iterator[str]:
    node = shutil.which("node")
    if node is None:
        raise RecipeError("this needs Node.js 18 or later (`node`).")
    command = [node, str(_SCRIPT), str(packages), "0", str(count)]
    with subprocess.Popen(  # noqa: S603 our own script
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        yield from process.stdout
        failed = process.stderr.read()
    if process.returncode:
        raise RecipeError(
            f"DiceBear failed: {failed.strip().splitlines()[-1] if failed.strip() else process.returncode}"
        )
