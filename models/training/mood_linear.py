"""Fits the fast tier with scikit-learn, which is needed here only. Knows no files but the weights that it writes.

Two stages for each language: neutral or polar, from three-class corpora alone; then negative or positive, from all.
Before the logistic regression every feature is scaled by how far its log-count ratio lies from zero (NB-SVM, Wang and
Manning 2012) and the scale is folded into the weights, so that use costs nothing more.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from sklearn.linear_model import LogisticRegression

from models.sentiment.features import BITS, extract
from models.sentiment.linear import LANGUAGES, linear_file, save_linear
from models.sentiment.scorer import ModelLanguage, model_text
from models.training.mood_corpus import LABELS, Row, training_rows

_BATCH = 512
_SMOOTHING = 0.5
STRENGTH = 4.0  # C of the logistic regression
# Of some sets only a part: there are more shop reviews than all else in Chinese, and they are much alike. Chat lines
# are few, and what is read: they count thrice.
PARTS = {"online_shopping_10_cats": 0.5, "chat_lines": 3.0}
# CPED's "neutral" depends on the scene, not on the words; its sides do help.
NO_NEUTRAL_STAGE = frozenset({"cped"})

Stage = tuple[NDArray[np.float64], float]


def matrix(texts: Sequence[str], language: ModelLanguage) -> csr_matrix:
    """(texts, 2**BITS): counts over the square root of all of them."""
    index: list[NDArray[np.int32]] = []
    sizes: list[NDArray[np.int64]] = []
    for at in range(0, len(texts), _BATCH):
        found = extract([model_text(text, language) for text in texts[at : at + _BATCH]], language)
        index.append(found.index)
        sizes.append(np.diff(found.starts))
    counts = np.concatenate(sizes)
    starts = np.concatenate([[0], np.cumsum(counts)])
    values = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts)
    made = csr_matrix((values, np.concatenate(index), starts), shape=(len(texts), 1 << BITS))
    made.sum_duplicates()
    return made


def fit_stage(features: csr_matrix, positive: NDArray[np.bool_], seed: int = 1) -> Stage:
    """Weights and bias of one binary decision."""
    present = features.copy()
    present.data[:] = 1
    of_positive = _SMOOTHING + np.asarray(present[positive].sum(0)).ravel()
    of_negative = _SMOOTHING + np.asarray(present[~positive].sum(0)).ravel()
    ratio = np.abs(np.log(of_positive / of_positive.sum()) - np.log(of_negative / of_negative.sum()))
    scale = ratio / max(ratio.mean(), 1e-12)
    model = LogisticRegression(solver="liblinear", dual=True, C=STRENGTH, max_iter=60, tol=1e-3, random_state=seed)
    model.fit(features @ diags(scale), positive)
    return model.coef_[0] * scale, float(model.intercept_[0])


def fit_language(
    rows: Sequence[Row], language: ModelLanguage, seed: int = 1, *, two_class: bool = False
) -> list[Stage]:
    """Both stages, from `rows` of that language; with `two_class` the second alone. Raises ValueError when a stage has
    no two sides."""
    chosen = [row for row in rows if row.language == language]
    features = matrix([row.text for row in chosen], language)
    labels = np.array([LABELS.index(row.label) for row in chosen])
    knows = np.array([row.classes == 3 and row.source not in NO_NEUTRAL_STAGE for row in chosen])
    polar = labels != LABELS.index("neutral")
    stages = []
    decisions = [(knows, polar), (polar, labels == LABELS.index("positive"))]
    for mask, positive in decisions[1:] if two_class else decisions:
        if len(set(positive[mask].tolist())) < 2:
            raise ValueError(f"The training rows in {language} don't hold both sides of a decision.")
        stages.append(fit_stage(features[mask], positive[mask], seed))
    return stages


def fit(rows: Sequence[Row], folder: Path, seed: int = 1) -> None:
    """Write both languages' weights into `folder`."""
    generator = random.Random(seed)
    for language in LANGUAGES:
        chosen: list[Row] = []
        for row in training_rows(rows, language):
            part = PARTS.get(row.source, 1.0)
            if generator.random() < part:
                chosen += [row] * max(1, round(part))
        save_linear(linear_file(folder, language), fit_language(chosen, language, seed))
