"""Methods 1 and 2: the share of a text's words that stand in a list of positive, or of negative, words. Each list
decides alone, knows nothing of the other, of negation or of word order.

The rule, as in the article this project comes from: count the listed words (emoji and kaomoji count as words) and
divide by all words. The probability of the list's class comes from a logistic regression on (1, whether any word is
listed, the share, the logarithm of 1 + the count), fitted on three-class training rows with every class weighing the
same (`score_map`). Above a third the answer is that class. Below it the method only knows what the mood isn't: the
other two classes get the rest in halves, and the answer is neutral, the weaker claim.
"""

from collections.abc import Sequence
from math import log1p

from models.sentiment.answer import answer
from models.sentiment.polar_words import PolarWord, polar_words
from models.sentiment.reading import Reading, read
from models.sentiment.score_map import ScoreMap, load_score_maps
from models.serving.short_requests import Evidence, Method, Mood

WEAKEST_COUNTED = 0.8  # valence; weaker words only tip the rules
_CHARACTERS_PER_WORD = 1.6  # Chinese words are about so long


class CountingLexicon:
    """One list of words. `sign` 1 counts positive words, -1 negative ones."""

    def __init__(self, name: Method, sign: int, maps: dict[str, ScoreMap] | None = None) -> None:
        self.name: Method = name
        self.version = f"{name}@1"
        self._sign = sign
        self._maps = load_score_maps() if maps is None else maps

    def read(self, texts: Sequence[str], *, explain: bool = True) -> list[Mood]:
        return [self._mood(read(text)) for text in texts]

    def features(self, reading: Reading) -> tuple[list[float], list[PolarWord]]:
        """(1, any, share, log(1 + count)) and the words counted."""
        counted = [word for word in polar_words(reading) if word.valence * self._sign >= WEAKEST_COUNTED]
        counted += [
            PolarWord(face.start, face.end, face.valence)
            for face in reading.faces
            if face.valence * self._sign >= WEAKEST_COUNTED
        ]
        total = len(reading.latin) + reading.chinese / _CHARACTERS_PER_WORD + len(reading.faces)
        count = len(counted)
        share = min(count / total, 1.0) if total else 0.0
        return [1.0, float(count > 0), share, log1p(count)], counted

    def _mood(self, reading: Reading) -> Mood:
        features, counted = self.features(reading)
        scale = self._maps[f"{self.name}/{'zh' if reading.language == 'zh' else 'en'}"]
        own = scale.probabilities(features)[self._sign + 1]
        others = (1.0 - own) / 2
        return answer(
            reading,
            (others, others, own) if self._sign > 0 else (own, others, others),
            method=self.name,
            version=self.version,
            evidence=[
                Evidence(text=reading.written[word.start : word.end], weight=round(word.valence, 2)) for word in counted
            ],
        )


def positive_lexicon(maps: dict[str, ScoreMap] | None = None) -> CountingLexicon:
    """Method 1."""
    return CountingLexicon("positive_lexicon", 1, maps)


def negative_lexicon(maps: dict[str, ScoreMap] | None = None) -> CountingLexicon:
    """Method 2."""
    return CountingLexicon("negative_lexicon", -1, maps)
