"""What every way of reading a mood answers to. Knows none of them."""

from collections.abc import Sequence
from typing import Protocol

from models.serving.short_requests import Method, Mood


class SentimentMethod(Protocol):
    """Reads many texts at once; the same text gets the same answer in any company."""

    @property
    def name(self) -> Method: ...

    @property
    def version(self) -> str:
        """E.g. "rules@1" or "moods@3b1f09d2" (first 8 hex of the weights' sha256)."""

    def read(self, texts: Sequence[str], *, explain: bool = True) -> list[Mood]:
        """One mood for each text. Never raises for any string: what can't be read is neutral, not `sure`, with a
        note. Without `explain` evidence may be left out, where finding it costs time."""
