"""Method 4: rule expressions. Polar words weighed by their surroundings, emoji and kaomoji by our own values, added up.
Learns nothing but how a sum becomes probabilities (`score_map`).

The score of a text is s / sqrt(s^2 + 15), as VADER's compound (Hutto and Gilbert 2014), of the sum s of all weights.
Its probabilities are a multinomial logistic regression on (1, score, |score|, any word found, question, the weaker of
the pleasant and the unpleasant sum in the same form), fitted on three-class training rows of its language.
"""

from collections.abc import Sequence
from math import sqrt

from models.sentiment.answer import answer, mixed_note
from models.sentiment.emoji_valence import Face
from models.sentiment.polar_words import PolarWord
from models.sentiment.reading import Reading, read
from models.sentiment.rules_chinese import is_question, weigh_chinese
from models.sentiment.rules_english import weigh_english
from models.sentiment.score_map import ScoreMap, load_score_maps
from models.serving.short_requests import Evidence, Method, Mood

_ALPHA = 15.0  # VADER's
_REPEATED_FACE = 0.3  # of the value of the same sign again
_MOST_REPEATS = 4
_IRONIC = -0.5  # what is left of a pleasant word beside a mark of sarcasm
# Signs that turn a pleasant sentence round. In Chinese chats the slight smile is one of them.
_TURNING = {"en": frozenset("🙃🙄"), "zh": frozenset("🙃🙄🙂")}
_TURNED_SMILE = -1.2
_FACE_SHARE = 1.2


class Rules:
    """The fourth way to read a mood."""

    name: Method = "rules"
    version = "rules@1"

    def __init__(self, maps: dict[str, ScoreMap] | None = None) -> None:
        self._maps = load_score_maps() if maps is None else maps

    def read(self, texts: Sequence[str], *, explain: bool = True) -> list[Mood]:
        return [self.mood_of(read(text)) for text in texts]

    def features(self, reading: Reading) -> tuple[list[float], list[PolarWord]]:
        """(1, score, |score|, any, question, how much both kinds weigh) and the words with their weights."""
        weighed = weigh(reading)
        total = sum(word.valence for word in weighed)
        score = total / sqrt(total * total + _ALPHA)
        pleasant = sum(word.valence for word in weighed if word.valence > 0)
        mixed = min(pleasant, pleasant - total)
        ends_asking = reading.text.rstrip("\"') ").endswith("?")
        question = is_question(reading.text) if reading.language == "zh" else ends_asking
        return [
            1.0,
            score,
            abs(score),
            float(bool(weighed)),
            float(question),
            mixed / sqrt(mixed * mixed + _ALPHA),
        ], weighed

    def mood_of(self, reading: Reading) -> Mood:
        features, weighed = self.features(reading)
        scale = self._maps[f"{self.name}/{'zh' if reading.language == 'zh' else 'en'}"]
        return answer(
            reading,
            scale.probabilities(features),
            method=self.name,
            version=self.version,
            evidence=[
                Evidence(text=reading.written[word.start : word.end], weight=round(word.valence, 2))
                for word in weighed
                if word.valence
            ],
            notes=mixed_note(word.valence for word in weighed),
        )


def weigh(reading: Reading) -> list[PolarWord]:
    """Every word and sign that counts, with its weight. Of a text in another language only the signs."""
    turning = _TURNING.get(reading.language, frozenset())
    words: list[PolarWord] = []
    if reading.language != "other" and (reading.latin or reading.chinese):
        text = _blanked(reading)
        words = weigh_chinese(text) if reading.language == "zh" else weigh_english(text)
        if "irony" in reading.notes or any(face.sign in turning for face in reading.faces):
            words = [word._replace(valence=word.valence * _IRONIC) if word.valence > 0 else word for word in words]
    return words + _faces(reading.faces, turning)


def _faces(faces: tuple[Face, ...], turning: frozenset[str]) -> list[PolarWord]:
    seen: dict[str, int] = {}
    weighed = []
    for face in faces:
        times = seen.get(face.sign, 0)
        seen[face.sign] = times + 1
        if times > _MOST_REPEATS or not face.valence:
            continue
        valence = _TURNED_SMILE if face.sign == "🙂" and "🙂" in turning else face.valence
        weighed.append(PolarWord(face.start, face.end, valence * _FACE_SHARE * (_REPEATED_FACE if times else 1.0)))
    return weighed


def _blanked(reading: Reading) -> str:
    """The text with a space for every character of its faces."""
    text = reading.text
    for face in reading.faces:
        text = text[: face.start] + " " * (face.end - face.start) + text[face.end :]
    return text
