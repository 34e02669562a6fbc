"""What the trained tiers answer to: two log odds for each text. Knows neither calibration nor words for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models.sentiment.clean_text import clean
from models.sentiment.reading import Reading, read, simplify
from models.serving.short_requests import Evidence, MoodNote

ModelLanguage = Literal["en", "zh"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A text as the trained tiers read it, and what the reading noticed. `language` is whose weights judge it: those of
    Chinese for Chinese, else of English (an emoji alone, and what no method was trained on, too)."""

    text: str
    language: ModelLanguage
    reading: Reading


@dataclass(frozen=True, kw_only=True)
class Scores:
    """`logits` (texts, 2), float64: of polar against neutral, of positive against negative. `evidence` and `notes` for
    each text; evidence is empty where the tier can't say what decided."""

    logits: NDArray[np.float64]
    evidence: list[tuple[Evidence, ...]]
    notes: list[tuple[MoodNote, ...]]


class Scorer(Protocol):
    """The same text gets the same scores in any company, up to the last bits of a float."""

    @property
    def version(self) -> str: ...

    def score(self, texts: Sequence[Prepared], *, explain: bool = True) -> Scores:
        """Without `explain` evidence and notes may be left out, where finding them costs time."""


def prepare(raw: str) -> Prepared:
    """Never raises for any string."""
    reading = read(raw)
    if reading.language == "zh":
        return Prepared(text=simplify(clean(raw)), language="zh", reading=reading)
    return Prepared(text=clean(raw), language="en", reading=reading)


def model_text(cleaned: str, language: ModelLanguage) -> str:
    """A cleaned text of known language as `prepare` gives it, for training."""
    return simplify(cleaned) if language == "zh" else cleaned
