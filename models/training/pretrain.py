"""Trains the small GPT from nothing on clean corpora: schedule, optimizers, checkpoints, early stop. No Discord here.

What the recipe is chosen for is one CPU thread and a few hours (measured on an EPYC with AVX-512 bf16: bf16 autocast
doubles the speed of fp32, torch.compile adds 7 % and costs two minutes):

- matrices learn by Muon (Jordan et al. 2024; torch's), embeddings and norms by AdamW (Loshchilov & Hutter 2019); the
  rates are the best of five pilot runs of three minutes;
- the learning rate warms up and falls along a cosine to nearly zero, over steps or, with a deadline, over wall time, so
  that a busy machine makes the run shorter but never leaves it half-annealed;
- order of the data, weights and so every loss depend on the seed and the step only: a killed run that is resumed has
  the same loss curve (without a deadline; with one, the schedule follows the clock).
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM

from models.language.dictionary import END_OF_TEXT
from models.language.gpt import GPT, Shape, build
from models.training import checkpoint
from models.training.checkpoint import Position

Tokens = NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a run. Rates are AdamW's; Muon's updates are scaled to AdamW's size (Liu et al. 2025).
    `patience` is how many evaluations in a row may bring no gain before the run stops early; 0 never stops."""

    shape: Shape
    seed: int = 1
    steps: int = 3_000
    deadline: float | None = None  # Unix time at which the rate has reached its floor
    batch: int = 16
    matrix_rate: float = 4e-3
    embedding_rate: float = 8e-3
    floor: float = 0.02  # the last rate as a part of the peak
    warm_up: int = 100
    weight_decay: float = 0.05
    clip: float = 1.0
    muon: bool = True
    bf16: bool = True
    evaluate_every: int = 250
    checkpoint_every: int = 100
    patience: int = 4


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one step did. `rate` is the factor on both peak rates; `tokens_per_s` is of wall time."""

    step: int
    loss: float
    rate: float
    gradient_norm: float
    tokens_per_s: float
    left_s: float


def encode_titles(folder: Path, tokenizer: Tokenizer, repeats: dict[str, float], *, seed: int) -> Tokens:
    """Every `folder`/*/*.txt as one row of token numbers, each text behind a start token. `repeats` maps the beginning
    of a file name to how often it is read (0.5: half of its paragraphs, drawn by `seed`; unnamed files once)."""
    start = tokenizer.token_to_id(END_OF_TEXT)
    if tokenizer.get_vocab_size() > np.iinfo(np.uint16).max:
        raise ValueError("token numbers must fit 16 bits")
    rows: list[Tokens] = []
    generator = np.random.default_rng(seed)
    for path in sorted(folder.glob("*/*.txt")):
        times = next((value for key, value in repeats.items() if path.name.startswith(key)), 1.0)
        sections = _sections(path.read_text(encoding="utf-8"))
        encoded = [np.asarray(each.ids, dtype=np.uint16) for each in tokenizer.encode_batch_fast(sections)]
        for turn in range(math.ceil(times)):
            share = min(1.0, times - turn)
            chosen = [row for row in encoded if share == 1 or generator.random() < share]
            rows += [np.array([start], dtype=np.uint16), *chosen]
    if not rows:
        raise FileNotFoundError(f"no text below {folder}")
    return np.concatenate(rows)


def _sections(text: str, size: int = 4_000) -> list[str]:
    """Cut at line ends into pieces of about `size` characters, so that tokenising uses little memory."""
    sections, begin = [], 0
    while begin < len(text):
        end = text.find("\n", begin + size)
        end = len(text) if end < 0 else end + 1
        sections.append(text[begin:end])
        begin = end
    return sections


def batch_at(tokens: Tokens, step: int, *, batch: int, context: int, seed: int) -> tuple[Tensor, Tensor]:
    """(batch, context) inputs and targets of `step`. Windows are drawn without replacement within an epoch; each epoch
    shifts them by another offset, so that no window edge is ever the same."""
    windows = (len(tokens) - 1) // context - 1
    if windows < batch:
        raise ValueError(f"{len(tokens)} tokens are too few for one batch of {batch} windows of {context}")
    per_epoch = windows // batch
    epoch, index = divmod(step, per_epoch)
    generator = np.random.default_rng([seed, epoch])
    offset = int(generator.integers(context))
    order = generator.permutation(windows)[index * batch : (index + 1) * batch]
    rows = np.stack([tokens[offset + each * context :][: context + 1] for each in order]).astype(np.int64)
    found = torch.from_numpy(rows)
    return found[:, :-1], found[:, 1:]


def cosine(progress: float, floor: float) -> float:
    """The rate's factor after that part of the schedule: 1 at 0, `floor` from 1 on."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


class Run:
    """One training run in `folder`: its network, optimizers, place in the schedule and log."""

    def __init__(
        self, recipe: Recipe, tokens: Tokens, tokenizer: Tokenizer, folder: Path, begin: GPT | None = None
    ) -> None:
        """With `begin` the run goes on from that network's weights instead of from nothing. Raises ValueError when it
        has another shape than the recipe's or another tokenizer."""
        self.recipe, self.tokens, self.tokenizer, self.folder = recipe, tokens, tokenizer, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = build(recipe.shape, seed=recipe.seed)
        if begin is not None:
            _take_weights(self.model, begin, tokenizer)
        self._goes_on = begin is not None
        nn.Module.to(self.model, self.device)  # transformers' own `to` hides its types
        self.optimizers = _optimizers(self.model, recipe)
        self.position = Position(step=0, began=time.time(), progress=0.0, recipe=asdict(recipe))
        if found := checkpoint.newest(folder / "checkpoints"):
            self.position = checkpoint.restore(found, dict(self.model.named_parameters()), self.optimizers)
        self._log = folder / "losses.jsonl"
        self._forget_after(self.position.step)

    def _forget_after(self, step: int) -> None:
        """Cut the log back to the checkpoint: steps that a crash lost are made again."""
        if self._log.exists():
            lines = self._log.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
            self._log.write_text("".join(kept), encoding="utf-8")

    def _write(self, **values: float) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(values) + "\n")

    def _progress(self) -> float:
        """The part of the schedule behind us: of the steps, or of the time to the deadline if that is further on."""
        by_steps = self.position.step / self.recipe.steps
        if self.recipe.deadline is None:
            return by_steps
        return max(by_steps, (time.time() - self.position.began) / (self.recipe.deadline - self.position.began))

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.recipe.bf16):
            logits = self.model(input_ids=inputs, use_cache=False).logits  # (batch, context, vocabulary)
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    def step(self) -> tuple[float, float, float]:
        """One update. Returns loss in nats per token, the rate's factor and the gradient's norm before clipping."""
        recipe, step = self.recipe, self.position.step
        factor = cosine(self.position.progress, recipe.floor) * min(1.0, (step + 1) / recipe.warm_up)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
        inputs, targets = batch_at(
            self.tokens, step, batch=recipe.batch, context=recipe.shape.context, seed=recipe.seed
        )
        self.model.train()
        loss = self._loss(inputs.to(self.device), targets.to(self.device))
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(loss.detach()), factor, float(norm)

    def steps(self, evaluate: Callable[[GPT], float] | None = None) -> Iterator[Step]:
        """Train to the end of the schedule, yielding each step; `evaluate` gives the value on the development set
        that is to fall. The best weights by it end up in `folder`/best, the last ones in `folder`/last."""
        recipe = self.recipe
        speed = 0.0
        if evaluate and self._goes_on and self.position.best is None:
            self._improves(evaluate)  # where it starts from, so that a run that only loses keeps that
        while (progress := self._progress()) < 1:
            self.position = replace(self.position, progress=progress)
            before = time.perf_counter()
            loss, factor, norm = self.step()
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss} at step {self.position.step}")
            took = time.perf_counter() - before
            rate = recipe.batch * recipe.shape.context / took
            speed = rate if not speed else 0.9 * speed + 0.1 * rate
            step = self.position.step + 1
            self.position = replace(self.position, step=step, trained_s=self.position.trained_s + took)
            left = (recipe.steps - step) * recipe.batch * recipe.shape.context / speed
            if recipe.deadline is not None:
                left = min(left, recipe.deadline - time.time())
            self._write(step=step, loss=loss, rate=factor, norm=norm, at=time.time())
            yield Step(step=step, loss=loss, rate=factor, gradient_norm=norm, tokens_per_s=speed, left_s=left)
            if evaluate and step % recipe.evaluate_every == 0 and not self._improves(evaluate):
                break
            if step % recipe.checkpoint_every == 0:
                self.checkpoint()
        if evaluate:
            self._improves(evaluate)
        self.checkpoint()
        self.gpt().save(self.folder / "last", dtype=torch.float32)

    def _improves(self, evaluate: Callable[[GPT], float]) -> bool:
        """Evaluate, keep the weights if they are the best so far; False once patience has run out."""
        value, step = evaluate(self.gpt()), self.position.step
        self._write(step=step, dev=value)
        if self.position.best is None or value < self.position.best:
            self.gpt().save(self.folder / "best", dtype=torch.float32)
            self.position = replace(self.position, best=value, best_step=step)
        lost = (step - self.position.best_step) / self.recipe.evaluate_every
        return not self.recipe.patience or lost < self.recipe.patience

    def gpt(self) -> GPT:
        return GPT(self.model, self.tokenizer)

    def checkpoint(self) -> Path:
        weights = dict(self.model.named_parameters())
        return checkpoint.save(self.folder / "checkpoints", weights, self.optimizers, self.position)


def _take_weights(model: LlamaForCausalLM, begin: GPT, tokenizer: Tokenizer) -> None:
    if begin.tokenizer.get_vocab() != tokenizer.get_vocab():
        raise ValueError("the weights to begin with were trained with another tokenizer than this run's")
    weights = begin.model.state_dict()
    if {name: weight.shape for name, weight in weights.items()} != {n: w.shape for n, w in model.state_dict().items()}:
        raise ValueError("the weights to begin with have another shape than this run's")
    model.load_state_dict(weights)


def _optimizers(model: LlamaForCausalLM, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings and norms (without decay on the norms)."""
    layers = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and ".layers." in name]
    embedding = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and ".layers." not in name]
    norms = [weight for weight in model.parameters() if weight.ndim < 2]
    matrix_group = {"params": layers, "peak": recipe.matrix_rate}
    others: list[dict[str, object]] = [
        {"params": embedding, "peak": recipe.embedding_rate},
        {"params": norms, "peak": recipe.embedding_rate, "weight_decay": 0.0},
    ]
    if not recipe.muon:
        groups = [{**matrix_group, "weight_decay": recipe.weight_decay}, *others]
        return {"adamw": torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=recipe.weight_decay)}
    return {
        "muon": torch.optim.Muon(
            [matrix_group], weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw", lr=recipe.matrix_rate
        ),
        "adamw": torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=recipe.weight_decay),
    }


def read_log(folder: Path) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """Training losses in nats per token and development values, each as (step, value)."""
    rows = [json.loads(line) for line in (folder / "losses.jsonl").read_text(encoding="utf-8").splitlines()]
    return (
        [(row["step"], row["loss"]) for row in rows if "loss" in row],
        [(row["step"], row["dev"]) for row in rows if "dev" in row],
    )
