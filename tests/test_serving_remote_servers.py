"""The remote engine against real servers that hold a real model: the one inside llama.cpp and `transformers serve`."""

import asyncio
import contextlib
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from models.serving.engine import EngineUnavailableError, RequestRefusedError
from models.serving.openai_engine import OpenAIEngine, RemoteServer
from models.serving.remote_prompt import Dialogue
from models.serving.requests import StoryOutput, TextDelta
from tests.serving_reader import Leaks, ask, first_text, read, served

STORY = "The lamp in the lighthouse went out at nine, and the keeper climbed the stairs. "
LLAMA_SERVER = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.n_gpu_layers = 2048, 2, 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.hostnames, params.port = ["127.0.0.1"], int(sys.argv[2])
params.warmup = params.fit_params = params.ui = False
params.cache_ram_mib, params.verbosity = 0, 0
server = xllamacpp.Server(params)
sys.stdin.read()
"""


def free_port() -> int:
    """One for a server that binds it seconds later: below those that Linux gives to whoever asks for any."""
    while True:
        port = secrets.choice(range(10_000, 32_768))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def start(*command: str, log: Path) -> subprocess.Popen:
    with log.open("w") as output:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)


def stop(server: subprocess.Popen) -> None:
    server.stdin.close()
    server.kill()
    server.wait()


@pytest.fixture(scope="module")
def llama_port(tiny_model, tmp_path_factory):
    port = free_port()
    log = tmp_path_factory.mktemp("llama") / "log"
    server = start(sys.executable, "-c", LLAMA_SERVER, str(tiny_model.gguf), str(port), log=log)
    yield port
    stop(server)


@pytest.fixture(scope="module")
def transformers_port(tiny_model, tmp_path_factory):
    pytest.importorskip("fastapi")
    port = free_port()
    program = str(Path(sys.executable).with_name("transformers"))
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--continuous-batching"]
    log = tmp_path_factory.mktemp("transformers") / "log"
    server = start(program, "serve", str(tiny_model.directory), *options, log=log)
    yield port
    stop(server)


async def engine_at(port, dialogue) -> OpenAIEngine:
    """A started engine, as soon as the server listens."""
    async with asyncio.timeout(200):  # `transformers serve` imports torch, which takes long on a busy machine
        while True:
            try:
                _, probe = await asyncio.open_connection("127.0.0.1", port)
                probe.close()
                await probe.wait_closed()
                engine = OpenAIEngine(RemoteServer(base_url=f"http://127.0.0.1:{port}/v1", dialogue=dialogue, slots=2))
                await engine.start()
            except (OSError, EngineUnavailableError):
                await asyncio.sleep(0.2)  # it still loads
            else:
                return engine


@pytest.mark.parametrize("style", ["completions", "chat", "prefill"])
async def test_the_llama_server_streams_cancels_and_repeats_a_seed(style, llama_port):
    leaks = Leaks()
    dialogue = Dialogue(model="tiny-llama", style=style, dialect="llama_cpp", context_tokens=1024)
    engine = await engine_at(llama_port, dialogue)
    outputs = [await served(engine, ask(f"r{n}", STORY, seed=s, max_new_tokens=40)) for n, s in enumerate((5, 5, 6))]
    assert outputs[0].text == outputs[1].text != outputs[2].text
    assert outputs[0].new_tokens > 0
    assert outputs[1].cached_tokens > 0, "the server's prefix cache is used and reported"
    await engine.submit(ask("long", STORY, max_new_tokens=900))
    stream = engine.stream("long")
    await first_text(stream)
    await engine.cancel("long")
    *_, last = [event async for event in stream]
    assert last.finish_reason == "cancelled"
    await engine.close()
    await leaks.none_remain()


async def test_a_story_over_the_llama_servers_window_is_refused_in_its_words(llama_port):
    dialogue = Dialogue(model="tiny-llama", style="completions", dialect="llama_cpp", context_tokens=100_000)
    engine = await engine_at(llama_port, dialogue)
    await engine.submit(ask("r", STORY * 400))
    with pytest.raises(RequestRefusedError, match="context"):
        await read(engine, "r")
    await engine.close()


@pytest.mark.parametrize("style", ["completions", "chat"])
async def test_transformers_serve_streams_and_cancels(style, tiny_model, transformers_port):
    leaks = Leaks()
    dialogue = Dialogue(model=str(tiny_model.directory), style=style, dialect="transformers", context_tokens=1024)
    engine = await engine_at(transformers_port, dialogue)
    await engine.submit(ask("r", STORY, max_new_tokens=40))
    events = await read(engine, "r")
    assert any(isinstance(event, TextDelta) for event in events)
    assert isinstance(events[-1], StoryOutput)
    assert events[-1].text
    await engine.submit(ask("long", STORY, max_new_tokens=600))
    stream = engine.stream("long")
    await first_text(stream)
    await engine.cancel("long")
    *_, last = [event async for event in stream]
    assert last.finish_reason == "cancelled"
    assert (await served(engine, ask("after", STORY))).text
    await engine.close()
    await leaks.none_remain()
