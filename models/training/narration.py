"""Guesses by whom and in which tense a passage is told, from its most common words. Knows no window and no network.

What people say in quotes is left out. It is a guess by counting, for choosing among thousands of passages; of a single
sentence it often knows nothing, and says so.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Person = Literal["first", "second", "third"]
Tense = Literal["past", "present"]

_QUOTED: Final = re.compile(r"[\"“][^\"”\n]*(?:[\"”]|$)", re.M)
_WORD: Final = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_PAST: Final = _words(
    "was were had did said went came could would wasn't weren't hadn't didn't couldn't wouldn't took made saw knew "
    "thought felt looked turned asked told gave got heard stood sat found left began ran kept seemed"
)
_PRESENT: Final = _words(
    "is are am has have do does says say goes comes can isn't aren't haven't hasn't don't doesn't can't it's he's "
    "she's there's that's i'm i've you're you've we're takes makes sees knows thinks feels looks turns asks tells "
    "gives gets hears stands sits finds leaves begins runs keeps seems"
)
_FIRST: Final = _words("i me my mine myself i'm i've i'd i'll we us our")
_SECOND: Final = _words("you your yours yourself you're you've you'd you'll")
_CLEAR: Final = 0.8  # of the verbs that tell a tense, for a passage to be told in it
_LEAST_VERBS: Final = 2
_LEAST_PERSON: Final = 0.02  # of the words, for a passage to be told by an "I" or to a "you"


@dataclass(frozen=True, kw_only=True)
class Narration:
    """`tense` is None where the counts don't tell."""

    person: Person
    tense: Tense | None


def narration(passage: str) -> Narration:
    words = [word.lower() for word in _WORD.findall(_QUOTED.sub(" ", passage.replace("’", "'")))]
    first, second, past, present = (_among(words, known) for known in (_FIRST, _SECOND, _PAST, _PRESENT))
    person: Person = "third"
    if max(first, second) >= max(1, _LEAST_PERSON * len(words)):
        person = "first" if first >= second else "second"
    verbs = past + present
    tense: Tense | None = None
    if verbs >= _LEAST_VERBS and max(past, present) >= _CLEAR * verbs:
        tense = "past" if past > present else "present"
    return Narration(person=person, tense=tense)


def _among(words: Iterable[str], known: frozenset[str]) -> int:
    return sum(word in known for word in words)


def steady(story: Narration, rest: Narration) -> bool:
    """Whether what follows may be told as the story was: by the same person, and in no other tense that is known."""
    return story.person == rest.person and (None in (story.tense, rest.tense) or story.tense == rest.tense)
