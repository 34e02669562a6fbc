"""`inkwell run` with two worker processes and a real small model: they share the load, one is killed in the middle of a
story, the story is finished by the other, and `inkwell status` and the metrics tell of it.
"""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from bot.control import ask
from bot.status import Status
from tests import inkwell_process
from tests.inkwell_process import running
from tests.sandbox_client import Person, labels
from tests.test_serving_remote_servers import free_port
from tests.tiny_model import TinyModel

WAIT_S = 60.0


async def status_of(data_dir: Path) -> Status:
    return msgspec.json.decode(await ask(data_dir, "status"), type=Status)


async def kill_one_that_writes(data_dir: Path) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            for worker in (await status_of(data_dir)).health.workers:
                if worker.running and worker.pid is not None:
                    os.kill(worker.pid, signal.SIGKILL)
                    return


async def scraped(port: int) -> dict[tuple[str, ...], float]:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
        return {
            (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
        }


async def test_two_workers_share_the_load_and_one_that_is_killed_costs_no_story(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    metrics = free_port()
    chosen = {
        "STORY_MODEL": str(tiny_model.gguf),
        "STORY_WORKERS": "2",
        "STORY_SLOTS": "1",
        "STORY_MEMORY_MB": "1024",
        "METRICS_PORT": str(metrics),
    }
    async with running(tmp_path, factory="tests.patient_model:load", **chosen) as inkwell:
        ready = await status_of(tmp_path)
        assert ready.state == "ready"
        assert [worker.slots for worker in ready.health.workers] == [1, 1]
        assert len({worker.pid for worker in ready.health.workers}) == 2
        async with (
            Person.at(inkwell.page_url, "writer") as wren,
            Person.at(inkwell.page_url, "co-author") as tomas,
            Person.at(inkwell.page_url, "admin") as ida,
        ):
            people = {"first": wren, "second": tomas, "third": ida}
            for name, person in people.items():
                await person.slash("story", prompt=f"The {name} lamp went out", length="long")
            await kill_one_that_writes(tmp_path)
            for name, person in people.items():
                await person.wait_message(
                    lambda message, name=name: (
                        "Continue" in labels(message) and f"The {name} lamp" in message["content"]
                    ),
                    WAIT_S,
                )
            await ida.slash("inkwell status")
            shown = await ida.wait_message(lambda message: bool(message["embeds"]), WAIT_S)
            assert shown["ephemeral_for"] == ida.id
            assert "3 (failed: 0)" in str(shown["embeds"])
            assert "tiny-llama" in str(shown["embeds"])
        async with asyncio.timeout(WAIT_S):
            while sum(worker.state == "ready" for worker in (await status_of(tmp_path)).health.workers) < 2:
                await asyncio.sleep(0.1)
        after = await status_of(tmp_path)
        assert (after.restarts, after.health.served, after.health.failed) == (1, 3, 0)
        assert after.health.generated_tokens > 100
        values = await scraped(metrics)
        assert values["inkwell_requests_total", "served"] == 3
        assert values["inkwell_worker_restarts_total", "0"] + values["inkwell_worker_restarts_total", "1"] == 1
        command = await inkwell_process.start(tmp_path, "status")
        code, printed = await command.rest()
        assert code == 0, printed
        assert "3, failed 0, worker restarts 1" in printed
    assert "Traceback" not in inkwell.printed
