"""Labelled TSV files for evaluation, whoever wrote them. Knows no model and no metric.

A file is one set: a header with the columns `text` and `label`, perhaps `group` (rows that belong together, for folds).
Labels are negative, neutral, positive; a file without neutral rows is a set of two classes.
"""

import csv
import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from models.serving.short_requests import MAX_MOOD_CHARS, Label
from models.training.mood_corpus import Part, Row

LABELS: tuple[Label, ...] = ("negative", "neutral", "positive")
_MOST_BYTES = 200 * 2**20


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """`labels` are places in LABELS; `groups` are rows' own numbers where the file names none."""

    name: str
    texts: list[str]
    labels: list[int]
    groups: list[str]

    @property
    def two_class(self) -> bool:
        return LABELS.index("neutral") not in self.labels


def read_sets(folder: Path) -> list[LabelledSet]:
    """Every *.tsv in `folder`, by name. Raises ValueError, in a sentence, for a folder without any or a file that can't
    be understood."""
    paths = sorted(folder.glob("*.tsv")) if folder.is_dir() else [folder] if folder.suffix == ".tsv" else []
    if not paths:
        raise ValueError(f"{folder} holds no .tsv file with the columns text and label.")
    return [read_set(path) for path in paths]


def read_set(path: Path) -> LabelledSet:
    """UTF-8 with or without a byte order mark, any line ends, cells quoted or not. Raises ValueError."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{path.name} is larger than {_MOST_BYTES >> 20} MiB.")
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} isn't UTF-8 text (byte {error.start}).") from error
    except OSError as error:
        raise ValueError(f"{path.name} can't be read: {error.strerror}.") from error
    rows = _plain(content)
    if not _fits(rows):
        quoted = _quoted(content)
        rows = quoted if _fits(quoted) else rows
    return _labelled(path.name, rows)


def _plain(content: str) -> list[list[str]]:
    """Cells as they stand; quotes around a whole cell are taken away. A stray quote in a tweet harms nothing."""
    lines = content.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [[_unquoted(cell) for cell in line.split("\t")] for line in lines if line.strip()]


def _unquoted(cell: str) -> str:
    inner = cell[1:-1]
    if len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return cell


def _quoted(content: str) -> list[list[str]]:
    """As a spreadsheet writes it: a quoted cell may hold tabs and line ends."""
    csv.field_size_limit(_MOST_BYTES)
    try:
        return [row for row in csv.reader(io.StringIO(content, newline=""), delimiter="\t") if any(row)]
    except csv.Error:
        return []


def _fits(rows: list[list[str]]) -> bool:
    if not rows:
        return False
    header = [cell.strip().lower() for cell in rows[0]]
    if "label" not in header:
        return True  # no way of reading will find it: the refusal names what is missing
    place = header.index("label")
    return all(len(row) == len(header) and row[place].strip().lower() in LABELS for row in rows[1:])


def _labelled(name: str, rows: list[list[str]]) -> LabelledSet:
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    for column in ("text", "label"):
        if column not in header:
            seen = ", ".join(header) or "nothing"
            raise ValueError(f"{name} has no column {column} in its first line (it has {seen}).")
    text_at, label_at = header.index("text"), header.index("label")
    group_at = header.index("group") if "group" in header else None
    texts: list[str] = []
    labels: list[int] = []
    groups: list[str] = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise ValueError(f"{name}: row {number} has {len(row)} cells, the header has {len(header)}.")
        label = row[label_at].strip().lower()
        if label not in LABELS:
            raise ValueError(
                f"{name}: row {number} has the label {label[:40]!r}; it must be one of {', '.join(LABELS)}."
            )
        texts.append(row[text_at][:MAX_MOOD_CHARS])
        labels.append(LABELS.index(label))
        groups.append(str(number) if group_at is None else row[group_at])
    if not texts:
        raise ValueError(f"{name} has a header and no row.")
    if len(set(labels)) < 2:
        raise ValueError(f"{name} has rows of one label only; nothing can be measured on them.")
    return LabelledSet(name=name.removesuffix(".tsv"), texts=texts, labels=labels, groups=groups)


def write_sets(rows: Iterable[Row], folder: Path, part: Part) -> dict[str, int]:
    """One file for each source of that part, with its groups; the number of rows of each."""
    by_source: dict[str, list[Row]] = {}
    for row in rows:
        if row.part == part:
            by_source.setdefault(row.source, []).append(row)
    folder.mkdir(parents=True, exist_ok=True)
    for source, own in by_source.items():
        lines = ["text\tlabel\tgroup"]
        lines += [f"{row.text}\t{row.label}\t{hashlib.sha256(row.group.encode()).hexdigest()[:12]}" for row in own]
        (folder / f"{source}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {source: len(own) for source, own in by_source.items()}
