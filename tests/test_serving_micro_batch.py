"""Micro-batches: together, in time, halved when they fail, background work dropped first."""

import asyncio
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.serving.engine import EngineClosedError, EngineOverloadedError
from models.serving.micro_batch import BatchLimits, MicroBatcher
from tests.serving_reader import Leaks, settled


class Doubler:
    """Answers with twice the number; remembers its batches; `gate` holds it up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    async def __call__(self, numbers):
        return await asyncio.to_thread(self.doubled, numbers)

    def doubled(self, numbers):
        self.batches.append(list(numbers))
        assert self.gate.wait(20)
        if any(number < 0 for number in numbers):
            raise ValueError("negative")
        if len(numbers) > 8:
            raise MemoryError("too many at once")
        return [2 * number for number in numbers]


async def test_what_arrives_together_runs_together():
    doubler = Doubler()
    async with MicroBatcher(doubler, BatchLimits(max_wait_s=0.05)) as batcher:
        assert await asyncio.gather(*map(batcher.answer, range(5))) == [0, 2, 4, 6, 8]
    assert doubler.batches == [[0, 1, 2, 3, 4]]


async def test_one_item_waits_no_longer_than_its_deadline():
    async with MicroBatcher(Doubler(), BatchLimits(max_wait_s=0.02)) as batcher:
        started = time.monotonic()
        assert await batcher.answer(1) == 2
        assert 0.015 < time.monotonic() - started < 5


async def test_a_full_batch_does_not_wait():
    doubler = Doubler()
    async with MicroBatcher(doubler, BatchLimits(max_batch=4, max_wait_s=600)) as batcher:
        assert await asyncio.gather(*map(batcher.answer, range(8))) == [2 * number for number in range(8)]
    assert doubler.batches == [[0, 1, 2, 3], [4, 5, 6, 7]]


async def test_an_item_that_can_not_be_answered_fails_alone():
    async with MicroBatcher(Doubler(), BatchLimits(max_wait_s=0.05)) as batcher:
        answers = await asyncio.gather(*map(batcher.answer, [1, 2, -3, 4]), return_exceptions=True)
    assert answers[0:2] + answers[3:] == [2, 4, 8]
    assert isinstance(answers[2], ValueError)


async def test_a_batch_too_large_for_the_memory_is_answered_in_parts():
    doubler = Doubler()
    async with MicroBatcher(doubler, BatchLimits(max_wait_s=0.05)) as batcher:
        assert await asyncio.gather(*map(batcher.answer, range(20))) == [2 * number for number in range(20)]
    assert max(len(batch) for batch in doubler.batches) == 20
    assert sorted(len(batch) for batch in doubler.batches) == [5, 5, 5, 5, 10, 10, 20]


async def three(items):
    return [1, 2, 3]


async def test_a_wrong_number_of_answers_is_an_error_for_each():
    async with MicroBatcher(three, BatchLimits(max_wait_s=0.01)) as batcher:
        answers = await asyncio.gather(*map(batcher.answer, range(2)), return_exceptions=True)
    assert all(isinstance(answer, RuntimeError) for answer in answers)


async def test_background_work_is_dropped_first_under_load():
    doubler = Doubler()
    limits = BatchLimits(max_batch=1, max_wait_s=0.0, max_waiting=4, max_background=2)
    async with MicroBatcher(doubler, limits) as batcher:
        doubler.gate.clear()
        running = asyncio.create_task(batcher.answer(0))
        await settled(lambda: doubler.batches)
        background = [asyncio.create_task(batcher.answer(number, background=True)) for number in (10, 11)]
        await settled(lambda: len(batcher) == 2)
        with pytest.raises(EngineOverloadedError, match="background"):
            await batcher.answer(12, background=True)
        urgent = [asyncio.create_task(batcher.answer(number)) for number in (1, 2, 3, 4)]
        await settled(lambda: all(task.done() for task in background))
        with pytest.raises(EngineOverloadedError, match="server"):
            await batcher.answer(5)
        doubler.gate.set()
        assert [await task for task in (running, *urgent)] == [0, 2, 4, 6, 8]
        assert batcher.dropped == 3
    assert all(isinstance(task.exception(), EngineOverloadedError) for task in background)
    assert doubler.batches == [[0], [1], [2], [3], [4]]


async def test_urgent_work_goes_before_background_work_in_the_same_batch():
    doubler = Doubler()
    async with MicroBatcher(doubler, BatchLimits(max_batch=3, max_wait_s=600)) as batcher:
        doubler.gate.clear()
        filling = [asyncio.create_task(batcher.answer(number)) for number in (0, 1, 2)]
        await settled(lambda: doubler.batches)
        later = [asyncio.create_task(batcher.answer(number, background=True)) for number in (10, 11)]
        sooner = [asyncio.create_task(batcher.answer(3))]
        await settled(lambda: len(batcher) == 3)
        doubler.gate.set()
        await asyncio.gather(*filling, *later, *sooner)
    assert doubler.batches == [[0, 1, 2], [3, 10, 11]]


async def test_a_caller_that_leaves_takes_its_item_out():
    doubler = Doubler()
    async with MicroBatcher(doubler, BatchLimits(max_wait_s=0.05)) as batcher:
        doubler.gate.clear()
        runs = asyncio.create_task(batcher.answer(0))
        await settled(lambda: doubler.batches)
        leaves, stays = (asyncio.create_task(batcher.answer(number)) for number in (1, 2))
        await settled(lambda: len(batcher) == 2)
        leaves.cancel()
        await asyncio.wait({leaves})
        doubler.gate.set()
        assert [await task for task in (runs, stays)] == [0, 4]
    assert doubler.batches == [[0], [2]]


async def test_closing_finishes_what_runs_and_tells_what_waits():
    leaks = Leaks()
    doubler = Doubler()
    batcher = MicroBatcher(doubler, BatchLimits(max_batch=1, max_wait_s=0.0))
    with pytest.raises(EngineClosedError):
        await batcher.answer(1)
    async with batcher:
        doubler.gate.clear()
        runs = asyncio.create_task(batcher.answer(1))
        await settled(lambda: doubler.batches)
        waits = asyncio.create_task(batcher.answer(2))
        await settled(lambda: len(batcher) == 1)
        closing = asyncio.create_task(batcher.close())
        await asyncio.wait({waits})
        doubler.gate.set()
        await closing
    assert await runs == 2
    assert isinstance(waits.exception(), EngineClosedError)
    with pytest.raises(EngineClosedError):
        await batcher.answer(3)
    await leaks.none_remain()


async def test_closing_while_a_batch_still_gathers_does_not_wait_for_ever():
    leaks = Leaks()
    doubler = Doubler()
    async with MicroBatcher(doubler, BatchLimits(max_batch=2, max_wait_s=600)) as batcher:
        waits = asyncio.create_task(batcher.answer(1))
        await settled(lambda: len(batcher) == 1)
        async with asyncio.timeout(20):
            await batcher.close()
    assert isinstance(waits.exception(), EngineClosedError)
    assert not doubler.batches
    await leaks.none_remain()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 50), st.booleans()), max_size=60), st.integers(1, 10))
def test_every_item_gets_its_own_answer_or_error(items, max_batch):
    async def scenario():
        limits = BatchLimits(max_batch=max_batch, max_wait_s=0.0, max_background=100)
        async with MicroBatcher(Doubler(), limits) as batcher:
            calls = [batcher.answer(number, background=background) for number, background in items]
            return await asyncio.gather(*calls, return_exceptions=True)

    for (number, _), answer in zip(items, asyncio.run(scenario()), strict=True):
        assert answer == 2 * number if number >= 0 else isinstance(answer, ValueError)
