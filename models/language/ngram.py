"""A statistical language model: interpolated modified Kneser-Ney or Witten-Bell over characters, words or tokens. Knows
no neural network.

With a(·) the adjusted counts of `counts`, h the context and h' the context without its oldest symbol:

    Kneser-Ney (Chen & Goodman 1999, equations 23 to 26, and 17 for the discounts, a pair per order):
        p(w|h) = (a(hw) - D(a(hw))) / a(h·) + (D1 N1(h·) + D2 N2(h·) + D3+ N3+(h·)) / a(h·) · p(w|h')
        Y = n1 / (n1 + 2 n2),  D1 = 1 - 2Y n2/n1,  D2 = 2 - 3Y n3/n2,  D3+ = 3 - 4Y n4/n3 (or fitted: `discounts`)
    Witten-Bell (the same paper, equation 13), with T(h) the number of different continuations:
        p(w|h) = (c(hw) + T(h) p(w|h')) / (c(h·) + T(h))

Both end at the uniform distribution over the dictionary and one symbol for everything unknown. An unknown character
shares that symbol's probability with all other code points, so that a text's bits are those of a real code.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.language.counts import BOUNDARY, MAX_SYMBOLS, Counts, Keys, context_hashes, extend
from models.language.discounts import estimate, fit

Smoothing = Literal["kneser-ney", "witten-bell"]
Unit = Literal["character", "word", "token"]
MAX_ORDER = 10
UNKNOWN = 0  # symbol; the dictionary's entry i is symbol i + 1
_CODE_POINTS = 0x110000 - 2_048  # Unicode without surrogates
_WORD = re.compile(r"[^\W_\u3400-\u9fff]+|\s+|[\u3400-\u9fff]|[^\w\s]|_")

Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BackoffStep:
    """One context on the way from the longest to none. `weight` is the share of the final distribution that this
    order's own counts decide; the weights of all steps and of the uniform end sum to 1."""

    context: str
    count: int
    continuations: int
    weight: float


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What the model knows about what comes next: its dictionary, the most likely symbols, and where they came from."""

    unit: str
    order: int
    dictionary_size: int
    symbols_counted: int
    smoothing: str
    following: tuple[tuple[str, float], ...]
    path: tuple[BackoffStep, ...]


@dataclass(frozen=True, kw_only=True)
class NGramScore:
    """How well a text was predicted; `unknown` symbols are among `symbols`."""

    bits: float
    symbols: int
    unknown: int
    characters: int
    bytes: int

    @property
    def bits_per_character(self) -> float:
        return self.bits / self.characters

    @property
    def bits_per_byte(self) -> float:
        return self.bits / self.bytes

    @property
    def perplexity(self) -> float:
        """Per symbol."""
        return float(2 ** (self.bits / self.symbols))


class NGram:
    """A model that can be asked, added to and saved at any time.

    `order` 1..10 counts the predicted symbol: order 6 looks at five. With unit "token" the symbols are the numbers of a
    tokenizer with `tokens` entries, given to `add_symbols` and `log_probabilities` directly.
    """

    def __init__(
        self, *, order: int = 7, unit: Unit = "character", smoothing: Smoothing = "kneser-ney", tokens: int = 0
    ) -> None:
        if not 1 <= order <= MAX_ORDER:
            raise ValueError(f"the order must be in 1..{MAX_ORDER}, not {order}")
        if unit == "token" and not 0 < tokens < MAX_SYMBOLS:
            raise ValueError(f"a model over tokens needs their number, in 1..{MAX_SYMBOLS - 1}, not {tokens}")
        self.order, self.unit, self.smoothing, self.tokens = order, unit, smoothing, tokens
        self.counts = Counts(order, continuation=smoothing == "kneser-ney")
        self.dictionary: list[str] = []  # in the order in which the entries were first met
        self._symbol: dict[str, int] = {}
        self._by_code: NDArray[np.int64] = np.zeros(0x110000, dtype=np.int64)  # code point -> symbol
        self._discounts: list[Vector] | None = None
        self._fitted: list[Vector] | None = None  # of `fit_discounts`; they outlive what is added later

    # --- dictionary -------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many symbols are predicted: the dictionary's (or the tokenizer's) and the unknown one."""
        return (self.tokens or len(self.dictionary)) + 1

    def _uniform(self) -> Vector:
        """(size,) what is left when no context helps. Among tokens none is unknown."""
        if self.unit == "token":
            return np.concatenate([[0.0], np.full(self.tokens, 1.0 / self.tokens)])
        return np.full(self.size, 1.0 / self.size)

    def _codes(self, text: str) -> NDArray[np.int64]:
        return np.frombuffer(text.encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.int64)

    def _learn_dictionary(self, text: str) -> None:
        if self.unit == "character":
            new = [chr(code) for code in np.unique(self._codes(text)) if not self._by_code[code]]
        else:
            new = [word for word, _ in Counter(_WORD.findall(text)).most_common() if word not in self._symbol]
        for entry in new[: MAX_SYMBOLS - 1 - len(self.dictionary)]:
            self.dictionary.append(entry)
            self._symbol[entry] = len(self.dictionary)
            if self.unit == "character":
                self._by_code[ord(entry)] = len(self.dictionary)

    def symbols(self, text: str) -> NDArray[np.int64]:
        """(symbols,) numbers of `text`; 0 where the dictionary lacks one. Raises ValueError for a model over tokens."""
        if self.unit == "token":
            raise ValueError("a model over tokens reads numbers, not text")
        if self.unit == "character":
            return self._by_code[self._codes(text)]
        return np.array([self._symbol.get(word, UNKNOWN) for word in _WORD.findall(text)], dtype=np.int64)

    # --- learning ---------------------------------------------------------------------------------------------------

    def add(self, text: str) -> None:
        """Learn `text` on top of what is known, in time proportional to `text`."""
        self._learn_dictionary(text)
        self._count(self.symbols(text))

    def add_symbols(self, tokens: Sequence[int] | NDArray[np.integer[Any]]) -> None:
        """Learn a row of token numbers (unit "token")."""
        self._count(np.asarray(tokens, dtype=np.int64) + 1)

    def _count(self, symbols: NDArray[np.int64]) -> None:
        self.counts.add(symbols)
        self._discounts = None

    def discounts(self) -> list[Vector]:
        """For each order the (4,) discounts of grams counted 0, 1, 2 and more times."""
        if self._fitted is not None:
            return self._fitted
        if self._discounts is None:
            self._discounts = [estimate(each.counts_of_counts) for each in self.counts.orders]
        return self._discounts

    def fit_discounts(self, text: str | Sequence[int]) -> None:
        """Set the discounts to what predicts a text that was not learned best (token numbers with unit "token"); some
        100,000 symbols do. Raises ValueError for an empty text and for Witten-Bell, which has none."""
        if self.smoothing != "kneser-ney":
            raise ValueError("only Kneser-Ney has discounts to fit")
        symbols = self.symbols(text) if isinstance(text, str) else np.asarray(text, dtype=np.int64) + 1
        if not len(symbols):
            raise ValueError("an empty text fits no discounts")
        rows = list(self._lookups(symbols, symbols[:0]))
        counts, totals = np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])
        self._fitted = fit(counts, totals, self._uniform()[-1], self.discounts())

    # --- probabilities ----------------------------------------------------------------------------------------------

    def _own_and_rest(self, counts: NDArray[np.int64], totals: NDArray[np.int64], m: int) -> tuple[Vector, Vector]:
        """What an order itself gives to symbols with these (n,) `counts`, and the share that it leaves to the next
        shorter context, (n,) or scalar as `totals` is (n, 4) or (4,). An unseen context leaves all."""
        total = totals[..., 0].astype(np.float64)
        safe = np.where(total > 0, total, 1.0)
        if self.smoothing == "witten-bell":
            types = totals[..., 1:].sum(-1)
            return counts / np.where(total > 0, total + types, 1.0), np.where(total > 0, types / (safe + types), 1.0)
        discounts = self.discounts()[m]
        own = (counts - discounts[np.minimum(counts, 3)]) / safe
        rest = (totals[..., 1:] * discounts[1:]).sum(-1) / safe
        return own, np.where(total > 0, rest, 1.0)

    def _lookups(
        self, symbols: NDArray[np.int64], before: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """For each order the (n,) counts of a row of symbols after `before` and the (n, 4) totals of their contexts."""
        history = np.concatenate([np.full(self.order - 1, BOUNDARY), before])[len(before) :]
        padded = np.concatenate([history, symbols]).astype(np.uint64)
        last = symbols.astype(np.uint64)
        for order, contexts in zip(self.counts.orders, context_hashes(padded, self.order), strict=True):
            yield order.lookup((contexts & ~np.uint64(0xFFFF)) | last), order.totals(contexts)

    def _symbol_probabilities(self, symbols: NDArray[np.int64], before: NDArray[np.int64]) -> tuple[Vector, Vector]:
        """(n,) probability of each symbol of a row after `before`, and (n,) the length of the longest known context."""
        probability = np.full(len(symbols), self._uniform()[-1])
        known = np.zeros(len(symbols))
        for m, (counts, totals) in enumerate(self._lookups(symbols, before)):
            own, rest = self._own_and_rest(counts, totals, m)
            probability = own + rest * probability
            known = np.where(totals[:, 0] > 0, m, known)
        return probability, known

    def log_probabilities(self, tokens: Sequence[int], before: Sequence[int] = ()) -> tuple[Vector, Vector]:
        """Unit "token": (n,) natural log-probability of each token of a row that follows `before`, and (n,) the length
        of the longest known context."""
        rows = (np.asarray(tokens, dtype=np.int64) + 1, np.asarray(before, dtype=np.int64)[-MAX_ORDER:] + 1)
        probability, known = self._symbol_probabilities(*rows)
        return np.log(probability), known

    def score(self, text: str) -> NGramScore:
        """Bits of `text`. An unknown symbol costs its share of the unknown one: characters one of all code points,
        words eight bits a byte and eight for their end. Raises ValueError for an empty text."""
        if not text:
            raise ValueError("an empty text has no score")
        symbols = self.symbols(text)
        bits = 0.0
        for begin in range(0, len(symbols), 1 << 18):  # in pieces, so that memory stays small
            piece = symbols[begin : begin + (1 << 18)]
            bits -= float(
                np.log2(self._symbol_probabilities(piece, symbols[max(0, begin - MAX_ORDER) : begin])[0]).sum()
            )
        unknown = int((symbols == UNKNOWN).sum())
        if self.unit == "character":
            bits += unknown * math.log2(_CODE_POINTS - len(self.dictionary))
        else:
            bits += sum(8 * (len(word.encode()) + 1) for word in _WORD.findall(text) if word not in self._symbol)
        return NGramScore(
            bits=bits, symbols=len(symbols), unknown=unknown, characters=len(text), bytes=len(text.encode())
        )

    def _contexts(self, symbols: Sequence[int]) -> list[int]:
        """Hashes of the contexts that end a row of symbols, the empty one first."""
        history = [BOUNDARY] * (self.order - 1) + [int(each) for each in symbols[-(self.order - 1) :]] * (
            self.order > 1
        )
        rows = np.array(history, dtype=np.uint64)
        hashes: list[Keys] = [np.zeros(1, dtype=np.uint64)]
        for m in range(1, self.order):
            hashes.append(extend(hashes[-1], rows[len(rows) - m : len(rows) - m + 1]))
        return [int(each[0]) for each in hashes]

    def distribution(self, symbols: Sequence[int]) -> Vector:
        """(size,) probabilities of what follows a row of symbols; they sum to 1. Index 0 is the unknown symbol."""
        probability = self._uniform()
        discounts = self.discounts()
        for m, context in enumerate(self._contexts(symbols)):
            following, counts = self.counts.orders[m].continuations(context)
            if not len(following):
                break  # a longer context is unknown too
            total = counts.sum()
            if self.smoothing == "witten-bell":
                own, rest = counts / (total + len(counts)), len(counts) / (total + len(counts))
            else:
                taken = discounts[m][np.minimum(counts, 3)]
                own, rest = (counts - taken) / total, taken.sum() / total
            probability *= rest
            probability[following] += own
        return probability

    def known_context(self, symbols: Sequence[int]) -> int:
        """The length of the longest context, at the end of a row of symbols, that was seen before."""
        contexts = self._contexts(symbols)
        lengths = [m for m, each in enumerate(contexts) if len(self.counts.orders[m].continuations(each)[0])]
        return max(lengths, default=0)

    # --- use --------------------------------------------------------------------------------------------------------

    def stream(
        self,
        prompt: str,
        *,
        max_symbols: int,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[str]:
        """Draw symbols one by one. The same model, prompt, options and seed give the same text. `temperature` 0 takes
        the most likely. Raises ValueError when nothing was learned yet."""
        if not self.dictionary:
            raise ValueError("a model that has learned nothing can't write")
        generator = np.random.default_rng(seed)
        history = self.symbols(prompt)[-MAX_ORDER:].tolist()
        for _ in range(max_symbols):
            chosen = (
                draw(self.distribution(history)[1:], generator, temperature=temperature, top_k=top_k, top_p=top_p) + 1
            )
            history = [*history[-MAX_ORDER:], chosen]
            yield self.dictionary[chosen - 1]

    def sample(self, prompt: str, *, max_symbols: int = 400, **options: float) -> str:
        """The text of `stream`: what follows `prompt`."""
        return "".join(self.stream(prompt, max_symbols=max_symbols, **options))  # type: ignore[arg-type]

    def inspect(self, text: str, *, top: int = 10) -> Inspection:
        """What may follow `text` and why."""
        symbols = self.symbols(text).tolist()
        distribution = self.distribution(symbols)
        pieces = list(text) if self.unit == "character" else _WORD.findall(text)
        steps: list[BackoffStep] = []
        left = 1.0  # of the distribution, not yet given out by longer contexts
        for m in range(self.order - 1, -1, -1):
            counts = self.counts.orders[m].continuations(self._contexts(symbols)[m])[1]
            total = int(counts.sum())
            rest = 1.0
            if total:
                totals = np.array(
                    [total, *(int((counts == 1).sum()), int((counts == 2).sum()), int((counts > 2).sum()))]
                )
                rest = float(self._own_and_rest(counts, totals, m)[1])
            context = "".join(pieces[len(pieces) - m :]) if m <= len(pieces) else "".join(pieces)
            steps.append(BackoffStep(context=context, count=total, continuations=len(counts), weight=left * (1 - rest)))
            left *= rest
        order = np.argsort(-distribution[1:], kind="stable")[:top]
        return Inspection(
            unit=self.unit,
            order=self.order,
            dictionary_size=len(self.dictionary),
            symbols_counted=self.counts.length,
            smoothing=self.smoothing,
            following=tuple((self.dictionary[each], float(distribution[each + 1])) for each in order),
            path=tuple(steps),
        )

    # --- disk -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write ngram.json and the counts as .npy files. A model may be saved over an older one of its own only if it
        was not loaded from there (its arrays would be mapped from the files it replaces)."""
        self.counts.save(folder)
        described = {
            "order": self.order, "unit": self.unit, "smoothing": self.smoothing, "tokens": self.tokens,
            "length": self.counts.length, "dictionary": self.dictionary,
            "discounts": None if self._fitted is None else [each.tolist() for each in self._fitted],
        }  # fmt: skip
        (folder / "ngram.json").write_text(json.dumps(described, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "NGram":
        """Map what `save` wrote. Raises FileNotFoundError or ValueError when it isn't there or broken."""
        described = json.loads((folder / "ngram.json").read_text(encoding="utf-8"))
        names = ("order", "unit", "smoothing", "tokens")
        model = cls(**{name: described[name] for name in names})
        model.dictionary = described["dictionary"]
        model._symbol = {entry: number for number, entry in enumerate(model.dictionary, 1)}
        if model.unit == "character":
            for entry, number in model._symbol.items():
                model._by_code[ord(entry)] = number
        if fitted := described.get("discounts"):
            model._fitted = [np.array(each, dtype=np.float64) for each in fitted]
        model.counts = Counts.load(
            folder, order=model.order, continuation=model.counts.continuation, length=described["length"]
        )
        return model


def draw(probability: Vector, generator: np.random.Generator, *, temperature: float, top_k: int, top_p: float) -> int:
    """An index of `probability`, which need not sum to 1, after temperature, top-k and top-p."""
    if temperature == 0:
        return int(probability.argmax())
    if temperature != 1:
        probability = probability ** (1 / temperature)
    if top_p < 1 or 0 < top_k < len(probability):
        order = np.argsort(-probability, kind="stable")
        ordered = probability[order]
        before = np.cumsum(ordered) - ordered
        outside = before >= top_p * ordered.sum()
        if 0 < top_k < len(order):
            outside[top_k:] = True
        probability = probability.copy()
        probability[order[outside]] = 0
    cumulative = np.cumsum(probability)
    return int(min(np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right"), len(cumulative) - 1))
