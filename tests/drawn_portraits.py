"""A small stand-in for the portrait model: it really draws PNG and GIF files, from the seed and nothing else."""

import hashlib
import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from bot.traits import TRAITS
from models.serving.in_process_short import InProcessShortEngine
from models.serving.short_requests import (
    AnyShortRequest,
    Morph,
    MorphRequest,
    Portrait,
    PortraitRequest,
    Portraits,
    ShortRequest,
)

PIXELS, SCALE = 8, 64


class DrawnPortraits:
    """A `ShortModel`: the left half of a face from its hash, mirrored. It sees in it what was asked for, and for the
    rest what the hash says; `blind` to a trait it never sees what was asked for."""

    def __init__(self, version: str = "drawn@1", blind: Sequence[str] = (), extra_bytes: int = 0) -> None:
        self.version, self._blind, self.extra_bytes = version, blind, extra_bytes
        self.asked: list[Any] = []

    def answer(self, requests: Sequence[AnyShortRequest]) -> list[Any]:
        self.asked += requests
        return [self._morph(each) if isinstance(each, MorphRequest) else self._portraits(each) for each in requests]

    def _portraits(self, request: Any) -> Portraits:
        assert isinstance(request, PortraitRequest)
        if unknown := {trait for trait, value in request.attributes.items() if value not in TRAITS.get(trait, {})}:
            raise ValueError(f"no such trait: {unknown}")
        faces = []
        for seed in request.seeds:
            key = _key(seed, request.attributes, request.truncation, request.vary, request.vary_seed)
            image = self._face(key)
            faces.append(Portrait(seed=seed, png=_png(image), attributes=self._seen(key, request.attributes)))
        grid = faces[0].png if len(faces) == 1 else _png(self._sheet([face.png for face in faces]))
        return Portraits(portraits=tuple(faces), grid=grid + b"\0" * self.extra_bytes, model_version=self.version)

    def _morph(self, request: MorphRequest) -> Morph:
        start, end = (
            self._face(_key(seed, look.attributes, look.truncation or request.truncation, look.vary, look.vary_seed))
            for seed, look in ((request.start, request.start_look), (request.end, request.end_look))
        )
        small = [image.resize((64, 64), Image.Resampling.NEAREST) for image in (start, end)]
        frames = [Image.blend(*small, index / (request.frames - 1)) for index in range(request.frames)]
        gif = io.BytesIO()
        frames[0].save(gif, "GIF", save_all=True, append_images=[*frames[1:], *frames[-2:0:-1]], duration=80, loop=0)
        child = Image.blend(start, end, 0.5)
        return Morph(
            gif=gif.getvalue(), child=_png(child), attributes=self._seen(f"{request.start}+{request.end}", {}),
            model_version=self.version,
        )  # fmt: skip

    def _seen(self, key: str, asked: dict[str, str]) -> dict[str, str]:
        digest = hashlib.sha256(key.encode()).digest()
        seen = {}
        for number, (trait, values) in enumerate(TRAITS.items()):
            known = [value for value in values if (trait, value) != ("glasses", "yes")]
            seen[trait] = known[digest[number] % len(known)]
            if trait in asked and trait not in self._blind and asked[trait] in known:
                seen[trait] = asked[trait]
            elif trait in self._blind:
                seen[trait] = next(value for value in known if value != asked.get(trait))
        return seen

    def _face(self, key: str) -> Image.Image:
        digest = hashlib.sha512(f"{self.version}|{key}".encode()).digest()
        image = Image.new("RGB", (PIXELS, PIXELS))
        for y in range(PIXELS):
            for x in range(PIXELS // 2):
                on = digest[y * PIXELS // 2 + x] % 2
                colour = tuple(digest[40:43]) if on else tuple(digest[50:53])
                image.putpixel((x, y), colour)
                image.putpixel((PIXELS - 1 - x, y), colour)
        return image.resize((PIXELS * SCALE, PIXELS * SCALE), Image.Resampling.NEAREST)

    def _sheet(self, pngs: Sequence[bytes]) -> Image.Image:
        side = round(len(pngs) ** 0.5)
        sheet = Image.new("RGB", (side * PIXELS * SCALE, side * PIXELS * SCALE))
        for index, png in enumerate(pngs):
            row, column = divmod(index, side)
            sheet.paste(Image.open(io.BytesIO(png)), (column * PIXELS * SCALE, row * PIXELS * SCALE))
        return sheet


class DrawnEngine(InProcessShortEngine):
    """The engine's own batches over this model; `fails` is raised in place of an answer."""

    def __init__(self, model: DrawnPortraits | None = None) -> None:
        super().__init__({} if model is None else {"portrait": model, "morph": model})
        self.fails: Exception | None = None

    async def ask(self, request: ShortRequest[Any], *, background: bool = False) -> Any:
        if self.fails is not None:
            raise self.fails
        return await super().ask(request, background=background)


def _key(seed: str, attributes: dict[str, str], truncation: float, vary: float, vary_seed: str) -> str:
    return f"{seed}|{sorted(attributes.items())}|{truncation}|{vary}|{vary_seed}"


def _png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG", compress_level=1)
    return written.getvalue()
