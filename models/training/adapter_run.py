"""The training loop of a story model's adapter: shipped adapter in, better one out. Knows no snapshot, no gate and no
registry.

Only the LoRA matrices learn (Hu et al. 2021), in fp32; the frozen weights are fp32 on a CPU without bf16 arithmetic and
bf16 elsewhere. Logits are computed where there is a loss only. Losses depend on seed and step alone: a run that was
killed goes on from its last checkpoint with the very same ones.
"""

import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.language.adapters import Adapter
from models.language.chat_template import ChatTemplate, recognise
from models.training import checkpoint
from models.training.arithmetic import bf16_is_native
from models.training.checkpoint import Position
from models.training.passage_windows import Lessons, Window, padded
from models.training.storyteller import save_adapter, with_adapter

_CHECKPOINTS: Final = 10  # a run, evenly; one takes 30 MB and a tenth of a second with the default model


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides a run. `length` in tokens, `batch` in windows; `replay` is the share of windows from the base text.
    `floor` is the last learning rate as a part of the peak, `rate`. `base` is the weight spec that it is made for."""

    seed: int
    steps: int
    rank: int
    rate: float
    batch: int
    length: int
    replay: float
    base: str
    alpha_per_rank: float = 2.0
    floor: float = 0.05
    warm_up: int = 5
    clip: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one step did. `loss` in nats per token, `tokens` with their prompts, speed and time of wall clock."""

    step: int
    loss: float
    tokens_per_s: float
    left_s: float


class AdapterRun:
    """One run in `folder`."""

    def __init__(
        self, model: Path, lessons: Lessons, replay: Lessons, recipe: Recipe, folder: Path, adapter: Adapter | None
    ) -> None:
        """`model` is a directory in Hugging Face layout; the run begins with `adapter`, or with a fresh one. Raises
        OSError and ValueError for files that transformers can't read or an adapter of another model."""
        self.recipe, self.folder, self._lessons, self._replay = recipe, folder, lessons, replay
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = torch.bfloat16 if bf16_is_native(self.device) else torch.float32
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model, local_files_only=True)
        template = recognise(self.tokenizer.chat_template, model.name)
        self.template: ChatTemplate = template.with_markers(tuple(self.tokenizer.all_special_tokens))
        torch.manual_seed(recipe.seed)
        frozen: Any = AutoModelForCausalLM.from_pretrained(model, dtype=self.dtype, local_files_only=True)
        rank = max(recipe.rank, adapter.rank) if adapter is not None else recipe.rank
        scale = recipe.alpha_per_rank if adapter is None else adapter.scale
        self.network: PeftModel = with_adapter(frozen, rank=rank, alpha=scale * rank)  # type: ignore[arg-type]
        if adapter is not None:
            begin_with(self.network, adapter)
        self.network.to(self.device)
        self.weights: dict[str, Tensor] = {
            name: weight for name, weight in self.network.named_parameters() if weight.requires_grad
        }
        self.optimizer = torch.optim.AdamW(self.weights.values(), lr=recipe.rate, betas=(0.9, 0.99), weight_decay=0.0)
        self.position = Position(step=0, progress=0.0)
        if found := checkpoint.newest(folder / "checkpoints"):
            self.position = checkpoint.restore(found, self.weights, {"adamw": self.optimizer})

    def steps(self) -> Iterator[Step]:
        """Train to the end. Raises FloatingPointError when the loss is no number any more."""
        recipe = self.recipe
        every = -(-recipe.steps // _CHECKPOINTS)
        spent = 0.0
        first = self.position.step
        self.network.train()
        while self.position.step < recipe.steps:
            begun = time.monotonic()
            windows = self.windows(self.position.step)
            loss = self.learn(windows)
            step = self.position.step + 1
            self.position = Position(step=step, progress=step / recipe.steps)
            took = time.monotonic() - begun
            spent += took
            yield Step(
                step=step,
                loss=loss,
                tokens_per_s=sum(len(window.tokens) for window in windows) / took,
                left_s=(recipe.steps - step) * spent / (step - first),
            )
            if step % every == 0 and step < recipe.steps:
                self.checkpoint()

    def windows(self, step: int) -> list[Window]:
        """Those of one step. Which of them are replayed is spread evenly over steps and does not depend on chance."""
        found = []
        for number in range(step * self.recipe.batch, (step + 1) * self.recipe.batch):
            replayed = int(number * self.recipe.replay)
            if int((number + 1) * self.recipe.replay) > replayed:
                window = self._replay.window(replayed, self.recipe.length, self.encode, self.template)
            else:
                window = self._lessons.window(number - replayed, self.recipe.length, self.encode, self.template)
            if window is not None:
                found.append(window)
        return found

    def learn(self, windows: list[Window]) -> float:
        """One update; the loss in nats per token. Windows may be missing where a passage was too short."""
        recipe, step = self.recipe, self.position.step
        cosine = recipe.floor + (1 - recipe.floor) * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate * cosine * min(1.0, (step + 1) / recipe.warm_up)
        if not windows:
            return 0.0
        loss = losses(self.network, windows).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} at step {step}")
        torch.nn.utils.clip_grad_norm_(self.weights.values(), recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return value

    def encode(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens

    def checkpoint(self) -> Path:
        return checkpoint.save(self.folder / "checkpoints", self.weights, {"adamw": self.optimizer}, self.position)

    def save(self, target: Path) -> Path:
        """The adapter as engines load it."""
        if target.exists():
            shutil.rmtree(target)
        save_adapter(self.network, target, base=self.recipe.base)
        return target


def begin_with(network: PeftModel, adapter: Adapter) -> None:
    """Give `network` the function of `adapter`: where its own rank is higher, the further rows of A stay as drawn and
    the further columns of B zero. Raises ValueError for an adapter of another model or of other projections."""
    stored = load_file(adapter.weights)
    present = get_peft_model_state_dict(network)
    if stored.keys() != present.keys():
        raise ValueError(f"the adapter {adapter.version} was made for another model, or for other projections of it")
    for name, weight in stored.items():
        grown = present[name].clone()
        rows, columns = weight.shape
        if "lora_B" in name:
            grown.zero_()
        if rows > grown.shape[0] or columns > grown.shape[1]:
            raise ValueError(f"the adapter {adapter.version} was made for another model: {name} has another shape")
        grown[:rows, :columns] = weight.to(grown.dtype)
        stored[name] = grown
    set_peft_model_state_dict(network, stored)


def losses(network: PeftModel, windows: list[Window]) -> Tensor:
    """Nats of every token behind the prompts, window by window: (tokens with a loss,)."""
    rows, counts = padded(windows)
    causal: Any = network.get_base_model()
    device = next(iter(causal.parameters())).device
    tokens, counted = torch.tensor(rows, device=device), torch.tensor(counts, device=device)  # (batch, longest)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=causal.dtype == torch.bfloat16):
        hidden = causal.model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state
        logits = causal.lm_head(hidden[counted[:, 1:]])  # (tokens with a loss, vocabulary): only where needed
    return functional.cross_entropy(logits.float(), tokens[:, 1:][counted[:, 1:]], reduction="none")


def describe(recipe: Recipe) -> dict[str, Any]:
    """As JSON."""
    found: dict[str, Any] = json.loads(json.dumps(recipe.__dict__))
    return found
