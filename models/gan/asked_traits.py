"""From traits in words to classes of the labels, and back from a classifier's logits to words. Knows no network."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.gan.traits import FIELD, FIELDS, TRAIT, TRAITS, Trait

_SPELLINGS: Final = {"hair color": "hair colour", "colour": "hair colour", "color": "hair colour"}
_YES, _NO = "yes", "no"


def asked_classes(asked: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """For each conditioning field that `asked` limits, the classes that remain. Raises ValueError, in one sentence that
    lists what there is, for a trait or a word that is unknown."""
    remaining: dict[str, tuple[int, ...]] = {}
    for given, word in asked.items():
        name = " ".join(given.casefold().replace("_", " ").split())
        trait = TRAIT.get(_SPELLINGS.get(name, name))
        if trait is None:
            raise ValueError(f"There is no trait {given[:40]!r}; there are {', '.join(TRAIT)}.")
        field = FIELD[trait.field]
        remaining[trait.field] = tuple(field.classes.index(each) for each in _classes(trait, word))
    return remaining


def _classes(trait: Trait, word: str) -> Sequence[str]:
    wanted = " ".join(word.casefold().replace("_", " ").split())
    if wanted in trait.groups:
        return trait.groups[wanted]
    if wanted == _YES and _NO in trait.groups:  # of glasses, "yes" is any kind
        return [each for group, classes in trait.groups.items() if group != _NO for each in classes]
    raise ValueError(f"{trait.name} can't be {word[:40]!r}; it can be {', '.join(trait.words)}.")


def seen_traits(logits: NDArray[np.float32]) -> dict[str, str]:
    """The most likely word of each trait, by the sum of its classes' probabilities; a faint trait is left out where it
    isn't seen. `logits`: all classes of all FIELDS in a row."""
    places = np.cumsum([0, *(len(field.classes) for field in FIELDS)])
    seen = {}
    for trait in TRAITS:
        number = FIELDS.index(FIELD[trait.field])
        own = logits[places[number] : places[number + 1]].astype(np.float64)
        likely = np.exp(own - own.max())
        classes = FIELD[trait.field].classes
        shares = {word: sum(likely[classes.index(each)] for each in group) for word, group in trait.groups.items()}
        word = max(shares, key=lambda each: shares[each])
        if not (trait.faint and word == _NO):
            seen[trait.name] = word
    return seen
