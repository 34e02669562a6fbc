"""The generator and the attribute classifier in numpy, one picture at a time. Knows no seed, no word and no torch.

Each picture is computed alone, always by the same operations on the same shapes: so it doesn't depend on what else was
asked for. Activations are float32 (channels, places): a 1x1 convolution is one matrix product.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Weights = Mapping[str, Array]
SLOPE: Final = np.float32(0.2)  # of the generator's leaky rectifier


def _leaky(x: Array) -> Array:
    found: Array = np.maximum(x, SLOPE * x)
    return found


def _patches(x: Array, kernel: int) -> Array:
    """(C, H, W), zero-padded, to (C, kernel^2, H W): what a convolution sees at each place."""
    if kernel == 1:
        return x.reshape(len(x), 1, -1)
    margin = kernel // 2
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (1, 2))  # (C, H, W, kernel, kernel)
    return np.ascontiguousarray(windows.transpose(0, 3, 4, 1, 2)).reshape(len(x), kernel * kernel, -1)


def convolve(x: Array, weight: Array, bias: Array | None) -> Array:
    """A padded convolution of one picture: (C, H, W) and weight (C', C / groups, k, k) to (C', H, W)."""
    out, per_group, kernel, _ = weight.shape
    groups = len(x) // per_group
    seen = _patches(x, kernel).reshape(groups, per_group * kernel * kernel, -1)
    found: Array = np.matmul(weight.reshape(groups, out // groups, -1), seen).reshape(out, -1)
    if bias is not None:
        found += bias[:, None]
    return found.reshape(out, *x.shape[1:])


def shuffle(x: Array, factor: int) -> Array:
    """Channels to pixels, as torch's pixel_shuffle: (C f f, H, W) to (C, H f, W f)."""
    channels, height, width = len(x) // factor**2, x.shape[1], x.shape[2]
    apart = x.reshape(channels, factor, factor, height, width).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(apart).reshape(channels, height * factor, width * factor)


def unshuffle(x: Array, factor: int) -> Array:
    """Pixels to channels, as torch's pixel_unshuffle."""
    channels, height, width = len(x), x.shape[1] // factor, x.shape[2] // factor
    apart = x.reshape(channels, height, factor, width, factor).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(apart).reshape(channels * factor**2, height, width)


def generate(weights: Weights, start: Array, *, coarsest: int, stages: int, blocks: int, patch: int) -> Array:
    """The picture (3, size, size), about -1 to 1, of one point: z and the labels' vector in a row."""
    x = weights["start.weight"] @ start + weights["start.bias"]
    x = x.reshape(-1, coarsest, coarsest)
    for stage in range(stages):
        if stage:
            x = shuffle(convolve(x, weights[f"up.{stage - 1}.weight"], weights[f"up.{stage - 1}.bias"]), 2)
        for block in range(blocks):
            at = f"stages.{stage}.{block}"
            hidden = _leaky(convolve(x, weights[f"{at}.expand.weight"], weights[f"{at}.expand.bias"]))
            hidden = _leaky(convolve(hidden, weights[f"{at}.spatial.weight"], weights[f"{at}.spatial.bias"]))
            x = x + convolve(hidden, weights[f"{at}.contract.weight"], None)
    return shuffle(convolve(x, weights["colour.weight"], weights["colour.bias"]), patch)


def classify(weights: Weights, picture: Array) -> Array:
    """The classifier's logits of all classes of all fields, in a row, for a picture (3, 16, 16) in -1..1."""
    x = np.maximum(convolve(picture, weights["first.weight"], weights["first.bias"]), 0)
    for layer in ("second", "third"):
        x = np.maximum(convolve(unshuffle(x, 2), weights[f"{layer}.weight"], weights[f"{layer}.bias"]), 0)
    features = np.maximum(weights["features.weight"] @ x.reshape(-1) + weights["features.bias"], 0)
    logits: Array = weights["classes.weight"] @ features + weights["classes.bias"]
    return logits
