"""`inkwell reload` over a real running Inkwell: another model answers, no story is lost, a failure changes nothing."""

import asyncio
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from bot.promotion import Promoter
from bot.reload_command import reload
from bot.reloading import Reloader, with_story_model_of
from bot.settings import Settings
from models.serving.dispatcher import Dispatcher
from models.serving.engine import EngineClosedError, EngineUnavailableError
from models.serving.in_process import CoreReplica
from models.training.registry import Registry
from tests import inkwell_process
from tests.bigram_model import BigramModel
from tests.inkwell_process import running
from tests.sandbox_client import Person, labels
from tests.serving_reader import Leaks, ask, read
from tests.test_local_engine_end_to_end import WAIT_S, status_of
from tests.tiny_model import TinyModel


async def commanded(data_dir: Path, *arguments: str) -> tuple[int, str]:
    return await (await inkwell_process.start(data_dir, *arguments)).rest()


async def test_a_reload_takes_another_model_and_drops_no_story(
    tiny_model: TinyModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.gguf"
    shutil.copy(tiny_model.gguf, other)
    settings = tmp_path / ".env"
    settings.write_text(f"STORY_MODEL={tiny_model.gguf}\nSTORY_SLOTS=1\nSTORY_ENGINE=llama_cpp\n")
    async with running(tmp_path) as inkwell:
        before = await status_of(tmp_path)
        assert before.short.state == "asleep"
        assert before.health.workers[0].model_version.startswith(tiny_model.gguf.stem)
        async with (
            Person.at(inkwell.page_url, "writer") as wren,
            Person.at(inkwell.page_url, "co-author") as tomas,
            Person.at(inkwell.page_url, "admin") as ida,
        ):
            people = {"first": wren, "second": tomas, "third": ida}
            for name, person in people.items():
                await person.slash("story", prompt=f"The {name} lamp went out", length="long")
            settings.write_text(
                f"STORY_MODEL={other}\nSTORY_SLOTS=2\nSTORY_ENGINE=llama_cpp\nMETRICS_PORT=1\nQUEUE_MAX=7\n"
            )
            code, printed = await commanded(tmp_path, "reload")
            assert code == 0, printed
            assert "METRICS_PORT counts from the next start." in printed
            assert "QUEUE_MAX counts from the next start." in printed
            assert "other@" in printed.splitlines()[-1]
            for name, person in people.items():
                await person.wait_message(
                    lambda message, name=name: (
                        "Continue" in labels(message) and f"The {name} lamp" in message["content"]
                    ),
                    WAIT_S,
                )
            async with asyncio.timeout(WAIT_S):
                while len((await status_of(tmp_path)).health.workers) > 1:
                    await asyncio.sleep(0.1)
            after = (await status_of(tmp_path)).health
            assert [(worker.model_version[:6], worker.slots) for worker in after.workers] == [("other@", 2)]
            assert (after.served, after.failed) == (3, 0)

            other.write_bytes(other.read_bytes()[:-1000])
            for line, says in (
                (f"STORY_MODEL={other}", "Nothing was changed: the former model goes on."),
                (f"STORY_MODEL={tmp_path}/nowhere.gguf", "Nothing was changed: the former model goes on."),
                ("STORY_ENGINE=openai\nSTORY_MODEL=m\nSTORY_BASE_URL=http://127.0.0.1:9/v1", "Nothing was changed"),
                ("STORY_SLOTS=many", "STORY_SLOTS can't be used"),
            ):
                settings.write_text(f"{line}\n")
                assert await asyncio.to_thread(reload, tmp_path) == 1
                assert says in capsys.readouterr().err.splitlines()[-1]
            await wren.slash("story", prompt="The fourth lamp went out")
            await wren.wait_message(
                lambda message: "Continue" in labels(message) and "The fourth lamp" in message["content"], WAIT_S
            )
        status, printed = (inkwell.process.returncode, inkwell.printed)
        assert status is None
    assert "Traceback" not in inkwell.printed


async def test_without_a_running_inkwell_a_reload_says_so(tmp_path: Path) -> None:
    code, printed = await commanded(tmp_path, "reload")
    assert code == 1
    assert printed.startswith("Inkwell is not running on ")
    assert printed.count("\n") == 1


def test_a_reload_takes_the_story_settings_only_and_names_the_others() -> None:
    former = Settings(_env_file=None, data_dir=Path("/there"), story_slots=1)
    found = Settings(_env_file=None, story_slots=9, story_adapter="none", queue_max=9, sandbox_port=1)
    settings, later = with_story_model_of(found, former)
    assert (settings.story_slots, settings.story_adapter, settings.queue_max) == (9, "none", 256)
    assert settings.data_dir == Path("/there")
    assert later == ["QUEUE_MAX", "SANDBOX_PORT"]


class SlowToLoad(CoreReplica):
    """Loads until `gate` is set."""

    def __init__(self) -> None:
        super().__init__(BigramModel)
        self.loading, self.gate = asyncio.Event(), asyncio.Event()
        self.closed = False

    async def start(self, listener) -> None:
        self.loading.set()
        await self.gate.wait()
        await super().start(listener)

    async def close(self) -> None:
        self.closed = True
        await super().close()


@pytest.mark.parametrize("how", ["cancelled", "overtaken by the end"])
async def test_a_replacement_that_does_not_come_about_leaves_nothing(how: str) -> None:
    leaks = Leaks()
    engine = Dispatcher([CoreReplica(BigramModel)])
    await engine.start()
    slow = SlowToLoad()
    replacing = asyncio.create_task(engine.replace([slow]))
    await slow.loading.wait()
    if how == "cancelled":
        replacing.cancel()
        await asyncio.gather(replacing, return_exceptions=True)
        await engine.submit(ask("r"))
        assert (await read(engine, "r"))[-1].finish_reason == "length"
        await engine.close()
    else:
        await engine.close()
        slow.gate.set()
        with pytest.raises(EngineClosedError):
            await replacing
    assert slow.closed
    await leaks.none_remain()


async def test_a_replacement_before_the_first_start_says_that_it_is_too_early() -> None:
    engine = Dispatcher([CoreReplica(BigramModel)])
    with pytest.raises(EngineUnavailableError, match="still loading"):
        await engine.replace([CoreReplica(BigramModel)])
    await engine.start()
    await engine.close()


async def test_the_end_of_inkwell_waits_for_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def endless(spec: str, data_dir: Path, progress: Callable[[str, int, int | None], None]) -> None:
        try:
            while True:
                progress("Fetching", 1, 2)
                time.sleep(0.01)
        finally:
            ended.set()

    settings = Settings(_env_file=None, data_dir=tmp_path)
    monkeypatch.setattr("bot.reloading.made_ready", endless)
    monkeypatch.setattr("bot.settings.load", lambda **_: settings)
    engine = Dispatcher([CoreReplica(BigramModel)])
    bot = SimpleNamespace(settings=settings)
    reloader = Reloader(bot, engine, Promoter(bot, engine, None, Registry(tmp_path / "versions")))
    steps = reloader()
    assert b"Fetching" in await anext(steps)
    await reloader.close()
    assert b"shutting down" in [step async for step in steps][-1]
    assert await asyncio.to_thread(ended.wait, 10)
    await engine.close()
