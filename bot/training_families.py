"""The families of models as people type them: `story, gpt`. Knows no model."""

import re
from collections.abc import Sequence
from typing import cast, get_args

from models.serving.training import Family

EVERYTHING = "everything"


class NoSuchFamilyError(Exception):
    """What was typed names no family that can be trained here."""

    def __init__(self, possible: Sequence[Family]) -> None:
        super().__init__(", ".join(possible))
        self.possible = tuple(possible)


def families_of(typed: str | None, possible: Sequence[Family]) -> tuple[Family, ...]:
    """Each once, in the order of `possible`; nothing, or "everything", names all. Raises NoSuchFamilyError."""
    named = set(re.split(r"[\s,，、]+", (typed or "").casefold())) - {""}
    if not named or named == {EVERYTHING}:
        return tuple(possible)
    if not named <= set(possible):
        raise NoSuchFamilyError(possible)
    return tuple(family for family in possible if family in named)


def completions(typed: str, possible: Sequence[Family]) -> list[str]:
    """What could stand in the field: what is there, with one family more."""
    *before, last = [part.strip().casefold() for part in typed.split(",")]
    kept = [part for part in before if part in possible]
    more = [family for family in possible if family not in kept and family.startswith(last)]
    found = [", ".join((*kept, family)) for family in more]
    return [EVERYTHING, *found] if not kept and EVERYTHING.startswith(last) else found


def family_of(word: str) -> Family | None:
    """None for a word that is none."""
    return cast("Family", word) if word in get_args(Family) else None
