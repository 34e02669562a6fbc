"""Frames: what goes in comes out, and garbage ends in a clear error."""

import struct
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.serving import wire
from models.serving.requests import Sampling, StoryOutput, StoryRequest

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
REQUESTS = st.builds(
    StoryRequest,
    request_id=IDS,
    story=TEXT.filter(bool),
    direction=TEXT,
    sampling=st.builds(
        Sampling,
        max_new_tokens=st.integers(1, 2048),
        temperature=st.floats(0, 5),
        seed=st.integers(0, 2**32 - 1),
        stop=st.lists(TEXT.filter(bool), max_size=8).map(tuple),
    ),
    user=TEXT,
    guild=TEXT,
    deadline=st.none() | st.floats(0, 2e9),
)
OUTPUTS = st.builds(
    StoryOutput,
    request_id=IDS,
    text=TEXT,
    finish_reason=st.sampled_from(["end", "length", "stop", "loop", "cancelled"]),
    model_version=TEXT,
    seed=st.integers(0, 2**32 - 1),
    prompt_tokens=st.integers(0, 10_000),
    new_tokens=st.integers(0, 10_000),
)
TO_WORKER = st.one_of(
    st.builds(wire.Configure, config=st.builds(wire.WorkerConfig, model=TEXT, data_dir=TEXT), factory=TEXT),
    st.builds(wire.Run, request=REQUESTS),
    st.builds(wire.Cancel, request_id=IDS),
    st.builds(wire.Ping),
    st.builds(wire.Shutdown),
)
FROM_WORKER = st.one_of(
    st.builds(wire.Ready, model_version=TEXT, slots=st.integers(1, 64)),
    st.builds(wire.StartFailed, reason=TEXT),
    st.builds(wire.RunStarted, request_id=IDS),
    st.builds(wire.Delta, request_id=IDS, text=TEXT),
    st.builds(wire.Finished, output=OUTPUTS),
    st.builds(wire.Refused, request_id=IDS, reason=TEXT),
    st.builds(wire.Failed, request_id=IDS, reason=TEXT),
    st.builds(
        wire.Pong,
        stats=st.builds(
            wire.WorkerStats,
            resident_bytes=st.integers(0, 2**40),
            cpu_s=st.floats(0, 1e9),
            running=st.integers(0, 99),
        ),
    ),
    st.builds(wire.LogLine, level=st.integers(0, 50), logger=TEXT, message=TEXT),
)


def in_pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[left:right] for left, right in pairwise(edges)]


@given(st.lists(TO_WORKER, max_size=5), st.lists(st.integers(0, 10_000), max_size=8))
def test_messages_to_a_worker_survive_any_cut_of_the_stream(messages, cuts):
    frames = wire.FrameSplitter()
    stream = b"".join(map(wire.encode, messages))
    bodies = [body for piece in in_pieces(stream, cuts) for body in frames.feed(piece)]
    assert list(map(wire.decode_to_worker, bodies)) == messages
    assert not frames.mid_frame


@given(st.lists(FROM_WORKER, max_size=5), st.lists(st.integers(0, 10_000), max_size=8))
def test_messages_from_a_worker_survive_any_cut_of_the_stream(messages, cuts):
    frames = wire.FrameSplitter()
    stream = b"".join(map(wire.encode, messages))
    bodies = [body for piece in in_pieces(stream, cuts) for body in frames.feed(piece)]
    assert list(map(wire.decode_from_worker, bodies)) == messages


@given(st.binary(max_size=300))
def test_garbage_is_a_wire_error_and_nothing_else(garbage):
    for decode in (wire.decode_to_worker, wire.decode_from_worker):
        try:
            decode(garbage)
        except wire.WireError:
            continue
    frames = wire.FrameSplitter(max_bytes=200)
    try:
        frames.feed(garbage)
    except wire.WireError:
        return
    assert sum(map(len, [bytes(frames._pending)])) <= 204


@given(FROM_WORKER, st.data())
def test_a_flipped_bit_is_a_wire_error_or_another_message(message, data):
    body = bytearray(wire.encode(message)[4:])
    body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        wire.decode_from_worker(bytes(body))
    except wire.WireError as error:
        assert str(error)


def test_deep_nesting_is_a_wire_error():
    with pytest.raises(wire.WireError):
        wire.decode_to_worker(b"\x91" * 100_000 + b"\xc0")


def test_a_frame_over_the_limit_is_refused_before_it_is_buffered():
    with pytest.raises(wire.WireError, match="over the limit"):
        wire.FrameSplitter().feed(struct.pack(">I", wire.MAX_FRAME_BYTES + 1))
    with pytest.raises(wire.WireError, match="over the limit"):
        wire.encode(wire.LogLine(level=20, logger="x", message="x" * wire.MAX_FRAME_BYTES))


def test_the_longest_story_fits_a_frame():
    request = StoryRequest(request_id="r", story="🕯" * 200_000)
    (body,) = wire.FrameSplitter().feed(wire.encode(wire.Run(request=request)))
    assert wire.decode_to_worker(body) == wire.Run(request=request)


def test_a_lone_surrogate_can_not_be_sent():
    with pytest.raises(wire.WireError):
        wire.encode(wire.Delta(request_id="r", text="\ud800"))


@pytest.mark.parametrize(
    "request_",
    [
        StoryRequest(request_id="", story="x"),
        StoryRequest(request_id="r", story=""),
        StoryRequest(request_id="r", story="x" * 200_001),
        StoryRequest(request_id="r", story="\ud83d"),
        StoryRequest(request_id="r", story="x", sampling=Sampling(temperature=-1.0)),
        StoryRequest(request_id="r", story="x", sampling=Sampling(temperature=float("nan"))),
        StoryRequest(request_id="r", story="x", sampling=Sampling(seed=2**70)),
        StoryRequest(request_id="r", story="x", sampling=Sampling(stop=("x",) * 9)),
        StoryRequest(request_id="r", story=7),  # type: ignore[arg-type]
        StoryRequest(request_id="r", story="x", direction=object()),  # type: ignore[arg-type]
    ],
    ids=lambda request: repr(request)[:60],
)
def test_a_malformed_request_is_found_before_it_is_sent(request_):
    with pytest.raises(ValueError, match=r"."):
        wire.checked(request_)


def test_a_configuration_with_an_unknown_field_is_refused():
    body = msgspec.msgpack.encode(
        {"type": "configure", "config": {"model": "m", "data_dir": "d", "factory": "os:system"}}
    )
    with pytest.raises(wire.WireError, match="factory"):
        wire.decode_to_worker(body)
