"""Trains the portrait GAN: its steps, schedule, checkpoints and the averaged generator. Knows no metric and draws
nothing; whoever runs it looks at `Run.average` between steps.

Learning rate and gamma fall along a cosine over wall time, so a busy machine makes the run shorter but never leaves it
half-annealed. A killed run goes on from its last checkpoint; over steps instead of minutes it makes the very same
weights, because every random number of a step comes from the run's seed and the step's number.
"""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from models.gan.losses import LOSSES, penalty_of
from models.gan.networks import Discriminator, Generator, Shape
from models.training import checkpoint
from models.training.checkpoint import Position


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What decides a run. With `minutes` it lasts that long, else `steps`. `gamma` weighs both penalties, each computed
    every `lazy` steps and multiplied by it (Karras et al. 2020, appendix B). `half_life` of the average in pictures; it
    grows with the run at its beginning (`ramp` of what was seen, as in R3GAN)."""

    seed: int = 1
    loss: str = "relativistic"
    batch: int = 16
    rate: float = 1.5e-3
    floor: float = 0.02  # the last rate as a part of the peak
    warm_up: int = 100
    betas: tuple[float, float] = (0.0, 0.99)
    gamma: float = 1.0
    gamma_floor: float = 0.1  # the last gamma as a part of the first
    lazy: int = 4
    half_life: float = 30_000.0
    ramp: float = 0.05
    minutes: float | None = None
    steps: int = 1000
    bf16: bool = False
    checkpoint_every_s: float = 120.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one step did. `left_s` of wall time; `cpu_s` is what the whole run has cost so far."""

    step: int
    discriminator: float
    generator: float
    penalty: float
    rate: float
    pictures_per_s: float
    left_s: float
    cpu_s: float


class Run:
    """One training run in `folder`: networks, optimizers and place in the schedule."""

    def __init__(
        self,
        pictures: Tensor,
        labels: Tensor,
        shape: Shape,
        recipe: Recipe,
        folder: Path,
        begin: tuple[dict[str, Tensor], dict[str, Tensor]] | None = None,
    ) -> None:
        """`pictures` float (n, 3, size, size) in -1..1, `labels` int64 (n, fields). Goes on from the newest checkpoint
        in `folder`; where there is none, from the generator and discriminator in `begin`, or from random ones. Raises
        KeyError or RuntimeError when those are of another shape."""
        self.pictures, self.labels, self.recipe, self.folder = pictures, labels, recipe, folder
        self.loss = LOSSES[recipe.loss]
        torch.manual_seed(recipe.seed)
        self.generator, self.discriminator = Generator(shape), Discriminator(shape)
        if begin is not None:
            self.generator.load_state_dict(begin[0])
            self.discriminator.load_state_dict(begin[1])
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam(network.parameters(), lr=recipe.rate, betas=recipe.betas, eps=1e-8)
            for name, network in (("g", self.generator), ("d", self.discriminator))
        }
        self.weights: dict[str, Tensor] = {}
        for prefix, network in (("g", self.generator), ("d", self.discriminator), ("ema", self.average)):
            self.weights |= {f"{prefix}.{name}": weight for name, weight in network.named_parameters()}
        self.position = Position(step=0, progress=0.0)
        self._cpu_before, self._cpu_began = 0.0, time.process_time()
        if found := checkpoint.newest(folder / "checkpoints"):
            self.position = checkpoint.restore(found, self.weights, self.optimizers)
            self._cpu_before = float(str(self.position.recipe.get("cpu_s", 0.0)))

    @property
    def cpu_s(self) -> float:
        """CPU-seconds of this run, over all its processes, up to the checkpoint that each went on from."""
        return self._cpu_before + time.process_time() - self._cpu_began

    def steps(self) -> Iterator[Step]:
        """Train to the end of the schedule, and leave a checkpoint there."""
        recipe, before, resumed = self.recipe, self.position.progress, time.monotonic()
        trained, saved = self.position.trained_s, resumed
        while True:
            passed = time.monotonic() - resumed
            if recipe.minutes is None:
                progress = self.position.step / recipe.steps
            else:  # what is left of the time, from where a killed run stood
                progress = before + passed / (60 * recipe.minutes)
            if progress >= 1:
                break
            begun = time.monotonic()
            found = self._step(progress)
            now = time.monotonic()
            step = self.position.step + 1
            self.position = Position(step=step, progress=progress, trained_s=trained + now - resumed)
            left = (1 - progress) * 60 * recipe.minutes if recipe.minutes else (recipe.steps - step) * (now - begun)
            yield Step(
                step=step,
                discriminator=found[0],
                generator=found[1],
                penalty=found[2],
                rate=found[3],
                pictures_per_s=recipe.batch / (now - begun),
                left_s=left,
                cpu_s=self.cpu_s,
            )
            if now - saved >= recipe.checkpoint_every_s:
                self.checkpoint()
                saved = time.monotonic()
        self.checkpoint()

    def checkpoint(self) -> Path:
        position = msgspec.structs.replace(
            self.position, recipe={**msgspec.to_builtins(self.recipe), "cpu_s": self.cpu_s}
        )
        return checkpoint.save(self.folder / "checkpoints", self.weights, self.optimizers, position)

    def _step(self, progress: float) -> tuple[float, float, float, float]:
        """One update of D and one of G: their losses, the penalty and the learning rate."""
        recipe, step = self.recipe, self.position.step
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        rate = recipe.rate * (recipe.floor + (1 - recipe.floor) * cosine) * min(1.0, (step + 1) / recipe.warm_up)
        gamma = recipe.gamma * (recipe.gamma_floor + (1 - recipe.gamma_floor) * cosine)
        for optimizer in self.optimizers.values():
            optimizer.param_groups[0]["lr"] = rate
        # Every random number of this step, so that a resumed run draws what the uninterrupted one would have.
        random = torch.Generator().manual_seed((recipe.seed << 32) + step)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bf16):
            d_loss, penalty = self._update_discriminator(random, gamma)
            g_loss = self._update_generator(random)
        if not math.isfinite(d_loss + g_loss):
            raise FloatingPointError(f"the losses are {d_loss} and {g_loss} at step {step}")
        self._average()
        return d_loss, g_loss, penalty, rate

    def _batch(self, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Real pictures, their labels and noise. The fake of a pair gets its real one's labels."""
        rows = torch.randint(len(self.pictures), (self.recipe.batch,), generator=random)
        z = torch.randn(self.recipe.batch, self.generator.shape.z, generator=random)
        return self.pictures[rows], self.labels[rows], z

    def _update_discriminator(self, random: torch.Generator, gamma: float) -> tuple[float, float]:
        real, labels, z = self._batch(random)
        with torch.no_grad():
            fake = self.generator(z, labels).float()
        penalised = gamma > 0 and self.position.step % self.recipe.lazy == 0
        inputs = torch.cat([real, fake]).requires_grad_(penalised)
        logits = self.discriminator(inputs, labels.repeat(2, 1)).float()
        loss = self.loss.discriminator(*logits.chunk(2))
        # The mean over both halves is half of R1 + R2, hence the 2.
        penalty = 2 * penalty_of(logits, inputs, gamma) if penalised else torch.zeros(())
        self.optimizers["d"].zero_grad(set_to_none=True)
        (loss + self.recipe.lazy * penalty).backward()  # type: ignore[no-untyped-call]
        self.optimizers["d"].step()
        return float(loss.detach()), float(penalty.detach())

    def _update_generator(self, random: torch.Generator) -> float:
        real, labels, z = self._batch(random)
        self.discriminator.requires_grad_(False)
        with torch.no_grad():
            real_logits = self.discriminator(real, labels).float()
        loss = self.loss.generator(real_logits, self.discriminator(self.generator(z, labels).float(), labels).float())
        self.optimizers["g"].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers["g"].step()
        self.discriminator.requires_grad_(True)
        return float(loss.detach())

    @torch.no_grad()
    def _average(self) -> None:
        recipe = self.recipe
        half_life = min(recipe.half_life, recipe.ramp * recipe.batch * (self.position.step + 1))
        keep = 0.5 ** (recipe.batch / half_life)
        own: list[Tensor] = list(self.average.parameters())
        new: list[Tensor] = list(self.generator.parameters())
        torch._foreach_lerp_(own, new, 1 - keep)
