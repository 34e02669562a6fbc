"""The small network that sees a portrait's labels: its features judge generators, its labels become words. Knows no
generator. `forward.classify` is the same in numpy.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from models.gan.traits import FIELDS

CLASSES: Final = tuple(len(field.classes) for field in FIELDS)
FEATURES: Final = 96


class AttributeClassifier(nn.Module):
    """Pictures (batch, 3, 16, 16) in -1..1 to logits of all classes of all fields in a row, (batch, sum of classes)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, padding=1)
        self.second = nn.Conv2d(4 * 32, 64, 3, padding=1)
        self.third = nn.Conv2d(4 * 64, 96, 3, padding=1)
        self.features = nn.Linear(96 * 16, FEATURES)
        self.classes = nn.Linear(FEATURES, sum(CLASSES))

    def see(self, pictures: Tensor) -> Tensor:
        """The features that metrics are computed in: the last hidden layer, (batch, FEATURES), not negative."""
        x = functional.relu(self.first(pictures))
        x = functional.relu(self.second(functional.pixel_unshuffle(x, 2)))
        x = functional.relu(self.third(functional.pixel_unshuffle(x, 2)))
        return functional.relu(self.features(x.flatten(1)))

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.classes(self.see(pictures))
        return logits

    def save(self, path: Path) -> None:
        save_file({name: weight.half().contiguous() for name, weight in self.state_dict().items()}, path)

    @staticmethod
    def load(path: Path) -> "AttributeClassifier":
        """Raises OSError or SafetensorError where there is no such file, RuntimeError where it has another shape."""
        network = AttributeClassifier()
        network.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
        return network.eval()


def split(logits: Tensor) -> Sequence[Tensor]:
    """The logits of each field, in the order of FIELDS."""
    parts: Sequence[Tensor] = logits.split(CLASSES, -1)  # type: ignore[no-untyped-call]
    return parts
