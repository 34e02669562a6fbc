"""From settings to workers and servers, and what this machine is found to compute with."""

import os
import stat
from pathlib import Path

import pytest

from bot import settings as settings_module
from bot.doctor import findings
from bot.engines import engine_of, replicas_of, usable_gpus, worker_configs
from bot.settings import Settings
from models.serving.machine import cpu_quota, gpu_count, memory_bytes, physical_cores
from models.serving.openai_engine import RemoteReplica
from models.serving.supervisor import SupervisedWorker
from tests.remote_server import KEY, RemoteServerDouble
from tests.serving_reader import ask, served


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def chosen(**values: object) -> Settings:
    return settings_module.load(**values)


def test_one_worker_runs_on_a_cpu_and_one_on_each_gpu() -> None:
    (alone,) = worker_configs(chosen(), gpus=0)
    assert (alone.device, alone.threads, alone.slots) == ("", 0, 0)
    assert [config.device for config in worker_configs(chosen(), gpus=3)] == ["cuda:0", "cuda:1", "cuda:2"]
    assert [config.device for config in worker_configs(chosen(), gpus=1)] == [""], "it chooses the best there is"


def test_workers_share_the_cores_or_the_gpus_memory() -> None:
    two = worker_configs(chosen(story_workers=2), gpus=0)
    assert [config.threads for config in two] == [max(1, physical_cores() // 2)] * 2
    assert [config.threads for config in worker_configs(chosen(story_workers=2, story_threads=3), gpus=0)] == [3, 3]
    four = worker_configs(chosen(story_workers=4, story_gpu_memory=0.8), gpus=2)
    assert [config.device for config in four] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert {config.gpu_memory for config in four} == {0.4}


def test_the_memory_bound_reaches_the_worker_in_bytes() -> None:
    assert worker_configs(chosen(), gpus=0)[0].max_memory_bytes is None
    assert worker_configs(chosen(story_memory_mb=512), gpus=0)[0].max_memory_bytes == 512 * 2**20


def driver_with(folder: Path, gpus: int, status: int = 0) -> dict[str, str]:
    """An environment in whose PATH a program stands that lists so many GPUs."""
    program = folder / "nvidia-smi"
    lines = "\n".join(f"echo 'GPU {number}: NVIDIA H100 (UUID: GPU-{number})'" for number in range(gpus))
    program.write_text(f"#!/bin/sh\n{lines}\nexit {status}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}:{os.defpath}"}


def test_gpus_are_counted_as_a_worker_will_see_them(tmp_path: Path) -> None:
    environment = driver_with(tmp_path, 4)
    assert gpu_count(environment) == 4
    assert gpu_count(environment | {"CUDA_VISIBLE_DEVICES": "2,3"}) == 2
    assert gpu_count(environment | {"CUDA_VISIBLE_DEVICES": ""}) == 0
    assert gpu_count(environment | {"CUDA_VISIBLE_DEVICES": "-1"}) == 0
    assert usable_gpus(chosen(story_engine="llama_cpp"), environment) == 0
    assert usable_gpus(chosen(story_engine="transformers"), environment) == 4
    assert gpu_count(driver_with(tmp_path, 1, status=9)) == 0, "a broken driver"
    assert gpu_count({"PATH": "/nowhere"}) == 0


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": ""}, None),
        ({}, None),
    ],
)
def test_a_containers_share_of_the_cpus_bounds_the_threads(
    files: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert cpu_quota(tmp_path) == quota
    cores = physical_cores(tmp_path)
    assert 1 <= cores <= len(os.sched_getaffinity(0))
    if quota is not None:
        assert cores <= max(1, round(quota))


async def test_the_settings_choose_between_workers_and_a_server() -> None:
    (worker,) = await replicas_of(chosen())
    assert isinstance(worker, SupervisedWorker)
    async with RemoteServerDouble() as server:
        settings = chosen(
            story_engine="openai",
            story_model="bigram",
            story_base_url=f"http://127.0.0.1:{server.port}",
            story_api_key=KEY,
            story_slots=9,
        )
        (remote,) = await replicas_of(settings)
        assert isinstance(remote, RemoteReplica)
        engine = await engine_of(settings)
        await engine.start()
        assert (await served(engine, ask("r"))).text
        assert (await engine.health()).workers[0].slots == 9
        await engine.close()


@pytest.mark.parametrize(
    ("owner", "listed", "dialect", "tokens"),
    [
        ("llamacpp", {}, "llama_cpp", 4096),
        ("vllm", {"max_model_len": 1024}, "vllm", 1024),
        ("vllm", {"max_model_len": 100_000}, "vllm", 4096),
        ("library", {}, "openai", 4096),
    ],
)
async def test_a_server_is_asked_which_one_it_is(owner: str, listed: dict[str, int], dialect: str, tokens: int) -> None:
    async with RemoteServerDouble() as server:
        server.listed = {"owned_by": owner, **listed}
        engine = await engine_of(
            chosen(
                story_engine="openai",
                story_model="bigram",
                story_base_url=server.url,
                story_api_key=KEY,
                story_context=4096,
            )
        )
        await engine.start()
        await served(engine, ask("r", top_k=7))
        dialogue = engine._replicas[0]._dialogue  # type: ignore[attr-defined]
        await engine.close()
    assert (dialogue.dialect, dialogue.context_tokens) == (dialect, tokens)
    assert ("top_k" in server.calls[0]) == (dialect != "openai"), "OpenAI itself refuses what it does not know"


async def test_the_doctor_asks_the_server_and_says_what_to_do() -> None:
    async def verdicts(**values: object) -> dict[str, tuple[str, str]]:
        remote = chosen(story_engine="openai", story_model="bigram", sandbox_port=0, **values)
        return {each.about: (each.verdict, each.words) async for each in findings(remote)}

    async with RemoteServerDouble() as server:
        good = await verdicts(story_base_url=server.url, story_api_key=KEY)
        refused = await verdicts(story_base_url=server.url, story_api_key="sk-wrong-key")
    absent = await verdicts(story_base_url=server.url)
    assert good["server"] == ("ok", f"{server.url} answers")
    assert "gpu" not in good, "the model does not run here"
    assert "model" not in good
    assert refused["server"][0] == absent["server"][0] == "fix"
    assert "refused the key (401)" in refused["server"][1]
    assert "sk-wrong" not in refused["server"][1]
    assert "can't be reached" in absent["server"][1]


def test_memory_is_the_machines_or_less_in_a_limited_container(tmp_path: Path) -> None:
    whole = memory_bytes(tmp_path)
    assert whole > 2**28
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_bytes(tmp_path) == whole
    (tmp_path / "memory.max").write_text(f"{2**28}\n")
    assert memory_bytes(tmp_path) == 2**28
