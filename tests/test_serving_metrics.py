"""The metrics port: scraped over HTTP, without names, gone when closed."""

import asyncio
import re
import time

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.serving.in_process import InProcessEngine
from models.serving.in_process_short import InProcessShortEngine
from models.serving.metrics import MetricsServer, metrics_of, short_metrics_of
from models.serving.requests import Health, WorkerHealth
from models.serving.short_requests import MoodRequest, ShortHealth
from tests.bigram_model import BigramModel
from tests.serving_reader import Leaks, ask, served
from tests.short_models import Moods


async def scrape(port):
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        assert response.status == 200
        return await response.text()


async def test_a_scrape_shows_the_engines_health_and_nobodys_name():
    leaks = Leaks()
    engine = InProcessEngine(lambda: BigramModel(slots=2))
    await engine.start()
    await served(engine, ask("r", user="user-7", guild="guild-9"))
    short = InProcessShortEngine({"mood": Moods()})
    await short.start()
    await short.ask(MoodRequest(text="glad"))
    async with MetricsServer(engine, short=short) as server:
        text = await scrape(server.port)
    await engine.close()
    await short.close()
    values = {
        (sample.name, *(value for name, value in sample.labels.items() if name != "worker")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["inkwell_up",] == values["inkwell_ready",] == 1
    assert values["inkwell_requests_total", "served"] == 1
    assert values["inkwell_requests_total", "failed"] == 0
    assert values["inkwell_generated_tokens_total",] == 20
    assert values["inkwell_worker_slots",] == 2
    assert values["inkwell_worker_model_info", BigramModel().version] == 1
    assert values["inkwell_first_token_seconds_count",] == values["inkwell_first_token_seconds_bucket", "+Inf"] == 1
    assert 0 < values["inkwell_first_token_seconds_sum",] < 60
    assert values["inkwell_short_state", "ready"] == 1
    assert values["inkwell_short_state", "failed"] == 0
    assert values["inkwell_short_requests_total", "answered"] == 1
    assert values["inkwell_short_requests_total", "dropped"] == 0
    assert values["inkwell_short_restarts_total",] == 0
    assert values["inkwell_short_resident_memory_bytes",] > 2**20
    assert values["process_resident_memory_bytes",] > 2**20
    assert values["process_start_time_seconds",] < time.time()
    assert "user-7" not in text
    assert "guild-9" not in text
    await leaks.none_remain()


def test_every_name_follows_the_conventions_of_prometheus():
    health = Health(ready=True, workers=(WorkerHealth(state="ready", model_version="m@1"),))
    for metric in (*metrics_of(health), *short_metrics_of(ShortHealth(state="ready"))):
        assert re.fullmatch(r"inkwell_[a-z]+(_[a-z]+)*", metric.name), metric.name
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_info")), "the client adds these"
        assert metric.documentation.endswith(".")
        for sample in metric.samples:
            assert sample.name.endswith("_total") == (metric.type == "counter")
        if re.search(r"second|uptime|latency", metric.name):
            assert metric.name.endswith("_seconds"), "base units, at the end"
        if "memory" in metric.name:
            assert metric.name.endswith("_bytes")


async def test_an_engine_that_does_not_answer_is_shown_as_down(monkeypatch):
    class Silent:
        async def health(self):
            await asyncio.Event().wait()

    monkeypatch.setattr("models.serving.metrics._HEALTH_S", 0.1)
    async with MetricsServer(Silent()) as server:
        assert "inkwell_up 0.0" in await scrape(server.port)


async def test_a_port_that_is_taken_is_an_os_error():
    engine = InProcessEngine(BigramModel)
    async with MetricsServer(engine) as server:
        with pytest.raises(OSError, match="in use"):
            async with MetricsServer(engine, server.port):
                pass
