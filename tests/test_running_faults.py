"""What goes wrong while Inkwell runs, and how it ends: a real process with a real worker, in a lasting sandbox."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bot.sandbox import Pace, Sandbox
from bot.store import Store
from tests.disks import small_disk
from tests.inkwell_process import Inkwell, start
from tests.sandbox_client import Person, labels
from tests.sandbox_token import TOKEN, write_world
from tests.tiny_model import TinyModel

OPENING = "The keeper climbed the stairs"
FINISHED = ["Continue", "Retry", "Undo"]
FAST = Pace(messages=500, route=500, everything=500)


@asynccontextmanager
async def online(
    sandbox: Sandbox, data_dir: Path, tiny_model: TinyModel, *, factory: str = "load_patient", **settings: str
) -> AsyncIterator[Inkwell]:
    """Inkwell with a token, in `sandbox` as its Discord; told to stop at the end where it still runs."""
    inkwell = await start(
        data_dir,
        "run",
        discord=sandbox.base_url,
        factory=f"tests.bigram_model:{factory}",
        DISCORD_TOKEN=TOKEN,
        STORY_MODEL=str(tiny_model.gguf),
        LOG_LEVEL="debug",
        EDIT_INTERVAL_S="0.2",
        **settings,
    )
    try:
        await inkwell.read_until("Inkwell is in Discord as inkwell")
        yield inkwell
    finally:
        if inkwell.process.returncode is None:
            inkwell.tell(signal.SIGTERM)
        _, printed = await inkwell.rest()
        assert "Traceback" not in printed
        assert TOKEN not in printed
        assert OPENING not in printed  # what members write is none of the log's business


def writing(message: dict[str, Any]) -> bool:
    """A story with some text, still being written."""
    return labels(message) == ["Stop"] and len(message["content"]) > len(OPENING) + 20 and "Dipping" not in str(message)


def told(message: dict[str, Any]) -> str:
    """The story's text as it stands there, without the pen."""
    return str(message["content"]).partition("\n\n")[2].removesuffix(" ✒️")


async def begun(wren: Person, length: str = "long") -> dict[str, Any]:
    await wren.slash("story", prompt=OPENING, length=length, seed=7)
    return await wren.wait_message(writing)


async def stopped(inkwell: Inkwell, number: signal.Signals, *, within_s: float) -> None:
    workers = psutil.Process(inkwell.process.pid).children(recursive=True)
    assert workers
    began = time.monotonic()
    inkwell.tell(number)
    status, printed = await asyncio.wait_for(inkwell.rest(), within_s + 30)
    assert status == 0, printed
    assert time.monotonic() - began < within_s
    assert not any(worker.is_running() for worker in workers)


async def test_what_no_grace_lets_end_is_kept_for_the_next_start_and_what_a_grace_lets_end_is_finished(
    tmp_path: Path, tiny_model: TinyModel
) -> None:
    async with Sandbox(write_world(tmp_path / "discord"), pace=FAST) as sandbox, Person.join(sandbox) as wren:
        async with online(sandbox, tmp_path, tiny_model, SHUTDOWN_GRACE_S="0") as inkwell:
            shown = told(await begun(wren))
            await stopped(inkwell, signal.SIGTERM, within_s=30)
        assert not (await wren.state())["bot"]["online"]
        (left,) = await wren.messages()
        assert left["content"].startswith(f"> {OPENING}\n\n{shown}")  # what was read stays readable
        assert "-# I'm restarting. What you wrote is kept" in left["content"]
        assert labels(left) == []
        assert not (tmp_path / "inkwell.db-wal").exists()  # closed, not abandoned
        async with Store.open(tmp_path / "inkwell.db") as store:
            assert len(await store.open_jobs()) == 1

        async with online(sandbox, tmp_path, tiny_model, SHUTDOWN_GRACE_S="30") as inkwell:
            async with asyncio.timeout(60):
                while labels((await wren.messages())[0]) != FINISHED:
                    await asyncio.sleep(0.05)
            (finished,) = await wren.messages()
            assert finished["id"] == left["id"]
            # The same seed: the reader finds what they had begun to read, at most without its unfinished sentence.
            assert told(finished).startswith(shown) or shown.startswith(told(finished))
            await begun(wren, "medium")
            await stopped(inkwell, signal.SIGINT, within_s=30)
        assert [labels(message) for message in await wren.messages()] == [FINISHED, FINISHED]
        async with Store.open(tmp_path / "inkwell.db") as store:
            assert await store.open_jobs() == ()


async def test_a_worker_that_hangs_does_not_hold_up_the_end(tmp_path: Path, tiny_model: TinyModel) -> None:
    async with Sandbox(write_world(tmp_path / "discord"), pace=FAST) as sandbox, Person.join(sandbox) as wren:
        async with online(sandbox, tmp_path, tiny_model, SHUTDOWN_GRACE_S="0.2") as inkwell:
            await begun(wren)
            (worker,) = psutil.Process(inkwell.process.pid).children()
            worker.suspend()
            await stopped(inkwell, signal.SIGTERM, within_s=25)  # after 30 s the worker would be killed for its silence
        async with Store.open(tmp_path / "inkwell.db") as store:
            (job,) = await store.open_jobs()
            assert job.prompt_turn.text == OPENING


async def test_a_bot_told_to_stop_while_its_model_loads_stops(tmp_path: Path, tiny_model: TinyModel) -> None:
    inkwell = await start(
        tmp_path,
        "run",
        factory="tests.bigram_model:load_never",
        STORY_MODEL=str(tiny_model.gguf),
        SANDBOX_PORT="0",
        OPEN_BROWSER="false",
    )
    async with asyncio.timeout(60):
        while not psutil.Process(inkwell.process.pid).children():
            await asyncio.sleep(0.05)
    await stopped(inkwell, signal.SIGINT, within_s=30)
    assert "Traceback" not in inkwell.printed


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = disk / "ballast"
    with pytest.raises(OSError, match="No space"), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return ballast


async def test_a_disk_that_fills_is_a_sentence_to_the_writer_and_the_next_story_is_kept(
    tmp_path: Path, tiny_model: TinyModel
) -> None:
    with small_disk(mebibytes=4) as disk:
        async with (
            Sandbox(write_world(tmp_path / "discord"), pace=FAST) as sandbox,
            Person.join(sandbox) as wren,
            online(sandbox, disk, tiny_model, factory="load"),
        ):
            ballast = fill(disk)
            await wren.slash("story", prompt=OPENING, length="short")
            refused = await wren.wait_message(lambda message: "disk" in message["content"])
            assert refused["content"] == "My disk is full, so I can't keep your words. Copy them, and tell the admin."
            ballast.unlink()
            await wren.slash("story", prompt=OPENING, length="short")
            await wren.wait_message(lambda message: labels(message) == FINISHED)
        async with Store.open(disk / "inkwell.db") as store:
            assert (await store.counts()).stories == 1
