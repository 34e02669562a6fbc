"""How good and how various verses are: BLEU against held-out verses, and against each other. Knows no network.

BLEU is Papineni et al. 2002: the geometric mean of clipped n-gram precisions, times a penalty for brevity. It is
computed for each verse and averaged, with a count of 0.1 where no n-gram of an order is found (Chen and Cherry 2014,
method 1), as Texygen does (Zhu et al. 2018). Self-BLEU takes the other samples of the same set as the references: high
means little variety.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

ORDERS: Final = (2, 3, 4, 5)
_SMOOTH: Final = 0.1

Row = Sequence[int]
_Gram = tuple[int, ...]


def grams(row: Row, order: int) -> Counter[_Gram]:
    return Counter(tuple(row[start : start + order]) for start in range(len(row) - order + 1))


class References:
    """What n-grams a set of verses has, and how often one verse has each at most."""

    def __init__(self, rows: Sequence[Row], highest: int = max(ORDERS)) -> None:
        self._most: list[dict[_Gram, tuple[int, int, int]]] = []  # count, whose, the count of the best other
        for order in range(1, highest + 1):
            most: dict[_Gram, tuple[int, int, int]] = {}
            for place, row in enumerate(rows):
                for gram, count in grams(row, order).items():
                    best, whose, second = most.get(gram, (0, -1, 0))
                    most[gram] = (count, place, best) if count > best else (best, whose, max(second, count))
            self._most.append(most)
        self._lengths = sorted(len(row) for row in rows)

    def bleu(self, row: Row, highest: int, without: int | None = None) -> float:
        """BLEU of one verse with n-grams up to `highest`; `without` leaves one reference out, by its place (and takes
        this verse for it)."""
        logs = 0.0
        for order in range(1, highest + 1):
            own = grams(row, order)
            found = sum(min(count, self._limit(gram, without)) for gram, count in own.items())
            logs += math.log((found or _SMOOTH) / max(1, sum(own.values())))
        return self._brevity(len(row), without is not None) * math.exp(logs / highest)

    def _limit(self, gram: _Gram, without: int | None) -> int:
        best, whose, second = self._most[len(gram) - 1].get(gram, (0, -1, 0))
        return second if whose == without else best

    def _brevity(self, length: int, itself: bool) -> float:
        lengths = self._lengths
        if itself:
            lengths = lengths.copy()
            del lengths[bisect_left(lengths, length)]
        place = bisect_left(lengths, length)
        near = lengths[max(0, place - 1) : place + 1]
        closest = min(near, key=lambda each: (abs(each - length), each))  # of two as near the shorter
        return 1.0 if length >= closest else math.exp(1 - closest / max(1, length))


def bleu(samples: Sequence[Row], references: References, highest: int) -> float:
    """The mean over the samples."""
    return sum(references.bleu(row, highest) for row in samples) / len(samples)


def self_bleu(samples: Sequence[Row], highest: int, references: References | None = None) -> float:
    """The mean BLEU of each sample against all the others; `references` saves counting the samples again."""
    seen = references if references is not None else References(samples, highest)
    return sum(seen.bleu(row, highest, without=place) for place, row in enumerate(samples)) / len(samples)
