"""The tiers by their names in calibration.json. Knows no calibration."""

from collections.abc import Callable
from pathlib import Path

from models.sentiment.encoder import load_encoder
from models.sentiment.language_model_scorer import LanguageModelScorer
from models.sentiment.linear import LinearScorer
from models.sentiment.rule_scorer import RuleScorer
from models.sentiment.scorer import Scorer


def load_tier(name: str, folder: Path, *, runtime: str = "") -> Scorer:
    """From its files in `folder`; `runtime` is the encoder's. Raises ShortModelMissingError."""
    make: dict[str, Callable[[], Scorer]] = {
        "rules": RuleScorer,
        "linear": lambda: LinearScorer(folder),
        "encoder": lambda: load_encoder(folder, runtime=runtime),
        "language_model": lambda: LanguageModelScorer(folder),
    }
    return make[name]()
