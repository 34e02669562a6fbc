"""All ways of reading a mood behind one question. Knows which method needs what; loads it when it is first asked."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from models.sentiment.calibration import Calibration, Calibrations, load_calibrations
from models.sentiment.combination import CalibratedMethod, default_tiers
from models.sentiment.lexicon import negative_lexicon, positive_lexicon
from models.sentiment.method import SentimentMethod
from models.sentiment.naive_bayes import load_naive_bayes
from models.sentiment.rules import Rules
from models.sentiment.scorer import ModelLanguage, Scorer
from models.sentiment.tiers import load_tier
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import AnyShortOutput, AnyShortRequest, Method, Mood, MoodRequest
from models.weights import MOODS_FOLDER

log = logging.getLogger(__name__)

TRAINED = "moods"  # weights of one's own: DATA_DIR/moods, as `inkwell mood train` leaves them


class Moods:
    """A ShortModel for MoodRequests. `mood_model` names a Hugging Face sequence classifier that answers "default" and
    "encoder" in place of ours."""

    def __init__(self, folder: Path = MOODS_FOLDER, *, mood_model: str = "", runtime: str = "") -> None:
        self._folder = folder
        self._mood_model = mood_model
        self._runtime = runtime
        self._methods: dict[Method, SentimentMethod] = {}
        self._scorers: dict[str, Scorer] = {}
        self._calibrations: Calibrations | None = None

    @property
    def version(self) -> str:
        return self.method("default").version

    def answer(self, requests: Sequence[AnyShortRequest]) -> list[AnyShortOutput]:
        moods: list[AnyShortOutput | None] = [None] * len(requests)
        by_method: dict[tuple[Method, bool], list[tuple[int, str]]] = {}
        for n, request in enumerate(requests):
            if not isinstance(request, MoodRequest):
                raise ValueError(f"{type(request).__name__} is no question about a mood.")
            by_method.setdefault((request.method, request.explain), []).append((n, request.text))
        for (name, explain), asked in by_method.items():
            found = self.method(name).read([text for _, text in asked], explain=explain)
            for (n, _), mood in zip(asked, found, strict=True):
                moods[n] = mood
        return [mood for mood in moods if mood is not None]

    def read(self, texts: Sequence[str], method: Method = "default", *, explain: bool = True) -> list[Mood]:
        return self.method(method).read(texts, explain=explain)

    def method(self, name: Method) -> SentimentMethod:
        """Raises ShortModelMissingError where what it needs isn't here."""
        if name not in self._methods:
            self._methods[name] = self._load(name)
        return self._methods[name]

    def _load(self, name: Method) -> SentimentMethod:
        if name in ("default", "encoder") and self._mood_model:
            from models.sentiment.transformers_classifier import TransformersClassifier

            return TransformersClassifier(self._mood_model, name)
        if name in ("linear", "encoder", "default"):
            calibration = self._calibration(name)
            tiers = default_tiers(calibration) if name == "default" else (name,)
            return CalibratedMethod(name, [self._scorer(tier) for tier in tiers], calibration)
        if name == "naive_bayes":
            return load_naive_bayes(self._folder)
        untrained: dict[str, Callable[[], SentimentMethod]] = {
            "positive_lexicon": positive_lexicon,
            "negative_lexicon": negative_lexicon,
            "rules": Rules,
        }
        if name not in untrained:
            raise ValueError(f"There is no method {name}.")
        return untrained[name]()

    def _scorer(self, tier: str) -> Scorer:
        if tier not in self._scorers:
            self._scorers[tier] = load_tier(tier, self._folder, runtime=self._runtime)
        return self._scorers[tier]

    def _calibration(self, name: Method) -> dict[ModelLanguage, Calibration]:
        if self._calibrations is None:
            path = self._folder / "calibration.json"
            try:
                self._calibrations = load_calibrations(path)
            except (OSError, msgspec.DecodeError) as error:
                raise ShortModelMissingError(f"{path} can't be read: {error}") from error
        if not self._calibrations.get(name):
            raise ShortModelMissingError(f"{self._folder / 'calibration.json'} has nothing of the method {name}.")
        return self._calibrations[name]


def load(data_dir: Path, options: dict[str, str]) -> Moods:
    """For the process of the small models. The folder that options["mood_champion"] names comes before weights of one's
    own in DATA_DIR/moods, and those before what ships. A champion that can't be loaded is passed over, with a warning;
    where options["trial"] is set, its error is raised."""
    mood_model = options.get("mood_model", "")
    if champion := options.get("mood_champion"):
        moods = Moods(Path(champion), mood_model=mood_model)
        try:
            moods.method("linear" if mood_model else "default")
        except (OSError, ValueError) as error:
            if "trial" in options:
                raise
            log.warning("the champion %s can't be loaded, what is shipped answers: %s", champion, error)
        else:
            return moods
    own = data_dir / TRAINED
    folder = own if (own / "calibration.json").is_file() else MOODS_FOLDER
    return Moods(folder, mood_model=mood_model)
