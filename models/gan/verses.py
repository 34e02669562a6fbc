"""Answers requests for verses, in numpy alone. Knows no training and no torch.

The same request on the same version gives the same lines, whatever else is asked: each verse is computed alone, and its
tokens are chosen by raw bits of a counter that the seed's words key (`latent`). A verse of two lines is the beginning
of the one of four.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.gan.latent import uniforms
from models.gan.verse_forms import (
    BREAK,
    LENGTH,
    WIDTH,
    Form,
    Language,
    finished,
    language_of,
    lines_of,
    masks,
    pieces_of,
    place_after,
    stage,
    words_of,
)
from models.gan.verse_forward import Weights, begin, odds, step
from models.gan.verse_weights import VerseFolder
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import AnyShortOutput, AnyShortRequest, GeneratorKind, Verse, VerseRequest
from models.weights import VERSE_FOLDER

_OPENING: Final = 5  # pieces of an English beginning, at most: one line must have room for more


class VerseModel:
    """A ShortModel for VerseRequest."""

    def __init__(self, folder: VerseFolder) -> None:
        self._folder = folder
        self._config, self._version = folder.config, folder.version
        self._pieces: dict[Language, tuple[str, ...]] = {}
        self._weights: dict[tuple[Language, GeneratorKind], Weights] = {}
        self._masks: dict[Form, NDArray[np.bool_]] = {}

    @property
    def version(self) -> str:
        return self._version

    def answer(self, requests: Sequence[AnyShortRequest]) -> list[AnyShortOutput]:
        """Raises ShortModelMissingError, and ValueError for a beginning that can't be written."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: AnyShortRequest) -> AnyShortOutput:
        if not isinstance(request, VerseRequest):
            raise ValueError(f"the verse model doesn't answer {type(request).__name__}")
        language = language_of(request.form)
        known = self._config.languages.get(language)
        if known is None:
            raise ShortModelMissingError(f"The verse model has no generator for {language!r}.")
        kind = known.default if request.generator == "default" else request.generator
        if kind not in known.temperatures:
            raise ShortModelMissingError(f"The verse model has no {kind} generator for {language!r}.")
        temperature = known.temperatures[kind] if request.temperature is None else request.temperature
        tokens = self._write(request, language, kind, temperature)
        return Verse(
            lines=lines_of(request.form, [self._pieces[language][token] for token in tokens]),
            generator=kind,
            temperature=temperature,
            model_version=self._version,
        )

    def _write(self, request: VerseRequest, language: Language, kind: GeneratorKind, temperature: float) -> list[int]:
        if language not in self._pieces:
            self._pieces[language] = self._folder.pieces(language)
        pieces, form = self._pieces[language], request.form
        if (language, kind) not in self._weights:
            self._weights[language, kind] = self._folder.weights(language, kind, len(pieces))
        if form not in self._masks:
            self._masks[form] = masks(form, pieces)
        weights, opening = self._weights[language, kind], _opening(form, request.begin, pieces)
        chances = uniforms(request.seed, f"/verse/{form}", LENGTH[form])
        tokens: list[int] = []
        state, before = begin(weights), BREAK
        while not finished(form, tokens, request.lines):
            logits, state = step(weights, before, place_after(form, tokens), state)
            if len(tokens) < len(opening):
                before = opening[len(tokens)]
            else:
                likely = odds(logits, self._masks[form][stage(form, tokens)], temperature)
                before = _choose(likely, chances[len(tokens)])
            tokens.append(before)
        return tokens


def _choose(likely: NDArray[np.float64], chance: float) -> int:
    """The token at `chance` of the cumulated probability."""
    reached = np.cumsum(likely)
    place = int(np.searchsorted(reached, chance * reached[-1], "right"))
    return min(place, int(np.flatnonzero(likely)[-1]))


def _opening(form: Form, text: str, pieces: Sequence[str]) -> list[int]:
    """The tokens of the words that a verse is to begin with. Raises ValueError where it can't."""
    if not text.strip():
        return []
    number = {piece: place for place, piece in enumerate(pieces)}
    if form == "en":
        found = [piece for word in words_of(text) for piece in _spelt(word, number)]
        limit = _OPENING
    else:
        found = pieces_of(form, "".join(text.split()), number) or []
        limit = WIDTH[form]
    if not found:
        raise ValueError("beginning: the verse model does not know these characters")
    tokens = [number[piece] for piece in found]
    if len(tokens) > limit:
        raise ValueError("beginning: that is longer than the first line can be")
    return tokens


def _spelt(word: str, number: Mapping[str, int]) -> list[str]:
    """A word as typed or in small letters, whichever the vocabulary knows better: a name has its capital in it, the
    first word of a sentence has not."""
    ways = [found for each in (word, word.lower()) if (found := pieces_of("en", each, number))]
    if not ways:
        raise ValueError("beginning: the verse model does not know these characters")
    return min(ways, key=len)


def load(data_dir: Path, options: dict[str, str]) -> VerseModel:
    """The generators in the folder that options["verse"] names, below `data_dir` unless it is absolute; those that ship
    when there is no such option. Raises ShortModelMissingError."""
    chosen = options.get("verse")
    return VerseModel(VerseFolder(data_dir / chosen if chosen else VERSE_FOLDER))
