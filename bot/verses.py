"""Verses: asked of the small models, kept as receipts, written again from them. Knows no Discord.

As with pictures, a receipt is stored before anybody is shown its code, and "the same verse" is checked and not assumed.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Literal

from bot.dreams import PATIENCE_S, DreamError, StartingAgainError, any_seed, seed_of
from bot.store import Receipt
from bot.store.album import Album
from models.serving.engine import (
    EngineClosedError,
    EngineOverloadedError,
    EngineUnavailableError,
    ModelMissingError,
    RequestRefusedError,
    WorkerDiedError,
)
from models.serving.short_engine import ShortEngine
from models.serving.short_requests import MAX_OPENING_CHARS, Verse, VerseForm, VerseRequest

FORMS: tuple[VerseForm, ...] = ("en", "zh5", "zh7")
LINES = (2, 4)
Writer = Literal["default", "likelihood", "adversarial"]


class PoetBusyError(DreamError):
    """Too many ask at once, or the answer took too long. Try again in a moment."""


class PoetMissingError(DreamError):
    """The verse model's weights or library are not here, or are damaged. An operator must act."""


class PoetDownError(DreamError):
    """The process that writes can't be started or fails again and again. An operator must act."""


class OpeningRefusedError(DreamError):
    """The verse can't begin with these words: unknown to the model, or too many for one line."""


class NotAVerseError(DreamError):
    """The receipt is of a picture, and what was asked for needs a verse."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A verse and what reproduces it. `same_version` and `same_lines` compare it with that of its receipt's day."""

    receipt: Receipt
    verse: Verse
    same_version: bool = True
    same_lines: bool = True


class Poet:
    """Asks the small models for verses and keeps the receipts."""

    def __init__(self, short: ShortEngine, album: Album) -> None:
        self._short, self._album = short, album

    async def write(self, request: VerseRequest, user_id: int) -> Written:
        """A new verse, its receipt stored. Raises DreamError, StoreError."""
        verse = await self._ask(request)
        receipt = await self._album.keep(
            user_id=user_id, recipe=request, model_version=verse.model_version, digest=digest_of(verse)
        )
        return Written(receipt=receipt, verse=verse)

    async def again(self, receipt: Receipt) -> Written:
        """What the present model makes of a receipt; nothing is stored. Raises DreamError."""
        verse = await self._ask(verse_of(receipt))
        return Written(
            receipt=receipt,
            verse=verse,
            same_version=verse.model_version == receipt.model_version,
            same_lines=digest_of(verse) == receipt.digest,
        )

    async def _ask(self, request: VerseRequest) -> Verse:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._short.ask(request)
        except (TimeoutError, EngineOverloadedError) as error:
            raise PoetBusyError(str(error)) from error
        except ModelMissingError as error:
            raise PoetMissingError(str(error)) from error
        except RequestRefusedError as error:
            raise OpeningRefusedError(str(error)) from error  # all else in the request was chosen from a list
        except (EngineUnavailableError, WorkerDiedError) as error:
            raise PoetDownError(str(error)) from error
        except EngineClosedError as error:
            raise StartingAgainError(str(error)) from error


def verse_of(receipt: Receipt) -> VerseRequest:
    """What a verse's receipt asks for. Raises NotAVerseError."""
    if not isinstance(receipt.recipe, VerseRequest):
        raise NotAVerseError
    return receipt.recipe


def digest_of(verse: Verse) -> str:
    """SHA-256 of the lines, in hexadecimal."""
    return hashlib.sha256("\n".join(verse.lines).encode()).hexdigest()


def request_of(
    words: str | None, form: VerseForm, *, lines: int = 4, begin: str | None = None, writer: Writer = "default"
) -> VerseRequest:
    """What was typed, as a request. Raises EmptySeedError, OpeningRefusedError."""
    opening = "" if begin is None else seed_of(begin)
    if len(opening) > MAX_OPENING_CHARS:
        raise OpeningRefusedError("too long")
    seed = any_seed() if words is None else seed_of(words)
    return VerseRequest(form=form, seed=seed, lines=lines, begin=opening, generator=writer)


def another(request: VerseRequest) -> VerseRequest:
    """The same kind of verse from other words."""
    return VerseRequest(
        form=request.form,
        seed=any_seed(),
        lines=request.lines,
        begin=request.begin,
        temperature=request.temperature,
        generator=request.generator,
    )
