"""The in-process engine behaves as the local one, without a process."""

import asyncio

import pytest

from models.serving.engine import EngineClosedError, EngineUnavailableError, RequestRefusedError
from models.serving.in_process import InProcessEngine
from models.serving.requests import Started, StoryOutput
from tests.bigram_model import BigramModel, FaultyModel
from tests.serving_reader import Leaks, ask, first_text, read, served


@pytest.fixture
async def engine():
    leaks = Leaks()
    engine = InProcessEngine(lambda: FaultyModel(slots=2, pause_s=0.001))
    await engine.start()
    yield engine
    await engine.close(0.0)
    await leaks.none_remain()


async def test_a_story_streams_whole(engine):
    await engine.submit(ask("r"))
    started, *deltas, output = await read(engine, "r")
    assert started == Started()
    assert "".join(delta.text for delta in deltas) == output.text


async def test_a_cancelled_story_ends_with_what_was_said(engine):
    await engine.submit(ask("r", max_new_tokens=2048))
    stream = engine.stream("r")
    await first_text(stream)
    await engine.cancel("r")
    *_, output = [event async for event in stream]
    assert output.finish_reason == "cancelled"
    assert 0 < output.new_tokens < 2048


async def test_a_model_that_breaks_is_replaced_and_its_neighbour_not_harmed(engine, tmp_path):
    for request in (ask("broken", f"[raise][once {tmp_path / 'seen'}]"), ask("neighbour", max_new_tokens=60)):
        await engine.submit(request)
    broken, neighbour = await asyncio.gather(read(engine, "broken"), read(engine, "neighbour"))
    assert [event for event in broken if isinstance(event, Started)] == [Started(), Started(attempt=2)]
    assert [event for event in neighbour if isinstance(event, Started)] == [Started()]
    assert isinstance(broken[-1], StoryOutput)
    assert (await engine.health()).workers[0].restarts == 1


async def test_a_request_that_breaks_two_models_is_refused_and_the_queue_goes_on(engine):
    for request in (ask("poison", "[raise]"), *(ask(str(number)) for number in range(4))):
        await engine.submit(request)
    with pytest.raises(RequestRefusedError, match="crashed two workers"):
        await read(engine, "poison")
    for number in range(4):
        assert (await read(engine, str(number)))[-1].finish_reason == "length"


async def test_a_model_that_can_not_be_made_is_reported():
    def no_model():
        raise FileNotFoundError("weights.gguf is not there")

    engine = InProcessEngine(no_model)
    with pytest.raises(EngineUnavailableError, match=r"weights\.gguf is not there"):
        await engine.start()


async def test_a_model_that_can_not_be_made_again_ends_what_waits(tmp_path):
    made = []

    def once():
        if made:
            raise FileNotFoundError("weights.gguf is not there")
        made.append(FaultyModel(slots=1))
        return made[0]

    engine = InProcessEngine(once)
    await engine.start()
    for name in ("r", "s"):
        await engine.submit(ask(name, "[raise]"))
    for name in ("r", "s"):
        with pytest.raises(EngineUnavailableError, match="is not there"):
            await read(engine, name)
    await engine.close()


async def test_several_models_share_the_load():
    engine = InProcessEngine(*[lambda: BigramModel(slots=1, pause_s=0.001)] * 3)
    await engine.start()
    for number in range(3):
        assert await engine.submit(ask(str(number), max_new_tokens=100)) == 0
    assert [worker.running for worker in (await engine.health()).workers] == [1, 1, 1]
    await engine.close(0.0)


async def test_after_closing_nothing_is_taken(engine):
    await served(engine, ask("r"))
    await engine.close()
    with pytest.raises(EngineClosedError):
        await engine.submit(ask("s"))


async def test_an_engine_that_was_not_started_says_so():
    with pytest.raises(EngineUnavailableError, match="not started"):
        await InProcessEngine(BigramModel).submit(ask("r"))
