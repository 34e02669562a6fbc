"""Fits the calibration of the trained tiers and of the default on held-back rows. Knows no metric.

These rows trained nothing and are not the development rows on which quality is reported.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from models.sentiment.calibration import Calibration, Calibrations, Stage, fit_calibration, save_calibrations
from models.sentiment.combination import DEFAULT_TIERS
from models.sentiment.linear import LANGUAGES
from models.sentiment.scorer import ModelLanguage, prepare
from models.sentiment.tiers import load_tier
from models.training.mood_corpus import LABELS, Row, percent_of
from models.training.mood_linear import EVEN

# Rules weigh in Chinese only: there Weibo and chat lines gain a point or more by them, while in English SST-2 loses
# half a point and chat lines gain none. (Seen on development rows; rows that the rules were tuned on don't calibrate.)
# So does the language model: on held-back Chinese rows the log loss of the side falls by it, in English it rises.
DEFAULT_MEMBERS: dict[ModelLanguage, tuple[str, ...]] = {"en": ("linear", "encoder"), "zh": DEFAULT_TIERS}
# CPED's labels depend on the scene, and nothing that a person writes to a bot looks like them.
LEFT_OUT = frozenset({"cped"})
_MOST_OF_A_SOURCE = 2000


def calibration_rows(rows: Sequence[Row]) -> list[Row]:
    """At most `_MOST_OF_A_SOURCE` of each source, by hash."""
    chosen: list[Row] = []
    for source in sorted({row.source for row in rows if row.part == "calibration"} - LEFT_OUT):
        own = [row for row in rows if row.source == source and row.part == "calibration"]
        own.sort(key=lambda row: (percent_of(row.text, "calibration"), row.text))
        chosen += own[:_MOST_OF_A_SOURCE]
    return chosen


def calibrate(rows: Sequence[Row], folder: Path) -> Calibrations:
    """Write calibration.json beside the weights in `folder`."""
    chosen = calibration_rows(rows)
    prepared = [prepare(row.text) for row in chosen]
    logits = {tier: load_tier(tier, folder).score(prepared, explain=False).logits for tier in DEFAULT_TIERS}
    labels = np.array([LABELS.index(row.label) for row in chosen])
    three = np.array([row.classes == 3 for row in chosen])
    found: Calibrations = {}
    for method, tiers in {"linear": ("linear",), "encoder": ("encoder",), "default": DEFAULT_TIERS}.items():
        scores = np.stack([logits[tier] for tier in tiers])
        fitted: dict[ModelLanguage, Calibration] = {}
        for language in LANGUAGES:
            own = np.array([text.language == language for text in prepared])
            sources = [row.source for row, mine in zip(chosen, own, strict=True) if mine]
            members = DEFAULT_MEMBERS[language] if method == "default" else tiers
            columns = [tiers.index(tier) for tier in members]
            found_one = fit_calibration(
                scores[columns][:, own], labels[own], three[own], sources, even=language in EVEN
            )
            fitted[language] = widened(found_one, columns, len(tiers))
        found[method] = fitted
    save_calibrations(found, folder / "calibration.json")
    return found


def widened(calibration: Calibration, columns: Sequence[int], tiers: int) -> Calibration:
    """The same, over all `tiers`: those that aren't among `columns` weigh nothing."""

    def wide(stage: Stage) -> Stage:
        weights = dict(zip(columns, stage.weights, strict=True))
        return Stage(weights=tuple(weights.get(n, 0.0) for n in range(tiers)), bias=stage.bias)

    return msgspec.structs.replace(calibration, polar=wide(calibration.polar), positive=wide(calibration.positive))
