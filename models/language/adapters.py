"""Finds the adapter that goes with a model: the one that is shipped for it, one of the operator's, or none. Loads
nothing, and imports no machine-learning library.

An adapter is a directory as peft writes it: adapter_config.json and adapter_model.safetensors.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import models
from models.language.known_models import KNOWN_MODELS
from models.language.weight_files import WeightsError, sha256_of
from models.language.weights import LocalModel

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
DEFAULT: Final = "default"
NONE: Final = "none"
SHIPPED: Final = Path(models.__file__).parent / "weights"
# What an adapter may not have, and what llama.cpp has no place for: refused for both engines alike, so that a change of
# engine never changes what a story model is.
_REFUSED: Final = ("modules_to_save", "rank_pattern", "alpha_pattern", "use_dora", "fan_in_fan_out", "lora_bias")


class AdapterError(WeightsError):
    """An adapter that is missing, damaged, of an unsupported kind or made for another model; the message is one
    sentence that says what to do."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A LoRA adapter whose files are here. `path` is its directory, `sha256` of its weights' file; what it adds to a
    weight is `scale` times B times A."""

    name: str
    path: Path
    sha256: str
    rank: int
    scale: float

    @property
    def version(self) -> str:
        """Name and content, e.g. "storyteller@5d1c02aa"."""
        return f"{self.name}@{self.sha256[:8]}"

    @property
    def weights(self) -> Path:
        return self.path / WEIGHTS


def resolve_adapter(spec: str, model: LocalModel) -> Adapter | None:
    """The adapter that `spec` names: "default" is the one shipped for exactly these weights and None for all other
    models, "none" or "" is None, anything else a directory.

    Raises AdapterError.
    """
    if spec in (NONE, ""):
        return None
    if spec != DEFAULT:
        return read_adapter(Path(spec).expanduser().absolute())
    shipped = [known.adapter for known in KNOWN_MODELS.values() if known.adapter and known.sha256 == model.sha256]
    return read_adapter(SHIPPED / shipped[0]) if shipped else None


def read_adapter(directory: Path) -> Adapter:
    """Look at an adapter without loading its weights. Raises AdapterError."""
    config, weights = directory / CONFIG, directory / WEIGHTS
    for file in (config, weights):
        if not file.is_file():
            raise AdapterError(
                f"{directory} is no adapter (it has no {file.name}): set STORY_ADAPTER to a directory that peft wrote, "
                "to default or to none."
            )
    try:
        described: dict[str, Any] = json.loads(config.read_text("utf-8"))
        kind, rank, alpha = described["peft_type"], int(described["r"]), float(described["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(f"{config} is damaged ({error}): copy the adapter again.") from error
    if kind != "LORA" or rank < 1:
        raise AdapterError(f"{directory} is an adapter of the kind {kind}: only LoRA adapters are loaded.")
    if described.get("bias", "none") != "none" or any(described.get(feature) for feature in _REFUSED):
        odd = next((feature for feature in _REFUSED if described.get(feature)), "bias")
        raise AdapterError(f"{directory} uses {odd}, which not every engine can load: train it again without.")
    divisor = rank**0.5 if described.get("use_rslora") else rank
    return Adapter(
        name=directory.name.lower(), path=directory, sha256=sha256_of(weights), rank=rank, scale=alpha / divisor
    )
