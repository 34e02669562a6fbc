"""Compares two models by the bits that each pays for the same texts, and says how sure the difference is. Knows no
family and sets no limit.

Models with different vocabularies share one scale: bits per UTF-8 byte. The error is a bootstrap's (Efron 1979): texts
are drawn again with replacement, for both models alike, so what makes a text hard for both drops out of the difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.training.evaluate import Family

DRAWS: Final = 1_000
MIN_GROUPS: Final = 8  # of authors; with fewer the texts are drawn one by one, which makes the error too small rather


class Passage(Protocol):
    """A text that nobody trained on, and the words before it, "" where it stands at a beginning."""

    @property
    def context(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def author(self) -> str: ...


@runtime_checkable
class Conditional(Protocol):
    """A family that can be asked for the bits of a text behind another. Without it a passage's context is not read."""

    def bits_after(self, context: str, text: str) -> tuple[float, int]: ...


@dataclass(frozen=True, kw_only=True)
class Alone:
    """A text without words before it."""

    text: str
    context: str = ""
    author: str = ""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """`by` = other - own, in bits per byte: what `own` saves. `error` is its standard error, 0 for a single text."""

    own: float
    other: float
    error: float

    @property
    def by(self) -> float:
        return self.other - self.own


def passage_bits(model: Family, passages: Sequence[Passage], tick: Callable[[], None]) -> NDArray[np.float64]:
    """(passages,) bits of each text. `tick` is called before each one and may raise to stop."""
    found = np.empty(len(passages))
    for index, passage in enumerate(passages):
        tick()
        if passage.context and isinstance(model, Conditional):
            found[index] = model.bits_after(passage.context, passage.text)[0]
        else:
            found[index] = model.bits(passage.text)[0]
    return found


def per_byte(bits: NDArray[np.float64], passages: Sequence[Passage]) -> float:
    return float(bits.sum() / _bytes(passages).sum())


def compare(
    own: NDArray[np.float64], other: NDArray[np.float64], passages: Sequence[Passage], *, seed: int = 1
) -> Difference:
    """Both (passages,) bits of the same texts. What one author wrote is drawn together where at least eight wrote."""
    groups = _groups(passages)
    with np.errstate(invalid="ignore"):  # broken weights give nan, and then so does everything here
        saved = np.bincount(groups, weights=other - own)
    sizes = np.bincount(groups, weights=_bytes(passages))
    generator = np.random.default_rng(seed)
    drawn = np.empty(DRAWS)
    for index in range(DRAWS):
        chosen = generator.integers(len(sizes), size=len(sizes))
        drawn[index] = saved[chosen].sum() / sizes[chosen].sum()
    return Difference(own=per_byte(own, passages), other=per_byte(other, passages), error=float(drawn.std()))


def _bytes(passages: Sequence[Passage]) -> NDArray[np.float64]:
    return np.array([len(passage.text.encode()) for passage in passages], dtype=np.float64)


def _groups(passages: Sequence[Passage]) -> NDArray[np.int64]:
    """(passages,) the number of the group that each is drawn with."""
    authors = {author: number for number, author in enumerate(dict.fromkeys(each.author for each in passages))}
    if len(authors) < MIN_GROUPS:
        return np.arange(len(passages))
    return np.array([authors[passage.author] for passage in passages], dtype=np.int64)
