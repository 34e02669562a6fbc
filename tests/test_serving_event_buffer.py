"""The buffer between an engine and a slow reader: nothing is lost, nothing piles up."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.serving.engine import WorkerDiedError
from models.serving.event_buffer import EventBuffer
from models.serving.requests import Queued, Started, StoryOutput, TextDelta

OUTPUT = StoryOutput(
    request_id="r", text="", finish_reason="end", model_version="m", seed=0, prompt_tokens=1, new_tokens=1
)


async def drained(buffer):
    events = []
    while not events or not isinstance(events[-1], StoryOutput):
        events.append(await buffer.get())
    return events


async def test_a_slow_reader_gets_unread_text_as_one_piece():
    buffer = EventBuffer()
    for event in (Queued(position=2), Queued(position=1), Started(), *(TextDelta(text=c) for c in "abc")):
        buffer.put(event)
    buffer.finish(OUTPUT)
    assert await drained(buffer) == [Started(), TextDelta(text="abc"), OUTPUT]


async def test_a_text_that_begins_anew_takes_back_what_was_not_read():
    buffer = EventBuffer()
    buffer.put(Started())
    buffer.put(TextDelta(text="lost"))
    buffer.put(Started(attempt=2))
    buffer.put(TextDelta(text="kept"))
    buffer.finish(OUTPUT)
    assert await drained(buffer) == [Started(attempt=2), TextDelta(text="kept"), OUTPUT]


async def test_text_comes_before_the_error_that_ended_it():
    buffer = EventBuffer()
    buffer.put(TextDelta(text="so far"))
    buffer.finish(WorkerDiedError("gone"))
    buffer.put(TextDelta(text="too late"))
    buffer.finish(OUTPUT)
    assert await buffer.get() == TextDelta(text="so far")
    for _ in range(2):
        with pytest.raises(WorkerDiedError):
            await buffer.get()


@given(st.lists(st.one_of(st.text(min_size=1, max_size=3), st.none()), max_size=40))
def test_whenever_the_reader_reads_it_gets_all_the_text_in_order(steps):
    """None: the reader takes one event."""

    async def scenario():
        buffer = EventBuffer()
        read = ""
        unread = False
        for step in steps:
            if step is not None:
                buffer.put(TextDelta(text=step))
                unread = True
            elif unread:
                read += (await buffer.get()).text
                unread = False
        buffer.finish(OUTPUT)
        return read + "".join(event.text for event in (await drained(buffer))[:-1])

    assert asyncio.run(scenario()) == "".join(step for step in steps if step is not None)


async def test_a_reader_that_waits_is_woken_and_one_that_is_cancelled_loses_nothing():
    buffer = EventBuffer()
    waiting = asyncio.create_task(buffer.get())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    waiting = asyncio.create_task(buffer.get())
    await asyncio.sleep(0)
    buffer.put(TextDelta(text="a"))
    assert await waiting == TextDelta(text="a")
