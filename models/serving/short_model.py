"""What a short worker asks of the models that it hosts. Knows no library: numpy, torch and a test's own meet it."""

from collections.abc import Sequence
from typing import Protocol

from models.serving.short_requests import AnyShortOutput, AnyShortRequest


class ShortModelMissingError(ValueError):
    """Weights or a library that a request needs aren't here. The message says which and what an operator can do."""


class ShortModel(Protocol):
    """A family of small models behind one kind of request. Called from one thread at a time."""

    @property
    def version(self) -> str:
        """Name and content of the weights, e.g. "moods@3b1f09d2" (first 8 hex of the sha256)."""

    def answer(self, requests: Sequence[AnyShortRequest]) -> list[AnyShortOutput]:
        """One answer for each request of the kinds that this model is for, in their order. Raises
        ShortModelMissingError, and ValueError for a request that no retry can save (the batch is then halved until that
        one fails alone)."""
