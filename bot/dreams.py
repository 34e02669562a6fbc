"""Portraits and morphs: asked of the small models, kept as receipts, made again from them. Knows no Discord.

A receipt is stored before anybody is shown its code; it is the request itself, with the version that answered and the
digest of the answer, so that "the same picture" is checked and not assumed.
"""

import asyncio
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import TypeVar

from bot.characters import constant
from bot.store import Receipt
from bot.store.album import Album
from bot.stories import EmptyPromptError, clean
from models.serving.engine import (
    EngineClosedError,
    EngineOverloadedError,
    EngineUnavailableError,
    ModelMissingError,
    RequestRefusedError,
    WorkerDiedError,
)
from models.serving.short_engine import ShortEngine
from models.serving.short_requests import (
    MAX_MORPH_FRAMES,
    MAX_SEED_CHARS,
    Look,
    Morph,
    MorphRequest,
    Portrait,
    PortraitRequest,
    Portraits,
    ShortRequest,
    VerseRequest,
)

PATIENCE_S = 60.0  # a grid takes under a second; whoever waits longer is better told to come back
COUNTS = (1, 4, 9)
MIN_FRAMES, FRAMES = 2, 24
MAX_FILE_BYTES = 10 * 1024 * 1024  # Discord: a file of a bot, unless the interaction names another limit
VARIED = 0.35  # the step of Vary: the same person on another day

# What makes faces alike; clothes, background and mood of the mouth may differ.
_LIKENESS = ("hair colour", "hair", "skin", "beard", "glasses", "hat")
_STORY_PREFIX = re.compile(r"^[0-9a-z]{16}/(?=.)")

Output = TypeVar("Output")

_FIRST = (
    "amber ashen birch bright cedar copper dusty early fern frost golden hazel hollow ivory late lunar mossy north "
)
_FIRST += "ochre pale quiet river rusty salt silver slate small south stone storm tidal umber velvet wild winter young"
_SECOND = "badger bell candle crane ember finch fox gate hare harbour heron keeper kite lantern lark loom marten mill "
_SECOND += "miller moth otter owl piper raven reed rook sailor seal sparrow swift thistle tinker weaver willow wren"


class DreamError(Exception):
    """A picture could not be made. The subclass says what the person can do."""


class NoSuchNumberError(DreamError):
    """So many pictures or frames can't be asked for. `what` is "count" or "frames"."""

    def __init__(self, what: str, asked: int) -> None:
        super().__init__(f"{what}: {asked}")
        self.what = what


class EmptySeedError(DreamError):
    """Nothing visible in the words that were to be the seed."""


class PainterBusyError(DreamError):
    """Too many ask at once, or the answer took too long. Try again in a moment."""


class PainterMissingError(DreamError):
    """The portrait model's weights or library are not here, or are damaged. An operator must act."""


class PainterDownError(DreamError):
    """The process that draws can't be started or fails again and again. An operator must act."""


class PainterRefusedError(DreamError):
    """The model can't draw this (a trait that it doesn't know). Ask for something else."""


class PictureTooLargeForDiscordError(DreamError):
    """Discord takes no file of this size. Ask for fewer frames or pictures."""


class ChildFaceError(DreamError):
    """This character's face is a morph's child: between its parents, and so no end of another morph."""


class NotAPictureError(DreamError):
    """The receipt is of a verse, and what was asked for needs a picture."""


class StartingAgainError(DreamError):
    """Inkwell is shutting down."""


@dataclass(frozen=True, kw_only=True)
class Dream:
    """A picture and what reproduces it."""

    receipt: Receipt
    answer: Portraits | Morph

    @property
    def picture(self) -> bytes:
        """The PNG, or a morph's GIF."""
        return self.answer.grid if isinstance(self.answer, Portraits) else self.answer.gif

    @property
    def faces(self) -> tuple[Portrait, ...]:
        """Every face in it; of a morph the child, whose seed is made of both."""
        if isinstance(self.answer, Portraits):
            return self.answer.portraits
        child = Portrait(seed=title_of(self.receipt), png=self.answer.child, attributes=self.answer.attributes)
        return (child,)


@dataclass(frozen=True, kw_only=True)
class Again:
    """A receipt's picture, made once more. `same_bytes`: it is the one of that day, byte for byte."""

    dream: Dream
    same_version: bool
    same_bytes: bool


class Painter:
    """Asks the small models for pictures and keeps the receipts."""

    def __init__(self, short: ShortEngine, album: Album) -> None:
        self._short, self._album = short, album

    async def draw(self, request: PortraitRequest | MorphRequest, user_id: int) -> Dream:
        """A new picture, its receipt stored. Raises DreamError, StoreError."""
        answer = await self._answer(request)
        receipt = await self._album.keep(
            user_id=user_id, recipe=request, model_version=answer.model_version, digest=digest_of(answer)
        )
        return Dream(receipt=receipt, answer=answer)

    async def again(self, receipt: Receipt) -> Again:
        """What the present model makes of a receipt; nothing is stored. Raises DreamError."""
        answer = await self._answer(picture_of(receipt))
        return Again(
            dream=Dream(receipt=receipt, answer=answer),
            same_version=answer.model_version == receipt.model_version,
            same_bytes=digest_of(answer) == receipt.digest,
        )

    async def _answer(self, request: PortraitRequest | MorphRequest) -> Portraits | Morph:
        if isinstance(request, MorphRequest):
            return await self._ask(request)
        return await self._ask(request)

    async def _ask(self, request: ShortRequest[Output]) -> Output:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._short.ask(request)
        except (TimeoutError, EngineOverloadedError) as error:
            raise PainterBusyError(str(error)) from error
        except ModelMissingError as error:
            raise PainterMissingError(str(error)) from error
        except RequestRefusedError as error:
            raise PainterRefusedError(str(error)) from error
        except (EngineUnavailableError, WorkerDiedError) as error:
            raise PainterDownError(str(error)) from error
        except EngineClosedError as error:
            raise StartingAgainError(str(error)) from error


def picture_of(receipt: Receipt) -> PortraitRequest | MorphRequest:
    """What a picture's receipt asks for. Raises NotAPictureError."""
    if isinstance(receipt.recipe, VerseRequest):
        raise NotAPictureError
    return receipt.recipe


def digest_of(answer: Portraits | Morph) -> str:
    """SHA-256 of what is shown, in hexadecimal."""
    parts = (answer.grid,) if isinstance(answer, Portraits) else (answer.gif, answer.child)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def seed_of(words: str) -> str:
    """Typed words as a seed: any language, one line, without what can't be seen. Raises EmptySeedError."""
    try:
        seed = " ".join(clean(words).split())[:MAX_SEED_CHARS].strip()
    except EmptyPromptError:
        seed = ""
    if not seed:
        raise EmptySeedError
    return seed


def any_seed() -> str:
    """Seed words for whoever gave none: people can read them out and type them again."""
    return f"{secrets.choice(_FIRST.split())} {secrets.choice(_SECOND.split())} {secrets.randbelow(1000)}"


def seeds_of(name: str | None, count: int) -> tuple[str, ...]:
    """`count` seeds: the name's own face is the first of them. Raises NoSuchNumberError, EmptySeedError."""
    if count not in COUNTS:
        raise NoSuchNumberError("count", count)
    if name is None:
        return tuple(any_seed() for _ in range(count))
    seed = seed_of(name)
    return (seed, *(f"{seed[: MAX_SEED_CHARS - 3]} {number}" for number in range(2, count + 1)))


def frames_of(asked: int) -> int:
    """Raises NoSuchNumberError."""
    if not MIN_FRAMES <= asked <= MAX_MORPH_FRAMES:
        raise NoSuchNumberError("frames", asked)
    return asked


def varied(request: PortraitRequest) -> PortraitRequest:
    """The same faces, moved a little: another step each time."""
    return PortraitRequest(
        seeds=request.seeds,
        attributes=request.attributes,
        truncation=request.truncation,
        vary=VARIED,
        vary_seed=any_seed(),
    )


def alike(request: PortraitRequest, seen: dict[str, str] | None) -> PortraitRequest:
    """Other faces of the kind: of one face four with what is `seen` in it; of several (None) as many as they were, with
    what was asked for."""
    count = 4 if len(request.seeds) == 1 else len(request.seeds)
    likeness = {trait: seen[trait] for trait in _LIKENESS if trait in seen} if seen else {}
    return PortraitRequest(
        seeds=tuple(any_seed() for _ in range(count)),
        attributes={**likeness, **request.attributes},
        truncation=request.truncation,
    )


def only(request: PortraitRequest, number: int) -> PortraitRequest:
    """One face of several; counted from 1. Raises NoSuchNumberError."""
    if not 1 <= number <= len(request.seeds):
        raise NoSuchNumberError("count", number)
    return PortraitRequest(
        seeds=(request.seeds[number - 1],),
        attributes=request.attributes,
        truncation=request.truncation,
        vary=request.vary,
        vary_seed=request.vary_seed,
    )


@dataclass(frozen=True, kw_only=True)
class End:
    """One end of a morph."""

    seed: str
    look: Look = Look()  # noqa: RUF009  # it is frozen


def end_of(request: PortraitRequest) -> End:
    """The very face of a portrait, with all that was asked of it."""
    look = Look(
        attributes=request.attributes,
        truncation=request.truncation,
        vary=request.vary,
        vary_seed=request.vary_seed,
    )
    return End(seed=request.seeds[0], look=look)


def morph_of(start: End, end: End, *, frames: int = FRAMES, truncation: float) -> MorphRequest:
    """Raises NoSuchNumberError."""
    return MorphRequest(
        start=start.seed,
        end=end.seed,
        start_look=start.look,
        end_look=end.look,
        frames=frames_of(frames),
        truncation=truncation,
    )


def title_of(receipt: Receipt, number: int | None = None) -> str:
    """What a picture or verse is called: its seed words, or those of one face or end in it. A character's seed begins
    with its story, which is left out."""
    recipe = receipt.recipe
    match recipe:
        case PortraitRequest(seeds=seeds):
            names = [_name(seed) for seed in seeds]
        case MorphRequest(start=start, end=end):
            names = [_name(start), _name(end)]
        case VerseRequest(seed=seed):
            names = [_name(seed)]
    if number is not None:
        return names[number]
    return " + ".join(names) if isinstance(recipe, MorphRequest) else names[0]


def character_seed(story_id: str, name: str) -> str:
    """The same character of the same story has the same face, and another one in another story."""
    return f"{story_id}/{constant(name)}"[:MAX_SEED_CHARS]


def _name(seed: str) -> str:
    return _STORY_PREFIX.sub("", seed)
