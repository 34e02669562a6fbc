"""What the process of the small models and its parent say to each other, in the frames of `wire`. Knows no process and
no model.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from models.serving.short_requests import AnyShortOutput, AnyShortRequest
from models.serving.wire import LogLine, Ping, Pong, Shutdown, WireError, encode

# What answers a kind of request: "module:callable", called in the process with the data directory and, where it takes a
# second argument, the options. A module stands there once for all kinds that it answers, and so is loaded once.
FAMILIES = {
    "mood": "models.sentiment.moods:load",
    "portrait": "models.gan.portraits:load",
    "morph": "models.gan.portraits:load",
    "verse": "models.gan.verses:load",
}


class ShortConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`families` names the loader of each kind of request (see FAMILIES); it is written in code and no setting leads to
    it. `options` are for the loaders, e.g. {"mood_model": "..."}. `max_memory_bytes` bounds the process's private
    memory (RLIMIT_DATA), None leaves it unbounded."""

    data_dir: str
    families: dict[str, str] = msgspec.field(default_factory=lambda: dict(FAMILIES))
    options: dict[str, str] = {}
    max_memory_bytes: Annotated[int, Meta(ge=2**20)] | None = None
    niceness: Annotated[int, Meta(ge=0, le=19)] = 5
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class ConfigureShort(Struct, frozen=True, kw_only=True, tag="configure"):
    """The first frame. `scratch` is an empty directory for temporary files, which the parent removes."""

    config: ShortConfig
    scratch: str = ""


class RunBatch(Struct, frozen=True, kw_only=True, tag="batch"):
    """Requests of one family. They are answered in order, each by an Answered, or all by one BatchFailed."""

    batch: int
    requests: tuple[AnyShortRequest, ...]


ToShortWorker = ConfigureShort | RunBatch | Ping | Shutdown


class Listening(Struct, frozen=True, kw_only=True, tag="listening"):
    """The process runs and is configured; no model is loaded yet."""


class Loading(Struct, frozen=True, kw_only=True, tag="loading"):
    """A family is being loaded: a death now is not the fault of a request."""

    family: str


class Loaded(Struct, frozen=True, kw_only=True, tag="loaded"):
    """`version` "": it could not be."""

    family: str
    version: str = ""


class Answered(Struct, frozen=True, kw_only=True, tag="answered"):
    """One frame for each answer, because pictures of a whole batch would not fit into one."""

    batch: int
    output: AnyShortOutput


# "absent", "unloadable": of the whole family (not here, or broken). "missing", "refused": a request of the batch needs
# what isn't here, or no retry can save it. "broke": the model raised what it should not.
Why = Literal["absent", "unloadable", "missing", "refused", "broke"]


class BatchFailed(Struct, frozen=True, kw_only=True, tag="batch_failed"):
    batch: int
    why: Why
    reason: str


FromShortWorker = Listening | Loading | Loaded | Answered | BatchFailed | Pong | LogLine

_to_worker: msgspec.msgpack.Decoder[ToShortWorker] = msgspec.msgpack.Decoder(ToShortWorker)
_from_worker: msgspec.msgpack.Decoder[FromShortWorker] = msgspec.msgpack.Decoder(FromShortWorker)
_request: msgspec.msgpack.Decoder[AnyShortRequest] = msgspec.msgpack.Decoder(AnyShortRequest)


def kind_of(request: AnyShortRequest) -> str:
    """ "mood", "portrait", "morph" or "verse"."""
    return str(request.__struct_config__.tag)


def decode_to_short_worker(body: bytes) -> ToShortWorker:
    """Raises WireError."""
    try:
        return _to_worker.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a message to a short worker: {error}") from None


def decode_from_short_worker(body: bytes) -> FromShortWorker:
    """Raises WireError."""
    try:
        return _from_worker.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a message from a short worker: {error}") from None


def checked_request(request: AnyShortRequest) -> AnyShortRequest:
    """`request` as the other side would read it. Raises ValueError with the field that breaks its declared bounds, or
    for text that is not Unicode (a lone surrogate)."""
    try:
        return _request.decode(encode(request)[4:])
    except (msgspec.ValidationError, WireError) as error:
        raise ValueError(str(error)) from None
