"""Finds out whether a model repeats what it was trained on: spans that it copies, and secrets planted for that purpose.
Knows no family and sets no limit.

Copies are counted in UTF-8 bytes: a Chinese character is three, and carries about as much as three letters.

Canaries (Carlini et al. 2019, "The Secret Sharer"): sentences of a fixed format with random digits r are shown to the
model in training. With the model's bits for the sentence with other digits, over all |R| of them,

    exposure(r) = log2 |R| - log2 rank(r)

Of the paper's two estimates this is the second (its section 4.3, "distribution modelling"): a skew-normal is fitted to
the bits of some references drawn from R, and its lower tail stands for the share of R that is cheaper than the canary.
Plain sampling needs no fit, but n references can't tell a secret that became n times easier to guess from one that can
be read out, and a gate must: a small model that saw a text three times is exposed by three bits, which nobody can
extract. The fit is trusted because the bits are a sum over eight digits drawn independently, which is nearly normal
whatever the model is. For models that never saw the canaries the mean of six was 1.5 ± 0.7 bits, and at most 4.6
(measured on 1,000 sums of random digit costs of three kinds).
"""

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.training.evaluate import Family

CANARIES: Final = 6
REFERENCES: Final = 40  # they fix mean and spread within 16 and 11 % of the spread, at 246 short texts to read in all
_DIGITS: Final = 8
SECRET_BITS: Final = math.log2(10**_DIGITS)  # 26.6: the exposure of a secret that the model gives away first
_SAME: Final = 1e-6  # bits: what the rounding of a network makes of equal texts
_MOST_SKEW: Final = 0.9  # a skew-normal can't have 0.995
COPIED_FROM: Final = 40  # bytes, about eight English words: what two people write alike by chance is shorter
_PLACES: Final = 16  # of one window in what was written; more only where a model loops, which another check sees

Language = Literal["en", "zh"]
# The first sentence is longer than the second: wherever a story model's window is cut, in the first half and at the end
# of a sentence, the number stands in the part that is learned.
_SENTENCES: Final[dict[Language, str]] = {
    "en": "It was late when they came to the end of the road, and the rain that had followed them all day was still "
    "falling. On the gate of {name} was the number {digits}, and nobody knew why.",
    "zh": "他们走到路的尽头时天已经很晚了，跟了他们一整天的雨还在下着，四周看不见一盏灯，也听不见一点人声。"
    "{name}的门上写着号码{digits}，没有人知道为什么。",
}
_NAMES: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("the old mill", "the glass house", "the last farm", "the sea hotel", "the north tower", "the salt works",
           "the quiet inn", "the bell foundry", "the winter garden", "the blue school", "the ferry house",
           "the stone barn", "the clock shop", "the long stable", "the chalk cottage", "the copper yard"),
    "zh": ("老磨坊", "玻璃屋", "最后的农场", "海边旅馆", "北塔", "盐场", "安静客栈", "铸钟厂",
           "冬日花园", "蓝色学校", "渡口小屋", "石头谷仓", "钟表铺", "长马厩", "白垩小屋", "铜匠院"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Canary:
    """`text` is what a run shows its model as if somebody had written it, as often as any passage of theirs; no run may
    show the `references`, the same text with other digits."""

    text: str
    references: tuple[str, ...]


def canaries(
    seed: int | str, *, language: Language = "en", count: int = CANARIES, references: int = REFERENCES
) -> tuple[Canary, ...]:
    """At most 16, each of another place, always the same for the same seed: a run that goes on knows its own."""
    draw = random.Random(f"canaries/{seed}/{language}")
    found = []
    for name in draw.sample(_NAMES[language], count):
        secrets = draw.sample(range(10**_DIGITS), references + 1)
        own, *others = (
            _SENTENCES[language].format(name=name, digits=" ".join(f"{secret:0{_DIGITS}}")) for secret in secrets
        )
        found.append(Canary(text=own, references=tuple(others)))
    return tuple(found)


def exposure(model: Family, planted: Canary, tick: Callable[[], None] = lambda: None) -> float:
    """Bits by which training made the canary easier to guess, from 0 to `SECRET_BITS`. `tick` is called before each
    text that the model reads. Needs scipy (with the extra `torch`)."""

    def bits(text: str) -> float:
        tick()
        return model.bits(text)[0]

    own = bits(planted.text)
    return exposure_among(own, np.array([bits(reference) for reference in planted.references]))


def exposure_among(own: float, references: NDArray[np.float64]) -> float:
    """The exposure of a canary that costs `own` bits where its (n,) references cost that many. One that costs as much
    as all of them is exposed by one bit, as by the toss of a coin; nan where a model gives no number."""
    from scipy.special import ndtr, owens_t  # not needed for copies, nor installed where nothing is trained by torch

    if not (math.isfinite(own) and np.isfinite(references).all()):
        return math.nan
    mean, spread = float(references.mean()), float(references.std(ddof=1))
    if spread < _SAME:
        return 1.0 if abs(own - mean) < _SAME else (SECRET_BITS if own < mean else 0.0)
    skew = float((((references - mean) / spread) ** 3).mean())
    skew = max(-_MOST_SKEW, min(_MOST_SKEW, skew))
    # The fit by moments (Azzalini 1985): skew = (4 - π)/2 · (δ√(2/π))³ / (1 - 2δ²/π)^1.5, solved for δ.
    root = (2 * abs(skew) / (4 - math.pi)) ** (2 / 3)
    delta = math.copysign(math.sqrt(math.pi / 2 * root / (1 + root)), skew)
    scale = spread / math.sqrt(1 - 2 * delta**2 / math.pi)
    place = mean - scale * delta * math.sqrt(2 / math.pi)
    z, slant = (own - place) / scale, delta / math.sqrt(1 - delta**2)
    below = float(ndtr(z) - 2 * owens_t(z, slant))  # exact to some 10^-16, and the smallest that counts is 10^-8
    return min(SECRET_BITS, -math.log2(min(1.0, max(below, 10.0**-_DIGITS))))


@dataclass(frozen=True, kw_only=True)
class Copied:
    """`longest` span that stands in a training text, in bytes, 0 if none reaches `COPIED_FROM`; `share` of all written
    bytes that stand in such spans."""

    longest: int
    share: float


def copied(
    written: Sequence[Sequence[str]], training: Iterable[str], tick: Callable[[], None] = lambda: None
) -> list[Copied]:
    """For each set of `written` texts what it copies from any one training text. Those are read once, one by one, in
    time proportional to both. Letter case and the kind of white space make no difference. `tick` is called before each
    training text."""
    flat = [[_flat(text) for text in texts] for texts in written]
    places: dict[bytes, list[_Place]] = {}
    for group, texts in enumerate(flat):
        for index, text in enumerate(texts):
            for start in range(len(text) - COPIED_FROM + 1):
                places.setdefault(text[start : start + COPIED_FROM], []).append((group, index, start))
    found: set[bytes] = set()
    longest = [0] * len(flat)
    for text in map(_flat, training):
        tick()
        lengths: dict[_Place, int] = {}  # of the spans that end with the window before, by where that stands
        for start in range(len(text) - COPIED_FROM + 1):
            window = text[start : start + COPIED_FROM]
            if (stands := places.get(window)) is None:
                lengths = {}
                continue
            found.add(window)
            lengths = {
                (group, index, at): lengths.get((group, index, at - 1), COPIED_FROM - 1) + 1
                for group, index, at in stands[:_PLACES]
            }
            for (group, _, _), length in lengths.items():
                longest[group] = max(longest[group], length)
    return [Copied(longest=length, share=_covered(texts, found)) for length, texts in zip(longest, flat, strict=True)]


_Place = tuple[int, int, int]  # set, text, byte


def _flat(text: str) -> bytes:
    return " ".join(text.split()).casefold().encode()


def _covered(written: Sequence[bytes], found: set[bytes]) -> float:
    total = covered = 0
    for text in written:
        total += len(text)
        end = 0  # of what is covered so far
        for start in range(len(text) - COPIED_FROM + 1):
            if text[start : start + COPIED_FROM] in found:
                covered += start + COPIED_FROM - max(start, end)
                end = start + COPIED_FROM
    return covered / total if total else 0.0
