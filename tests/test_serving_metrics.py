"""The metrics port: scraped over HTTP, without names, gone when closed."""

import asyncio

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.serving.in_process import InProcessEngine
from models.serving.metrics import MetricsServer
from tests.bigram_model import BigramModel
from tests.serving_reader import Leaks, ask, served


async def scrape(port):
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        assert response.status == 200
        return await response.text()


async def test_a_scrape_shows_the_engines_health_and_nobodys_name():
    leaks = Leaks()
    engine = InProcessEngine(lambda: BigramModel(slots=2))
    await engine.start()
    await served(engine, ask("r", user="user-7", guild="guild-9"))
    async with MetricsServer(engine) as server:
        text = await scrape(server.port)
    await engine.close()
    values = {
        (sample.name, sample.labels.get("quantile", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["inkwell_up", ""] == values["inkwell_ready", ""] == 1
    assert values["inkwell_requests_served_total", ""] == 1
    assert values["inkwell_worker_slots", ""] == 2
    assert values["inkwell_first_token_seconds", "0.5"] > 0
    assert "user-7" not in text
    assert "guild-9" not in text
    await leaks.none_remain()


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
