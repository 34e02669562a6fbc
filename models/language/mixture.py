"""The house voice: a GPT interpolated with n-gram models over the GPT's own tokens. Knows no training loop.

A GPT that predicts tokens and an n-gram model that predicts characters can't be averaged: their events differ. So the
n-gram models here count the GPT's tokens. At each step every component gives a distribution over the same dictionary,
and their weighted mean is one too: the mixture is proper, and its bits per byte are comparable with the GPT's (both are
for the canonical tokenisation, an upper bound on the true code length).

The weights depend on how long a context the n-gram models know (as in Jelinek & Mercer 1980) and are fitted by
expectation-maximisation on a development text. One n-gram may learn from the very text it is scored on, always behind
the place of prediction, as PPM does and as a server's own stories do.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from models.language.gpt import GPT, GPTScore
from models.language.ngram import NGram, draw

WEIGHTS_FILE = "mixture.safetensors"
BLOCK = 256  # tokens after which a learning n-gram takes in what it has predicted
DOCUMENT_ORDER = 4

Weights = NDArray[np.float64]  # (buckets, components)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What each component said about a row of tokens: (components, n) probabilities and (n,) buckets."""

    probabilities: NDArray[np.float64]
    buckets: NDArray[np.int64]


class HouseVoice:
    """GPT and n-gram models as one. `ngrams` have unit "token" and the GPT's number of tokens; with `learns` a further
    one starts empty at every text and learns it on the way."""

    def __init__(
        self, gpt: GPT, ngrams: Sequence[NGram] = (), *, learns: bool = False, weights: Weights | None = None
    ) -> None:
        size = gpt.model.config.vocab_size
        if any(each.unit != "token" or each.tokens != size for each in ngrams):
            raise ValueError(f"every n-gram model must count the GPT's {size} tokens")
        self.gpt, self.ngrams, self.learns = gpt, tuple(ngrams), learns
        self._orders = [each.order for each in ngrams] + [DOCUMENT_ORDER] * learns
        shape = (math.prod(self._orders), len(self._orders) + 1)
        if weights is not None and weights.shape != shape:
            raise ValueError(f"the weights must be {shape}, not {weights.shape}")
        self.weights: Weights = np.full(shape, 1 / shape[1]) if weights is None else weights

    def learner(self) -> NGram:
        """An empty n-gram model over the GPT's tokens."""
        return NGram(order=DOCUMENT_ORDER, unit="token", tokens=self.gpt.model.config.vocab_size)

    def _bucket(self, known: Sequence[NDArray[np.int64]], n: int) -> NDArray[np.int64]:
        bucket = np.zeros(n, dtype=np.int64)
        for order, lengths in zip(self._orders, known, strict=True):
            bucket = bucket * order + lengths
        return bucket

    def predictions(self, ids: list[int]) -> Predictions:
        """Every component's probability of each token of `ids`."""
        rows = [self.gpt.token_log_probabilities(ids).double().exp().numpy()]
        known: list[NDArray[np.int64]] = []
        for ngram in self.ngrams:
            logs, lengths = ngram.log_probabilities(ids)
            rows.append(np.exp(logs))
            known.append(lengths.astype(np.int64))
        if self.learns:
            document = self.learner()
            logs, lengths = np.empty(len(ids)), np.empty(len(ids))
            for begin in range(0, len(ids), BLOCK):
                block = ids[begin : begin + BLOCK]
                logs[begin : begin + BLOCK], lengths[begin : begin + BLOCK] = document.log_probabilities(
                    block, ids[max(0, begin - DOCUMENT_ORDER) : begin]
                )
                document.add_symbols(block)
            rows.append(np.exp(logs))
            known.append(lengths.astype(np.int64))
        return Predictions(probabilities=np.stack(rows), buckets=self._bucket(known, len(ids)))

    def fit(self, texts: Sequence[str], *, rounds: int = 30, prior: float = 20.0) -> float:
        """Set the weights to what predicts `texts` best. Returns bits per token on `texts` afterwards."""
        found = [self.predictions(self.gpt.encode(text)) for text in texts]
        return self.fit_predictions(found, rounds=rounds, prior=prior)

    def fit_predictions(self, found: Sequence[Predictions], *, rounds: int = 30, prior: float = 20.0) -> float:
        """Set the weights to what makes these predictions best, by EM; a bucket with few tokens is drawn to the weights
        of all, as if it had seen `prior` more of them. Returns bits per token afterwards."""
        probabilities = np.concatenate([each.probabilities for each in found], axis=1)
        buckets = np.concatenate([each.buckets for each in found])
        for _ in range(rounds):
            joint = self.weights[buckets].T * probabilities  # (components, n)
            share = joint / joint.sum(0)
            overall = share.mean(1)
            sums = np.stack([np.bincount(buckets, weights=row, minlength=len(self.weights)) for row in share], axis=1)
            sums += prior * overall
            self.weights = sums / sums.sum(1, keepdims=True)
        return float(-np.log2((self.weights[buckets].T * probabilities).sum(0)).mean())

    def score(self, text: str) -> GPTScore:
        """Bits of `text`. Raises ValueError for an empty text."""
        ids = self.gpt.encode(text)
        if not ids:
            raise ValueError("an empty text has no score")
        found = self.predictions(ids)
        bits = -float(np.log2((self.weights[found.buckets].T * found.probabilities).sum(0)).sum())
        return GPTScore(bits=bits, tokens=len(ids), characters=len(text), bytes=len(text.encode()))

    def _distribution(
        self, ngrams: Sequence[NGram], history: list[int], own: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(tokens,) the mixture after `history`, given the GPT's own (tokens,) distribution."""
        rows, known = [own], []
        for ngram in ngrams:
            symbols = [each + 1 for each in history[-ngram.order :]]
            rows.append(ngram.distribution(symbols)[1:])
            known.append(np.array([ngram.known_context(symbols)]))
        return np.asarray(self.weights[self._bucket(known, 1)[0]] @ np.stack(rows))

    def stream(
        self,
        prompt: str,
        *,
        max_new_tokens: int,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[int]:
        """Draw tokens from the mixture until the end of text or the limit; the prompt itself teaches the learner."""
        generator = np.random.default_rng(seed)
        ids = self.gpt.encode(prompt)
        ngrams = list(self.ngrams)
        if self.learns:
            document = self.learner()
            document.add_symbols(ids)
            ngrams.append(document)
        for logits, history in self.gpt.steps(ids, max_new_tokens):
            own = logits.double().softmax(-1).numpy()
            mixed = self._distribution(ngrams, history, own)
            chosen = draw(mixed, generator, temperature=temperature, top_k=top_k, top_p=top_p)
            if chosen == self.gpt.start:
                return
            history.append(chosen)
            yield chosen

    def sample(self, prompt: str, **options: float) -> str:
        """The text of `stream`: what follows `prompt`."""
        text: str = self.gpt.tokenizer.decode(list(self.stream(prompt, **options)))  # type: ignore[arg-type]
        return text

    def save(self, folder: Path) -> None:
        """Write the weights; GPT and n-gram models have folders of their own."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"weights": self.weights}, folder / WEIGHTS_FILE)

    def load_weights(self, folder: Path) -> None:
        """Read what `save` wrote. Raises ValueError when it is for other components."""
        weights = load_file(folder / WEIGHTS_FILE)["weights"]
        if weights.shape != self.weights.shape:
            raise ValueError(f"the weights must be {self.weights.shape}, not {weights.shape}")
        self.weights = weights
