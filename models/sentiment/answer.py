"""A mood put together from probabilities, evidence and what the reading noticed. Decides nothing about words."""

from collections.abc import Iterable

from models.sentiment.reading import Reading
from models.sentiment.score_map import Probabilities
from models.serving.short_requests import Evidence, Label, Method, Mood, MoodNote

LABELS: tuple[Label, ...] = ("negative", "neutral", "positive")
MAX_EVIDENCE = 8
SURE_FROM = 0.5  # of the most likely class: below it the method says that it is unsure
_NEUTRAL_FIRST = (1, 0, 2)
_NOTHING_TO_READ: Probabilities = (0.1, 0.8, 0.1)
_STRONG = 1.5  # valence from which a word counts as strong, for the note "mixed"


def answer(
    reading: Reading,
    probabilities: Probabilities,
    *,
    method: Method,
    version: str,
    evidence: Iterable[Evidence] = (),
    notes: Iterable[MoodNote] = (),
) -> Mood:
    """A wordless text is neutral and not sure, whatever the probabilities; a text in another language or with marks of
    irony is never sure. Of two classes equally likely neutral wins."""
    if reading.wordless:
        probabilities, evidence = _NOTHING_TO_READ, ()
    sure = max(probabilities) >= SURE_FROM and not reading.doubtful
    return Mood(
        label=LABELS[max(_NEUTRAL_FIRST, key=probabilities.__getitem__)],
        probabilities=probabilities,
        sure=sure,
        method=method,
        model_version=version,
        language=reading.language,
        evidence=tuple(sorted(evidence, key=lambda piece: -abs(piece.weight))[:MAX_EVIDENCE]),
        notes=tuple(dict.fromkeys((*reading.notes, *notes))),
    )


def mixed_note(weights: Iterable[float]) -> tuple[MoodNote, ...]:
    """ "mixed" where strong words of both kinds stand together."""
    strong = [weight for weight in weights if abs(weight) >= _STRONG]
    return ("mixed",) if strong and min(strong) < 0 < max(strong) else ()
