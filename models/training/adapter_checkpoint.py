"""Saves and restores an adapter in training: its weights, its optimizer's state and its position. Knows no loss.

A checkpoint is a folder that appears whole or not at all: it is written beside its final name and renamed. Two are
kept, so that a crash while the newest replaces the oldest leaves one. All of it is safetensors and JSON.
"""

import os
import shutil
from pathlib import Path

import msgspec
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

KEPT = 2
_WEIGHTS, _OPTIMIZER, _POSITION = "adapter.safetensors", "optimizer.safetensors", "position.json"


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run stands after `step` steps. `progress` is the part of the learning-rate schedule that is behind,
    `trained_s` the wall time in seconds; `best` the lowest held-out loss in nats per token, at `best_step`."""

    step: int
    progress: float
    trained_s: float = 0.0
    best: float = 1e9
    best_step: int = 0


def save(folder: Path, weights: dict[str, Tensor], optimizer: torch.optim.Optimizer, position: Position) -> Path:
    """Write `folder`/step-<n>, durable when this returns, and drop all but the newest two."""
    names = {weight: name for name, weight in weights.items()}
    final, partial = folder / f"step-{position.step:07d}", folder / f"partial-{position.step:07d}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({name: weight.detach() for name, weight in weights.items()}, partial / _WEIGHTS)
    state = {f"{names[weight]}/{key}": value for weight, kept in optimizer.state.items() for key, value in kept.items()}
    save_file(state, partial / _OPTIMIZER)
    (partial / _POSITION).write_bytes(msgspec.json.encode(position))
    for path in partial.iterdir():
        with path.open("rb") as written:
            os.fsync(written.fileno())
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    for old in _complete(folder)[:-KEPT]:
        shutil.rmtree(old)
    return final


def newest(folder: Path) -> Path | None:
    """The last complete checkpoint below `folder`, None if there is none."""
    return found[-1] if (found := _complete(folder)) else None


def restore(checkpoint: Path, weights: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> Position:
    """Fill `weights` and `optimizer` in place, bit for bit. Raises KeyError or RuntimeError when the checkpoint is of
    another shape."""
    stored = load_file(checkpoint / _WEIGHTS)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(stored[name])
    optimizer.state.clear()
    for key, value in load_file(checkpoint / _OPTIMIZER).items():
        name, _, field = key.rpartition("/")
        optimizer.state[weights[name]][field] = value
    return msgspec.json.decode((checkpoint / _POSITION).read_bytes(), type=Position)


def _complete(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))
