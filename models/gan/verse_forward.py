"""The verse generator in numpy, one verse at a time. Knows no seed, no word and no torch.

Each verse is computed alone, always by the same operations on the same shapes: so it doesn't depend on what else was
asked for. Everything is float32 until the odds.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Weights = Mapping[str, Array]


def shapes(vocabulary: int, places: int, embedding: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """What the generator's weights must look like; their names are torch's."""
    return {
        "token.weight": (vocabulary, embedding),
        "place.weight": (places, embedding),
        "gru.weight_ih_l0": (3 * hidden, embedding),
        "gru.weight_hh_l0": (3 * hidden, hidden),
        "gru.bias_ih_l0": (3 * hidden,),
        "gru.bias_hh_l0": (3 * hidden,),
        "out.weight": (embedding, hidden),
        "out.bias": (embedding,),
        "bias": (vocabulary,),
    }


def begin(weights: Weights) -> Array:
    """The state (hidden,) before the first token."""
    return np.zeros(weights["gru.weight_hh_l0"].shape[1], np.float32)


def step(weights: Weights, before: int, place: int, state: Array) -> tuple[Array, Array]:
    """Logits (vocabulary,) of the token at `place` after the token `before`, and the new state."""
    x = weights["token.weight"][before] + weights["place.weight"][place]
    # A GRU as torch writes it: reset gate, update gate, candidate; the reset gate acts behind the recurrent product.
    given = weights["gru.weight_ih_l0"] @ x + weights["gru.bias_ih_l0"]
    kept = weights["gru.weight_hh_l0"] @ state + weights["gru.bias_hh_l0"]
    reset, update = np.split(_sigmoid(given[: 2 * len(state)] + kept[: 2 * len(state)]), 2)
    candidate = np.tanh(given[2 * len(state) :] + reset * kept[2 * len(state) :])
    state = candidate + update * (state - candidate)
    logits: Array = weights["token.weight"] @ (weights["out.weight"] @ state + weights["out.bias"]) + weights["bias"]
    return logits, state


def odds(logits: Array, may: NDArray[np.bool_], temperature: float) -> NDArray[np.float64]:
    """Probabilities of the tokens that may come."""
    scaled = np.where(may, logits.astype(np.float64) / temperature, -np.inf)
    weights = np.exp(scaled - scaled.max())
    found: NDArray[np.float64] = weights / weights.sum()
    return found


def _sigmoid(x: Array) -> Array:
    found: Array = np.float32(0.5) * (np.tanh(np.float32(0.5) * x) + np.float32(1))  # can't overflow
    return found
