"""Other weights for the small models while they answer: what runs ends on the former, what comes later on the new."""

import asyncio
import os
import signal

import msgspec
import pytest

from models.serving.engine import EngineClosedError, EngineUnavailableError
from models.serving.local_short_engine import LocalShortEngine
from models.serving.short_requests import MoodRequest, PortraitRequest
from tests.serving_reader import Leaks, settled
from tests.short_models import CONFIG
from tests.test_serving_short_engine import HASTY, QUICK, Running, mood

OTHER = msgspec.structs.replace(CONFIG, options={"portraits": "other"})


async def pid_of(engine: LocalShortEngine) -> int | None:
    return (await engine.health()).pid


async def test_a_reload_answers_what_runs_with_the_former_and_what_comes_with_the_new_process(tmp_path):
    gate = tmp_path / "gate"
    async with Running() as engine:
        running = asyncio.create_task(engine.ask(PortraitRequest(seeds=(f"[until {gate}]",))))
        await settled(lambda: engine._process._batches)
        former = await pid_of(engine)
        reloading = asyncio.create_task(engine.reload(OTHER))
        await asyncio.sleep(0.05)
        later = asyncio.create_task(engine.ask(mood("glad")))
        await asyncio.sleep(0.2)
        assert not reloading.done()
        assert not later.done()
        gate.touch()
        assert (await running).model_version == "portraits@00000002"
        await reloading
        assert (await later).label == "positive"
        assert (await engine.ask(PortraitRequest(seeds=("x",)))).model_version == "portraits@other"
        health = await engine.health()
        assert health.pid not in (former, None)
        assert (health.answered, health.failed, health.restarts) == (3, 0, 0)


async def test_a_reload_of_a_process_that_sleeps_counts_for_the_next_one():
    async with Running() as engine:
        await engine.reload(OTHER)
        assert await pid_of(engine) is None
        assert (await engine.ask(PortraitRequest(seeds=("x",)))).model_version == "portraits@other"


async def test_what_could_not_be_loaded_before_is_tried_at_once_after_a_reload():
    async with Running(options={"portraits": "deadly"}) as engine:
        with pytest.raises(EngineUnavailableError):
            await engine.ask(PortraitRequest(seeds=("x",)))
        await engine.reload(OTHER)
        assert (await engine.ask(PortraitRequest(seeds=("x",)))).model_version == "portraits@other"


async def test_a_process_that_dies_while_it_is_to_be_replaced_costs_no_request(tmp_path):
    gate = tmp_path / "gate"
    async with Running() as engine:
        await engine.ask(mood("loaded"))
        running = asyncio.create_task(engine.ask(mood(f"glad [once {tmp_path}/once] [until {gate}]")))
        await settled(lambda: engine._process._batches)
        pid = await pid_of(engine)
        reloading = asyncio.create_task(engine.reload(OTHER))
        await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        gate.touch()
        await reloading
        assert (await running).label == "positive"
        assert await pid_of(engine) != pid


async def test_a_batch_that_hangs_does_not_hold_a_reload_for_ever():
    async with Running(policy=HASTY) as engine:
        running = asyncio.create_task(engine.ask(MoodRequest(text="[hang]")))
        await settled(lambda: engine._process._batches)
        await asyncio.wait_for(engine.reload(OTHER), 60)
        assert (await engine.ask(PortraitRequest(seeds=("x",)))).model_version == "portraits@other"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_end_of_the_engine_is_not_held_up_by_a_reload():
    leaks = Leaks()
    engine = LocalShortEngine(CONFIG, policy=QUICK)
    await engine.start()
    running = asyncio.create_task(engine.ask(mood("[hang]")))
    await settled(lambda: engine._process._batches)
    reloading = asyncio.create_task(engine.reload(OTHER))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(engine.close(), 60)
    await reloading
    with pytest.raises(EngineClosedError):
        await running
    await leaks.none_remain()
