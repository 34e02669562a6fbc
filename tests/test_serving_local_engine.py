"""The local engine with real worker processes: served, cancelled, killed, hung, poisoned, restarted."""

import asyncio
import os
import signal
import time
from dataclasses import replace

import psutil
import pytest

from models.serving.engine import (
    DeadlineExceededError,
    EngineClosedError,
    EngineOverloadedError,
    EngineUnavailableError,
    RequestRefusedError,
)
from models.serving.fair_queue import QueueLimits
from models.serving.local_engine import LocalEngine
from models.serving.requests import Queued, Started, StoryOutput, TextDelta
from models.serving.supervisor import SupervisionPolicy
from tests.serving_reader import CONFIG, Leaks, ask, first_text, read, served, settled, until_started

QUICK = SupervisionPolicy(heartbeat_s=0.1, backoff_s=0.01, open_s=0.2, max_backoff_s=0.1)
HASTY = SupervisionPolicy(
    heartbeat_s=0.1, backoff_s=0.01, open_s=0.2, max_backoff_s=0.1, stuck_s=3.0, heartbeat_timeout_s=6.0
)
LONG = 2048


def engine_of(factory: str = "load_faulty", *, workers: int = 1, slots: int = 4, limits=None, policy=QUICK, model="m"):
    config = type(CONFIG)(model=model, data_dir="/nowhere", slots=slots, niceness=0)
    return LocalEngine(
        [config] * workers, factory=f"tests.bigram_model:{factory}", limits=limits or QueueLimits(), policy=policy
    )


class Running:
    """`async with` an engine that must leave no task, descriptor or process behind."""

    def __init__(self, *arguments, **options):
        self.engine = engine_of(*arguments, **options)

    async def __aenter__(self):
        self.leaks = Leaks()
        await self.engine.start()
        return self.engine

    async def __aexit__(self, *_):
        await self.engine.close(0.0)
        await self.leaks.none_remain()


async def worker_pid(engine, number: int = 0) -> int:
    pid = (await engine.health()).workers[number].pid
    assert pid is not None
    return pid


async def test_a_story_streams_whole_from_a_process():
    async with Running() as engine:
        assert await engine.submit(ask("r", max_new_tokens=30)) == 0
        started, *deltas, output = await read(engine, "r")
    assert started == Started(attempt=1)
    assert "".join(delta.text for delta in deltas) == output.text
    assert output.finish_reason == "length"
    assert output.model_version.startswith("bigram@")


async def test_the_same_seed_gives_the_same_text_in_another_process():
    texts = []
    for _ in range(2):
        async with Running() as engine:
            texts += [(await served(engine, ask(f"r{seed}", seed=seed))).text for seed in (1, 2)]
    assert texts[:2] == texts[2:]
    assert texts[0] != texts[1]


async def test_a_worker_killed_in_prefill_is_replaced_and_the_story_begun_anew(tmp_path):
    async with Running() as engine:
        await engine.submit(ask("r", f"[prefill][hang][once {tmp_path / 'seen'}]"))
        stream = engine.stream("r")
        await until_started(stream)
        await settled((tmp_path / "seen").exists)
        os.kill(await worker_pid(engine), signal.SIGKILL)
        events = [event async for event in stream]
    assert events[0] == Started(attempt=2)
    assert events[-1].finish_reason == "length"


async def test_a_worker_killed_mid_stream_is_replaced_and_the_text_begins_anew(tmp_path):
    async with Running() as engine:
        whole = (await served(engine, ask("before", max_new_tokens=80))).text
        await engine.submit(ask("r", f"[hang][once {tmp_path / 'seen'}]", max_new_tokens=80))
        stream = engine.stream("r")
        await first_text(stream)
        await settled((tmp_path / "seen").exists)
        os.kill(await worker_pid(engine), signal.SIGKILL)
        await until_started(stream, attempt=2)
        rest = [event async for event in stream]
        health = await engine.health()
    assert "".join(event.text for event in rest if isinstance(event, TextDelta)) == rest[-1].text == whole
    assert health.workers[0].restarts == 1


async def test_a_worker_killed_between_streams_costs_no_attempt():
    async with Running(policy=replace(QUICK, backoff_s=2.0, max_backoff_s=2.0)) as engine:  # else it is back unseen
        await served(engine, ask("a"))
        os.kill(await worker_pid(engine), signal.SIGKILL)
        await settled(lambda: not engine._replicas[0].accepting)
        assert await engine.submit(ask("b")) == 1
        events = await read(engine, "b")
    assert [event for event in events if isinstance(event, Started)] == [Started(attempt=1)]
    assert isinstance(events[-1], StoryOutput)


@pytest.mark.parametrize("fault", ["[die]", "[die][prefill]", "[segfault]", "[raise]", "[garbage]"])
async def test_a_request_that_kills_two_workers_is_refused_and_the_queue_goes_on(fault):
    async with Running(slots=2) as engine:
        others = [ask(f"other{number}", max_new_tokens=40) for number in range(5)]
        await engine.submit(ask("poison", fault))
        for other in others:
            await engine.submit(other)
        poisoned, *outputs = await asyncio.gather(
            read(engine, "poison"), *(read(engine, other.request_id) for other in others), return_exceptions=True
        )
        assert isinstance(poisoned, RequestRefusedError)
        assert "crashed two workers" in str(poisoned)
        assert {events[-1].finish_reason for events in outputs} == {"length"}
        with pytest.raises(RequestRefusedError, match="crashed two workers"):
            await engine.submit(ask("poison again", fault))
        assert (await served(engine, ask("after"))).text
        assert (await engine.health()).workers[0].restarts == 2


async def test_a_request_that_hangs_is_killed_once_run_again_and_then_refused(caplog):
    caplog.set_level("INFO")
    async with Running(policy=HASTY) as engine:
        await engine.submit(ask("r", "[hang]"))
        with pytest.raises(RequestRefusedError, match="no progress"):
            await read(engine, "r")
        assert (await served(engine, ask("after"))).text
    assert "bigram_model.py" in caplog.text, "the log says where the worker hung"


async def test_a_worker_that_freezes_is_replaced(tmp_path):
    async with Running(policy=HASTY) as engine:
        output = await served(engine, ask("r", f"[stop][prefill][once {tmp_path / 'seen'}]"))
        assert output.finish_reason == "length"
        assert (await engine.health()).workers[0].restarts == 1


async def test_a_cancelled_story_keeps_its_text_and_frees_its_slot():
    async with Running("load_slow", slots=1) as engine:
        await engine.submit(ask("r", max_new_tokens=LONG))
        stream = engine.stream("r")
        await first_text(stream)
        await engine.cancel("r")
        *_, output = [event async for event in stream]
        assert output.finish_reason == "cancelled"
        assert 0 < output.new_tokens < LONG
        assert (await served(engine, ask("next"))).finish_reason == "length"


async def test_a_cancelled_story_whose_worker_hangs_ends_with_what_was_said():
    async with Running(policy=HASTY) as engine:
        await engine.submit(ask("r", "[hang]"))
        stream = engine.stream("r")
        await first_text(stream)
        await engine.cancel("r")
        *_, output = [event async for event in stream]
    assert output.finish_reason == "cancelled"
    assert 0 < len(output.text) <= 5


async def test_a_waiting_story_is_cancelled_without_a_worker():
    async with Running("load_slow", slots=1) as engine:
        await engine.submit(ask("running", max_new_tokens=LONG))
        assert await engine.submit(ask("waiting")) == 1
        await engine.cancel("waiting")
        *_, output = await read(engine, "waiting")
        await engine.cancel("running")
        assert output.finish_reason == "cancelled"
        assert output.text == ""


async def test_a_reader_that_leaves_cancels_its_story():
    async with Running("load_slow") as engine:
        for leave in ("aclose", "drop", "cancel"):
            await engine.submit(ask(leave, max_new_tokens=LONG))
            stream = engine.stream(leave)
            await first_text(stream)
            if leave == "aclose":
                await stream.aclose()
            elif leave == "cancel":
                reader = asyncio.create_task(anext(stream))
                reader.cancel()
                await asyncio.wait({reader})
                del reader
            del stream
        await settled(lambda: not engine._jobs)
        assert (await engine.health()).running == 0


async def test_a_timeout_around_one_event_loses_nothing():
    async with Running("load_slow") as engine:
        await engine.submit(ask("r", max_new_tokens=50))
        stream = engine.stream("r")
        text = ""
        output = None
        while output is None:
            try:
                async with asyncio.timeout(0.001):
                    event = await anext(stream)
            except TimeoutError:
                continue
            text += event.text if isinstance(event, TextDelta) else ""
            output = event if isinstance(event, StoryOutput) else None
    assert text == output.text


async def test_a_start_that_fails_is_reported_with_its_reason_and_not_repeated(tmp_path):
    leaks = Leaks()
    missing = tmp_path / "no such model.gguf"
    engine = engine_of("load_nothing", model=str(missing))
    with pytest.raises(EngineUnavailableError, match=r"no such model\.gguf is not there"):
        await engine.start()
    with pytest.raises(EngineUnavailableError, match="not started"):
        await engine.submit(ask("r"))
    await engine.close()
    await leaks.none_remain()


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("no.such.module:load", "No module named 'no'"),
        ("tests.bigram_model:no_such_name", "no_such_name"),
        ("tests.bigram_model", "module:callable"),
        ("tests.bigram_model:load_and_die", "SIGKILL while it loaded bigram"),
    ],
)
async def test_a_start_that_can_not_succeed_says_why(factory, reason):
    leaks = Leaks()
    engine = LocalEngine([CONFIG], factory=factory)
    with pytest.raises(EngineUnavailableError, match=reason):
        await engine.start()
    await leaks.none_remain()


async def test_a_configuration_that_the_worker_can_not_read_is_reported():
    engine = LocalEngine([type(CONFIG)(model="m", data_dir="d", slots=-1)], factory="tests.bigram_model:load")
    with pytest.raises(EngineUnavailableError, match="slots"):
        await engine.start()


async def test_a_start_that_takes_too_long_is_ended():
    leaks = Leaks()
    engine = engine_of("load_never", policy=SupervisionPolicy(start_timeout_s=0.5, heartbeat_s=0.1))
    with pytest.raises(EngineUnavailableError, match="did not load within"):
        await engine.start()
    await leaks.none_remain()


async def test_a_start_that_is_called_off_leaves_nothing():
    leaks = Leaks()
    engine = engine_of("load_never")
    starting = asyncio.create_task(engine.start())
    await settled(lambda: psutil.Process().children())
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await engine.close()
    await leaks.none_remain()


async def test_when_no_restart_succeeds_the_breaker_opens_and_closes_again(tmp_path):
    model = tmp_path / "model"
    model.touch()
    policy = replace(QUICK, open_s=4.0)  # while it tries again, nobody is refused
    async with Running("load_while", model=str(model), slots=1, policy=policy) as engine:
        model.unlink()
        for name in ("r", "waiting"):
            await engine.submit(ask(name, "[die]"))
        for name in ("r", "waiting"):
            with pytest.raises(EngineUnavailableError, match="is not there"):
                await read(engine, name)
        with pytest.raises(EngineUnavailableError, match="is not there"):
            await engine.submit(ask("meanwhile"))
        health = await engine.health()
        assert not health.ready
        assert health.workers[0].state == "failed"
        assert "is not there" in health.workers[0].error
        model.touch()
        await settled(lambda: engine._replicas[0].accepting)
        assert (await served(engine, ask("later"))).text


async def test_limits_hold_and_an_overload_says_for_whom():
    limits = QueueLimits(total=4, per_guild=3, per_user=2)
    async with Running("load_slow", slots=1, limits=limits) as engine:
        await served(engine, ask("measured", max_new_tokens=2))
        await engine.submit(ask("running", user="x", guild="gx", max_new_tokens=LONG))
        waiting = [("a1", "ann", "g"), ("a2", "ann", "g"), ("b1", "bo", "g"), ("c1", "cy", "h")]
        for name, user, guild in waiting:
            assert await engine.submit(ask(name, user=user, guild=guild)) > 0
        for user, guild, scope in [("ann", "h", "user"), ("dan", "g", "guild"), ("dan", "i", "server")]:
            with pytest.raises(EngineOverloadedError) as caught:
                await engine.submit(ask("more", user=user, guild=guild))
            assert caught.value.scope == scope
            assert caught.value.retry_after_s > 0
        health = await engine.health()
        assert (health.queued, health.running, health.queued_by_guild) == (4, 1, {"g": 3, "h": 1})


async def test_positions_and_estimates_are_announced_as_the_queue_moves():
    async with Running("load_slow", slots=1) as engine:
        await served(engine, ask("measured"))
        await engine.submit(ask("first"))
        assert await engine.submit(ask("second", user="a")) == 1
        assert await engine.submit(ask("third", user="b")) == 2
        events = (await asyncio.gather(*(read(engine, name) for name in ("first", "second", "third"))))[2]
    queued = [event for event in events if isinstance(event, Queued)]
    assert [event.position for event in queued] == [2, 1]
    assert queued[0].wait_s == pytest.approx(2 * queued[1].wait_s, rel=0.9)
    assert isinstance(events[len(queued)], Started)


async def test_nobody_starves_while_one_user_sends_fifty():
    limits = QueueLimits(per_user=64)
    async with Running("load", slots=1, limits=limits) as engine:
        order: list[str] = []

        async def follow(name):
            async for event in engine.stream(name):
                order.extend([name] if isinstance(event, Started) else [])

        for number in range(50):
            await engine.submit(ask(f"greedy{number}", user="greedy", guild="g"))
        readers = [asyncio.create_task(follow(f"greedy{number}")) for number in range(50)]
        await settled(lambda: len(order) >= 10)
        before = len(order)
        assert await engine.submit(ask("patient", user="patient", guild="g")) <= 2
        await asyncio.gather(follow("patient"), *readers)
    assert order.index("patient") - before <= 3, "the one that ran, at most one turn, then the other user's"


async def test_a_deadline_ends_what_waits_and_stops_what_runs():
    async with Running("load_slow", slots=1) as engine:
        soon = time.time() + 3
        await engine.submit(type(ask("x"))(**_fields(ask("runs", max_new_tokens=LONG)), deadline=soon))
        await engine.submit(type(ask("x"))(**_fields(ask("waits")), deadline=soon))
        with pytest.raises(DeadlineExceededError):
            await read(engine, "waits")
        *_, output = await read(engine, "runs")
        assert output.finish_reason == "cancelled"
        assert output.text
        await engine.submit(type(ask("x"))(**_fields(ask("late")), deadline=time.time() - 1))
        with pytest.raises(DeadlineExceededError):
            await read(engine, "late")


def _fields(request):
    return {name: getattr(request, name) for name in request.__struct_fields__ if name != "deadline"}


async def test_closing_lets_what_runs_finish_and_tells_what_waits(tmp_path):
    leaks = Leaks()
    engine = engine_of(slots=1)
    await engine.start()
    await engine.submit(ask("runs", f"[until {tmp_path / 'gate'}]", max_new_tokens=30))
    await engine.submit(ask("waits"))
    runs, waits = (asyncio.create_task(read(engine, name)) for name in ("runs", "waits"))
    closing = asyncio.create_task(engine.close(grace_s=60))
    with pytest.raises(EngineClosedError):
        await waits
    (tmp_path / "gate").touch()
    await closing
    assert (await runs)[-1].finish_reason == "length"
    with pytest.raises(EngineClosedError):
        await engine.submit(ask("late"))
    await leaks.none_remain()


async def test_closing_without_grace_ends_even_a_worker_that_hangs():
    leaks = Leaks()
    policy = SupervisionPolicy(shutdown_s=0.3, heartbeat_s=0.1)
    engine = engine_of(policy=policy)
    await engine.start()
    await engine.submit(ask("r", "[hang][prefill]"))
    stream = engine.stream("r")
    await until_started(stream)
    await engine.close(grace_s=0.1)
    with pytest.raises(EngineClosedError):
        await anext(stream)
    await leaks.none_remain()


async def test_two_workers_share_the_load_and_one_may_die():
    async with Running("load_slow", workers=2, slots=2) as engine:
        os.kill(await worker_pid(engine, 0), signal.SIGSTOP)  # so that it can't have answered before it dies
        for number in range(4):
            await engine.submit(ask(str(number), max_new_tokens=60))
        assert [worker.running for worker in (await engine.health()).workers] == [2, 2]
        readers = [asyncio.create_task(read(engine, str(number))) for number in range(4)]
        os.kill(await worker_pid(engine, 0), signal.SIGKILL)
        events = await asyncio.gather(*readers)
        assert {stream[-1].finish_reason for stream in events} == {"length"}
        assert [worker.restarts for worker in (await engine.health()).workers] == [1, 0]


async def test_malformed_requests_ids_in_use_and_second_readers_are_refused():
    async with Running("load_slow") as engine:
        with pytest.raises(RequestRefusedError, match="malformed"):
            await engine.submit(ask("r", "\ud800"))
        with pytest.raises(RequestRefusedError, match="malformed"):
            await engine.submit(ask("r", temperature=-1.0))
        await engine.submit(ask("r", max_new_tokens=LONG))
        with pytest.raises(RequestRefusedError, match="in use"):
            await engine.submit(ask("r"))
        stream = engine.stream("r")
        with pytest.raises(RequestRefusedError, match="has a reader"):
            engine.stream("r")
        with pytest.raises(RequestRefusedError, match="no request"):
            engine.stream("nobody")
        await stream.aclose()


async def test_a_request_that_no_retry_can_save_is_refused_and_harms_nobody():
    async with Running() as engine:
        await engine.submit(ask("r", " \n "))
        with pytest.raises(RequestRefusedError, match="the story is empty"):
            await read(engine, "r")
        assert (await engine.health()).workers[0].restarts == 0


async def test_health_reports_what_an_operator_wants_to_know():
    async with Running() as engine:
        await served(engine, ask("r", max_new_tokens=30))
        await settled(lambda: engine._replicas[0].health().resident_bytes > 0)
        health = await engine.health()
        assert health.ready
        assert health.served == 1
        assert health.failed == 0
        assert health.tokens_per_s == pytest.approx(30 / 60)
        assert 0 < health.first_token_p50_s <= health.first_token_p95_s
        (worker,) = health.workers
        assert worker.state == "ready"
        assert worker.slots == 4
        assert psutil.pid_exists(worker.pid)
        assert 10 * 2**20 < worker.resident_bytes < 500 * 2**20


async def test_five_hundred_requests_with_half_cancelled_leak_nothing():
    limits = QueueLimits(total=512, per_guild=512, per_user=512)
    async with Running("load", slots=4, limits=limits) as engine:
        await served(engine, ask("warm"))
        resident = []
        for round_ in range(2):

            async def one(number: int, name: str) -> str:
                await engine.submit(ask(name, user=str(number % 7), guild=str(number % 3), max_new_tokens=40))
                stream = engine.stream(name)
                if number % 2:
                    if number % 4 == 1:
                        await first_text(stream)
                    await engine.cancel(name)
                return [event async for event in stream][-1].finish_reason

            reasons = await asyncio.gather(*(one(number, f"{round_}-{number}") for number in range(250)))
            assert all(reason == "length" for reason in reasons[::2])
            health = await engine.health()
            assert (health.queued, health.running) == (0, 0)
            assert not engine._jobs
            resident.append(psutil.Process(await worker_pid(engine)).memory_info().rss)
        assert resident[1] < resident[0] * 1.05
        assert (await engine.health()).workers[0].restarts == 0


async def test_a_reload_drops_no_running_stream_and_answers_with_the_new_model(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("abababab ")
    new.write_text("xyxyxyxy ")
    configs = [type(CONFIG)(model=str(model), data_dir="/nowhere", slots=1, niceness=0) for model in (old, new)]
    leaks = Leaks()
    engine = LocalEngine(configs[:1], factory="tests.bigram_model:load_text", policy=QUICK)
    await engine.start()
    await engine.submit(ask("runs", f"[until {tmp_path / 'gate'}]", max_new_tokens=40))
    stream = engine.stream("runs")
    await first_text(stream)
    await engine.submit(ask("waits"))
    await engine.reload(configs[1:])
    waited = (await read(engine, "waits"))[-1]
    (tmp_path / "gate").touch()
    *_, ran = [event async for event in stream]
    assert ran.finish_reason == "length"
    assert set(ran.text) <= set("ab ")
    assert set(waited.text) <= set("xy ")
    assert ran.model_version != waited.model_version
    await settled(lambda: not engine._leaving)
    assert len(psutil.Process().children()) == 1
    assert len((await engine.health()).workers) == 1
    await engine.close()
    await leaks.none_remain()


async def test_a_reload_that_fails_changes_nothing(tmp_path):
    model = tmp_path / "model"
    model.write_text("abababab ")
    config, missing = (
        type(CONFIG)(model=str(path), data_dir="/nowhere", niceness=0) for path in (model, tmp_path / "missing")
    )
    leaks = Leaks()
    engine = LocalEngine([config], factory="tests.bigram_model:load_text", policy=QUICK)
    await engine.start()
    before = await worker_pid(engine)
    with pytest.raises(EngineUnavailableError, match="missing"):
        await engine.reload([missing])
    assert await worker_pid(engine) == before
    assert set((await served(engine, ask("r"))).text) <= set("ab ")
    await engine.close()
    with pytest.raises(EngineClosedError):
        await engine.reload([config])
    await leaks.none_remain()


async def test_an_old_worker_that_dies_while_it_drains_hands_its_story_to_the_new_one(tmp_path):
    model = tmp_path / "model"
    model.write_text("abababab ")
    config = type(CONFIG)(model=str(model), data_dir="/nowhere", niceness=0)
    leaks = Leaks()
    engine = LocalEngine([config], factory="tests.bigram_model:load_text", policy=QUICK)
    await engine.start()
    before = await worker_pid(engine)
    await engine.submit(ask("r", f"[hang][once {tmp_path / 'seen'}]", max_new_tokens=40))
    stream = engine.stream("r")
    await first_text(stream)
    await engine.reload([config])
    os.kill(before, signal.SIGKILL)
    await until_started(stream, attempt=2)
    *_, output = [event async for event in stream]
    assert output.finish_reason == "length"
    await engine.close()
    await leaks.none_remain()


async def test_a_worker_that_uses_up_its_memory_is_replaced_and_its_neighbour_served():
    bounded = type(CONFIG)(model="m", data_dir="d", niceness=0, max_memory_bytes=400 * 2**20)
    leaks = Leaks()
    engine = LocalEngine([bounded], factory="tests.bigram_model:load_faulty", policy=QUICK)
    await engine.start()
    await engine.submit(ask("greedy", "[memory]"))
    await engine.submit(ask("neighbour", max_new_tokens=40))
    with pytest.raises(RequestRefusedError, match="MemoryError"):
        await read(engine, "greedy")
    assert (await read(engine, "neighbour"))[-1].finish_reason == "length"
    assert (await served(engine, ask("after"))).text
    await engine.close()
    await leaks.none_remain()


async def test_the_temporary_files_of_a_killed_worker_are_removed(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with Running("load_littering") as engine:
        assert len(list(tmp_path.glob("*/litter*"))) == 1
        os.kill(await worker_pid(engine), signal.SIGKILL)
        await settled(lambda: engine._replicas[0].health().restarts)
        assert (await served(engine, ask("r"))).text
        assert len(list(tmp_path.glob("*/litter*"))) == 1
    assert list(tmp_path.iterdir()) == []
