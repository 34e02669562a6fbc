"""Reads the public sentiment sets into one form: rows with a label, a language and a part (train, calibration, dev,
evaluation). Knows no model, and which licence lets what train.

Every step is deterministic. What is avoided and why:

- phrases of one SST-2 sentence share a group, so that no fold has pieces of a sentence on both sides;
- a training row that repeats a held-out row of any set, or nearly (`keys`), is dropped, as are repeats within training
  (the same tweets stand in several SemEval files, the same reviews in several Chinese sets);
- two-class corpora never say anything about "neutral" (`Row.classes`);
- SMP2020's "surprise" has no side and is dropped; GoEmotions' comments with several groups or "ambiguous" too;
- UMSAB's English tweets may stand in other sets' tests, so they aren't read; its other languages aren't ours.
"""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.sentiment.clean_text import clean
from models.serving.short_requests import Label

Part = Literal["train", "calibration", "dev", "evaluation"]
CorpusLanguage = Literal["en", "zh"]

LABELS: tuple[Label, ...] = ("negative", "neutral", "positive")
_POLAR: dict[str, Label] = {"0": "negative", "1": "positive"}
_BY_NUMBER: dict[str, Label] = {"0": "negative", "1": "neutral", "2": "positive"}
_WEIBO: dict[str, Label] = {
    "happy": "positive", "angry": "negative", "sad": "negative", "fear": "negative", "neutral": "neutral",
}  # fmt: skip
_TWEET_EMOTION: dict[str, Label] = {"0": "negative", "1": "positive", "2": "positive", "3": "negative"}
_REDDIT_GROUP: dict[str, Label] = {"1": "negative", "2": "neutral", "3": "positive"}

CHAT_LINES = Path(__file__).parent / "chat_lines"  # written for Inkwell; a README there says how
# GPL-3.0, or "evaluation only" in the data's README: never in training.
EVALUATION_ONLY = frozenset({"meld", "vader_gt"})
_CLEAR_VALENCE = 0.5  # vader_gt: mean human valence from -4 to 4; VADER's own borders of "neutral" lie here
_CALIBRATION_PERCENT = 4  # of the groups of a training set: temperatures and thresholds are fitted on them
_MIN_PHRASE_WORDS_IN_HELD_OUT = 4  # "the film" stands in every sentence; a longer phrase gives one away
_LONG, _NEAR_LENGTH = 60, 40  # characters: two texts of 60 that begin or end with the same 40 are near duplicates
_SKELETON = re.compile(r"[\W_]+")
_PLACEHOLDER = re.compile(r"\bhttp\b|@user\b|\brt\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One labelled text, cleaned. `classes` is 2 where its corpus has no neutral: then it says nothing about neutral.
    Rows of one `group` (a sentence's phrases, a dialogue) stand on one side of every split."""

    text: str
    label: Label
    classes: Literal[2, 3]
    language: CorpusLanguage
    source: str
    group: str
    part: Part


def read_corpora(folder: Path, chat_lines: Path | None = CHAT_LINES) -> list[Row]:
    """All rows of the sets under `folder` that exist, and our own `chat_lines`, deduplicated. Raises ValueError when
    `folder` holds none of the sets."""
    rows = [row for name, read in _READERS.items() if (folder / name).is_dir() for row in read(folder / name)]
    if not rows:
        raise ValueError(f"{folder} holds none of the sets {', '.join(_READERS)}.")
    return deduplicate([*rows, *(_chat_lines(chat_lines) if chat_lines else [])])


def training_rows(rows: Iterable[Row], language: CorpusLanguage, *, classes: Literal[2, 3] | None = None) -> list[Row]:
    """What may train the methods of one language; with `classes` 3 only the corpora that know "neutral"."""
    return [row for row in rows if row.part == "train" and row.language == language and classes in (None, row.classes)]


def deduplicate(rows: list[Row]) -> list[Row]:
    """`rows` in their order without repeats. Held-out rows win over training rows wherever they stand; of the same text
    with two labels in training both go, for one of them is wrong."""
    labels: dict[str, set[Label]] = {}
    for row in rows:
        if row.part in ("train", "calibration"):
            labels.setdefault(keys(row.text)[0], set()).add(row.label)
    kept: list[Row] = []
    seen: set[str] = set()
    for part in ("dev", "evaluation", "calibration", "train"):
        held_sentences = " | ".join(_words(row.text) for row in kept if row.source == "sst2")
        for row in rows:
            if row.part != part or not row.text:
                continue
            marks = keys(row.text)
            # A repeat within dev or evaluation is the set's own: its measure must be comparable with others'.
            if part in ("train", "calibration"):
                if len(labels[marks[0]]) > 1 or not seen.isdisjoint(marks):
                    continue
                if row.source == "sst2" and _given_away(row.text, held_sentences):
                    continue
            kept.append(row)
            seen.update(marks)
    return kept


def keys(text: str) -> tuple[str, ...]:
    """By which a text is recognised: its letters without case, marks and placeholders (itself when it has none), and
    for a long text also their beginning and end."""
    skeleton = _SKELETON.sub("", _PLACEHOLDER.sub("", text.lower())) or text
    if len(skeleton) < _LONG:
        return (skeleton,)
    return skeleton, "^" + skeleton[:_NEAR_LENGTH], "$" + skeleton[-_NEAR_LENGTH:]


def _words(text: str) -> str:
    return f" {' '.join(re.findall(r'[a-z0-9]+', text.lower()))} "


def _given_away(phrase: str, sentences: str) -> bool:
    words = _words(phrase)
    return words.count(" ") > _MIN_PHRASE_WORDS_IN_HELD_OUT and words in sentences


def percent_of(group: str, salt: str = "") -> int:
    """A stable number from 0 to 99 for a group."""
    return int.from_bytes(hashlib.sha256(f"{salt}{group}".encode()).digest()[:4], "big") % 100


# --- one reader for each set ----------------------------------------------------------------------------------------


def _row(
    text: str,
    label: Label,
    source: str,
    part: Part,
    *,
    classes: Literal[2, 3],
    language: CorpusLanguage,
    group: str = "",
    dev_percent: int = 0,
) -> Row:
    """A training row moves to `calibration` or, where its set has no official development split, to `dev`, by the hash
    of its group."""
    cleaned = clean(text)
    group = group or f"{source}:{keys(cleaned)[0]}"
    if part == "train":
        place = percent_of(group)
        if place < dev_percent:
            part = "dev"
        elif place < dev_percent + _CALIBRATION_PERCENT:
            part = "calibration"
    return Row(text=cleaned, label=label, classes=classes, language=language, source=source, group=group, part=part)


def _table(path: Path, delimiter: str) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        if delimiter == ",":
            yield from csv.DictReader(file)
        else:
            yield from csv.DictReader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")


def _sst2(folder: Path) -> Iterator[Row]:
    for line in _table(folder / "dev.tsv", "\t"):
        yield _row(line["content"], _POLAR[line["label"]], "sst2", "dev", classes=2, language="en")
    phrases = [(line["sentence"], _POLAR[line["label"]]) for line in _table(folder / "train_phrases.tsv", "\t")]
    # Long ones first: of near duplicates the first is kept, and that should be the whole sentence.
    phrases.sort(key=lambda phrase: -len(phrase[0]))
    for (text, label), sentence in zip(phrases, sentences_of([text for text, _ in phrases]), strict=True):
        row = _row(text, label, "sst2", "train", classes=2, language="en", group=f"sst2:{sentence}")
        # Phrases are no sentences: calibration on them would fit another confidence than sentences need.
        if row.part == "calibration" and text.strip() != sentence:
            continue
        yield row


def sentences_of(phrases: list[str]) -> list[str]:
    """For each phrase the longest of `phrases` that holds it word by word (itself when none does)."""
    padded = [f" {' '.join(phrase.split())} " for phrase in phrases]
    frequency: dict[str, int] = {}
    for text in set(padded):
        for word in set(text.split()):
            frequency[word] = frequency.get(word, 0) + 1
    sentences: list[str] = []
    by_word: dict[str, list[int]] = {}
    found: dict[str, str] = {}
    for text in sorted(set(padded), key=lambda text: (-len(text), text)):
        words = text.split()
        if not words:
            found[text] = ""
            continue
        rarest = min(words, key=lambda word: (frequency[word], word))
        holder = next((sentences[n] for n in by_word.get(rarest, ()) if text in sentences[n]), None)
        found[text] = (holder or text).strip()
        if holder is None:
            for word in set(words):
                by_word.setdefault(word, []).append(len(sentences))
            sentences.append(text)
    return [found[text] for text in padded]


def _tweeteval_sentiment(folder: Path) -> Iterator[Row]:
    for text, label in zip(_lines(folder / "val_text.txt"), _lines(folder / "val_labels.txt"), strict=True):
        yield _row(text, _BY_NUMBER[label.strip()], "tweeteval_sentiment", "dev", classes=3, language="en")


def _tweeteval_emotion(folder: Path) -> Iterator[Row]:
    parts: tuple[tuple[str, Part], ...] = (("train", "train"), ("val", "dev"))
    for name, part in parts:
        texts, labels = _lines(folder / f"{name}_text.txt"), _lines(folder / f"{name}_labels.txt")
        for text, label in zip(texts, labels, strict=True):
            yield _row(text, _TWEET_EMOTION[label.strip()], "tweeteval_emotion", part, classes=2, language="en")


def _semeval(folder: Path) -> Iterator[Row]:
    for path in sorted(folder.glob("*.tsv")):
        for line in _lines(path):
            cells = line.rstrip("\r\t").split("\t")
            # A tweet with a line break goes on in lines without an id: those are lost.
            if len(cells) < 3 or cells[1] not in LABELS or cells[2] == "Not Available":
                continue
            text = cells[2].strip()
            if text.startswith('"'):
                text = text.strip('"').replace('""', '"')
            yield _row(text, cells[1], "semeval", "train", classes=3, language="en")


def _goemotions(folder: Path) -> Iterator[Row]:
    parts: tuple[tuple[str, Part], ...] = (("group_train.tsv", "train"), ("group_dev.tsv", "dev"))
    for name, part in parts:
        for line in _lines(folder / name):
            text, groups, _ = line.rstrip("\r").split("\t")
            if groups in _REDDIT_GROUP:
                yield _row(text, _REDDIT_GROUP[groups], "goemotions", part, classes=3, language="en")


def _meld(folder: Path) -> Iterator[Row]:
    for line in _table(folder / "dev.csv", ","):
        label = line["Sentiment"]
        if label in LABELS:
            yield _row(line["Utterance"], label, "meld", "evaluation", classes=3, language="en")


def _vader_gt(folder: Path) -> Iterator[Row]:
    for line in _lines(folder / "tweets_GroundTruth.txt"):
        _, mean, text = line.rstrip("\r").split("\t", 2)
        if abs(float(mean)) >= _CLEAR_VALENCE:
            label: Label = "positive" if float(mean) > 0 else "negative"
            yield _row(text, label, "vader_gt", "evaluation", classes=2, language="en")


def _chnsenticorp(folder: Path) -> Iterator[Row]:
    parts: tuple[tuple[str, Part], ...] = (("dev", "dev"), ("train", "train"))
    for name, part in parts:
        for line in _table(folder / f"{name}.tsv", "\t"):
            if line["label"] in _POLAR and line["text_a"]:
                yield _row(line["text_a"], _POLAR[line["label"]], "chnsenticorp", part, classes=2, language="zh")


def _reviews(source: str, file: str, dev_percent: int) -> Callable[[Path], Iterator[Row]]:
    def read(folder: Path) -> Iterator[Row]:
        for line in _table(folder / file, ","):
            if line["label"] in _POLAR and line["review"]:
                yield _row(
                    line["review"], _POLAR[line["label"]], source, "train", classes=2, language="zh",
                    dev_percent=dev_percent,
                )  # fmt: skip

    return read


def _smp2020(folder: Path) -> Iterator[Row]:
    # The training file of the "usual" half is not here, and its posts differ from the pandemic's: half of its
    # development file trains, by hash. The other half and all of virus_eval are the development split.
    for name, dev_percent in (("virus_eval_labeled", 100), ("usual_eval_labeled", 50), ("virus_train", 0)):
        for line in json.loads((folder / f"{name}.json").read_text(encoding="utf-8")):
            if line["label"] in _WEIBO:
                yield _row(
                    str(line["content"]), _WEIBO[line["label"]], "smp2020", "train", classes=3, language="zh",
                    dev_percent=dev_percent,
                )  # fmt: skip


def _cped(folder: Path) -> Iterator[Row]:
    for line in _table(folder / "valid.csv", ","):
        if line["Sentiment"] in LABELS:
            yield _row(
                line["Utterance"], line["Sentiment"], "cped", "train", classes=3, language="zh",
                group=f"cped:{line['Dialogue_ID']}", dev_percent=10,
            )  # fmt: skip


def _chat_lines(folder: Path) -> Iterator[Row]:
    languages: tuple[CorpusLanguage, ...] = ("en", "zh")
    for language in languages:
        for line in _table(folder / f"{language}.tsv", "\t"):
            if line["label"] in LABELS:
                yield _row(line["text"], line["label"], "chat_lines", "train", classes=3, language=language)


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "sst2": _sst2,
    "tweeteval_sentiment": _tweeteval_sentiment,
    "semeval2013_2016": _semeval,
    "tweeteval_emotion": _tweeteval_emotion,
    "goemotions": _goemotions,
    "meld": _meld,
    "vader_gt": _vader_gt,
    "chnsenticorp": _chnsenticorp,
    "chnsenticorp_htl": _reviews("chnsenticorp_htl", "ChnSentiCorp_htl_all.csv", 5),
    "waimai_10k": _reviews("waimai_10k", "waimai_10k.csv", 8),
    "online_shopping_10_cats": _reviews("online_shopping_10_cats", "online_shopping_10_cats.csv", 4),
    "smp2020_ewect": _smp2020,
    "cped": _cped,
}
