"""What a training run and whoever started it say to each other, a JSON object a line. Knows no model, no process and no
database.

Standard input of a run: one `RunRequest`, then a record a line, then its end. Standard output: `Event`s. Texts come
from an encrypted store: on disk they are sealed with the request's key, which no file holds.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Family = Literal["story", "gpt", "ngram", "mood", "portraits"]
Stage = Literal["snapshot", "train", "evaluate", "register"]

FAMILIES: tuple[Family, ...] = ("story", "gpt", "ngram", "mood", "portraits")
PAIR_CHARS = 600  # of each text of a pair: prompt and both continuations fit into one message of Discord's


class TurnRecord(Struct, frozen=True, kw_only=True, tag="turn"):
    """A part of a story. `author` is a pseudonym, "" where a model wrote it: such a part is context, never a lesson.
    `parent` is the id of the part before it, None for the first. All people whose words stand before it in its story
    agreed; the records of a story come one after another, parents first. `at` in Unix seconds."""

    id: str
    story: str
    parent: str | None
    author: str
    text: str
    language: str
    at: float


class CorrectionRecord(Struct, frozen=True, kw_only=True, tag="correction"):
    """A text and the mood that its author says is right."""

    id: str
    author: str
    text: str
    label: Literal["negative", "neutral", "positive"]
    language: str
    at: float


class PictureRecord(Struct, frozen=True, kw_only=True, tag="picture"):
    """A picture (PNG) that its author drew and gave."""

    id: str
    author: str
    png: bytes
    at: float


Record = TurnRecord | CorrectionRecord | PictureRecord


class RunOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to train. `steps` of the adapter (other families scale theirs), `length` in tokens, `batch` in windows,
    `replay` the share of windows from the base text, against forgetting."""

    seed: int = 1
    steps: Annotated[int, Meta(ge=1, le=100_000)] = 60
    rank: Annotated[int, Meta(ge=1, le=64)] = 8
    rate: Annotated[float, Meta(gt=0.0, le=0.1)] = 1e-3
    batch: Annotated[int, Meta(ge=1, le=64)] = 2
    length: Annotated[int, Meta(ge=64, le=4096)] = 256
    replay: Annotated[float, Meta(ge=0.0, le=0.9)] = 0.2
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    min_authors: Annotated[int, Meta(ge=1)] = 1
    min_characters: Annotated[int, Meta(ge=1)] = 2_000


class RunRequest(Struct, frozen=True, kw_only=True, tag="run"):
    """The first line. `run` names the run and its folder; `key` is 64 hexadecimal characters, or "" to leave an
    operator's own texts unsealed. With `resume` no records follow: the snapshot is there already."""

    run: str
    families: tuple[Family, ...]
    data_dir: str
    model: str
    adapter: str = "default"
    key: str = ""
    resume: bool = False
    options: RunOptions = RunOptions()


class Began(Struct, frozen=True, kw_only=True, tag="began"):
    stage: Stage
    family: Family | None = None


class Counted(Struct, frozen=True, kw_only=True, tag="counted"):
    """What the snapshot holds. `dropped` counts records by reason; `digest` is that of its rows."""

    kept: int
    dropped: dict[str, int]
    authors: int
    characters: int
    held_out: int
    digest: str


class Progressed(Struct, frozen=True, kw_only=True, tag="progressed"):
    """`loss` in the family's own unit (nats per token where there are tokens), speed and time of wall clock."""

    family: Family
    step: int
    steps: int
    loss: float
    tokens_per_s: float
    left_s: float


class Check(Struct, frozen=True, kw_only=True):
    """One condition of the gate. `before` is the champion's value; `limit` what `value` was held against."""

    name: str
    passed: bool
    value: float
    limit: float
    before: float | None = None


class TextPair(Struct, frozen=True, kw_only=True):
    """How the candidate, and what answered when it was judged, went on with the same beginning of a text of ours."""

    prompt: Annotated[str, Meta(max_length=PAIR_CHARS)]
    candidate: Annotated[str, Meta(max_length=PAIR_CHARS)]
    other: Annotated[str, Meta(max_length=PAIR_CHARS)]


class Paired(Struct, frozen=True, kw_only=True, tag="paired"):
    """Texts for people to compare blindly, told once and written to no file. The candidate was registered as `version`;
    the others are those of version `against`, "" for what is shipped."""

    family: Family
    version: str
    against: str
    pairs: tuple[TextPair, ...]


class Judged(Struct, frozen=True, kw_only=True, tag="judged"):
    """A candidate was registered as `version`; it may be promoted when it was `accepted`."""

    family: Family
    version: str
    accepted: bool
    checks: tuple[Check, ...]
    metrics: dict[str, float]


class Skipped(Struct, frozen=True, kw_only=True, tag="skipped"):
    """There was nothing to train this family on; `reason` is one sentence."""

    family: Family
    reason: str


class RunFailed(Struct, frozen=True, kw_only=True, tag="failed"):
    """The run ended without (further) candidates; `reason` is one sentence for the admin. Live models are untouched."""

    reason: str
    cancelled: bool = False


class RunEnded(Struct, frozen=True, kw_only=True, tag="ended"):
    """Everything asked for is done and the snapshot is deleted."""


Event = Began | Counted | Progressed | Paired | Judged | Skipped | RunFailed | RunEnded
