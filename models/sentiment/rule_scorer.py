"""Method 4 as a member of the default: its probabilities as the two log odds that the trained tiers give. Knows no
rule."""

from collections.abc import Sequence
from math import log

import numpy as np

from models.sentiment.rules import Rules
from models.sentiment.scorer import Prepared, Scores

_LEAST = 1e-4  # keeps a log finite


class RuleScorer:
    """Rules know what tweets and reviews don't teach: chat's faces, slang and turns."""

    def __init__(self) -> None:
        self._rules = Rules()
        self.version = self._rules.version

    def score(self, texts: Sequence[Prepared], *, explain: bool = True) -> Scores:
        moods = [self._rules.mood_of(text.reading) for text in texts]
        logits = np.zeros((len(texts), 2))
        for row, mood in zip(logits, moods, strict=True):
            negative, neutral, positive = (max(chance, _LEAST) for chance in mood.probabilities)
            row[:] = log((negative + positive) / neutral), log(positive / negative)
        return Scores(
            logits=logits,
            evidence=[mood.evidence for mood in moods],
            notes=[("mixed",) if "mixed" in mood.notes else () for mood in moods],
        )
