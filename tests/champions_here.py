"""Versions for the tests of promotion: candidates that are real, tiny and made in no time, and a story model that
writes slowly in the voice of its adapter. Knows no engine.
"""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from models.language.story_model import Emit
from models.serving.requests import StoryOutput, StoryRequest
from models.serving.training import Check
from models.serving.wire import WorkerConfig
from models.training.registry import Registry, Version
from tests.bigram_model import TEXT, BigramModel

_numbers = itertools.count()


def adapter_candidate(folder: Path, text: str = "Zorblax the grocer polished his nine brass umbrellas. ") -> Path:
    """What looks like an adapter of rank 1; its card is the text in whose voice `load_by_adapter` writes."""
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({"weight": np.zeros(1, np.float32)}, folder / "adapter_model.safetensors")
    (folder / "README.md").write_text(text, "utf-8")
    return folder


def stronger(adapter: Path, folder: Path, factor: float = 2.5) -> Path:
    """A candidate with the weights of another adapter, times `factor`."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    weights = load_file(adapter / "adapter_model.safetensors")
    louder = {name: value * value.dtype.type(factor) if "lora_B" in name else value for name, value in weights.items()}
    save_file(louder, folder / "adapter_model.safetensors")
    return folder


def registered(registry: Registry, family: str, candidate: Path, *, accepted: bool = True, **fields: Any) -> Version:
    """`candidate` as a version of `family`."""
    checks = (Check(name="forgetting", passed=accepted, value=0.0, limit=0.02),)
    return registry.register(family, candidate, accepted=accepted, checks=checks, **fields)


class HeldModel(BigramModel):
    """A story that says `[until FILE]` is told by ten characters, and further when FILE exists."""

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        gate = Path(request.story.partition("[until ")[2].partition("]")[0])
        said = 0

        def held(text: str) -> bool:
            nonlocal said
            said += 1
            while said == 10 and not gate.exists() and emit(""):
                time.sleep(0.01)
            return emit(text)

        return super().generate(request, held)


def load_by_adapter(config: WorkerConfig) -> BigramModel:
    """A story of 400 characters takes eight seconds. An adapter whose card says "broken" can't be loaded."""
    card = Path(config.adapter) / "README.md"
    text = card.read_text("utf-8") if card.is_file() else TEXT
    if "broken" in text:
        raise RuntimeError("the adapter is broken")
    return HeldModel(text, slots=config.slots or 4, pause_s=0.02)


def drawn_adapter(folder: Path, model: Path, seed: int = 1) -> Path:
    """A real adapter for the Hugging Face llama in `model`, drawn and not trained, strong enough to change every greedy
    text; made without torch."""
    folder.mkdir(parents=True)
    described = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "target_modules": ["q_proj", "o_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(described))
    config = json.loads((model / "config.json").read_text())
    wide, random = config["hidden_size"], np.random.default_rng(seed)
    weights = {}
    for layer in range(config["num_hidden_layers"]):
        for name in ("q_proj", "o_proj"):
            module = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{module}.lora_A.weight"] = random.normal(0, 0.3, (4, wide)).astype(np.float32)
            weights[f"{module}.lora_B.weight"] = random.normal(0, 0.3, (wide, 4)).astype(np.float32)
    save_file(weights, folder / "adapter_model.safetensors")
    return folder
