"""A small real mood model for tests: counts "good" and "bad". Knows no language."""

from collections.abc import Sequence

from models.serving.in_process_short import InProcessShortEngine
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import AnyShortOutput, AnyShortRequest, Evidence, Label, Mood, MoodRequest

VERSION = "words@00000001"


class WordMoods:
    """One "good" or "bad" more than of the other decides; a tie is neutral, and both together are not sure. `missing`
    methods have no weights here. `asked` are the requests so far."""

    version = VERSION

    def __init__(self, missing: Sequence[str] = ()) -> None:
        self.missing, self.asked = missing, list[MoodRequest]()

    def answer(self, requests: Sequence[AnyShortRequest]) -> list[AnyShortOutput]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: AnyShortRequest) -> Mood:
        assert isinstance(request, MoodRequest)
        self.asked.append(request)
        if request.method in self.missing:
            raise ShortModelMissingError(f"no weights for {request.method}")
        good, bad = request.text.count("good"), request.text.count("bad")
        total = good + bad + 1
        label: Label = "positive" if good > bad else "negative" if bad > good else "neutral"
        notes = [
            *(["empty"] if not request.text.strip() else []),
            *(["mixed"] if good and bad else []),
            *(["irony"] if "/s" in request.text else []),
            *(["unheard-of"] if "?" in request.text else []),  # of a newer model
        ]
        return Mood(
            label=label,
            probabilities=(bad / total, 1 / total, good / total),
            sure=not (good and bad),
            method=request.method,
            model_version=VERSION,
            language="en",
            calibrated=request.method == "default",
            evidence=tuple(
                Evidence(text=word, weight=weight)
                for word, count, weight in (("good", good, 1.0), ("bad", bad, -1.0))
                if count
            ),
            notes=tuple(notes),
        )


def word_moods(missing: Sequence[str] = ()) -> InProcessShortEngine:
    """An engine of it; start and close it."""
    return InProcessShortEngine({"mood": WordMoods(missing)})
