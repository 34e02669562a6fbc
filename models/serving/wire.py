"""What a worker process and its parent say to each other: length-prefixed msgpack frames over a stream of bytes. Knows
no process, no model and no event loop.
"""

import struct
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from models.serving.requests import StoryOutput, StoryRequest

MAX_FRAME_BYTES = 4 * 2**20  # four times the longest story in UTF-8; a longer frame is a broken peer
_LENGTH = struct.Struct(">I")


class WireError(Exception):
    """The peer broke the protocol (or died within a frame): the connection can't be used any more."""


class WorkerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker process is to load, and within which bounds. Paths are absolute.

    `model` is a weight spec (see models/language/weights.py) and `adapter` "default", "none" or a directory (see
    models/language/adapters.py); `device` is "cuda:1" and the like, empty for the best there is; `threads` 0 lets the
    worker choose from the machine, `slots` 0 takes what the engine is best at.
    `max_memory_bytes` bounds the process's private memory (RLIMIT_DATA), None leaves it unbounded; `gpu_memory` is the
    share of a GPU that it may take. `niceness` lets the Discord side answer in time while the worker computes on the
    same cores. `champions` names the folders of versions that answer as "gpt" and "ngram" in place of what is shipped;
    a champion of the story model is its `adapter`.
    """

    model: str
    data_dir: str
    adapter: str = "default"
    engine: Literal["auto", "openvino", "llama_cpp", "transformers"] = "auto"
    device: str = ""
    threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    slots: Annotated[int, Meta(ge=0, le=256)] = 4
    context_tokens: Annotated[int, Meta(ge=128, le=2**20)] = 2048
    max_memory_bytes: Annotated[int, Meta(ge=2**20)] | None = None
    gpu_memory: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.9
    niceness: Annotated[int, Meta(ge=0, le=19)] = 5
    champions: dict[str, str] = {}
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Configure(Struct, frozen=True, kw_only=True, tag="configure"):
    """The first frame. `factory` ("module:callable", called with the config) replaces the loading of a model; it is
    named by code only and no setting leads to it. `scratch` is an empty directory for temporary files, which the parent
    removes when the process has ended, however it ends."""

    config: WorkerConfig
    factory: str = ""
    scratch: str = ""


class Run(Struct, frozen=True, kw_only=True, tag="run"):
    request: StoryRequest


class Cancel(Struct, frozen=True, kw_only=True, tag="cancel"):
    request_id: str


class Ping(Struct, frozen=True, kw_only=True, tag="ping"):
    pass


class Shutdown(Struct, frozen=True, kw_only=True, tag="shutdown"):
    """Cancel what runs, free the model, exit."""


ToWorker = Configure | Run | Cancel | Ping | Shutdown


class Ready(Struct, frozen=True, kw_only=True, tag="ready"):
    model_version: str
    slots: Annotated[int, Meta(ge=1)]


class StartFailed(Struct, frozen=True, kw_only=True, tag="start_failed"):
    """The model can't be loaded; the process exits. `reason` is one sentence for the operator, the cause is logged."""

    reason: str


class RunStarted(Struct, frozen=True, kw_only=True, tag="started"):
    request_id: str


class Delta(Struct, frozen=True, kw_only=True, tag="delta"):
    request_id: str
    text: str


class Finished(Struct, frozen=True, kw_only=True, tag="output"):
    output: StoryOutput


class Refused(Struct, frozen=True, kw_only=True, tag="refused"):
    """No retry can save this request. `missing`: the model that it names isn't here; another could answer it."""

    request_id: str
    reason: str
    missing: bool = False


class Failed(Struct, frozen=True, kw_only=True, tag="failed"):
    """The model broke under this request: it counts as a crash, though the process still speaks."""

    request_id: str
    reason: str


class WorkerStats(Struct, frozen=True, kw_only=True):
    resident_bytes: int = 0
    cpu_s: float = 0.0
    running: int = 0


class Pong(Struct, frozen=True, kw_only=True, tag="pong"):
    stats: WorkerStats


class LogLine(Struct, frozen=True, kw_only=True, tag="log"):
    level: int
    logger: str
    message: str


JobMessage = RunStarted | Delta | Finished | Refused | Failed
FromWorker = Ready | StartFailed | RunStarted | Delta | Finished | Refused | Failed | Pong | LogLine

_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
_request: msgspec.msgpack.Decoder[StoryRequest] = msgspec.msgpack.Decoder(StoryRequest)


def encode(message: Struct) -> bytes:
    """One frame, its length first, of a message to or from any worker. Raises WireError for what the peer would not
    accept."""
    try:
        body = _encoder.encode(message)
    except (UnicodeEncodeError, TypeError, OverflowError) as error:
        raise WireError(f"a {type(message).__name__} can't be sent: {error}") from None
    if len(body) > MAX_FRAME_BYTES:
        raise WireError(f"a {type(message).__name__} of {len(body)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


def decode_to_worker(body: bytes) -> ToWorker:
    """Raises WireError."""
    try:
        return _to_worker.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a message to a worker: {error}") from None


def decode_from_worker(body: bytes) -> FromWorker:
    """Raises WireError."""
    try:
        return _from_worker.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a message from a worker: {error}") from None


def checked(request: StoryRequest) -> StoryRequest:
    """`request` as the other side would read it. Raises ValueError with the field that breaks its declared bounds
    (structs built in code are not checked by msgspec), or for text that is not Unicode (a lone surrogate)."""
    try:
        return _request.decode(_encoder.encode(request))
    except UnicodeEncodeError:
        raise ValueError("the text holds a lone surrogate, which is not a character") from None
    except (msgspec.ValidationError, TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None


def checked_config(config: WorkerConfig) -> WorkerConfig:
    """`config` as a worker would read it. Raises ValueError with the field that breaks its declared bounds."""
    try:
        return msgspec.msgpack.decode(_encoder.encode(config), type=WorkerConfig)
    except (msgspec.ValidationError, TypeError, OverflowError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None


class FrameSplitter:
    """Cuts a stream of bytes into the bodies of its frames."""

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_bytes = max_bytes
        self._pending = bytearray()

    @property
    def mid_frame(self) -> bool:
        """Whether the stream, should it end now, breaks off within a frame."""
        return bool(self._pending)

    def feed(self, data: bytes) -> list[bytes]:
        """Bodies of the frames that `data` completes. Raises WireError for a frame over the limit, before it is
        buffered."""
        self._pending += data
        bodies = []
        start = 0
        while len(self._pending) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending, start)
            if length > self._max_bytes:
                raise WireError(f"a frame of {length} bytes is over the limit of {self._max_bytes}")
            end = start + _LENGTH.size + length
            if len(self._pending) < end:
                break
            bodies.append(bytes(self._pending[start + _LENGTH.size : end]))
            start = end
        del self._pending[:start]
        return bodies
