"""Draws whole verses from a generator in torch, a batch at a time: tokens for the judge, or with them distributions
through which a discriminator's gradient flows. Knows no loss.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.gan.verse_forms import (
    BREAK,
    FREE,
    FULL,
    LENGTH,
    LINES,
    MAX_PIECES,
    MIN_PIECES,
    Form,
    masks,
    place_after,
)
from models.gan.verse_networks import VerseGenerator


class Lines:
    """Where each verse of a batch stands; the rules of `verse_forms.stage`, for many at once."""

    def __init__(self, form: Form, pieces: Sequence[str], batch: int) -> None:
        self.form = form
        self._may = torch.from_numpy(masks(form, pieces))
        self._lines, self._count = torch.zeros(batch, dtype=torch.int64), torch.zeros(batch, dtype=torch.int64)
        self._position = 0

    @property
    def places(self) -> Tensor:
        """Of the next token, int64 (batch,)."""
        if self.form == "en":
            return self._lines.clamp(max=LINES)
        return torch.full_like(self._lines, place_after(self.form, [BREAK] * self._position))

    def forbid(self, logits: Tensor) -> Tensor:
        """Logits (batch, vocabulary) with -inf where a token may not come."""
        if self.form != "en":
            return logits.masked_fill(~self._may[FREE], -torch.inf)
        full = (self._lines >= LINES) | (self._count >= MAX_PIECES)
        stage = torch.where(full, FULL, (self._count > 0).long() + (self._count >= MIN_PIECES).long())
        return logits.masked_fill(~self._may[stage], -torch.inf)

    def follow(self, tokens: Tensor) -> None:
        ends = tokens == BREAK
        self._lines = self._lines + ends
        self._count = torch.where(ends, 0, self._count + 1)
        self._position += 1


@torch.inference_mode()
def sample(
    generator: VerseGenerator, form: Form, pieces: Sequence[str], count: int, *, temperature: float, seed: int
) -> Tensor:
    """int64 (count, LENGTH[form]): `count` verses at `temperature`."""
    random = torch.Generator().manual_seed(seed)
    was = generator.training
    generator.eval()
    lines, state = Lines(form, pieces, count), None
    before = torch.full((count,), BREAK)
    rows = []
    for _ in range(LENGTH[form]):
        logits, state = generator(before[:, None], lines.places[:, None], state)
        odds = torch.softmax(lines.forbid(logits[:, 0]) / temperature, 1)
        before = torch.multinomial(odds, 1, generator=random)[:, 0]
        lines.follow(before)
        rows.append(before)
    generator.train(was)
    return torch.stack(rows, 1)


def gumbel(shape: torch.Size) -> Tensor:
    """Noise whose largest sum with logits stands at a token as often as the softmax says (Gumbel 1954)."""
    tiny = torch.finfo(torch.get_default_dtype()).tiny
    return -torch.log((-torch.log(torch.rand(shape).clamp_min(tiny))).clamp_min(tiny))


def relax(logits: Tensor, noise: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """A token drawn by Gumbel's maximum, int64 (batch,), and its relaxation softmax(beta (logits + noise)), which is
    the token's one-hot row in the limit of beta (equation 3 of Nie et al. 2019; Jang et al. 2017)."""
    disturbed = logits + noise
    return disturbed.argmax(-1), torch.softmax(beta * disturbed, -1)


def sample_relaxed(
    generator: VerseGenerator, form: Form, pieces: Sequence[str], count: int, beta: float
) -> tuple[Tensor, Tensor]:
    """`count` verses from torch's own random state: tokens (count, length) and their relaxations (count, length,
    vocabulary). As in RelGAN, the drawn token goes back into the network, and the relaxation to the discriminator."""
    lines, state = Lines(form, pieces, count), None
    before = torch.full((count,), BREAK)
    drawn, soft = [], []
    for _ in range(LENGTH[form]):
        logits, state = generator(before[:, None], lines.places[:, None], state)
        allowed = lines.forbid(logits[:, 0])
        before, relaxed = relax(allowed, gumbel(allowed.shape), beta)
        lines.follow(before)
        drawn.append(before)
        soft.append(relaxed)
    return torch.stack(drawn, 1), torch.stack(soft, 1)
