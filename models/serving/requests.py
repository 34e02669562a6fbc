"""What crosses the line between those who ask and the models that answer: plain data that knows no model and no host.

Everything here is a frozen, keyword-only msgspec struct, so that one definition is the type, the validation and the
wire format (tagged msgpack).
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

MAX_STORY_CHARS = 200_000  # a request over this is refused before it is queued
MAX_NEW_TOKENS = 2_048
MAX_STOPS = 8
DEFAULT_MODEL = "default"  # the one that is configured; a worker may host others under other names


class Sampling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the next token is drawn. The same seed, model version and prompt give the same text.

    `temperature` 0 is greedy; `top_k` 0, `top_p` 1 and `min_p` 0 switch that filter off; `repetition_penalty` 1 is none
    (Keskar et al. 2019, section 4.1). The defaults are what the default story model with its adapter reads best with
    (docs/continuations.md): small models lose the thread at higher temperatures and loop without the penalty.
    """

    max_new_tokens: Annotated[int, Meta(ge=1, le=MAX_NEW_TOKENS)] = 160
    temperature: Annotated[float, Meta(ge=0.0, le=5.0)] = 0.6
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.95
    top_k: Annotated[int, Meta(ge=0, le=100_000)] = 40
    min_p: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.08
    repetition_penalty: Annotated[float, Meta(ge=0.5, le=2.0)] = 1.12
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    stop: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(max_length=MAX_STOPS)] = ()


class StoryRequest(Struct, frozen=True, kw_only=True, tag="story"):
    """Continue `story` in its own voice. Answered by a stream of `StoryEvent`s that ends with `StoryOutput`.

    `story` is the whole text so far, oldest first; the model's side cuts it to the context window with its own
    tokenizer. `direction` is a standing instruction (memory, mood, author's note) that is never part of the story.
    `user` and `guild` are opaque keys by which the queue is fair; `guild` also names the voice in which a model that
    was taught by its community writes. `model` names one of the models that the worker hosts. `deadline` is Unix
    time in seconds, after which nobody waits for the answer any more.
    """

    request_id: Annotated[str, Meta(min_length=1, max_length=64)]
    story: Annotated[str, Meta(min_length=1, max_length=MAX_STORY_CHARS)]
    direction: Annotated[str, Meta(max_length=8_000)] = ""
    sampling: Sampling = Sampling()
    user: str = ""
    guild: str = ""
    model: Annotated[str, Meta(min_length=1, max_length=64)] = DEFAULT_MODEL
    deadline: float | None = None


class StoryOutput(Struct, frozen=True, kw_only=True, tag="story_output"):
    """The finished continuation. `text` is authoritative: it may be shorter than what was streamed (trimmed to a
    sentence end, an echo or a loop cut off). Whoever shows it puts it directly behind the story: it begins with the
    white space that belongs between the two.
    """

    request_id: str
    text: str
    finish_reason: Literal["end", "length", "stop", "loop", "cancelled"]
    model_version: str
    seed: int
    prompt_tokens: int
    cached_tokens: int = 0  # of the prompt, found in the KV cache: not prefilled again
    new_tokens: int
    prefill_s: float = 0.0
    decode_s: float = 0.0


class Queued(Struct, frozen=True, kw_only=True, tag="queued"):
    """Waiting. `position` is 1 for the next to be served; `wait_s` is an estimate, None when nothing was measured."""

    position: int
    wait_s: float | None = None


class Started(Struct, frozen=True, kw_only=True, tag="started"):
    """A model has begun. A second one in the same stream means that a worker died and the text starts anew."""

    attempt: int = 1


class TextDelta(Struct, frozen=True, kw_only=True, tag="delta"):
    """More text: whole code points only."""

    text: str


StoryEvent = Queued | Started | TextDelta | StoryOutput


class WorkerHealth(Struct, frozen=True, kw_only=True):
    """One worker process as its supervisor sees it."""

    state: Literal["starting", "ready", "restarting", "failed", "stopped"]
    pid: int | None = None
    model_version: str = ""
    slots: int = 0
    running: int = 0
    restarts: int = 0
    resident_bytes: int = 0
    uptime_s: float = 0.0
    error: str = ""


class Distribution(Struct, frozen=True, kw_only=True):
    """Durations since the start: `counts[n]` of them were at most `bounds[n]` seconds and more than the bound before;
    the last count, which has no bound, is of all longer ones."""

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0,)
    sum_s: float = 0.0


class Health(Struct, frozen=True, kw_only=True):
    """The engine as an operator sees it. Rates are over the last minute; percentiles over the last 200 requests;
    `served`, `failed`, `generated_tokens` and `first_token` count since the start."""

    ready: bool
    workers: tuple[WorkerHealth, ...] = ()
    queued: int = 0
    running: int = 0
    queued_by_guild: dict[str, int] = {}
    tokens_per_s: float = 0.0
    first_token_p50_s: float | None = None
    first_token_p95_s: float | None = None
    served: int = 0
    failed: int = 0
    generated_tokens: int = 0
    first_token: Distribution = Distribution()
