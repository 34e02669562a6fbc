"""The engine over an OpenAI-compatible server, against a real HTTP server that misbehaves on purpose."""

import asyncio
import gc

import pytest

from models.serving.engine import EngineUnavailableError, RequestRefusedError, WorkerDiedError
from models.serving.fair_queue import QueueLimits
from models.serving.openai_engine import OpenAIEngine, RemoteServer
from models.serving.remote_prompt import Dialogue, call_for, estimated_tokens
from models.serving.requests import Sampling, Started, StoryOutput, TextDelta
from tests.remote_server import KEY, MODEL, RemoteServerDouble
from tests.serving_reader import Leaks, ask, first_text, read, served, settled

PATIENT = {"tries": 3, "backoff_s": 0.01, "first_token_s": 20.0, "next_token_s": 20.0}
HASTY = PATIENT | {"first_token_s": 1.0, "next_token_s": 1.0}


def engine_for(server, style="chat", dialect="openai", **options):
    dialogue = Dialogue(model=MODEL, style=style, dialect=dialect)
    limits = options.pop("limits", None)
    options = {"base_url": server.url, "api_key": KEY, "dialogue": dialogue} | PATIENT | options
    return OpenAIEngine(RemoteServer(**options), limits=limits)


class Remote:
    """`async with` a server and an engine over it; neither may leave a task or descriptor behind."""

    def __init__(self, *, pause_s=0.0, **options):
        self.server = RemoteServerDouble(pause_s=pause_s)
        self._options = options

    async def __aenter__(self):
        self._leaks = Leaks()
        await self.server.__aenter__()
        self.engine = engine_for(self.server, **self._options)
        await self.engine.start()
        return self.engine, self.server

    async def __aexit__(self, *_):
        await self.engine.close(0.0)
        await self.server.__aexit__()
        gc.collect()
        await self._leaks.none_remain()


@pytest.mark.parametrize("style", ["chat", "completions", "prefill"])
async def test_a_story_streams_from_a_server(style):
    async with Remote(style=style) as (engine, _):
        await engine.submit(ask("r", max_new_tokens=60))
        started, *deltas, output = await read(engine, "r")
    assert started == Started()
    streamed = "".join(delta.text for delta in deltas)
    assert streamed.startswith(output.text), "it is trimmed to a sentence end"
    assert len(output.text) > 40
    assert output.finish_reason == "length"
    assert (output.new_tokens, output.cached_tokens) == (60, 3)
    assert output.model_version.startswith("bigram@127.0.0.1:")


async def test_the_seed_and_the_sampling_reach_the_server():
    async with Remote(dialect="vllm", style="prefill") as (engine, server):
        requests = [ask(f"r{n}", seed=seed, top_k=7, stop=("a b",)) for n, seed in enumerate([1, 1, 2])]
        texts = [(await served(engine, request)).text for request in requests]
        call = server.calls[-1]
    assert texts[0] == texts[1] != texts[2]
    assert call["top_k"] == 7
    assert call["repetition_penalty"] == Sampling().repetition_penalty
    assert call["continue_final_message"] is True
    assert call["stop"] == ["a b"]


@pytest.mark.parametrize("fault", ["[429 twice]", "[500 twice]", "[503 twice]"])
async def test_a_server_that_is_busy_is_asked_again(fault):
    async with Remote() as (engine, server):
        await engine.submit(ask("r", fault))
        events = await read(engine, "r")
        assert len(server.calls) == 3
    assert isinstance(events[-1], StoryOutput)
    assert sum(isinstance(event, Started) for event in events) == 1


@pytest.mark.parametrize(
    ("fault", "error", "says", "calls"),
    [
        ("[429]", EngineUnavailableError, "answered 429", 3),
        ("[500]", EngineUnavailableError, "answered 500", 3),
        ("[400]", RequestRefusedError, "refused the request", 1),
        ("[401]", EngineUnavailableError, "refused the key", 1),
        ("[404]", EngineUnavailableError, "no such model", 1),
        ("[nothing]", EngineUnavailableError, "broke off", 3),
        ("[closes]", WorkerDiedError, "connection to the server failed", 1),
        ("[ends]", WorkerDiedError, "broke off", 1),
        ("[garbage]", WorkerDiedError, "no event", 1),
        ("[bytes]", WorkerDiedError, "no event", 1),
        ("[shape]", WorkerDiedError, "no event", 1),
        ("[error]", WorkerDiedError, "out of memory", 1),
    ],
)
async def test_what_goes_wrong_ends_in_one_clear_sentence(fault, error, says, calls, caplog):
    async with Remote() as (engine, server):
        await engine.submit(ask("r", fault, max_new_tokens=60))
        with pytest.raises(error, match=says) as caught:
            await read(engine, "r")
        assert len(server.calls) == calls
        assert (await served(engine, ask("after"))).text, "the next one is served"
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value) + caplog.text


@pytest.mark.parametrize(
    ("fault", "error", "calls"),
    [
        ("[never answers]", EngineUnavailableError, 3),
        ("[silent]", EngineUnavailableError, 3),
        ("[stalls]", WorkerDiedError, 1),
    ],
)
async def test_a_server_that_falls_silent_is_given_up(fault, error, calls):
    async with Remote(**HASTY) as (engine, server):
        await engine.submit(ask("r", fault, max_new_tokens=60))
        with pytest.raises(error, match="sent nothing"):
            await read(engine, "r")
        assert len(server.calls) == calls


async def test_a_cancelled_story_hangs_up_and_keeps_its_text():
    async with Remote(pause_s=0.005, slots=1) as (engine, server):
        await engine.submit(ask("r", max_new_tokens=2048))
        assert await engine.submit(ask("waits")) == 1
        stream = engine.stream("r")
        shown = (await first_text(stream)).text
        await engine.cancel("r")
        *_, output = [event async for event in stream]
        assert output.finish_reason == "cancelled"
        assert output.text.strip().startswith(shown.strip()[:5])
        assert (await read(engine, "waits"))[-1].finish_reason == "length"
        await settled(lambda: server.hung_up == 1)
        assert server.served == 1


async def test_a_story_is_cancelled_while_the_server_does_not_answer():
    async with Remote() as (engine, server):
        await engine.submit(ask("at once"))
        await engine.cancel("at once")
        assert (await read(engine, "at once"))[-1].finish_reason == "cancelled"
        await engine.submit(ask("r", "[never answers]"))
        await settled(lambda: server.calls)
        await engine.cancel("r")
        assert (await read(engine, "r"))[-1].finish_reason == "cancelled"


async def test_a_reader_that_leaves_hangs_up():
    async with Remote(pause_s=0.005) as (engine, server):
        await engine.submit(ask("r", max_new_tokens=2048))
        stream = engine.stream("r")
        await first_text(stream)
        await stream.aclose()
        await settled(lambda: server.hung_up == 1 and not engine._jobs)


async def test_no_more_than_the_slots_run_at_once_and_all_are_served():
    async with Remote(pause_s=0.001, slots=2) as (engine, _):
        for number in range(8):
            await engine.submit(ask(str(number), user=str(number)))
        assert ((await engine.health()).running, (await engine.health()).queued) == (2, 6)
        events = await asyncio.gather(*(read(engine, str(number)) for number in range(8)))
    assert {stream[-1].finish_reason for stream in events} == {"length"}
    assert all(any(isinstance(event, TextDelta) for event in stream) for stream in events)


async def test_two_hundred_requests_with_half_cancelled_leak_nothing():
    limits = QueueLimits(total=512, per_guild=512, per_user=512)
    async with Remote(slots=16, limits=limits) as (engine, _):

        async def one(number):
            name = str(number)
            await engine.submit(ask(name, user=str(number % 7), guild=str(number % 3)))
            stream = engine.stream(name)
            if number % 2:
                if number % 4 == 1:
                    await first_text(stream)
                await engine.cancel(name)
            return [event async for event in stream][-1].finish_reason

        reasons = await asyncio.gather(*(one(number) for number in range(200)))
        assert set(reasons[::2]) == {"length"}
        health = await engine.health()
        assert (health.queued, health.running, health.failed) == (0, 0, 0)
        replica = engine._replicas[0]
        assert not (engine._jobs or replica._tasks or replica._streams)


async def test_a_server_that_is_not_there_is_reported_at_the_start():
    server = RemoteServerDouble()
    async with server:
        pass
    with pytest.raises(EngineUnavailableError, match="can't be reached"):
        await engine_for(server).start()


async def test_a_wrong_key_is_reported_at_the_start_and_never_shown(caplog):
    async with RemoteServerDouble() as server:
        with pytest.raises(EngineUnavailableError, match="refused the key") as caught:
            await engine_for(server, api_key="sk-wrong-one").start()
    assert "sk-" not in str(caught.value) + caplog.text


async def test_a_server_that_goes_down_is_noticed_and_comes_back():
    async with RemoteServerDouble() as server:
        engine = engine_for(server, tries=1, failures_to_open=2, probe_s=0.05)
        await engine.start()
        port = server.port
    for number in range(2):
        await engine.submit(ask(str(number)))
        with pytest.raises(EngineUnavailableError, match="connection to the server failed"):
            await read(engine, str(number))
    with pytest.raises(EngineUnavailableError):
        await engine.submit(ask("r"))
    assert (await engine.health()).workers[0].state == "failed"
    again = RemoteServerDouble()
    again.port = port
    async with again:
        await settled(lambda: engine._replicas[0].accepting)
        assert (await served(engine, ask("r"))).text
        await engine.close()


async def test_the_key_is_in_no_representation():
    server = RemoteServer(base_url="http://localhost/v1", api_key=KEY, dialogue=Dialogue(model="m"))
    assert KEY not in repr(server)


def test_a_story_longer_than_the_window_keeps_its_opening_and_its_end():
    story = "It began in May. " + "The rain went on. " * 2000 + "Then it stopped."
    request = ask("r", story, max_new_tokens=100)
    for style in ("chat", "prefill", "completions"):
        call = call_for(request, Dialogue(model="qwen-instruct", style=style, context_tokens=1000))
        prompt = call["prompt"] if style == "completions" else call["messages"][-1]["content"]
        assert "It began in May." in prompt
        assert prompt.endswith("Then it stopped.")
        assert estimated_tokens(prompt) <= 900


def test_a_request_that_leaves_no_room_for_the_story_is_refused():
    with pytest.raises(ValueError, match="room"):
        call_for(ask("r", max_new_tokens=2048), Dialogue(model="m", context_tokens=2048))


def test_a_chinese_story_is_asked_for_in_chinese():
    call = call_for(ask("r", "灯塔的灯在九点熄灭了，守塔人走上楼梯。"), Dialogue(model="m"))
    assert "继续" in call["messages"][-1]["content"]
