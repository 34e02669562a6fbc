"""Saves and restores a training run: the weights that it changes, optimizer state and position, all as
safetensors and JSON. Knows no model and no loss.

A checkpoint is a folder that appears whole or not at all: it is written beside its final name and renamed. Two are
kept, so that a crash while the newest replaces the oldest leaves one.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

_WEIGHTS, _OPTIMIZERS, _POSITION = "model.safetensors", "optimizers.safetensors", "position.json"
KEPT = 2


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run stands after `step` steps. `began` is the Unix time of its first step; `progress` the part of the
    learning-rate schedule that is behind; `best` the best value on the development set so far, at
    `best_step`; None before the first evaluation (JSON has no infinity)."""

    step: int
    progress: float
    began: float = 0.0
    trained_s: float = 0.0
    best: float | None = None
    best_step: int = 0
    recipe: dict[str, object] = {}


def _state_tensors(optimizers: dict[str, torch.optim.Optimizer], names: dict[Tensor, str]) -> dict[str, Tensor]:
    return {
        f"{kind}/{names[weight]}/{key}": value
        for kind, optimizer in optimizers.items()
        for weight, state in optimizer.state.items()
        for key, value in state.items()
    }


def save(
    folder: Path, weights: Mapping[str, Tensor], optimizers: dict[str, torch.optim.Optimizer], position: Position
) -> Path:
    """Write `folder`/step-<n>, durable when this returns, and drop all but the newest two."""
    names = {weight: name for name, weight in weights.items()}
    final, partial = folder / f"step-{position.step:07d}", folder / f"partial-{position.step:07d}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({name: weight.detach() for name, weight in weights.items()}, partial / _WEIGHTS)
    save_file(_state_tensors(optimizers, names), partial / _OPTIMIZERS)
    (partial / _POSITION).write_bytes(msgspec.json.encode(position))
    for path in partial.iterdir():
        with path.open("rb") as written:
            os.fsync(written.fileno())
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    for old in _complete(folder)[:-KEPT]:
        shutil.rmtree(old)
    return final


def _complete(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))


def newest(folder: Path) -> Path | None:
    """The last complete checkpoint below `folder`, None if there is none."""
    return found[-1] if (found := _complete(folder)) else None


def restore(checkpoint: Path, weights: Mapping[str, Tensor], optimizers: dict[str, torch.optim.Optimizer]) -> Position:
    """Fill `weights` and `optimizers` in place, bit for bit. Raises KeyError or RuntimeError when the checkpoint is of
    another shape."""
    stored = load_file(checkpoint / _WEIGHTS)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(stored[name])
    for optimizer in optimizers.values():
        optimizer.state.clear()
    for key, value in load_file(checkpoint / _OPTIMIZERS).items():
        kind, name, field = key.split("/")
        optimizers[kind].state[weights[name]][field] = value
    return msgspec.json.decode((checkpoint / _POSITION).read_bytes(), type=Position)
