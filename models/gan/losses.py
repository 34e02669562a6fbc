"""The adversarial losses and the gradient penalties, as the papers write them. Knows no network and no schedule.

Logits are (batch,): what the discriminator says before any sigmoid. D is the discriminator's loss, G the generator's;
both are minimised.
"""

from collections.abc import Callable
from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn import functional


class AdversarialLoss(Protocol):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The mean loss of D for logits of real and generated pictures."""

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The mean loss of G for the same."""


class RelativisticPairing:
    """Each fake against one real: E[f(D(G(z)) - D(x))], f(t) = -log(1 + exp(-t)), which G minimises and D maximises
    (Jolicoeur-Martineau 2018; equation 2 of Huang et al., "The GAN is dead; long live the GAN!", NeurIPS 2024, which
    proves that with R1 and R2 it converges locally). G uses the form that does not saturate, as the paper's code does:
    the same f with the roles of the pair exchanged."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return functional.softplus(fake - real).mean()

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return functional.softplus(real - fake).mean()


class NonSaturating:
    """Goodfellow et al. 2014: D minimises -log D(x) - log(1 - D(G(z))) (equation 1, its sign turned); G minimises
    -log D(G(z)), the form of section 3 that does not saturate. D(.) there is the sigmoid of our logit."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return functional.softplus(-real).mean() + functional.softplus(fake).mean()

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        del real
        return functional.softplus(-fake).mean()


LOSSES: Final[dict[str, AdversarialLoss]] = {"relativistic": RelativisticPairing(), "classical": NonSaturating()}


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], pictures: Tensor, gamma: float) -> Tensor:
    """gamma/2 E||grad_x D(x)||^2, zero-centred (Mescheder et al. 2018): R1 where `pictures` (batch, ...) are real, R2
    where they are generated. D must treat each picture alone, for the sum's gradient is taken at once."""
    inputs = pictures.detach().requires_grad_()
    return penalty_of(discriminator(inputs), inputs, gamma)


def penalty_of(logits: Tensor, inputs: Tensor, gamma: float) -> Tensor:
    """The same for logits that were computed already from `inputs`, so that one pass serves loss and penalty."""
    (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return 0.5 * gamma * gradient.square().flatten(1).sum(1).mean()
