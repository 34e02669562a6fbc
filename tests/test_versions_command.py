"""`inkwell versions`: with nothing running, and over a real running Inkwell whose stories go on."""

import asyncio
import socket
from pathlib import Path

import pytest

from bot import doctor
from bot.control import NAME
from bot.settings import Settings
from bot.versions_command import collect, promote, rollback, show_all, show_one
from models.training.registry import SHIPPED, Registry
from tests import inkwell_process
from tests.champions_here import adapter_candidate, drawn_adapter, registered
from tests.inkwell_process import running
from tests.sandbox_client import Person, labels
from tests.test_local_engine_end_to_end import WAIT_S, status_of
from tests.test_reload import commanded
from tests.tiny_model import TinyModel


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "versions")


def candidate(tmp_path: Path) -> Path:
    return adapter_candidate(tmp_path / "staged" / str(len(list(tmp_path.glob("staged/*")))))


def test_versions_are_listed_with_what_the_gate_said_and_where_a_rollback_leads(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert show_all(registry.root, "") == 0
    assert "No model was trained here yet" in capsys.readouterr().out
    one = registered(registry, "story", candidate(tmp_path), metrics={"bits_per_byte": 1.25}, contributors=("a" * 64,))
    two = registered(registry, "story", candidate(tmp_path))
    rejected = registered(registry, "story", candidate(tmp_path), accepted=False)
    for version in (one, two):
        assert promote(tmp_path, registry.root, "story", version.id, reason="", force=False) == 0
    registry.mark_erased("a" * 64, at=40_000.0)  # the same day in every time zone from -11 to +12
    capsys.readouterr()

    assert show_all(registry.root, "story") == 0

    lines = {version.id: next(line for line in capsys.readouterr().out.splitlines() if version.id in line)
             for version in (one,)}  # fmt: skip
    assert "a rollback leads here, marked by an erasure" in lines[one.id]
    assert "1.250" in lines[one.id]
    show_all(registry.root, "")
    printed = capsys.readouterr().out
    assert "rejected (forgetting)" in next(line for line in printed.splitlines() if rejected.id in line)
    assert "answers" in next(line for line in printed.splitlines() if two.id in line)
    assert "What Inkwell came with answers as: gpt, ngram, mood, portraits." in printed

    assert show_one(registry.root, "story", one.id) == 0
    printed = capsys.readouterr().out
    for told in ("erased 1970-01-01", "adapter_model.safetensors", "forgetting", "bits_per_byte 1.25"):
        assert told in printed
    assert show_one(registry.root, "story", "../../etc") == 1


def test_with_nothing_running_it_is_written_for_the_next_start(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, rejected = (
        registered(registry, "story", candidate(tmp_path), accepted=accepted) for accepted in (True, False)
    )

    assert promote(tmp_path, registry.root, "story", one.id, reason="", force=False) == 0
    assert "It answers from the next start on." in capsys.readouterr().out
    assert promote(tmp_path, registry.root, "story", rejected.id, reason="", force=False) == 1
    assert "The gate did not accept" in capsys.readouterr().err
    assert promote(tmp_path, registry.root, "story", rejected.id, reason="", force=True) == 1
    assert "--reason" in capsys.readouterr().err
    assert promote(tmp_path, registry.root, "story", rejected.id, reason="we like it", force=True) == 0
    assert rollback(tmp_path, registry.root, "story", reason="", force=False) == 0
    assert registry.champion_id("story") == one.id
    assert promote(tmp_path, registry.root, "story", "shipped", reason="", force=False) == 0
    assert registry.champion_id("story") == SHIPPED
    assert [(each.by, each.reason) for each in registry.promotions("story")][1] == ("the command line", "we like it")
    capsys.readouterr()

    assert collect(registry.root, "", 0) == 0
    assert capsys.readouterr().out == f"story {rejected.id} is removed.\n"
    assert collect(registry.root, "", 0) == 0
    assert "There is nothing to remove" in capsys.readouterr().out
    for command in (
        lambda: promote(tmp_path, registry.root, "poems", "shipped", reason="", force=False),
        lambda: show_all(registry.root, "poems"),
        lambda: collect(registry.root, "../story", 0),
    ):
        assert command() == 1
        assert "There is no family" in capsys.readouterr().err


@pytest.mark.timeout(300)
async def test_a_running_inkwell_takes_the_version_and_a_damaged_one_never_keeps_it_from_starting(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    settings = tmp_path / ".env"
    settings.write_text(f"STORY_MODEL={tiny_model.gguf}\nSTORY_SLOTS=1\nSTORY_ENGINE=llama_cpp\n")
    registry = Registry(tmp_path / "versions")
    adapter = drawn_adapter(tmp_path / "candidate", tiny_model.directory)
    version = registered(registry, "story", adapter, model=str(tiny_model.gguf))
    odd = registered(registry, "story", adapter_candidate(tmp_path / "odd"), model=str(tiny_model.gguf))
    async with (
        running(tmp_path) as inkwell,
        Person.at(inkwell.page_url, "writer") as wren,
        Person.at(inkwell.page_url, "admin") as ida,
    ):
        await wren.slash("story", prompt="The first lamp went out", length="long")
        code, printed = await commanded(tmp_path, "versions", "promote", "story", version.id)
        assert code == 0, printed
        assert printed.splitlines()[-1].endswith("It answers from now on.")
        await wren.wait_message(
            lambda message: "Continue" in labels(message) and "The first lamp" in message["content"], WAIT_S
        )
        async with asyncio.timeout(WAIT_S):
            while len((status := await status_of(tmp_path)).health.workers) > 1:
                await asyncio.sleep(0.1)
        assert status.champions == {"story": version.id}
        assert version.id in status.health.workers[0].model_version
        assert (status.health.served, status.health.failed) == (1, 0)
        await ida.slash("inkwell status")
        shown = await ida.wait_message(lambda message: bool(message["embeds"]), WAIT_S)
        assert version.id in str(shown["embeds"])

        code, printed = await commanded(tmp_path, "versions", "promote", "story", odd.id)
        assert code == 1
        assert "Nothing was changed" in printed
        code, _ = await commanded(tmp_path, "reload")  # the champion stays across it
        assert code == 0
        assert version.id in (await status_of(tmp_path)).health.workers[0].model_version
    registry.promote("story", odd.id, by="somebody who did not ask Inkwell")
    voice = registered(registry, "ngram", adapter_candidate(tmp_path / "voice"))
    registry.promote("ngram", voice.id, by="somebody who did not ask Inkwell")
    card = registry.path("ngram", voice.id) / "README.md"
    card.chmod(0o600)
    card.write_text("another one")
    async with running(tmp_path) as inkwell:
        status = await status_of(tmp_path)
        assert (status.state, status.champions) == ("ready", {})
        assert "no worker could be started with it" in status.passed_over["story"]
        assert "README.md was changed" in status.passed_over["ngram"]
        for told in status.passed_over.values():
            assert told in inkwell.printed
    here = Settings(_env_file=None, data_dir=tmp_path, story_model=str(tiny_model.gguf))
    story, ngram = await doctor._versions(here)
    assert story.verdict == "ok"  # it is whole, and only a worker can tell that it is no adapter of this model
    assert ngram.verdict == "fix"
    assert "README.md was changed" in ngram.words
    assert "inkwell versions rollback ngram" in ngram.words


def test_a_socket_that_a_kill_left_behind_is_nobody_s(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = registered(registry, "story", candidate(tmp_path))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / NAME))
    assert promote(tmp_path, registry.root, "story", version.id, reason="", force=False) == 0
    assert "from the next start on" in capsys.readouterr().out


async def test_the_command_line_has_all_five_commands(tmp_path: Path) -> None:
    process = await inkwell_process.start(tmp_path, "versions", "--help")
    code, printed = await process.rest()
    assert code == 0
    for name in ("list", "show", "promote", "rollback", "collect"):
        assert f" {name} " in printed
