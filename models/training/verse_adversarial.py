"""Trains a verse generator against a discriminator, from where maximum likelihood left it: RelGAN (Nie et al., ICLR
2019), with a GRU in place of its relational memory. Knows no metric and draws nothing.

The generator's choice of a token is relaxed by Gumbel noise and a softmax of growing inverse temperature, so that the
discriminator's gradient reaches it; the loss is the relativistic one of `models.gan.losses`, averaged over the
discriminator's readers. A run lasts and goes on as one of `verse_likelihood`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import torch
from torch import Tensor

from models.gan.losses import RelativisticPairing
from models.gan.verse_networks import VerseDiscriminator, VerseGenerator, VerseShape
from models.training import checkpoint
from models.training.checkpoint import Position
from models.training.verse_data import Verses
from models.training.verse_likelihood import Clock
from models.training.verse_sampling import sample_relaxed

_LOSS: Final = RelativisticPairing()


class AdversarialRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """What decides a run. With `minutes` of wall time it lasts that long, else `steps`. The inverse temperature grows
    from 1 to `beta` exponentially over the run (section 3.2 of the paper). `ahead`: steps in which the discriminator
    learns alone at the beginning."""

    seed: int = 1
    minutes: float | None = None
    steps: int = 1000
    batch: int = 48
    generator_rate: float = 1e-4
    discriminator_rate: float = 3e-4
    beta: float = 100.0
    ahead: int = 50
    checkpoint_every_s: float = 120.0


@dataclass(frozen=True, kw_only=True)
class AdversarialStep:
    """`progress` of the schedule, 0 to 1; `right` is the share of pairs whose real verse got the higher logit."""

    step: int
    progress: float
    discriminator: float
    generator: float
    right: float
    beta: float
    cpu_s: float


class AdversarialRun:
    """One run in `folder`: both networks, optimizers and place in the schedule."""

    def __init__(
        self,
        verses: Sequence[Verses],
        pieces: Sequence[str],
        shape: VerseShape,
        begin: Mapping[str, Tensor],
        recipe: AdversarialRecipe,
        folder: Path,
    ) -> None:
        """Goes on from the newest checkpoint in `folder`, else from the generator's weights `begin`. `verses` are whole
        ones, a set for each form; a batch is of one form, as often as its share of the rows."""
        self.recipe, self.folder, self.pieces = recipe, folder, pieces
        self.forms = [each.form for each in verses]
        self.sets = [torch.from_numpy(each.tokens) for each in verses]
        self.shares = torch.tensor([float(len(each.tokens)) for each in verses])
        torch.manual_seed(recipe.seed)
        self.generator = VerseGenerator(shape)
        self.generator.load_state_dict(begin)
        self.discriminator = VerseDiscriminator(shape.vocabulary)
        rates = (("g", self.generator, recipe.generator_rate), ("d", self.discriminator, recipe.discriminator_rate))
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam(network.parameters(), lr=rate, betas=(0.9, 0.999)) for name, network, rate in rates
        }
        self.weights: dict[str, Tensor] = {}
        for name, network, _ in rates:
            self.weights |= {f"{name}.{key}": weight for key, weight in network.named_parameters()}
        self.position = Position(step=0, progress=0.0)
        self._cpu_before, self._cpu_began = 0.0, time.process_time()
        if found := checkpoint.newest(folder / "checkpoints"):
            self.position = checkpoint.restore(found, self.weights, self.optimizers)
            self._cpu_before = float(str(self.position.recipe.get("cpu_s", 0.0)))

    @property
    def cpu_s(self) -> float:
        """CPU-seconds of this run, over all its processes, up to the checkpoint that each went on from."""
        return self._cpu_before + time.process_time() - self._cpu_began

    def steps(self) -> Iterator[AdversarialStep]:
        """Train to the end of the schedule, and leave a checkpoint there."""
        clock = Clock(self.recipe.minutes, self.recipe.steps, self.position)
        saved = time.monotonic()
        while self.position.progress < 1:
            done = self._update(self.position.step)
            self.position = clock.after(done.step)
            if time.monotonic() - saved > self.recipe.checkpoint_every_s:
                self.save()
                saved = time.monotonic()
            yield replace(done, progress=self.position.progress)
        self.save()

    def save(self) -> None:
        self.position = msgspec.structs.replace(self.position, recipe={"cpu_s": self.cpu_s})
        checkpoint.save(self.folder / "checkpoints", self.weights, self.optimizers, self.position)

    def _update(self, step: int) -> AdversarialStep:
        """The discriminator learns from a batch, then the generator through the improved discriminator from the same
        one: writing the verses is what costs."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed * 1_000_003 + step)  # rows, Gumbel noise and dropout
        beta: float = recipe.beta**self.position.progress
        form = int(torch.multinomial(self.shares, 1))
        real = self.sets[form][torch.randint(len(self.sets[form]), (recipe.batch,))]
        learns = step >= recipe.ahead
        with torch.set_grad_enabled(learns):
            _, fake = sample_relaxed(self.generator, self.forms[form], self.pieces, recipe.batch, beta)
        self.discriminator.train()
        real_logits, fake_logits = self.discriminator(real), self.discriminator(fake.detach())
        d_loss = _LOSS.discriminator(real_logits, fake_logits)
        self._descend("d", d_loss)
        g_loss = torch.zeros(())
        if learns:
            self.discriminator.requires_grad_(False)
            with torch.no_grad():
                real_logits = self.discriminator(real)
            g_loss = _LOSS.generator(real_logits, self.discriminator(fake))
            self._descend("g", g_loss)
            self.discriminator.requires_grad_(True)
        return AdversarialStep(
            step=step + 1,
            progress=self.position.progress,  # where it began; the clock says where it ended
            discriminator=float(d_loss.detach()),
            generator=float(g_loss.detach()),
            right=float((real_logits.detach() > fake_logits.detach()).float().mean()),
            beta=beta,
            cpu_s=self.cpu_s,
        )

    def _descend(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for group in optimizer.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], 10.0)
        optimizer.step()
