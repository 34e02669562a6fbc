"""The hand-written chat lines keep their promises of shape and balance."""

import csv
from collections import Counter
from pathlib import Path

FIXTURE = Path(__file__).parent / "fixtures" / "chat_moods.tsv"
COLUMNS = ["id", "language", "split", "kind", "label", "text", "rationale"]


def _rows() -> list[dict[str, str]]:
    with FIXTURE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_every_line_is_whole_and_unique() -> None:
    rows = _rows()
    assert len(rows) >= 320
    assert list(rows[0]) == COLUMNS
    assert all(row[column] and row[column] == row[column].strip() for row in rows for column in COLUMNS)
    assert len({row["id"] for row in rows}) == len({row["text"].lower() for row in rows}) == len(rows)
    assert {row["language"] for row in rows} == {"en", "zh"}
    assert {row["split"] for row in rows} == {"development", "report"}


def test_labels_languages_and_splits_are_balanced() -> None:
    rows = _rows()
    for column, share, slack in (("label", 1 / 3, 0.04), ("language", 1 / 2, 0.04), ("split", 1 / 2, 0.02)):
        for value, count in Counter(row[column] for row in rows).items():
            assert abs(count / len(rows) - share) <= slack, value
    cells = Counter((row["language"], row["split"], row["label"]) for row in rows)
    assert len(cells) == 12 and min(cells.values()) >= 25


def test_each_kind_stands_in_both_splits() -> None:
    for kind in {row["kind"] for row in _rows()}:
        in_split = Counter(row["split"] for row in _rows() if row["kind"] == kind)
        assert abs(in_split["development"] - in_split["report"]) <= 5, kind
        assert min(in_split["development"], in_split["report"]) >= 2, kind
