"""The bot over the sandbox's sockets, with its story model on a real llama.cpp server: `inkwell run` as an operator has
it with STORY_ENGINE=openai, and what it says when the server is not there or refuses the key.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.engines import why_unavailable
from bot.running import serve
from bot.settings import Settings
from models.serving.engine import EngineUnavailableError
from tests import inkwell_process
from tests.inkwell_process import running
from tests.remote_server import KEY, RemoteServerDouble
from tests.sandbox_client import Person, labels
from tests.serving_reader import Leaks
from tests.test_serving_remote_servers import LLAMA_SERVER, free_port, start, stop
from tests.tiny_model import TinyModel

PROMPT = "The lamp in the lighthouse went out at nine, and the keeper climbed the stairs."
LLAMA_KEY = "sk-llama-0451"
WAIT_S = 40.0


def settings(port: int, **others: str) -> dict[str, str]:
    remote = {"STORY_ENGINE": "openai", "STORY_BASE_URL": f"http://127.0.0.1:{port}", "STORY_MODEL": "bigram"}
    return {**remote, "STORY_API_KEY": KEY, **others}


async def answering(port: int) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"http://127.0.0.1:{port}/health") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def told(data_dir: Path, *arguments: str) -> tuple[int, str]:
    """What a command prints while (or although none) Inkwell runs, and its exit status."""
    command = await inkwell_process.start(data_dir, *arguments)
    return await asyncio.wait_for(command.rest(), 60)


async def failed_start(data_dir: Path, **chosen: str) -> str:
    """What a start that can't succeed prints."""
    inkwell = await inkwell_process.start(data_dir, "run", SANDBOX_PORT="0", OPEN_BROWSER="false", **chosen)
    status, printed = await asyncio.wait_for(inkwell.rest(), 60)
    assert status == 1, printed
    assert "Traceback" not in printed
    return printed


def fetched_into(data_dir: Path) -> bool:
    return (data_dir / "models").exists()


async def test_a_story_streams_from_a_llama_server_through_the_whole_bot(tiny_model: TinyModel, tmp_path: Path) -> None:
    port, metrics = free_port(), free_port()
    with_key = LLAMA_SERVER.replace("server = ", f"params.api_keys = [{LLAMA_KEY!r}]\nserver = ")
    server = start(sys.executable, "-c", with_key, str(tiny_model.gguf), str(port), log=tmp_path / "log")
    try:
        await answering(port)
        chosen = settings(port, STORY_MODEL="tiny-llama", STORY_API_KEY=LLAMA_KEY, METRICS_PORT=str(metrics))
        async with running(tmp_path, **chosen) as inkwell, Person.at(inkwell.page_url) as writer:
            await writer.slash("story", prompt=PROMPT, length="short", seed=7)
            first = await writer.wait_message(lambda message: "Continue" in labels(message), WAIT_S)
            assert len(first["content"]) > len(PROMPT) + 5
            await writer.click(first, "Continue")
            await writer.wait_message(lambda message: "Retry" in labels(message), WAIT_S)
            await _shows_what_runs(tmp_path, port, metrics)
        assert LLAMA_KEY not in inkwell.printed
        assert not fetched_into(tmp_path)
    finally:
        stop(server)
    code, printed = await told(tmp_path, "status")
    assert code == 1
    assert "is not running" in printed


async def _shows_what_runs(data_dir: Path, port: int, metrics: int) -> None:
    code, printed = await told(data_dir, "status", "--json")
    assert code == 0, printed
    status: Any = json.loads(printed)
    assert status["health"]["served"] == 2
    assert status["health"]["workers"][0]["model_version"] == f"tiny-llama@127.0.0.1:{port}"
    assert (data_dir / "inkwell.sock").stat().st_mode & 0o777 == 0o600
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{metrics}/metrics") as answer:
        assert "inkwell_requests_total" in await answer.text()


async def test_a_server_that_is_not_there_or_refuses_the_key_stops_the_start_with_one_sentence(tmp_path: Path) -> None:
    async with RemoteServerDouble() as server:
        refused = await failed_start(tmp_path, **settings(server.port, STORY_API_KEY="sk-wrong-key"))
    assert "refused the key (401)" in refused
    assert "STORY_API_KEY" in refused
    assert "sk-wrong-key" not in refused
    there = {name.lower(): value for name, value in settings(server.port).items()}
    gone = Settings(_env_file=None, data_dir=tmp_path, sandbox_port=0, **there)
    leaks = Leaks()
    with pytest.raises(EngineUnavailableError, match="can't be reached") as caught:
        await serve(gone)
    assert "STORY_BASE_URL" in why_unavailable(gone, caught.value)
    assert KEY not in why_unavailable(gone, caught.value)
    await leaks.none_remain()


async def test_a_server_that_fails_mid_run_is_a_sentence_and_the_next_story_is_served(tmp_path: Path) -> None:
    async with (
        RemoteServerDouble() as server,
        running(tmp_path, **settings(server.port)) as inkwell,
        Person.at(inkwell.page_url) as writer,
    ):
        for fault, said in (("[401]", "can't answer right now"), ("[closes]", "interrupted")):
            await writer.slash("story", prompt=f"{PROMPT} {fault}")
            shown = await writer.wait_message(lambda message, said=said: said in message["content"], WAIT_S)
            assert labels(shown) == ["Retry"]
        await writer.slash("story", prompt=f"{PROMPT} At last.")
        told_ = await writer.wait_message(lambda message: "Continue" in labels(message), WAIT_S)
        assert len(told_["content"]) > 100
    assert KEY not in inkwell.printed
