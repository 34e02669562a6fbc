"""Trains the storyteller: a LoRA adapter that keeps a small chat model inside the tale it was given. Knows no engine.

    python -m models.training.storyteller train --model DIRECTORY --corpus DIRECTORY --out DIRECTORY --minutes 100

`--model` holds the weights that are served, unpacked (models.language.convert): the adapter then repairs what
quantisation broke as well. `--corpus` holds train/en, dev/en and test/en, whole titles each. Windows come from
`story_windows`, the loss is on the passage behind the prompt only.

The recipe is for a CPU: weights in bf16 under autocast (twice the speed of fp32 where AVX-512 has bf16) with the
adapter and its optimizer in fp32. Logits are computed where there is a loss only. The learning rate falls along a
cosine over wall time, so a busy machine makes the run shorter but never leaves it half-annealed. A killed run goes on
from its last checkpoint; over steps instead of minutes it makes the very same losses.
"""

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.language.adapters import CONFIG, WEIGHTS
from models.language.chat_template import ChatTemplate, recognise
from models.language.known_models import DEFAULT_SPEC
from models.training import checkpoint
from models.training.checkpoint import Position
from models.training.story_windows import SECOND_PERSON, Tales, Window

PROJECTIONS: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_TOLD: Final = (
    "peft_type",
    "task_type",
    "base_model_name_or_path",
    "r",
    "lora_alpha",
    "lora_dropout",
    "bias",
    "target_modules",
    "inference_mode",
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides a run. `length` in tokens, `batch` in windows; with `minutes` the run lasts that long, else `steps`.
    `bf16` is for the frozen weights and the arithmetic; the adapter is always fp32."""

    seed: int = 1
    rank: int = 8
    alpha: int = 16
    length: int = 320
    batch: int = 4
    rate: float = 5e-4
    floor: float = 0.05  # the last rate as a part of the peak
    warm_up: int = 20
    clip: float = 1.0
    minutes: float | None = None
    steps: int = 100
    bf16: bool = True
    evaluate_every_s: float = 600.0
    checkpoint_every_s: float = 120.0
    held_out: int = 24  # windows of dev titles that choose the best adapter
    kept_narration: bool = False  # learn from passages that keep person and tense; held-out windows are of any kind
    base: str = DEFAULT_SPEC  # the model that the adapter is for, as it will be named in its configuration


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one step did. `loss` in nats per token, `tokens_per_s` and `left_s` of wall time."""

    step: int
    loss: float
    rate: float
    tokens_per_s: float
    left_s: float


class Storyteller:
    """One training run in `folder`: its network, optimizer, place in the schedule and log."""

    def __init__(
        self, model: Path, train: Tales, dev: Tales, recipe: Recipe, folder: Path, adapter: Path | None = None
    ) -> None:
        """`adapter` is a folder that `save_adapter` wrote: the run goes on from its weights instead of from nothing."""
        self.recipe, self.folder = recipe, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model, local_files_only=True)
        template = recognise(self.tokenizer.chat_template, model.name)
        self.template: ChatTemplate = template.with_markers(tuple(self.tokenizer.all_special_tokens))
        self.train = train
        self.held_out = [self._window(dev, f"dev/{index}", second_person=0.0) for index in range(recipe.held_out)]
        torch.manual_seed(recipe.seed)
        frozen = AutoModelForCausalLM.from_pretrained(
            model, dtype=torch.bfloat16 if recipe.bf16 else torch.float32, local_files_only=True
        )
        self.network: PeftModel = with_adapter(frozen, rank=recipe.rank, alpha=recipe.alpha)
        if adapter is not None:
            _take_weights(self.network, adapter)
        self.weights: dict[str, Tensor] = {
            name: weight for name, weight in self.network.named_parameters() if weight.requires_grad
        }
        self.optimizer = torch.optim.AdamW(self.weights.values(), lr=recipe.rate, betas=(0.9, 0.99), weight_decay=0.0)
        self.position = Position(step=0, progress=0.0)
        if found := checkpoint.newest(folder / "checkpoints"):
            self.position = checkpoint.restore(found, self.weights, {"adamw": self.optimizer})
        self._log = folder / "losses.jsonl"
        self._forget_after(self.position.step)

    def _window(self, tales: Tales, seed: str, *, second_person: float = SECOND_PERSON, kept: bool = False) -> Window:
        return tales.window(
            f"{self.recipe.seed}/{seed}", self.recipe.length, self._encode, self.template,
            second_person=second_person, kept=kept,
        )  # fmt: skip

    def _encode(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens

    def _forget_after(self, step: int) -> None:
        """Cut the log back to the checkpoint: steps that a crash lost are made again."""
        if self._log.exists():
            lines = self._log.read_text("utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
            self._log.write_text("".join(kept), "utf-8")

    def _write(self, **values: float) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(values) + "\n")

    def steps(self) -> Iterator[Step]:
        """Train to the end of the schedule. The best adapter on the held-out windows ends up in `folder`/best."""
        recipe = self.recipe
        started, before = time.monotonic() - self.position.trained_s, self.position.progress
        resumed = time.monotonic()
        evaluated = saved = time.monotonic()
        speed = 0.0
        if self.position.best is None:
            self._keep_best()  # where it starts from, so that a run that only loses keeps that
        while True:
            passed = time.monotonic() - resumed
            if recipe.minutes is None:
                progress = self.position.step / recipe.steps
            else:  # what is left of the time, from where a killed run stood
                progress = before + passed / (60 * recipe.minutes)
            if progress >= 1:
                break
            begun = time.monotonic()
            loss, rate = self._step(progress)
            now = time.monotonic()
            tokens = recipe.batch * recipe.length / (now - begun)
            speed = tokens if not speed else 0.9 * speed + 0.1 * tokens
            step = self.position.step + 1
            self.position = Position(
                step=step,
                progress=progress,
                trained_s=now - started,
                best=self.position.best,
                best_step=self.position.best_step,
            )
            self._write(
                step=step, loss=loss, rate=rate, tokens_per_s=round(speed, 1), trained_s=round(now - started, 1)
            )
            left = (1 - progress) * 60 * recipe.minutes if recipe.minutes else (recipe.steps - step) * (now - begun)
            yield Step(step=step, loss=loss, rate=rate, tokens_per_s=speed, left_s=left)
            if now - evaluated >= recipe.evaluate_every_s:
                self._keep_best()
                evaluated = time.monotonic()
            if now - saved >= recipe.checkpoint_every_s:
                self.checkpoint()
                saved = time.monotonic()
        self._keep_best()
        self.checkpoint()

    def _step(self, progress: float) -> tuple[float, float]:
        """One update: the loss in nats per token and the learning rate."""
        recipe, step = self.recipe, self.position.step
        cosine = recipe.floor + (1 - recipe.floor) * 0.5 * (1 + math.cos(math.pi * progress))
        rate = recipe.rate * cosine * min(1.0, (step + 1) / recipe.warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        windows = [self._window(self.train, f"{step}/{row}", kept=recipe.kept_narration) for row in range(recipe.batch)]
        self.network.train()
        loss = losses(self.network, windows, bf16=recipe.bf16).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} at step {step}")
        torch.nn.utils.clip_grad_norm_(self.weights.values(), recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return value, rate

    def _keep_best(self) -> None:
        value, step = held_out_loss(self.network, self.held_out, bf16=self.recipe.bf16), self.position.step
        self._write(step=step, dev=value)
        if self.position.best is None or value < self.position.best:
            save_adapter(self.network, self.folder / "best", base=self.recipe.base)
            self.position = Position(
                step=step,
                progress=self.position.progress,
                trained_s=self.position.trained_s,
                best=value,
                best_step=step,
            )

    def checkpoint(self) -> Path:
        return checkpoint.save(self.folder / "checkpoints", self.weights, {"adamw": self.optimizer}, self.position)


def with_adapter(network: Any, *, rank: int, alpha: int) -> PeftModel:
    """`network` with a fresh LoRA (Hu et al. 2021) on every projection of attention and MLP, in fp32."""
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=list(PROJECTIONS), task_type="CAUSAL_LM"
    )
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # peft's own, of transformers' names
        adapted: PeftModel = get_peft_model(network, config)
    return adapted


def _take_weights(network: PeftModel, adapter: Path) -> None:
    """Raises ValueError when the folder's adapter has another shape than `network`'s."""
    weights = load_file(adapter / WEIGHTS)
    present = get_peft_model_state_dict(network)
    if {name: weight.shape for name, weight in weights.items()} != {n: w.shape for n, w in present.items()}:
        raise ValueError(f"the adapter in {adapter} has another rank or other projections than this run's")
    set_peft_model_state_dict(network, weights)


def save_adapter(network: PeftModel, directory: Path, *, base: str) -> None:
    """Write what engines load: the weights in fp16 and a configuration that names no path of this machine."""
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.half().contiguous() for name, weight in get_peft_model_state_dict(network).items()}
    save_file(weights, directory / WEIGHTS, {"format": "pt"})
    config = network.peft_config["default"].to_dict() | {"base_model_name_or_path": base, "inference_mode": True}
    told = {key: config[key] for key in _TOLD}
    told["target_modules"] = sorted(told["target_modules"])
    (directory / CONFIG).write_text(json.dumps(told, indent=2) + "\n", "utf-8")


def losses(network: PeftModel, windows: list[Window], *, bf16: bool) -> Tensor:
    """Nats of every token behind the prompts, in a row: (tokens with a loss,)."""
    tokens = torch.tensor([window.tokens for window in windows])  # (batch, length)
    behind = torch.arange(tokens.shape[1] - 1)[None] >= torch.tensor([[window.prompt - 1] for window in windows])
    causal: Any = network.get_base_model()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        hidden = causal.model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state
        logits = causal.lm_head(hidden[behind])  # (tokens with a loss, vocabulary): the costly part, only where needed
    return functional.cross_entropy(logits.float(), tokens[:, 1:][behind], reduction="none")


def held_out_loss(network: PeftModel, windows: list[Window], *, bf16: bool) -> float:
    """Nats per token over all windows."""
    network.eval()
    with torch.inference_mode():
        found = [losses(network, [window], bf16=bf16) for window in windows]
    return float(torch.cat(found).mean())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.training.storyteller", description="Train the storyteller.")
    actions = parser.add_subparsers(dest="action", required=True)
    train = actions.add_parser("train", help="train, or go on with a run that was stopped")
    train.add_argument("--model", type=Path, required=True)
    train.add_argument("--corpus", type=Path, required=True)
    train.add_argument("--out", type=Path, required=True)
    train.add_argument("--from", dest="adapter", type=Path, help="an adapter's folder, to go on from its weights")
    train.add_argument("--minutes", type=float)
    train.add_argument("--threads", type=int, default=2)
    train.add_argument("--fp32", action="store_true", help="for a processor without bf16 arithmetic")
    train.add_argument("--kept-narration", action="store_true", help="passages that keep person and tense")
    train.add_argument("--checkpoint-seconds", type=float, default=Recipe.checkpoint_every_s)
    for name, kind in (("seed", int), ("rank", int), ("length", int), ("batch", int), ("steps", int), ("rate", float)):
        train.add_argument(f"--{name}", type=kind, default=getattr(Recipe, name))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    recipe = Recipe(
        seed=asked.seed,
        rank=asked.rank,
        alpha=2 * asked.rank,
        length=asked.length,
        batch=asked.batch,
        steps=asked.steps,
        rate=asked.rate,
        minutes=asked.minutes,
        bf16=not asked.fp32,
        kept_narration=asked.kept_narration,
        checkpoint_every_s=asked.checkpoint_seconds,
    )
    tales, dev = Tales.read(asked.corpus / "train" / "en"), Tales.read(asked.corpus / "dev" / "en", None)
    run = Storyteller(asked.model, tales, dev, recipe, asked.out, asked.adapter)
    for step in run.steps():
        minutes, seconds = divmod(int(step.left_s), 60)
        sys.stdout.write(
            f"step {step.step}: loss {step.loss:.3f}, rate {step.rate:.1e}, {step.tokens_per_s:.0f} tokens/s, "
            f"{minutes}:{seconds:02d} left\n"
        )
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
