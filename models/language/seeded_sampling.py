"""Draws the next token of every request in a batch by that request's own settings and seed. Knows no model and no
scheduler; it stands where transformers' continuous batching keeps its logits processors.

The library's own per-request processors know temperature, top-k and top-p; a repetition penalty is dropped, min-p and a
seed are unknown to it, and tokens come from one generator that all requests share. Here the whole draw happens, and the
library is left to take the maximum of scores in which only the drawn token is possible.

The filters come in llama.cpp's order (penalty, top-k, top-p, min-p, temperature), so that one request means the same to
both engines. Nothing a request draws depends on its neighbours: its random numbers are a function of its seed and the
token's position, and rows are only computed together where they keep equally many candidates.
"""

from collections import defaultdict
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessorList
from transformers.generation.logits_process import LogitsProcessorList

from models.serving.requests import Sampling

PENALTY_WINDOW = 256  # tokens that the repetition penalty looks back over, prompt included


@dataclass
class Ask:
    """What a request is added with. The sampler notes here how many tokens of the prompt it saw computed, and from the
    first new token on how many had been found in the cache."""

    sampling: Sampling
    computed: int = 0
    cached: int | None = None


@dataclass(frozen=True)
class _Row:
    """One request that gets a token in this step. `position` counts its new tokens, `recent` ends with the last one."""

    sampling: Sampling
    position: int
    recent: list[int]


class SeededSampler(ContinuousBatchingLogitsProcessorList):
    """In place of a manager's `logit_processor`. Every request must be added with `ask=`.

    It keeps what it prepared for a batch until it is called for that batch, so batches must not overlap: asynchronous
    batching and CUDA graphs have to be off.
    """

    def __init__(self) -> None:
        super().__init__(LogitsProcessorList())
        self.supported_keys = {"ask": Ask}
        self.do_processing = True
        self._rows: list[_Row] = []
        self.step: dict[str, int] = {}  # tokens that each request brings into the newest step

    def prepare_tensor_args(self, requests_in_batch: list[Any], arg_storage: torch.Tensor) -> torch.Tensor:
        """Called by the library with the next batch, on the thread that will compute it."""
        for request in requests_in_batch:
            ask: Ask = request.state.logit_processor_kwargs["ask"]
            ask.computed += request.query_length
            if request.has_new_token and ask.cached is None:
                ask.cached = max(0, request.state.position_offset - ask.computed)
        self.step = {request.state.request_id: request.query_length for request in requests_in_batch}
        self._rows = [_row_of(request.state) for request in requests_in_batch if request.has_new_token]
        return arg_storage

    def __call__(
        self, input_ids: torch.Tensor, scores: torch.Tensor, logits_processor_args: torch.Tensor
    ) -> torch.Tensor:
        """`scores` (requests in the batch, vocabulary), fp32; rows behind those with a new token mean nothing. Returns
        scores of which only the drawn token's is finite."""
        drawn = draw(scores[: len(self._rows)], self._rows)
        only = torch.full_like(scores, -torch.inf)
        only[: len(self._rows)].scatter_(1, drawn.unsqueeze(1), 0.0)
        return only


def _row_of(state: Any) -> _Row:
    # A request that lost its cache comes back with its new tokens as part of the prompt.
    prompt_tokens = state._true_initial_tokens or len(state.initial_tokens)
    tokens = len(state.initial_tokens) + len(state.generated_tokens)
    recent = state.initial_tokens[-PENALTY_WINDOW:] + state.generated_tokens[-PENALTY_WINDOW:]
    return _Row(state.logit_processor_kwargs["ask"].sampling, tokens - prompt_tokens, recent[-PENALTY_WINDOW:])


def draw(scores: torch.Tensor, rows: list[_Row]) -> torch.Tensor:
    """One token id for each row of `scores` (rows, vocabulary)."""
    scores = _penalised(scores, rows)
    drawn = torch.empty(len(rows), dtype=torch.int64, device=scores.device)
    vocabulary = scores.shape[1]
    alike: dict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        greedy = row.sampling.temperature == 0
        alike[1 if greedy else min(row.sampling.top_k or vocabulary, vocabulary)].append(index)
    for candidates, indices in alike.items():
        drawn[indices] = _draw_alike(scores[indices], [rows[index] for index in indices], candidates)
    return drawn


def _penalised(scores: torch.Tensor, rows: list[_Row]) -> torch.Tensor:
    """Divides positive and multiplies negative scores of recent tokens (Keskar et al. 2019, section 4.1)."""
    indices = [index for index, row in enumerate(rows) if row.sampling.repetition_penalty != 1 and row.recent]
    if not indices:
        return scores
    scores = scores.clone()
    for index in indices:
        recent = torch.tensor(sorted(set(rows[index].recent)), device=scores.device)
        penalty, values = rows[index].sampling.repetition_penalty, scores[index, recent]
        scores[index, recent] = torch.where(values > 0, values / penalty, values * penalty)
    return scores


def _draw_alike(scores: torch.Tensor, rows: list[_Row], candidates: int) -> torch.Tensor:
    best, tokens = scores.topk(candidates, dim=1)  # (rows, candidates), best first
    if candidates == 1:
        return tokens[:, 0]

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64, device=scores.device).unsqueeze(1)

    best = best.double()
    chances = best.softmax(dim=1)
    before = chances.cumsum(dim=1) - chances
    kept = before < column([row.sampling.top_p for row in rows])  # the first one always is: top_p is above 0
    kept &= chances >= column([row.sampling.min_p for row in rows]) * chances[:, :1]
    warmed = (best / column([row.sampling.temperature for row in rows])).masked_fill(~kept, -torch.inf)
    reached = warmed.softmax(dim=1).cumsum(dim=1)
    at = column([uniform(row.sampling.seed, row.position) for row in rows]) * reached[:, -1:]
    place = torch.searchsorted(reached, at, right=True)
    place = place.minimum(kept.sum(dim=1, keepdim=True) - 1)  # what is kept comes first; rounding must not leave it
    return tokens.gather(1, place).squeeze(1)


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) that only `seed` and `position` decide."""
    digest = blake2b(seed.to_bytes(8) + position.to_bytes(8), digest_size=8, person=b"inkwell-draw").digest()
    return (int.from_bytes(digest) >> 11) / 2**53
