"""Answers requests for portraits and morphs, in numpy and Pillow alone. Knows no training and no torch.

The same request on the same version gives the same bytes, whatever else is asked: each picture is computed alone, from
raw bits of a specified counter, and rounded to bytes before it is enlarged.
"""

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.gan.asked_traits import asked_classes, seen_traits
from models.gan.forward import classify, generate
from models.gan.latent import Point, child, draw, slerp, step_aside, truncate
from models.gan.portrait_weights import PortraitWeights, read
from models.serving.short_requests import (
    AnyShortOutput,
    AnyShortRequest,
    Look,
    Morph,
    MorphRequest,
    Portrait,
    PortraitRequest,
    Portraits,
)
from models.weights import PORTRAITS_FOLDER

log = logging.getLogger(__name__)

EDGE_PX: Final = 512  # of one portrait, of a grid and of a morph, at least
FRAME_MS: Final = 70
REST_MS: Final = 700  # at either end of a morph
_COLUMNS: Final = {1: 1, 2: 2, 3: 3, 4: 2, 5: 3, 6: 3, 7: 3, 8: 3, 9: 3}

Picture = NDArray[np.uint8]  # (size, size, 3), or (size, size) of palette places
Array = NDArray[np.float32]


class PortraitModel:
    """A ShortModel for PortraitRequest and MorphRequest."""

    def __init__(self, weights: PortraitWeights) -> None:
        self._weights = weights
        self._shares = dict(zip(weights.config.fields, weights.config.shares, strict=True))
        sizes = [len(each) for each in weights.config.shares]
        self._first = np.cumsum([0, *sizes[:-1]])
        self._palette = weights.palette.astype(np.int32)

    @property
    def version(self) -> str:
        return self._weights.version

    @property
    def fields(self) -> tuple[str, ...]:
        """The conditioning fields, in the order of a point's labels."""
        return self._weights.config.fields

    def answer(self, requests: Sequence[AnyShortRequest]) -> list[AnyShortOutput]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: AnyShortRequest) -> AnyShortOutput:
        match request:
            case PortraitRequest():
                return self._portraits(request)
            case MorphRequest():
                return self._morph(request)
            case _:
                raise ValueError(f"the portrait model doesn't answer {type(request).__name__}")

    def _portraits(self, request: PortraitRequest) -> Portraits:
        look = Look(
            attributes=request.attributes,
            truncation=request.truncation,
            vary=request.vary,
            vary_seed=request.vary_seed,
        )
        pictures = [self.paint(self.start(self._looking(seed, look, request.truncation))) for seed in request.seeds]
        portraits = tuple(
            Portrait(seed=seed, png=png(enlarge(picture)), attributes=self.attributes(picture))
            for seed, picture in zip(request.seeds, pictures, strict=True)
        )
        whole = portraits[0].png if len(portraits) == 1 else png(grid(pictures))
        return Portraits(portraits=portraits, grid=whole, model_version=self.version)

    def _looking(self, seed: str, look: Look, truncation: float) -> Point:
        """The seed's point with all that was asked of it. `truncation` is for a look that has none of its own."""
        asked = asked_classes(look.attributes)
        point = self.point(seed, asked)
        if look.vary > 0:
            # Another face that was asked for the same traits, so that a step towards it keeps them.
            towards = f"{seed}\n{look.vary_seed}"
            point = step_aside(point, self.point(towards, asked), look.vary, towards, self.fields)
        return truncate(point, truncation if look.truncation is None else look.truncation)

    def _morph(self, request: MorphRequest) -> Morph:
        sides = ((request.start, request.start_look), (request.end, request.end_look))
        ends = [self._looking(seed, look, request.truncation) for seed, look in sides]
        starts = [self.start(point) for point in ends]
        z = self._weights.config.z
        frames = []
        for number in range(request.frames):
            part = number / (request.frames - 1)
            way = slerp(starts[0][:z], starts[1][:z], part)
            labels = (1 - part) * starts[0][z:] + part * starts[1][z:]
            frames.append(self.paint(np.concatenate([way, labels]).astype(np.float32)))
        middle = child(ends[0], ends[1], (request.start, request.end), self.fields)
        picture = self.paint(self.start(middle))
        return Morph(
            gif=gif([*frames, *frames[-2:0:-1]], turn=len(frames) - 1),
            child=png(enlarge(picture)),
            attributes=self.attributes(picture),
            model_version=self.version,
        )

    def point(self, seed: str, asked: dict[str, tuple[int, ...]]) -> Point:
        return draw(seed, self._weights.config.z, self._weights.config.fields, self._shares, asked)

    def start(self, point: Point) -> Array:
        """z and the labels' vector in a row: the generator's input, (z + embedding,)."""
        table = self._weights.generator["labels.table.weight"]
        vector = table[self._first + np.array(point.labels)].sum(0)
        return np.concatenate([point.z, vector]).astype(np.float32)

    def paint(self, start: Array) -> Picture:
        config = self._weights.config
        raw = generate(
            self._weights.generator,
            start,
            coarsest=config.coarsest,
            stages=len(config.stages),
            blocks=config.blocks,
            patch=config.patch,
        )
        picture = np.rint((raw.transpose(1, 2, 0) + 1) * 127.5).clip(0, 255).astype(np.uint8)
        return self._on_palette(picture) if config.palette else picture

    def _on_palette(self, picture: Picture) -> Picture:
        """Each pixel's nearest colour of the data, in integers: no rounding can tip it."""
        pixels = picture.reshape(-1, 1, 3).astype(np.int32)
        nearest = ((pixels - self._palette[None]) ** 2).sum(2).argmin(1)
        found: Picture = self._weights.palette[nearest].reshape(picture.shape)
        return found

    def attributes(self, picture: Picture) -> dict[str, str]:
        inputs = picture.transpose(2, 0, 1).astype(np.float32) / np.float32(127.5) - np.float32(1)
        return seen_traits(classify(self._weights.attributes, inputs))


def load(data_dir: Path, options: dict[str, str]) -> PortraitModel:
    """The model in the folder that options["portraits_champion"] names; else the one that options["portraits"] names,
    below `data_dir` unless it is absolute; the one that ships when there is no such option. A champion that can't be
    loaded is passed over, with a warning, unless options["trial"] is set. Raises ShortModelMissingError."""
    if champion := options.get("portraits_champion"):
        try:
            return PortraitModel(read(Path(champion)))
        except (OSError, ValueError, KeyError) as error:
            if "trial" in options:
                raise
            log.warning("the champion %s can't be loaded, what is shipped answers: %s", champion, error)
    chosen = options.get("portraits")
    return PortraitModel(read(data_dir / chosen if chosen else PORTRAITS_FOLDER))


def enlarge(picture: Picture, edge_px: int = EDGE_PX) -> Picture:
    """By nearest neighbour and a whole factor, to at least `edge_px`."""
    factor = -(-edge_px // len(picture))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def grid(pictures: Sequence[Picture]) -> Picture:
    """Side by side with a white line between them, enlarged together."""
    columns, size = _COLUMNS[len(pictures)], len(pictures[0])
    rows = -(-len(pictures) // columns)
    factor = -(-EDGE_PX // (size * columns))
    line = max(2, factor // 4)
    step = size * factor + line
    canvas = np.full((rows * step - line, columns * step - line, 3), 255, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // columns * step, place % columns * step
        canvas[top : top + size * factor, left : left + size * factor] = enlarge(picture, size * factor)
    return canvas


def png(picture: Picture) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", compress_level=6)
    return out.getvalue()


def gif(pictures: Sequence[Picture], *, turn: int) -> bytes:
    """Endless; it rests on the first frame and on frame `turn`."""
    frames = [_indexed(each) for each in pictures]
    durations = [REST_MS if number in (0, turn) else FRAME_MS for number in range(len(frames))]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=False)
    return out.getvalue()


def _indexed(picture: Picture) -> Image.Image:
    """Enlarged, with a palette of its own: 16x16 pixels have at most 256 colours, so none is lost."""
    colours, places = np.unique(picture.reshape(-1, 3), axis=0, return_inverse=True)
    image = Image.fromarray(enlarge(places.reshape(picture.shape[:2]).astype(np.uint8)))
    image.putpalette(colours.tobytes())
    return image
