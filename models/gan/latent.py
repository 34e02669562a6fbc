"""From words to a point of the latent space: noise and labels drawn by a seed, and the ways between two of them. Knows
no network and no picture.

A seed is any text. It is brought to Unicode's composed form, case-folded and stripped, so that "Mara", "MARA " and a
decomposed "Mara" are one face. BLAKE2b of it keys numpy's Philox counter, whose raw bits are specified; the normal
numbers are made from them here (Box and Muller 1958), because numpy may change its own from version to version. Each
label has a stream of its own: to ask for glasses changes the glasses and nobody's hair.
"""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_PERSON: Final = b"inkwell-face"  # BLAKE2b's domain: other hashes of the same words are no faces


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where a portrait comes from: `z` float32 (z,), and one class number for each conditioning field."""

    z: Array
    labels: tuple[int, ...]


def normalise(seed: str) -> str:
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", seed).casefold()).split())


def _bits(seed: str, stream: str) -> np.random.Philox:
    # A length before the seed, so that no seed can spell another's stream. Lone surrogates are text here too.
    words = normalise(seed).encode("utf-8", "surrogatepass")
    data = len(words).to_bytes(4, "big") + words + stream.encode()
    return np.random.Philox(key=int.from_bytes(hashlib.blake2b(data, digest_size=16, person=_PERSON).digest(), "big"))


def uniforms(seed: str, stream: str, count: int) -> NDArray[np.float64]:
    """`count` numbers in [0, 1) with 53 bits each."""
    raw = _bits(seed, stream).random_raw(count)
    return (np.atleast_1d(raw) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def noise(seed: str, stream: str, count: int) -> Array:
    """`count` standard normal numbers."""
    half = (count + 1) // 2
    u = uniforms(seed, stream, 2 * half)
    radius, angle = np.sqrt(-2 * np.log1p(-u[:half])), 2 * np.pi * u[half:]
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return both[:count].astype(np.float32)


def draw_class(seed: str, stream: str, shares: Sequence[float], allowed: Sequence[int]) -> int:
    """One of `allowed` class numbers, as often as its share among them in the data."""
    weights = np.array([shares[each] for each in allowed], np.float64)
    place = np.searchsorted(np.cumsum(weights), uniforms(seed, stream, 1)[0] * weights.sum(), "right")
    return int(allowed[min(int(place), len(allowed) - 1)])


def draw(
    seed: str, z: int, fields: Sequence[str], shares: Mapping[str, Sequence[float]], asked: Mapping[str, Sequence[int]]
) -> Point:
    """The seed's point. `asked` limits fields to some of their classes."""
    labels = tuple(
        draw_class(seed, f"/{field}", shares[field], asked.get(field, range(len(shares[field])))) for field in fields
    )
    return Point(z=noise(seed, "/z", z), labels=labels)


def step_aside(point: Point, other: Point, size: float, seed: str, fields: Sequence[str]) -> Point:
    """A small spherical step of `point` towards `other`: the noise turns by `size` of the way, and each label is the
    other's with probability `size`, decided by `seed`. 0 stays, 1 arrives."""
    labels = tuple(
        theirs if uniforms(seed, f"/vary/{field}", 1)[0] < size else own
        for field, own, theirs in zip(fields, point.labels, other.labels, strict=True)
    )
    return Point(z=slerp(point.z, other.z, size), labels=labels)


def slerp(start: Array, end: Array, part: float) -> Array:
    """Spherical interpolation (Shoemake 1985; White 2016): the direction along the great circle, the length in
    proportion. Straight where the two are parallel or one is zero."""
    a, b = start.astype(np.float64), end.astype(np.float64)
    length_a, length_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if length_a < 1e-9 or length_b < 1e-9:
        return ((1 - part) * a + part * b).astype(np.float32)
    cosine = float(np.clip(a @ b / (length_a * length_b), -1.0, 1.0))
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-6:
        return ((1 - part) * a + part * b).astype(np.float32)
    direction = np.sin((1 - part) * angle) * a / length_a + np.sin(part * angle) * b / length_b
    return ((1 - part) * length_a + part * length_b) * (direction / np.sin(angle)).astype(np.float32)  # type: ignore[no-any-return]


def child(start: Point, end: Point, seeds: tuple[str, str], fields: Sequence[str]) -> Point:
    """Halfway in the noise; each label from one parent or the other by a coin that both names decide, in any order."""
    first, second = sorted(zip(map(normalise, seeds), (start, end), strict=True), key=lambda each: each[0])
    both = "\n".join((first[0], second[0]))
    labels = tuple(
        (first if uniforms(both, f"/child/{field}", 1)[0] < 0.5 else second)[1].labels[place]
        for place, field in enumerate(fields)
    )
    return Point(z=slerp(first[1].z, second[1].z, 0.5), labels=labels)


def truncate(point: Point, truncation: float) -> Point:
    """Noise nearer to its mean: less variety, fewer odd faces (Karras et al. 2019)."""
    return replace(point, z=(point.z * np.float32(truncation)).astype(np.float32))
