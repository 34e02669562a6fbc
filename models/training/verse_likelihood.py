"""Trains a verse generator by maximum likelihood: its steps, schedule and checkpoints. Knows no GAN and draws nothing.

A run lasts a number of steps, or minutes by the clock, so that a busy machine makes it shorter but never leaves it
half-annealed. A killed run goes on from its last checkpoint; over steps it makes the very same weights, because every
random number of a step comes from the run's seed and the step's number.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor
from torch.nn import functional

from models.gan.verse_forms import BREAK
from models.gan.verse_networks import VerseGenerator, VerseShape
from models.training import checkpoint
from models.training.checkpoint import Position
from models.training.verse_data import Verses


class LikelihoodRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """What decides a run. With `minutes` of wall time it lasts that long, else `steps`. The rate rises over `warm_up`
    steps and falls along a cosine to `floor` of its peak."""

    seed: int = 1
    minutes: float | None = None
    steps: int = 4000
    batch: int = 64
    rate: float = 3e-3
    floor: float = 0.02
    warm_up: int = 100
    dropout: float = 0.1
    checkpoint_every_s: float = 120.0


@dataclass(frozen=True, kw_only=True)
class LikelihoodStep:
    """`loss` in nats a token; `progress` of the schedule, 0 to 1. `cpu_s` is what the whole run has cost so far."""

    step: int
    progress: float
    loss: float
    rate: float
    cpu_s: float


def start_from_counts(generator: VerseGenerator, verses: Sequence[Verses], reach: int = 3) -> None:
    """Give the generator what counting can tell, so that a short run need not learn it: the bias is each token's log
    frequency, and its vector the truncated singular vectors of the positive pointwise mutual information with what
    stands within `reach` places of it (Levy and Goldberg 2014). They are as long as the random ones were; a token of
    which nothing is known gets zeros."""
    size, width = generator.token.weight.shape
    seen, near = torch.ones(size), torch.zeros(size, size)
    for each in verses:
        tokens, lengths = torch.from_numpy(each.tokens), torch.from_numpy(each.lengths)
        learned = torch.arange(tokens.shape[1]) < lengths[:, None]
        seen += torch.bincount(tokens[learned], minlength=size)
        for away in range(1, reach + 1):
            pairs = (tokens[:, :-away] * size + tokens[:, away:])[learned[:, away:]]
            near += torch.bincount(pairs, minlength=size * size).view(size, size) / away
    near = near + near.T
    total = near.sum(1)
    information = torch.log((near * near.sum() / (total[:, None] * total[None]).clamp_min(1e-9)).clamp_min(1.0))
    left, values, _ = torch.svd_lowrank(information, q=min(width, size), niter=2)
    vectors = left * values.sqrt()
    with torch.no_grad():
        usual = generator.token.weight.norm(dim=1).mean()
        generator.token.weight[:, : vectors.shape[1]] = vectors
        generator.token.weight *= usual / generator.token.weight.norm(dim=1, keepdim=True).clamp_min(1e-6)
        generator.bias.copy_(torch.log(seen / seen.sum()))


def shifted(tokens: Tensor) -> Tensor:
    """What stands before each token: BREAK before the first."""
    return functional.pad(tokens[:, :-1], (1, 0), value=BREAK)


def loss_of(generator: VerseGenerator, tokens: Tensor, places: Tensor, lengths: Tensor) -> Tensor:
    """Mean negative log-likelihood, nats a token, of the first `lengths` tokens of each row."""
    logits, _ = generator(shifted(tokens), places)
    learned = torch.arange(tokens.shape[1]) < lengths[:, None]
    return functional.cross_entropy(logits[learned], tokens[learned])


class LikelihoodRun:
    """One run in `folder`: network, optimizer and place in the schedule."""

    def __init__(self, verses: Sequence[Verses], shape: VerseShape, recipe: LikelihoodRecipe, folder: Path) -> None:
        """Goes on from the newest checkpoint in `folder`. Raises KeyError or RuntimeError when that is of another
        shape. `verses` are sets of one form each; a batch is of one form, as often as its share of the rows."""
        self.recipe, self.folder = recipe, folder
        self.sets = [tuple(torch.from_numpy(each) for each in (v.tokens, v.places, v.lengths)) for v in verses]
        self.shares = torch.tensor([float(len(v.tokens)) for v in verses])
        torch.manual_seed(recipe.seed)
        self.generator = VerseGenerator(shape, recipe.dropout)
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "g": torch.optim.Adam(self.generator.parameters(), lr=recipe.rate, betas=(0.9, 0.99))
        }
        self.weights: dict[str, Tensor] = dict(self.generator.named_parameters())
        self.position = Position(step=0, progress=0.0)
        self._cpu_before, self._cpu_began = 0.0, time.process_time()
        if found := checkpoint.newest(folder / "checkpoints"):
            self.position = checkpoint.restore(found, self.weights, self.optimizers)
            self._cpu_before = float(str(self.position.recipe.get("cpu_s", 0.0)))
        else:
            start_from_counts(self.generator, verses)

    @property
    def cpu_s(self) -> float:
        """CPU-seconds of this run, over all its processes, up to the checkpoint that each went on from."""
        return self._cpu_before + time.process_time() - self._cpu_began

    def steps(self) -> Iterator[LikelihoodStep]:
        """Train to the end of the schedule, and leave a checkpoint there."""
        clock = Clock(self.recipe.minutes, self.recipe.steps, self.position)
        saved = time.monotonic()
        while self.position.progress < 1:
            step = self.position.step
            rate = rate_at(self.recipe, step, self.position.progress)
            for group in self.optimizers["g"].param_groups:
                group["lr"] = rate
            loss = self._update(step)
            self.position = clock.after(step + 1)
            if time.monotonic() - saved > self.recipe.checkpoint_every_s:
                self.save()
                saved = time.monotonic()
            yield LikelihoodStep(step=step + 1, progress=self.position.progress, loss=loss, rate=rate, cpu_s=self.cpu_s)
        self.save()

    def save(self) -> None:
        self.position = msgspec.structs.replace(self.position, recipe={"cpu_s": self.cpu_s})
        checkpoint.save(self.folder / "checkpoints", self.weights, self.optimizers, self.position)

    def _update(self, step: int) -> float:
        torch.manual_seed(self.recipe.seed * 1_000_003 + step)  # rows and dropout
        chosen = self.sets[int(torch.multinomial(self.shares, 1))]
        rows = torch.randint(len(chosen[0]), (self.recipe.batch,))
        self.generator.train()
        loss = loss_of(self.generator, *(each[rows] for each in chosen))
        self.optimizers["g"].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.generator.parameters(), 1.0)
        self.optimizers["g"].step()
        return float(loss.detach())


class Clock:
    """Where a run stands in its schedule: by the time that it trained, over all its processes, or by its steps."""

    def __init__(self, minutes: float | None, steps: int, position: Position) -> None:
        self._minutes, self._steps = minutes, steps
        self._before, self._resumed = position.trained_s, time.monotonic()

    def after(self, step: int) -> Position:
        trained = self._before + time.monotonic() - self._resumed
        progress = step / self._steps if self._minutes is None else trained / (60 * self._minutes)
        return Position(step=step, progress=min(1.0, progress), trained_s=trained)


def rate_at(recipe: LikelihoodRecipe, step: int, progress: float) -> float:
    falling = 0.5 * (1 + math.cos(math.pi * progress))
    return recipe.rate * min(1.0, (step + 1) / recipe.warm_up) * (recipe.floor + (1 - recipe.floor) * falling)


@torch.inference_mode()
def held_out_loss(generator: VerseGenerator, verses: Sequence[Verses], most: int = 2000) -> float:
    """Nats a token of whole held-out verses, each token counting alike."""
    was, total, count = generator.training, 0.0, 0
    generator.eval()
    for each in verses:
        for start in range(0, min(most, len(each.tokens)), 200):
            rows = slice(start, min(start + 200, most))
            tokens, places, lengths = (torch.from_numpy(x[rows]) for x in (each.tokens, each.places, each.lengths))
            number = int(lengths.sum())
            total += float(loss_of(generator, tokens, places, lengths)) * number
            count += number
    generator.train(was)
    return total / max(1, count)
