"""The portraits that the GAN learns from: pictures and their labels as arrays. Knows no network.

A folder of the data holds `dice16.npz` (key `x`: uint8, (n, 16, 16, 3)) and `attributes.json.gz` (a list of what
DiceBear drew for each); `recipes/portraits` makes both from npm packages.
"""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.gan.traits import FIELDS, NONE

REFERENCE, HELD_OUT, VALIDATION = slice(0, 4000), slice(4000, 7000), slice(7000, 8000)  # the data set's own split
HIDDEN = -1  # the label of a colour whose part was not drawn


@dataclass(frozen=True, kw_only=True)
class Portraits:
    """`pictures` uint8 (n, 16, 16, 3); `labels` int64 (n, fields) of class numbers, HIDDEN where nothing shows it."""

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def part(self, rows: slice) -> "Portraits":
        return Portraits(pictures=self.pictures[rows], labels=self.labels[rows])


def read(folder: Path) -> Portraits:
    """Raises ValueError, in one sentence, when the folder holds no such data."""
    try:
        with np.load(folder / "dice16.npz", allow_pickle=False) as archive:
            pictures = archive["x"]
        drawn = json.loads(gzip.decompress((folder / "attributes.json.gz").read_bytes()))
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{folder} holds no portraits (dice16.npz and attributes.json.gz): {error}") from error
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1:] != (16, 16, 3):
        raise ValueError(f"{folder / 'dice16.npz'} holds {pictures.dtype} {pictures.shape}, not uint8 (n, 16, 16, 3).")
    if len(drawn) != len(pictures):
        raise ValueError(f"{folder} holds {len(pictures)} pictures but labels for {len(drawn)}.")
    labels = np.array([label_row(each) for each in drawn], np.int64)
    return Portraits(pictures=pictures, labels=labels)


def label_row(drawn: dict[str, object]) -> list[int]:
    """What DiceBear says of one picture, as class numbers in the order of FIELDS. Raises ValueError on a class that
    this version does not know."""
    row = []
    for field in FIELDS:
        if field.shown_with is not None and field.shown_with not in drawn:
            row.append(HIDDEN)
            continue
        key = "primaryBackgroundColor" if field.name == "background" else field.name
        name = str(drawn.get(key, NONE)).removeprefix("#")
        if name not in field.classes:
            raise ValueError(f"this version knows no {field.name} {name!r}")
        row.append(field.classes.index(name))
    return row
