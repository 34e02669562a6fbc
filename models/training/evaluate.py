"""Judges language models of every family on the same texts and prompts. Knows no model's inside: it asks for bits and
for text.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Family(Protocol):
    """What can be judged. `bits` is the code length of a text that the model has not seen; `continue_` draws what
    follows a prompt, the same for the same seed."""

    def bits(self, text: str) -> tuple[float, int]:
        """Bits and the number of symbols (characters, words, tokens) that they were paid for."""

    def continue_(self, prompt: str, *, characters: int, seed: int) -> str:
        """About that many characters."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """How well one family predicts one text."""

    family: str
    text: str
    bits_per_character: float
    bits_per_byte: float
    perplexity: float  # per symbol of the family: comparable only between families with the same symbols


@dataclass(frozen=True, kw_only=True)
class Writing:
    """What one family's own texts are like. `distinct_1`, `distinct_2`: different words (Chinese characters) and pairs
    among all (Li et al. 2016); `loops`: places per 1,000 characters where eight or more characters are repeated at
    once; `self_bleu`: mean BLEU-4 of each text against the others (Zhu et al. 2018), high when all sound alike;
    `longest_copy`: characters of the longest span that stands in the training text, None where nobody looked."""

    family: str
    distinct_1: float
    distinct_2: float
    loops: float
    self_bleu: float
    longest_copy: int | None
    copied: str


_WORD = re.compile(r"[^\W_\u3400-\u9fff]+|[\u3400-\u9fff]")
_LOOP = re.compile(r"(.{8,200}?)\1+", re.DOTALL)


def words(text: str) -> list[str]:
    """Words in lower case; each Chinese character is one."""
    return _WORD.findall(text.lower())


def predict(family: str, model: Family, texts: Mapping[str, str]) -> list[Prediction]:
    """Score `model` on each named text."""
    result = []
    for name, text in texts.items():
        bits, symbols = model.bits(text)
        result.append(
            Prediction(
                family=family,
                text=name,
                bits_per_character=bits / len(text),
                bits_per_byte=bits / len(text.encode()),
                perplexity=2 ** (bits / symbols),
            )
        )
    return result


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams of words among all, 0 if there is none."""
    grams = [gram for text in texts for gram in zip(*(words(text)[i:] for i in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else 0.0


def loops(texts: Sequence[str]) -> float:
    """Immediate repetitions of eight or more characters, per 1,000 characters."""
    characters = sum(map(len, texts))
    found = sum(len(match[0]) // len(match[1]) - 1 for text in texts for match in _LOOP.finditer(text))
    return 1000 * found / characters if characters else 0.0


def bleu(candidate: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU-4 (Papineni et al. 2002) with one added to matches and totals above unigrams (Lin & Och 2004)."""
    if not candidate or not references:
        return 0.0
    total = 0.0
    for n in range(1, 5):
        own = Counter(zip(*(candidate[i:] for i in range(n)), strict=False))
        allowed: Counter[tuple[str, ...]] = Counter()
        for reference in references:
            allowed |= Counter(zip(*(reference[i:] for i in range(n)), strict=False))
        matched, count = sum((own & allowed).values()), sum(own.values())
        if n == 1 and not matched:
            return 0.0
        total += math.log((matched + (n > 1)) / (count + (n > 1)))
    closest = min((len(reference) for reference in references), key=lambda size: (abs(size - len(candidate)), size))
    brevity = min(0.0, 1 - closest / len(candidate))
    return math.exp(total / 4 + brevity)


def self_bleu(texts: Sequence[str]) -> float:
    """Mean BLEU-4 of each text against all others."""
    split = [words(text) for text in texts]
    if len(split) < 2:
        return 0.0
    return sum(bleu(each, split[:i] + split[i + 1 :]) for i, each in enumerate(split)) / len(split)


class TrainingText:
    """Finds the longest span that a text copies from the training text, by window hashes and binary search."""

    _BASE = 0x5851F42D4C957F2D  # odd: invertible modulo 2^64

    def __init__(self, text: str) -> None:
        self._text = text
        self._hashed = self._prefix(text)

    def _prefix(self, text: str) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """(n + 1,) sums of code × base^i and (n + 1,) base^-i, so that the hash of a window does not depend on where
        it stands."""
        codes = np.frombuffer(text.encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
        powers = np.cumprod(np.full(len(codes), self._BASE, dtype=np.uint64))
        inverse = np.cumprod(np.full(len(codes), pow(self._BASE, -1, 2**64), dtype=np.uint64))
        sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum((codes + np.uint64(1)) * powers)])
        return sums, np.concatenate([np.ones(1, dtype=np.uint64), inverse])

    @staticmethod
    def _windows(hashed: tuple[NDArray[np.uint64], NDArray[np.uint64]], length: int) -> NDArray[np.uint64]:
        sums, inverse = hashed
        return (sums[length:] - sums[:-length]) * inverse[: len(sums) - length]

    def longest_copy(self, text: str) -> str:
        """The longest span of `text` that stands in the training text; the first of several."""
        hashed = self._prefix(text)
        best, low, high = "", 1, min(len(text), len(self._text))
        while low <= high:
            length = (low + high) // 2
            wanted = self._windows(hashed, length)
            ordered = np.sort(wanted)
            known = self._windows(self._hashed, length)
            place = np.minimum(np.searchsorted(ordered, known), len(ordered) - 1)
            shared = known[ordered[place] == known]
            begin = int(np.argmax(np.isin(wanted, shared))) if len(shared) else -1
            if begin >= 0 and text[begin : begin + length] in self._text:
                best, low = text[begin : begin + length], length + 1
            else:
                high = length - 1
        return best


def write(
    family: str,
    model: Family,
    prompts: Sequence[str],
    training: TrainingText | None,
    *,
    characters: int = 600,
    seed: int = 1,
) -> tuple[Writing, list[str]]:
    """Let `model` continue every prompt, the first with `seed`, and judge what it wrote; also returns the texts.
    Without the training text nothing is known about copies."""
    texts = [model.continue_(prompt, characters=characters, seed=seed + i) for i, prompt in enumerate(prompts)]
    longest = training.longest_copy("\0".join(texts)) if training else ""  # one search: no training text holds a NUL
    judged = Writing(
        family=family, distinct_1=distinct(texts, 1), distinct_2=distinct(texts, 2), loops=loops(texts),
        self_bleu=self_bleu(texts), longest_copy=len(longest) if training else None, copied=longest,
    )  # fmt: skip
    return judged, texts


def as_json(predictions: Sequence[Prediction], writings: Sequence[Writing] = ()) -> str:
    """Both as one JSON object with a list each."""
    rows = {"predictions": [asdict(each) for each in predictions], "writings": [asdict(each) for each in writings]}
    return json.dumps(rows, ensure_ascii=False, indent=1)


def as_table(predictions: Sequence[Prediction]) -> str:
    """A Markdown table: a row per family, a column per text with bits per character / bits per byte."""
    names = list(dict.fromkeys(each.text for each in predictions))
    lines = ["| Family | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for family in dict.fromkeys(each.family for each in predictions):
        found = {each.text: each for each in predictions if each.family == family}
        cells = [
            f"{found[n].bits_per_character:.3f} / {found[n].bits_per_byte:.3f}" if n in found else "" for n in names
        ]
        lines.append(f"| {family} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def writings_as_table(writings: Sequence[Writing]) -> str:
    """A Markdown table: a row per family."""
    lines = ["| Family | distinct-1 | distinct-2 | loops | self-BLEU | longest copy |", "|---" * 6 + "|"]
    lines += [
        f"| {each.family} | {each.distinct_1:.2f} | {each.distinct_2:.2f} | {each.loops:.1f} | {each.self_bleu:.3f} "
        f"| {'–' if each.longest_copy is None else each.longest_copy} |"
        for each in writings
    ]
    return "\n".join(lines)
