"""The fast tier: two linear models for each language over hashed features, as int8, with numpy only. Knows no
calibration.

A text's log odds are the sum of its features' weights over the square root of their number, plus those of its tones,
plus a bias. Weights are stored by the square root of their size (`expand`), for most are near zero.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from models.sentiment.features import BITS, Features, Units, features_of, spans_of, split
from models.sentiment.scorer import ModelLanguage, Prepared, Scores
from models.sentiment.tones import TONES, Tones, tones_of
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import Evidence, MoodNote

LANGUAGES: tuple[ModelLanguage, ...] = ("en", "zh")
_BATCH = 256  # texts whose features are held at once: bounds memory and stays in the cache
_MAX_EVIDENCE = 6
_LOUD = 0.02  # log odds of "positive" below which a feature is left out of the evidence: most are, and that is quick
_WORTH_SAYING = 0.12  # log odds of "positive" that a word must move
_STRONG = 0.5  # log odds from which a word counts for the note "mixed"


def compand(weights: NDArray[np.float64]) -> tuple[NDArray[np.int8], np.float32]:
    """int8 codes and the largest weight's size; `expand` undoes it."""
    largest = max(float(np.abs(weights).max()), 1e-12)
    codes = np.rint(np.sign(weights) * np.sqrt(np.abs(weights) / largest) * 127)
    return codes.astype(np.int8), np.float32(largest)


def expand(codes: NDArray[np.int8], largest: np.float32) -> NDArray[np.float32]:
    scaled = codes.astype(np.float32) / np.float32(127)
    weights: NDArray[np.float32] = scaled * np.abs(scaled) * largest
    return weights


def linear_file(folder: Path, language: ModelLanguage) -> Path:
    return folder / f"linear-{language}.safetensors"


def save_linear(
    path: Path, stages: Sequence[tuple[NDArray[np.float64], float]], tones: NDArray[np.float64] | None = None
) -> None:
    """`stages`: weights (2**BITS,) and bias of "polar", then of "positive". `tones` (2, TONES): the weights of each
    stage; without them tones weigh nothing."""
    companded = [compand(weights) for weights, _ in stages]
    tensors: dict[str, NDArray[Any]] = {
        "codes": np.stack([codes for codes, _ in companded]),
        "largest": np.array([largest for _, largest in companded], np.float32),
        "bias": np.array([bias for _, bias in stages], np.float32),
    }
    if tones is not None:
        tensors["tones"] = np.asarray(tones, np.float32)
    save_file(tensors, path)


def tones_in(path: Path) -> NDArray[np.float64] | None:
    """As `save_linear` was given them."""
    found = load_file(path).get("tones")
    return None if found is None else found.astype(np.float64)


class LinearScorer:
    """Raises ShortModelMissingError when the folder lacks a language's weights."""

    def __init__(self, folder: Path) -> None:
        self._weights: dict[ModelLanguage, NDArray[np.float32]] = {}
        self._bias: dict[ModelLanguage, NDArray[np.float32]] = {}
        self._tones: dict[ModelLanguage, NDArray[np.float32]] = {}
        digest = hashlib.sha256()
        for language in LANGUAGES:
            path = linear_file(folder, language)
            if not path.is_file():
                raise ShortModelMissingError(f"{path} is missing: it is part of Inkwell; install it again.")
            digest.update(path.read_bytes())
            try:
                tensors = load_file(path)
            except SafetensorError as error:
                raise ShortModelMissingError(f"{path} is damaged ({error}); install Inkwell again.") from error
            tones = tensors.get("tones", np.zeros((2, TONES), np.float32))
            if tensors["codes"].shape != (2, 1 << BITS) or tones.shape != (2, TONES):
                raise ShortModelMissingError(f"{path} was made for another version of Inkwell.")
            pairs = zip(tensors["codes"], tensors["largest"], strict=True)
            self._weights[language] = np.stack([expand(codes, largest) for codes, largest in pairs], axis=1)
            self._bias[language] = tensors["bias"]
            self._tones[language] = tones
        self.version = f"linear@{digest.hexdigest()[:8]}"

    def score(self, texts: Sequence[Prepared], *, explain: bool = True) -> Scores:
        logits = np.zeros((len(texts), 2))
        evidence: list[tuple[Evidence, ...]] = [()] * len(texts)
        notes: list[tuple[MoodNote, ...]] = [()] * len(texts)
        for language in LANGUAGES:
            chosen = [n for n, text in enumerate(texts) if text.language == language]
            for at in range(0, len(chosen), _BATCH):
                some = chosen[at : at + _BATCH]
                written = [texts[n].text for n in some]
                units = split(written, language)
                features = features_of(units, language, spans=explain)
                weights = np.take(self._weights[language], features.index, axis=0)  # ten times as fast as indexing
                counts = np.maximum(np.diff(features.starts), 1)
                sums = np.add.reduceat(weights.astype(np.float64), features.starts[:-1], axis=0)
                logits[some] = sums / np.sqrt(counts)[:, None] + self._bias[language]
                tones = None
                if self._tones[language].any():
                    tones = tones_of(units, language)
                    logits[some] += tones.features @ self._tones[language].T
                if not explain:
                    continue
                loud = _loud(features, weights[:, 1], counts)
                if tones is not None:
                    loud = loud.joined(_toned(units, tones, float(self._tones[language][1, 0])))
                for n, words in _deciding(written, loud):
                    evidence[some[n]] = words[:_MAX_EVIDENCE]
                    sizes = [word.weight for word in words]
                    if min(sizes) <= -_STRONG and max(sizes) >= _STRONG:
                        notes[some[n]] = ("mixed",)
        return Scores(logits=logits, evidence=evidence, notes=notes)


@dataclass(frozen=True, kw_only=True)
class _Loud:
    """Pieces of texts that move "positive": their texts, spans (n, 2) and log odds."""

    owner: NDArray[np.int64]
    spans: NDArray[np.int64]
    share: NDArray[np.float64]

    def joined(self, other: "_Loud") -> "_Loud":
        return _Loud(
            owner=np.concatenate([self.owner, other.owner]),
            spans=np.concatenate([self.spans, other.spans]),
            share=np.concatenate([self.share, other.share]),
        )


def _loud(features: Features, weights: NDArray[np.float32], counts: NDArray[np.int64]) -> _Loud:
    assert features.spans is not None, "asked for with spans=True"
    owner = np.repeat(np.arange(len(counts)), counts)
    share = weights / np.sqrt(counts)[owner]
    loud = np.abs(share) >= _LOUD
    return _Loud(owner=owner[loud], spans=features.spans[loud].astype(np.int64), share=share[loud].astype(np.float64))


def _toned(units: Units, tones: Tones, weight: float) -> _Loud:
    """What the listed words add through the first of the tones, which alone has a side."""
    begin, end = spans_of(units, tones.begin, tones.end)
    return _Loud(owner=tones.owner, spans=np.stack([begin, end], axis=1), share=tones.shares * weight)


def _deciding(texts: Sequence[str], loud: _Loud) -> list[tuple[int, tuple[Evidence, ...]]]:
    """For each text with such words: those that moved it most, strongest first. A piece's log odds are shared out
    evenly among the characters that it covers, and a word gets its characters'."""
    sizes = np.array([len(text) for text in texts])
    offsets = np.concatenate([[0], np.cumsum(sizes + 2)])  # a gap on both sides: pieces may cover the added spaces
    begin = offsets[loud.owner] + 1 + loud.spans[:, 0]
    end = offsets[loud.owner] + 1 + loud.spans[:, 1]
    share = loud.share / np.maximum(end - begin, 1)
    steps = np.bincount(begin, share, offsets[-1] + 2) - np.bincount(end, share, offsets[-1] + 2)
    heat = np.cumsum(steps)  # of each character
    joined = np.frombuffer((" " + "  ".join(texts) + " ").encode("utf-32-le", "ignore"), np.uint32)
    border = np.flatnonzero(_breaks(joined))
    total = np.concatenate([[0.0], np.cumsum(heat[: len(joined)])])
    words = total[border[1:]] - total[border[:-1]]
    found: dict[int, list[Evidence]] = {}
    for place in np.flatnonzero(np.abs(words) >= _WORTH_SAYING).tolist():
        n = int(np.searchsorted(offsets, border[place], "right")) - 1
        text = texts[n][border[place] - offsets[n] - 1 : border[place + 1] - offsets[n] - 1].strip()
        if text:
            found.setdefault(n, []).append(Evidence(text=text, weight=round(float(words[place]), 3)))
    return [(n, tuple(sorted(some, key=lambda word: -abs(word.weight)))) for n, some in found.items()]


def _breaks(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Where a piece of evidence may begin: at spaces, and after and before each Chinese character's neighbour pair."""
    space = codes == ord(" ")
    border = np.zeros(len(codes) + 1, bool)
    border[0] = border[-1] = True
    border[1:-1] = space[1:] != space[:-1]
    wide = codes >= 0x2E80
    border[1:-1] |= wide[1:] != wide[:-1]
    border[1:-1] |= wide[1:] & wide[:-1] & _mark(codes[1:])
    border[1:-1] |= wide[1:] & wide[:-1] & _mark(codes[:-1])
    return border


def _mark(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    return ((codes >= 0x3000) & (codes <= 0x303F)) | ((codes >= 0xFF00) & (codes <= 0xFFEF)) | (codes >= 0x1F000)
