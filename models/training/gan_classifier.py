"""Trains the attribute classifier on DiceBear's labels. Knows no generator.

Pictures are shown with a little noise, so that what the classifier sees in a generated one doesn't hang on a colour's
last bits. The seed decides the weights on one machine.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from models.gan.attribute_classifier import AttributeClassifier, split
from models.gan.traits import FIELDS
from models.training.gan_data import HIDDEN, Portraits


def as_tensors(portraits: Portraits) -> tuple[Tensor, Tensor]:
    """Pictures float (n, 3, 16, 16) in -1..1 and labels int64 (n, fields)."""
    pictures = torch.from_numpy(portraits.pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pictures.contiguous(), torch.from_numpy(portraits.labels)


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum over fields of the mean cross-entropy, in nats, over pictures that show the field."""
    losses = [
        functional.cross_entropy(found, labels[:, place], ignore_index=HIDDEN, reduction="sum")
        / (labels[:, place] != HIDDEN).sum().clamp(min=1)
        for place, found in enumerate(split(logits))
    ]
    return torch.stack(losses).sum()


def train_classifier(
    portraits: Portraits,
    *,
    seed: int = 1,
    epochs: float = 20,
    batch: int = 64,
    rate: float = 2e-3,
    noise: float = 0.03,
    tell: Callable[[int, int, float], None] | None = None,
) -> AttributeClassifier:
    """A classifier of `portraits`. `tell` hears step, all steps and loss now and then."""
    pictures, labels = as_tensors(portraits)
    torch.manual_seed(seed)
    network = AttributeClassifier()
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.02)
    steps = max(1, int(epochs * len(pictures) / batch))
    order = torch.randperm(len(pictures))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        at = (step * batch) % len(pictures)
        if at < batch:
            order = torch.randperm(len(pictures))
        rows = order[at : at + batch]
        shown = pictures[rows] + noise * torch.randn(len(rows), *pictures.shape[1:])
        loss = label_loss(network(shown), labels[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if tell is not None and step % 100 == 0:
            tell(step, steps, float(loss.detach()))
    return network.eval()


@torch.inference_mode()
def accuracy(network: AttributeClassifier, portraits: Portraits) -> dict[str, float]:
    """The share of right labels of each field, among pictures that show it."""
    pictures, labels = as_tensors(portraits)
    parts = pictures.split(500)  # type: ignore[no-untyped-call]
    found = split(torch.cat([network(part) for part in parts]))
    result = {}
    for place, field in enumerate(FIELDS):
        shown = labels[:, place] != HIDDEN
        result[field.name] = float((found[place].argmax(1) == labels[:, place])[shown].float().mean())
    return result
