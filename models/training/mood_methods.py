"""Fits what methods 1 to 4 of reading a mood learn from rows: score maps and naive Bayes. Evaluates nothing."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from models.sentiment.lexicon import negative_lexicon, positive_lexicon
from models.sentiment.naive_bayes import CorpusLanguage, NaiveBayes, load_naive_bayes, save_tables
from models.sentiment.reading import read
from models.sentiment.rules import Rules
from models.sentiment.score_map import ScoreMap, fit_score_map
from models.training.mood_corpus import LABELS, Row, training_rows
from models.training.mood_naive_bayes import fit_naive_bayes

_LANGUAGES: tuple[CorpusLanguage, ...] = ("en", "zh")


def fit_score_maps(rows: Iterable[Row]) -> dict[str, ScoreMap]:
    """For methods 1, 2 and 4 and both languages, from the training rows of corpora that know "neutral"."""
    methods = (positive_lexicon({}), negative_lexicon({}), Rules({}))
    three = [row for row in rows if row.part == "train" and row.classes == 3]
    maps = {}
    for language in _LANGUAGES:
        chosen = [row for row in three if row.language == language]
        readings = [read(row.text) for row in chosen]
        classes = np.array([LABELS.index(row.label) for row in chosen])
        for method in methods:
            features = np.array([method.features(reading)[0] for reading in readings])
            maps[f"{method.name}/{language}"] = fit_score_map(features, classes)
    return maps


def write_score_maps(maps: dict[str, ScoreMap], path: Path) -> None:
    """As `score_map.load_score_maps` reads them: weights by class (negative, neutral, positive), then by feature."""
    stored = {
        "what": "multinomial logistic regression, every class weighing the same (models.training.mood_methods)",
        "maps": {name: scale.weights for name, scale in maps.items()},
    }
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def train_naive_bayes(rows: Sequence[Row], folder: Path) -> NaiveBayes:
    """Fits both languages on the training rows, weighs the parts on the calibration rows, writes
    naive_bayes_en.safetensors and naive_bayes_zh.safetensors into `folder` and reads them back."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in _LANGUAGES:
        held_back = [row for row in rows if row.part == "calibration" and row.language == language]
        tables = fit_naive_bayes(training_rows(rows, language), held_back, language)
        save_tables(tables, folder / f"naive_bayes_{language}.safetensors")
    return load_naive_bayes(folder)
