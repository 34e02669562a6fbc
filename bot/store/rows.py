"""What the store hands out: plain frozen data that knows no SQL."""

from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct

from models.serving.requests import DEFAULT_MODEL, Sampling, StoryOutput
from models.serving.short_requests import MorphRequest, PortraitRequest, VerseRequest

T = TypeVar("T")

TurnKind = Literal["prompt", "continuation"]
TurnState = Literal["open", "done", "failed", "cancelled"]
JobKind = Literal["start", "continue", "retry"]
TaughtSource = Literal["file", "story"]
TaughtState = Literal["learning", "learned", "forgetting"]
PortraitKind = Literal["portrait", "morph", "verse"]
JobState = Literal["queued", "running", "written", "done", "failed"]


class Recipe(Struct, frozen=True, kw_only=True):
    """How a continuation was written: enough to write it again."""

    model_version: str
    seed: int
    sampling: Sampling
    model: str = DEFAULT_MODEL  # the name that was asked for; `model_version` is who answered
    finish_reason: str = ""
    prompt_tokens: int = 0
    new_tokens: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0

    @classmethod
    def of(cls, output: StoryOutput, sampling: Sampling, model: str = DEFAULT_MODEL) -> "Recipe":
        """The recipe of an engine's answer to a request with this sampling, for this model."""
        return cls(
            model_version=output.model_version,
            seed=output.seed,
            sampling=sampling,
            model=model,
            finish_reason=output.finish_reason,
            prompt_tokens=output.prompt_tokens,
            new_tokens=output.new_tokens,
            prefill_s=output.prefill_s,
            decode_s=output.decode_s,
        )


@dataclass(frozen=True, kw_only=True)
class Story:
    """A tree of turns. `head_turn_id` is where it goes on: the newest turn with text that nobody has undone."""

    id: str
    guild_id: int | None  # None: in a direct message
    channel_id: int
    author_key: str
    title: str
    language: str
    head_turn_id: str
    created_at: float
    updated_at: float


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One piece of a story. `text` stands directly behind its parent's: a continuation begins with the white space
    that belongs between the two. `message_ids` are the Discord messages in `channel_id` that show it, in order."""

    id: str
    story_id: str
    parent_id: str | None  # None: the first turn
    author_key: str | None  # None: a model wrote it
    kind: TurnKind
    text: str
    state: TurnState
    undone: bool
    recipe: Recipe | None
    channel_id: int | None
    message_ids: tuple[int, ...]
    created_at: float
    finished_at: float | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """The promise to answer one open turn. `interaction_token` is None once the job ended or 15 minutes passed: then
    the answer goes into the channel."""

    id: str
    turn_id: str
    state: JobState
    kind: JobKind
    guild_id: int | None
    channel_id: int
    message_id: int | None
    application_id: int
    interaction_token: str | None = field(repr=False)
    locale: str
    user_key: str
    sampling: Sampling
    model: str
    routed: bool  # nobody chose the model: the story's language did
    attempts: int
    error: str | None
    created_at: float
    updated_at: float


@dataclass(frozen=True, kw_only=True)
class OpenJob:
    """A job with what is needed to do it. `prompt_turn` is the turn that `turn` answers: what a member typed, or the
    continuation that is being continued."""

    story: Story
    prompt_turn: Turn
    turn: Turn
    job: Job


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What an undo left. `head` is what to show now; `changed` is False when the turn had been undone before."""

    story: Story
    turn: Turn
    head: Turn
    changed: bool


@dataclass(frozen=True, kw_only=True)
class TaughtText:
    """A text that a server's voice was taught, without its words. `title` is the file's name or the story's title."""

    id: str
    guild_id: int
    author_key: str
    source: TaughtSource
    title: str
    characters: int
    state: TaughtState
    created_at: float


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What reproduces a picture or a verse. `recipe` is the request as it was asked; `digest` is the SHA-256 of what
    answered it, in hexadecimal."""

    code: str
    kind: PortraitKind
    author_key: str
    recipe: PortraitRequest | MorphRequest | VerseRequest
    model_version: str
    digest: str
    created_at: float


@dataclass(frozen=True, kw_only=True)
class StoryCharacter:
    """A face in a story. `picture` is the PNG that was attached, `attributes` what was seen in it."""

    story_id: str
    name: str
    code: str
    author_key: str
    picture: bytes = field(repr=False)
    attributes: dict[str, str]
    created_at: float


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What `/inkwell status` says of the store."""

    stories: int
    turns: int
    jobs: dict[JobState, int]  # only states that occur
    file_bytes: int  # the database and its write-ahead log


@dataclass(frozen=True, kw_only=True)
class Setting(Generic[T]):
    """One setting of a guild, declared by the code that reads it. A change of meaning takes a new `version`: values of
    the old one are kept but no longer read. `kind` is what msgspec checks a stored value against."""

    key: str
    kind: Any  # type[T], or a form that type[] can't say, such as tuple[int, ...]
    default: T
    version: int = 1

    @property
    def stored_key(self) -> str:
        """Its name in the guild's document."""
        return f"{self.key}@{self.version}"
