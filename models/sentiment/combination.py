"""Reads moods by one tier or by the calibrated average of several. Knows neither files nor how a tier scores."""

from collections.abc import Mapping, Sequence

import numpy as np

from models.sentiment.answer import LABELS, MAX_EVIDENCE
from models.sentiment.calibration import Calibration
from models.sentiment.scorer import ModelLanguage, Prepared, Scorer, prepare
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import Evidence, Method, Mood, MoodNote

# In this order their weights stand in calibration.json. One that was fitted before a tier came has fewer weights, and
# that tier then is no member.
DEFAULT_TIERS = ("rules", "linear", "encoder", "language_model")

_NOTHING_TO_READ = (0.1, 0.8, 0.1)  # as in methods 1 to 4


def default_tiers(calibration: Mapping[ModelLanguage, Calibration]) -> tuple[str, ...]:
    """The tiers that the default's `calibration` knows. Raises ShortModelMissingError for one that is of no version of
    Inkwell."""
    known = {len(stage.weights) for own in calibration.values() for stage in (own.polar, own.positive)}
    if len(known) != 1 or not 1 <= max(known) <= len(DEFAULT_TIERS):
        raise ShortModelMissingError("The calibration of the default was made for another version of Inkwell.")
    return DEFAULT_TIERS[: max(known)]


class CalibratedMethod:
    """A SentimentMethod of one or several tiers. Evidence is that of the first tier that has some and weighs anything
    in the text's language, notes are of all."""

    def __init__(self, name: Method, scorers: Sequence[Scorer], calibration: dict[ModelLanguage, Calibration]) -> None:
        self.name: Method = name
        self._scorers = scorers
        self._calibration = calibration
        self.version = "+".join(scorer.version for scorer in scorers)

    def read(self, texts: Sequence[str], *, explain: bool = True) -> list[Mood]:
        """One mood for each text; never raises for any string."""
        return self.read_prepared([prepare(text) for text in texts], explain=explain)

    def read_prepared(self, texts: Sequence[Prepared], *, explain: bool = True) -> list[Mood]:
        if not texts:
            return []
        judged = [n for n, text in enumerate(texts) if not text.reading.wordless and text.text]
        moods: list[Mood | None] = [None] * len(texts)
        scores = (
            [scorer.score([texts[n] for n in judged], explain=explain) for scorer in self._scorers] if judged else []
        )
        logits = np.stack([score.logits for score in scores]) if judged else np.zeros((1, 0, 2))
        for language, calibration in self._calibration.items():
            places = [place for place, n in enumerate(judged) if texts[n].language == language]
            if not places:
                continue
            rows = calibration.probabilities(logits[:, places])
            weights = zip(calibration.polar.weights, calibration.positive.weights, strict=True)
            deciding = [score for score, own in zip(scores, weights, strict=True) if any(own)]
            for place, row in zip(places, rows.tolist(), strict=True):
                evidence = next((score.evidence[place] for score in deciding if score.evidence[place]), ())
                notes = [note for score in scores for note in score.notes[place]]
                moods[judged[place]] = self._mood(
                    texts[judged[place]], row, evidence, notes, calibration.sure_from
                )  # fmt: skip
        return [
            mood or self._mood(text, _NOTHING_TO_READ, (), (), 1.0) for mood, text in zip(moods, texts, strict=True)
        ]

    def _mood(
        self,
        text: Prepared,
        probabilities: Sequence[float],
        evidence: Sequence[Evidence],
        notes: Sequence[MoodNote],
        sure_from: float,
    ) -> Mood:
        negative, neutral, positive = probabilities
        reading = text.reading
        best = max(range(3), key=probabilities.__getitem__)
        return Mood(
            label=LABELS[best],
            probabilities=(negative, neutral, positive),
            sure=probabilities[best] >= sure_from and not reading.doubtful,
            method=self.name,
            model_version=self.version,
            language=reading.language,
            calibrated=reading.language in ("en", "zh"),
            evidence=tuple(evidence[:MAX_EVIDENCE]),
            notes=tuple(dict.fromkeys((*reading.notes, *notes))),
        )
