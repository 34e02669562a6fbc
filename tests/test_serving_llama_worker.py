"""Worker processes that load a real model file: the tests' small llama in llama.cpp and in OpenVINO."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager

import pytest

from models.serving.engine import EngineUnavailableError
from models.serving.fair_queue import QueueLimits
from models.serving.local_engine import LocalEngine
from models.serving.requests import Started, StoryOutput, TextDelta
from models.serving.supervisor import SupervisionPolicy
from models.serving.wire import WorkerConfig
from tests.serving_reader import Leaks, ask, first_text, read, served, settled, until_started

STORY = "The lamp in the lighthouse went out at nine, and the keeper climbed the stairs. "


def config(model, tmp_path, **options):
    options = {"threads": 1, "slots": 2, "context_tokens": 1024, "niceness": 0} | options
    return WorkerConfig(model=str(model), data_dir=str(tmp_path), **options)


@asynccontextmanager
async def serving(request, tiny_model, tmp_path, factory=""):
    if request.param == "openvino":
        pytest.importorskip("openvino_genai", reason="openvino-genai has no wheel for this machine")
    file = request.getfixturevalue("tiny_q8") if request.param == "openvino" else tiny_model.gguf
    leaks = Leaks()
    policy = SupervisionPolicy(backoff_s=0.01)
    engine = LocalEngine([config(file, tmp_path, engine=request.param)], policy=policy, factory=factory)
    await engine.start()
    yield engine
    await engine.close(0.0)
    await leaks.none_remain()


@pytest.fixture(params=["llama_cpp", "openvino"])
async def engine(request, tiny_model, tmp_path):
    async with serving(request, tiny_model, tmp_path) as engine:
        yield engine


@pytest.fixture(params=["llama_cpp", "openvino"])
async def patient(request, tiny_model, tmp_path):
    """The same, slow enough to be met in the middle of a story."""
    async with serving(request, tiny_model, tmp_path, "tests.patient_model:load") as engine:
        yield engine


async def test_a_real_model_streams_and_the_same_seed_gives_the_same_text(engine):
    outputs = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        outputs.append(await served(engine, ask(name, STORY, seed=seed, max_new_tokens=40)))
    assert outputs[0].text == outputs[1].text != outputs[2].text
    assert outputs[0].model_version.startswith("tiny-llama")
    assert (await engine.health()).workers[0].resident_bytes > 20 * 2**20


async def test_a_real_worker_killed_mid_stream_gives_the_same_text_on_the_next(patient):
    expected = (await served(patient, ask("before", STORY, seed=3, max_new_tokens=200))).text
    await patient.submit(ask("r", STORY, seed=3, max_new_tokens=200))
    stream = patient.stream("r")
    await first_text(stream)
    os.kill((await patient.health()).workers[0].pid, signal.SIGKILL)
    await until_started(stream, attempt=2)
    *deltas, output = [event async for event in stream]
    assert output.text == expected
    assert all(isinstance(event, TextDelta) for event in deltas)


async def test_real_stories_run_beside_each_other_and_are_cancelled(patient):
    for number in range(4):
        await patient.submit(ask(str(number), STORY, seed=number, max_new_tokens=400))
    streams = [patient.stream(str(number)) for number in range(4)]
    await first_text(streams[0])
    await patient.cancel("0")
    await patient.cancel("3")
    reasons = []
    for stream in streams:
        *_, last = [event async for event in stream]
        assert isinstance(last, StoryOutput)
        reasons.append(last.finish_reason)
    assert reasons[0] == reasons[3] == "cancelled"
    assert "cancelled" not in reasons[1:3]


@pytest.mark.parametrize("damage", ["missing", "truncated", "not a model", "empty"])
async def test_a_model_file_that_can_not_be_loaded_is_reported_in_one_sentence(damage, tiny_model, tmp_path):
    leaks = Leaks()
    file = tmp_path / "model.gguf"
    whole = tiny_model.gguf.read_bytes()
    if damage != "missing":
        contents = {"truncated": whole[: len(whole) // 2], "not a model": b"Once upon a time" * 999, "empty": b""}
        file.write_bytes(contents[damage])
    with pytest.raises(EngineUnavailableError, match=r"model\.gguf") as caught:
        await LocalEngine([config(file, tmp_path)]).start()
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    await leaks.none_remain()


async def test_a_model_that_needs_more_memory_than_allowed_is_reported(tiny_model, tmp_path):
    leaks = Leaks()
    bounded = config(tiny_model.gguf, tmp_path, max_memory_bytes=48 * 2**20, context_tokens=2**17, slots=16)
    with pytest.raises(EngineUnavailableError) as caught:
        await LocalEngine([bounded]).start()
    assert "\n" not in str(caught.value)
    await leaks.none_remain()


async def test_nobody_starves_in_front_of_a_real_model(tiny_model, tmp_path):
    engine = LocalEngine([config(tiny_model.gguf, tmp_path)], limits=QueueLimits(per_user=64))
    await engine.start()
    order = []

    async def follow(name):
        async for event in engine.stream(name):
            order.extend([name] if isinstance(event, Started) else [])

    for number in range(50):
        await engine.submit(ask(f"greedy{number}", STORY, user="greedy", guild="g", seed=number))
    greedy = [asyncio.create_task(follow(f"greedy{number}")) for number in range(50)]
    await settled(lambda: len(order) >= 6)
    before = len(order)
    assert await engine.submit(ask("patient", STORY, user="patient", guild="g")) <= 2
    await asyncio.gather(follow("patient"), *greedy)
    await engine.close()
    assert order.index("patient") - before <= 4, "what ran (two slots), at most one turn, then the other user's"


async def test_an_engine_that_answers_loads_no_model_library_into_its_own_process(engine):
    probe = await asyncio.create_subprocess_exec(
        *("python", "-c", "import sys, models.serving.local_engine; print(sorted(sys.modules))"),
        stdout=asyncio.subprocess.PIPE,
        executable=__import__("sys").executable,
    )
    printed, _ = await probe.communicate()
    for library in ("torch", "transformers", "xllamacpp", "numpy", "prometheus_client", "openai"):
        assert f"'{library}'".encode() not in printed
    assert (await read_one(engine)).text


async def read_one(engine):
    await engine.submit(ask("one", STORY))
    return (await read(engine, "one"))[-1]
