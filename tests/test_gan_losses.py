"""The losses against the papers' equations, the penalties against autograd, and what the game learns on toy data."""

import math

import pytest

torch = pytest.importorskip("torch")

from models.gan.losses import LOSSES, gradient_penalty, penalty_of  # noqa: E402


class Quartic(torch.nn.Module):
    """D(x) = sum of a_i x_i^4 + b x_0 x_1: its gradient is known in closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64))
        self.b = torch.nn.Parameter(torch.tensor(0.9, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.a * x**4).sum(1) + self.b * x[:, 0] * x[:, 1]


def _points(rows: int = 5) -> torch.Tensor:
    return torch.randn(rows, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("which", ["real", "generated"])
def test_the_penalty_is_half_gamma_times_the_mean_squared_gradient(which: str) -> None:
    critic, x = Quartic(), _points() * (1.0 if which == "real" else 1.7)
    gradient = 4 * critic.a * x**3
    gradient[:, 0] += critic.b * x[:, 1]
    gradient[:, 1] += critic.b * x[:, 0]
    expected = 0.5 * 2.5 * gradient.square().sum(1).mean()
    assert torch.allclose(gradient_penalty(critic, x, 2.5), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1.7])
def test_the_gradients_of_both_penalties_are_those_of_autograd_and_of_finite_differences(scale: float) -> None:
    critic, x = Quartic(), _points() * scale

    def penalty(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return gradient_penalty(lambda y: (a * y**4).sum(1) + b * y[:, 0] * y[:, 1], x, 0.5)

    assert torch.autograd.gradcheck(penalty, (critic.a, critic.b), atol=1e-9)
    # By hand: d/da_i of gamma/2 mean sum_j g_j^2 = gamma mean g_i 4 x_i^3; d/db = gamma mean (g_0 x_1 + g_1 x_0).
    g = 4 * critic.a * x**3
    g = g + critic.b * torch.stack([x[:, 1], x[:, 0], torch.zeros(len(x), dtype=x.dtype)], 1)
    by_hand = (0.5 * (g * 4 * x**3).mean(0), 0.5 * (g[:, 0] * x[:, 1] + g[:, 1] * x[:, 0]).mean())
    found = torch.autograd.grad(gradient_penalty(critic, x, 0.5), (critic.a, critic.b))
    for ours, theirs in zip(found, by_hand, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12)


def test_one_pass_over_both_halves_gives_the_sum_of_r1_and_r2() -> None:
    critic, real, fake = Quartic(), _points(), _points() * 1.3
    both = torch.cat([real, fake]).requires_grad_()
    together = 2 * penalty_of(critic(both), both, 0.5)
    apart = gradient_penalty(critic, real, 0.5) + gradient_penalty(critic, fake, 0.5)
    assert torch.allclose(together, apart, rtol=1e-12)


def test_the_penalty_reaches_convolutional_weights_through_the_second_derivative() -> None:
    from models.gan.networks import Discriminator, Shape

    torch.manual_seed(0)
    critic = Discriminator(Shape(stages=(16,), patch=4, size=8, embedding=4, classes=(2,))).double()
    for weight in critic.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    labels = torch.tensor([[0], [1]])
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    weight = critic.stages[0][0].spatial.weight
    (found,) = torch.autograd.grad(gradient_penalty(lambda y: critic(y, labels), x, 1.0), weight)
    with torch.no_grad():
        step = 1e-6
        weight[0, 0, 1, 1] += step
    above = gradient_penalty(lambda y: critic(y, labels), x, 1.0)
    with torch.no_grad():
        weight[0, 0, 1, 1] -= 2 * step
    below = gradient_penalty(lambda y: critic(y, labels), x, 1.0)
    assert float(found[0, 0, 1, 1]) == pytest.approx(float((above - below).detach() / (2 * step)), rel=1e-5)
    assert abs(float(found[0, 0, 1, 1])) > 1e-6


def test_the_relativistic_loss_is_that_of_the_paper_on_toy_numbers() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    loss = LOSSES["relativistic"]
    # f(t) = -log(1 + e^-t); D maximises, so minimises -E f(D(x) - D(G(z))).
    expected = (math.log(1 + math.exp(-(2.0 - 0.5))) + math.log(1 + math.exp(-(-1.0 - 3.0)))) / 2
    assert float(loss.discriminator(real, fake)) == pytest.approx(expected, rel=1e-6)
    swapped = (math.log(1 + math.exp(-(0.5 - 2.0))) + math.log(1 + math.exp(-(3.0 + 1.0)))) / 2
    assert float(loss.generator(real, fake)) == pytest.approx(swapped, rel=1e-6)
    shifted = loss.discriminator(real + 7, fake + 7)  # only the difference of a pair counts
    assert float(shifted) == pytest.approx(expected, rel=1e-6)


def test_the_classical_loss_is_that_of_the_paper_on_toy_numbers() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])

    def sigmoid(t: float) -> float:
        return 1 / (1 + math.exp(-t))

    loss = LOSSES["classical"]
    d_loss = -(math.log(sigmoid(2.0)) + math.log(sigmoid(-1.0))) / 2
    d_loss -= (math.log(1 - sigmoid(0.5)) + math.log(1 - sigmoid(3.0))) / 2
    assert float(loss.discriminator(real, fake)) == pytest.approx(d_loss, rel=1e-6)
    g_loss = -(math.log(sigmoid(0.5)) + math.log(sigmoid(3.0))) / 2
    assert float(loss.generator(real, fake)) == pytest.approx(g_loss, rel=1e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_logits_beyond_the_range_of_exp_stay_finite(name: str) -> None:
    huge = torch.tensor([1e4, -1e4])
    assert torch.isfinite(LOSSES[name].discriminator(huge, -huge))
    assert torch.isfinite(LOSSES[name].generator(huge, -huge))


def _train_on_points(name: str, centres: torch.Tensor, *, steps: int, spread: float) -> torch.Tensor:
    """2,000 points that a small generator makes after `steps` updates against a small discriminator."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    loss, batch, lazy, gamma = LOSSES[name], 128, 2, 0.02

    def net(width_in: int, width_out: int) -> torch.nn.Sequential:
        layers: list[torch.nn.Module] = []
        for size in (width_in, 64):
            layers += [torch.nn.Linear(size, 64), torch.nn.LeakyReLU(0.2)]
        return torch.nn.Sequential(*layers, torch.nn.Linear(64, width_out))

    g, d = net(4, 2), net(2, 1)
    optimizers = [torch.optim.Adam(each.parameters(), betas=(0.0, 0.9)) for each in (g, d)]

    def real() -> torch.Tensor:
        return centres[torch.randint(len(centres), (batch,))] + spread * torch.randn(batch, 2)

    for step in range(steps):
        decay = 0.5 * (1 + math.cos(math.pi * step / steps))
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 2e-3 * decay
        penalised = step % lazy == 0
        with torch.no_grad():
            fake = g(torch.randn(batch, 4))
        both = torch.cat([real(), fake]).requires_grad_(penalised)
        logits = d(both)[:, 0]
        total = loss.discriminator(*logits.chunk(2))
        if penalised:
            total = total + 2 * lazy * penalty_of(logits, both, gamma * max(decay, 0.1))
        optimizers[1].zero_grad()
        total.backward()
        optimizers[1].step()
        with torch.no_grad():
            real_logits = d(real())[:, 0]
        g_loss = loss.generator(real_logits, d(g(torch.randn(batch, 4)))[:, 0])
        optimizers[0].zero_grad()
        g_loss.backward()
        optimizers[0].step()
    with torch.no_grad():
        return g(torch.randn(2000, 4))


def _shares(points: torch.Tensor, centres: torch.Tensor, radius: float) -> torch.Tensor:
    """The share of all points that lie within `radius` of each centre."""
    near = torch.cdist(points, centres) < radius
    return near.float().mean(0)


def test_the_relativistic_loss_covers_both_of_two_gaussians() -> None:
    centres = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    shares = _shares(_train_on_points("relativistic", centres, steps=500, spread=0.1), centres, 0.4)
    assert shares.min() > 0.3
    assert shares.sum() > 0.85


def test_the_relativistic_loss_covers_all_modes_of_a_ring_of_eight_gaussians() -> None:
    angles = torch.arange(8) * (2 * math.pi / 8)
    centres = torch.stack([angles.cos(), angles.sin()], 1)
    shares = _shares(_train_on_points("relativistic", centres, steps=1200, spread=0.05), centres, 0.25)
    assert shares.min() > 0.04  # an eighth would be 0.125
    assert shares.sum() > 0.65  # the rest lies between neighbours: a continuous map of z has to cross
