"""Measures ways of reading a mood on labelled sets: JSON, a table, charts, folds. Knows no metric's formula."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from models.sentiment.calibration import sigmoid
from models.sentiment.method import SentimentMethod
from models.sentiment.naive_bayes import NaiveBayes
from models.sentiment.reading import read
from models.serving.short_requests import Method, Mood
from models.training.mood_corpus import CorpusLanguage, Row
from models.training.mood_linear import fit_language, matrix
from models.training.mood_metrics import Floats, Judged, ThresholdBy, judge, measure
from models.training.mood_naive_bayes import fit_naive_bayes
from models.training.mood_sets import LABELS, LabelledSet

FOLDABLE: tuple[Method, ...] = ("linear", "naive_bayes")  # what trains in seconds
_READ_AT_ONCE = 512  # more would only hold memory
_MAIN = ("accuracy", "error_rate", "macro_recall", "macro_f1", "auc", "ece", "coverage", "messages_per_second")


def evaluate(
    sets: Sequence[LabelledSet],
    methods: Iterable[SentimentMethod],
    *,
    threshold_by: ThresholdBy = "f1",
    costs: tuple[float, float] = (1.0, 1.0),
    folds: int = 0,
    charts: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """`{"methods": {...versions}, "sets": {name: {…}}}`. A set has the first method's numbers itself, and every
    method's under "methods"; see `mood_metrics.measure`."""
    found: dict[str, Any] = {"format": 1, "methods": {}, "sets": {}}
    for method in methods:
        found["methods"][method.name] = method.version
        method.read(["warm up", "预热"])
        for each in sets:
            say(f"{method.name} on {each.name} ({len(each.texts):,} rows)")
            judged, measures = _one(each, method, threshold_by, costs)
            own = found["sets"].setdefault(each.name, {"rows": len(each.texts), "two_class": each.two_class,
                                                       "methods": {}})  # fmt: skip
            if folds and method.name in FOLDABLE:
                measures["cross_validation"] = cross_validate(each, method.name, folds)
            own["methods"][method.name] = measures
            if len(own["methods"]) == 1:
                own |= {"method": method.name, **{key: measures[key] for key in _MAIN}}
            if charts:
                from models.training.mood_charts import draw

                draw(judged, measures, f"{each.name}: {method.name}", charts / f"{each.name}-{method.name}.png")
    return found


def _one(
    each: LabelledSet, method: SentimentMethod, threshold_by: ThresholdBy, costs: tuple[float, float]
) -> tuple[Judged, dict[str, Any]]:
    began, cpu_began = time.perf_counter(), time.process_time()
    moods: list[Mood] = []
    for at in range(0, len(each.texts), _READ_AT_ONCE):
        moods += method.read(each.texts[at : at + _READ_AT_ONCE])
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    rows = np.array([mood.probabilities for mood in moods])
    judged = judge(each.labels, rows, np.array([mood.sure for mood in moods]))
    measures = measure(judged, threshold_by=threshold_by, costs=costs)
    measures["messages_per_second"] = len(moods) / max(seconds, 1e-9)
    measures["messages_per_cpu_second"] = len(moods) / max(cpu_seconds, 1e-9)
    return judged, measures


def cross_validate(each: LabelledSet, method: Method, folds: int, seed: int = 1) -> dict[str, Any]:
    """Train on the set itself, all folds but one, and measure on that one. Rows of a group stay together. An error
    instead of numbers where the set can't be split so."""
    rows = [_as_row(each, n) for n in range(len(each.texts))]
    groups = [row.group for row in rows]
    if len(set(groups)) < folds:
        return {"error": f"{folds} folds need as many groups; there are {len(set(groups))}."}
    labels = np.array(each.labels)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    if min(np.bincount(labels)[np.unique(labels)]) < folds:
        splitter = GroupKFold(folds)
    predict = _predict_linear if method == "linear" else _predict_naive_bayes
    measures = []
    for train, held in splitter.split(np.zeros(len(rows)), labels, groups):
        try:
            probabilities = predict([rows[n] for n in train], [rows[n] for n in held])
        except ValueError as error:
            return {"error": str(error)}
        measures.append(measure(judge(labels[held].tolist(), probabilities, np.ones(len(held), bool))))
    keys = ("accuracy", "macro_recall", "macro_f1")
    return {
        "folds": folds,
        "mean": {key: float(np.mean([one[key] for one in measures])) for key in keys},
        "standard_deviation": {key: float(np.std([one[key] for one in measures], ddof=1)) for key in keys},
    }


def _as_row(each: LabelledSet, n: int) -> Row:
    text = each.texts[n]
    language: CorpusLanguage = "zh" if read(text).language == "zh" else "en"
    return Row(
        text=text, label=LABELS[each.labels[n]], classes=2 if each.two_class else 3, language=language,
        source=each.name, group=each.groups[n], part="train",
    )  # fmt: skip


def _predict_linear(train: Sequence[Row], held: Sequence[Row]) -> Floats:
    chances = np.zeros((len(held), 3))
    for language in sorted({row.language for row in held}):
        own = [n for n, row in enumerate(held) if row.language == language]
        stages = fit_language(train, language, two_class=train[0].classes == 2)
        features = matrix([held[n].text for n in own], language)
        odds = [features @ weights + bias for weights, bias in stages]
        positive = sigmoid(odds[-1])
        polar = sigmoid(odds[0]) if len(odds) == 2 else np.ones(len(own))
        chances[own] = np.stack([polar * (1 - positive), 1 - polar, polar * positive], axis=1)
    return chances


def _predict_naive_bayes(train: Sequence[Row], held: Sequence[Row]) -> Floats:
    tables = {}
    for language in sorted({row.language for row in held}):
        own = [row for row in train if row.language == language]
        cut = len(own) // 10  # its two sums are weighed on rows of their own
        tables[language] = fit_naive_bayes(own[cut:], own[:cut], language)
    moods = NaiveBayes(tables, "fold").read([row.text for row in held])
    return np.array([mood.probabilities for mood in moods])


def as_table(found: dict[str, Any]) -> str:
    """One line for each set and method."""
    head = ("set", "method", "n", "acc", "m-recall", "m-F1", "95 % of m-F1", "AUC", "ECE", "cover", "err@75", "msg/s")
    lines = [head]
    for name, own in found["sets"].items():
        for method, m in own["methods"].items():
            low, high = m["intervals"]["macro_f1"]
            lines.append((
                name, method, f"{m['rows']}", f"{m['accuracy']:.3f}", f"{m['macro_recall']:.3f}",
                f"{m['macro_f1']:.3f}", f"{low:.3f}-{high:.3f}", f"{m['auc']:.3f}", f"{m['ece']:.3f}",
                f"{m['coverage']:.2f}", f"{m['error_at_75_coverage']:.3f}", f"{m['messages_per_second']:.0f}",
            ))  # fmt: skip
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def write_json(found: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
