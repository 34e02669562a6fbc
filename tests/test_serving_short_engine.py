"""The small models' engine with a real process: batched, killed, hung, poisoned, idle, missing, closed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import msgspec
import psutil
import pytest

from models.serving.engine import (
    EngineClosedError,
    EngineOverloadedError,
    EngineUnavailableError,
    ModelMissingError,
    RequestRefusedError,
    WorkerDiedError,
)
from models.serving.in_process_short import InProcessShortEngine
from models.serving.local_short_engine import LocalShortEngine
from models.serving.short_families import Family
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import Mood, MoodRequest, MorphRequest, PortraitRequest, VerseRequest
from models.serving.short_wire import FAMILIES
from models.serving.supervisor import SupervisionPolicy
from models.serving.wire import MAX_FRAME_BYTES
from tests.serving_reader import Leaks, settled
from tests.short_models import CONFIG, Moods
from tests.test_serving_worker_process import ends

ROOT = Path(__file__).parents[1]
QUICK = SupervisionPolicy(heartbeat_s=0.1, backoff_s=0.01, open_s=30.0, max_backoff_s=0.1)
HASTY = SupervisionPolicy(heartbeat_s=0.1, backoff_s=0.01, open_s=30.0, max_backoff_s=0.1, stuck_s=5.0)


class Running:
    """`async with` an engine that must leave no task, descriptor or process behind."""

    def __init__(self, policy=QUICK, idle_s=600.0, **config):
        config = msgspec.structs.replace(CONFIG, **config)
        self.engine = LocalShortEngine(config, policy=policy, idle_s=idle_s)

    async def __aenter__(self):
        self.leaks = Leaks()
        await self.engine.start()
        return self.engine

    async def __aexit__(self, *_):
        await self.engine.close()
        await self.leaks.none_remain()


def mood(text, **fields):
    return MoodRequest(text=text, **fields)


async def pid_of(engine):
    pid = (await engine.health()).pid
    assert pid is not None
    return pid


async def test_no_process_runs_before_the_first_request_nor_long_after_the_last():
    async with Running(idle_s=0.3) as engine:
        assert (await engine.health()).state == "asleep"
        assert not psutil.Process().children()
        answer = await engine.ask(mood("I am glad"))
        assert (answer.label, answer.model_version) == ("positive", "moods@00000001")
        health = await engine.health()
        assert (health.state, health.models) == ("ready", ("moods@00000001",))
        await settled(lambda: not psutil.Process().children())
        await settled(lambda: engine._answering.health().state == "asleep")
        assert (await engine.ask(mood("I am sad"))).label == "negative"
        health = await engine.health()
        assert (health.answered, health.restarts, health.failed, health.error) == (2, 0, 0, "")


async def test_what_is_asked_together_is_answered_in_batches_and_in_order():
    async with Running() as engine:
        await engine.ask(mood("first"))
        answers = await asyncio.gather(*(engine.ask(mood(f"number {number}")) for number in range(64)))
    assert [answer.notes[1] for answer in answers] == [f"number {number}" for number in range(64)]
    assert [answer.notes[0] for answer in answers] == [f"{place % 32} of 32" for place in range(64)]


async def test_every_kind_is_answered_by_its_own_model():
    async with Running() as engine:
        portraits, morph, verse, read = await asyncio.gather(
            engine.ask(PortraitRequest(seeds=("ink", "well"))),
            engine.ask(MorphRequest(start="ink", end="well")),
            engine.ask(VerseRequest(seed="moon", lines=2)),
            engine.ask(mood("glad")),
        )
    assert [portrait.seed for portrait in portraits.portraits] == ["ink", "well"]
    assert portraits.portraits[0].png.startswith(b"\x89PNG")
    assert morph.gif == b"G" * 10
    assert verse.lines == ("moon", "moon")
    assert read.label == "positive"


async def test_a_mood_does_not_wait_for_a_picture():
    async with Running() as engine:
        await asyncio.gather(engine.ask(mood("warm")), engine.ask(PortraitRequest(seeds=("warm",))))
        picture = asyncio.create_task(engine.ask(PortraitRequest(seeds=("[hang]",))))
        await settled(lambda: engine._answering.health().running == 1)
        assert (await engine.ask(mood("glad"))).label == "positive"
        assert not picture.done()
        picture.cancel()
        await asyncio.gather(picture, return_exceptions=True)


async def test_a_batch_whose_process_is_killed_is_answered_by_the_next_one(tmp_path):
    async with Running() as engine:
        await engine.ask(mood("warm"))
        texts = [f"[hang][once {tmp_path / 'seen'}]", *(f"number {number}" for number in range(5))]
        asking = [asyncio.create_task(engine.ask(mood(text))) for text in texts]
        await settled((tmp_path / "seen").exists)
        os.kill(await pid_of(engine), signal.SIGKILL)
        answers = await asyncio.gather(*asking)
        health = await engine.health()
    assert [answer.notes[1] for answer in answers] == texts
    assert (health.restarts, health.failed, health.answered) == (1, 0, 7)


async def test_a_request_that_kills_two_processes_is_refused_and_its_neighbours_are_answered():
    async with Running() as engine:
        texts = [*(f"number {number}" for number in range(6)), "[die]", *(f"number {number}" for number in range(6, 9))]
        answers = await asyncio.gather(*(engine.ask(mood(text)) for text in texts), return_exceptions=True)
        refused = answers.pop(6)
        assert isinstance(refused, RequestRefusedError)
        assert "ended two processes: the worker was ended by SIGKILL" in str(refused)
        assert [answer.notes[1] for answer in answers] == [f"number {number}" for number in range(9)]
        with pytest.raises(RequestRefusedError, match="two processes"):
            await engine.ask(mood("[die]"))
        assert (await engine.health()).restarts == 2
        assert (await engine.ask(mood("after"))).notes[1] == "after"


async def test_other_kinds_of_requests_are_not_blamed_for_a_death(tmp_path):
    gate = tmp_path / "gate"
    async with Running() as engine:
        await asyncio.gather(engine.ask(mood("warm")), engine.ask(PortraitRequest(seeds=("warm",))))
        moods = [asyncio.create_task(engine.ask(mood(f"{number} [until {gate}]"))) for number in range(3)]
        await settled(lambda: engine._answering.health().running >= 1)
        killer = asyncio.create_task(engine.ask(PortraitRequest(seeds=("[die]",))))
        await settled(lambda: engine._answering.health().restarts)
        asyncio.get_running_loop().call_later(0.3, gate.touch)
        with pytest.raises(RequestRefusedError):
            await killer
        assert [(await each).notes[1][0] for each in moods] == ["0", "1", "2"]
        assert (await engine.health()).restarts == 2


async def test_a_model_that_was_loading_is_not_blamed_for_a_death_beside_it(tmp_path):
    gate = tmp_path / "gate"
    async with Running(options={"portraits": f"[until {gate}]"}) as engine:
        await engine.ask(mood("warm"))
        portrait = asyncio.create_task(engine.ask(PortraitRequest(seeds=("ink",))))
        await settled(lambda: engine._answering._loading)
        killer = asyncio.create_task(engine.ask(mood("[die]")))
        await settled(lambda: engine._answering.health().restarts)
        gate.touch()
        assert (await portrait).portraits[0].seed == "ink"
        with pytest.raises(RequestRefusedError):
            await killer
        assert (await engine.ask(mood("after"))).notes[1] == "after"


async def test_a_batch_that_hangs_ends_its_process_and_then_its_request(caplog):
    caplog.set_level("INFO")
    async with Running(policy=HASTY) as engine:
        with pytest.raises(RequestRefusedError, match="not answered within 5 s"):
            await engine.ask(mood("[hang]"))
        assert (await engine.ask(mood("after"))).notes[1] == "after"
    assert "short_models.py" in caplog.text  # the stacks say where it hung


async def test_a_stopped_process_is_noticed_by_its_heartbeat():
    policy = SupervisionPolicy(heartbeat_s=0.1, heartbeat_timeout_s=3.0, backoff_s=0.01)
    async with Running(policy=policy) as engine:
        await engine.ask(mood("warm"))
        first = await pid_of(engine)
        os.kill(first, signal.SIGSTOP)
        assert (await engine.ask(mood("after"))).notes[1] == "after"
        assert await pid_of(engine) != first


async def test_only_the_request_that_can_not_be_served_fails():
    async with Running() as engine:
        texts = ["one", "[refuse]", "two", "[break]", "three"]
        answers = await asyncio.gather(*(engine.ask(mood(text)) for text in texts), return_exceptions=True)
        with pytest.raises(RequestRefusedError, match="surrogate"):
            await engine.ask(mood("\ud800"))
        with pytest.raises(RequestRefusedError, match="<= 9"):
            await engine.ask(PortraitRequest(seeds=("s",) * 10))
        assert (await engine.health()).restarts == 0
    assert [answer.notes[1] for answer in answers if isinstance(answer, Mood)] == ["one", "two", "three"]
    assert isinstance(answers[1], RequestRefusedError)
    assert str(answers[1]) == "it holds no words"
    assert isinstance(answers[3], WorkerDiedError)


async def test_a_model_that_is_not_here_is_a_sentence_and_others_answer():
    families = CONFIG.families | {"morph": "models.gan.nowhere:load"}
    async with Running(families=families, options={"portraits": "missing"}) as engine:
        with pytest.raises(ModelMissingError, match=r"has no models\.gan\.nowhere"):
            await engine.ask(MorphRequest(start="a", end="b"))
        with pytest.raises(ModelMissingError, match="run `inkwell models fetch`"):
            await engine.ask(PortraitRequest(seeds=("ink",)))
        missing, answered = await asyncio.gather(
            engine.ask(mood("glad", method="encoder")), engine.ask(mood("glad")), return_exceptions=True
        )
        assert isinstance(missing, ModelMissingError)
        assert answered.label == "positive"
        assert (await engine.health()).restarts == 0


async def test_a_library_that_is_not_here_is_named(tmp_path, monkeypatch):
    (tmp_path / "needs_it.py").write_text("import no_such_library\n")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    async with Running(families=CONFIG.families | {"morph": "needs_it:load"}) as engine:
        with pytest.raises(ModelMissingError, match="needs the library no_such_library"):
            await engine.ask(MorphRequest(start="a", end="b"))


@pytest.mark.parametrize(("fault", "says"), [("broken", "no weights"), ("deadly", "can't be loaded.*SIGABRT")])
async def test_a_model_that_can_not_be_loaded_is_the_operators_affair_and_others_answer(fault, says):
    async with Running(options={"portraits": fault}) as engine:
        for _ in range(2):
            with pytest.raises(EngineUnavailableError, match=says):
                await engine.ask(PortraitRequest(seeds=("ink",)))
        assert (await engine.ask(mood("glad"))).label == "positive"
        assert (await engine.health()).restarts == (fault == "deadly")


async def test_memory_that_runs_out_ends_one_request_only():
    async with Running(max_memory_bytes=2**30) as engine:
        full, answered = await asyncio.gather(
            engine.ask(mood("[memory]")), engine.ask(mood("glad")), return_exceptions=True
        )
        assert isinstance(full, WorkerDiedError)
        assert "MemoryError" in str(full)
        assert answered.label == "positive"


async def test_after_too_many_crashes_the_breaker_opens():
    policy = SupervisionPolicy(heartbeat_s=0.1, backoff_s=0.01, max_crashes=4, open_s=3.0)
    async with Running(policy=policy) as engine:
        for number in range(2):
            with pytest.raises(RequestRefusedError):
                await engine.ask(mood(f"[die] {number}"))
        with pytest.raises(EngineUnavailableError, match="SIGKILL"):
            await engine.ask(mood("glad"))
        assert (await engine.health()).state == "failed"
        await asyncio.sleep(3.0)
        assert (await engine.ask(mood("glad"))).label == "positive"
        assert (await engine.health()).state == "ready"


async def test_an_answer_may_be_large_but_not_larger_than_a_frame():
    async with Running() as engine:
        small = MAX_FRAME_BYTES - 4096
        assert len((await engine.ask(MorphRequest(start="large", end=str(small)))).gif) == small
        with pytest.raises(RequestRefusedError, match="over the limit"):
            await engine.ask(MorphRequest(start="large", end=str(MAX_FRAME_BYTES)))


async def test_thousands_of_background_requests_a_second_neither_block_the_loop_nor_fill_the_memory():
    async with Running() as engine:
        await engine.ask(mood("warm"))
        gaps, done, began = [], [], time.monotonic()

        async def watch():
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.005)
                gaps.append(time.monotonic() - before)

        async def one(number):
            try:
                done.append(await engine.ask(mood(f"glad {number} " + "x" * 2000), background=True))
            except EngineOverloadedError as error:
                assert error.scope == "background"

        watching = asyncio.create_task(watch())
        resident = psutil.Process().memory_info().rss
        used = time.process_time()
        flood, urgent = [], []
        for number in range(4_000):
            flood.append(asyncio.create_task(one(number)))
            if number % 20 == 0:
                await asyncio.sleep(max(0.0, began + number / 2_000 - time.monotonic()))
            if number % 400 == 0:
                urgent.append(asyncio.create_task(engine.ask(mood("glad"))))
        used = time.process_time() - used
        labels = {answer.label for answer in await asyncio.gather(*urgent)}
        await asyncio.gather(*flood)
        watching.cancel()
        health = await engine.health()
        grown = psutil.Process().memory_info().rss - resident
    assert labels == {"positive"}
    assert len(done) + health.dropped == 4_000
    assert len(done) > 100
    assert health.failed == 0
    assert sorted(gaps)[len(gaps) * 9 // 10] < 0.2, "the loop goes on, on a busy machine too"
    assert grown < 64 * 2**20


async def test_background_work_is_dropped_while_a_picture_is_drawn_and_urgent_work_waits(tmp_path):
    async with Running() as engine:
        await engine.ask(mood("warm"))
        held = asyncio.create_task(engine.ask(mood(f"[hang][once {tmp_path / 'seen'}]")))
        await settled((tmp_path / "seen").exists)
        background = [asyncio.create_task(engine.ask(mood(f"b{n}"), background=True)) for n in range(200)]
        urgent = [asyncio.create_task(engine.ask(mood(f"u{n}"))) for n in range(20)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in urgent)
        assert sum(isinstance(task.exception(), EngineOverloadedError) for task in background if task.done()) == 136
        os.kill(await pid_of(engine), signal.SIGKILL)
        assert [(await task).notes[1] for task in urgent] == [f"u{n}" for n in range(20)]
        await held
        await asyncio.gather(*background, return_exceptions=True)
        assert (await engine.health()).dropped == 136


async def test_a_caller_that_leaves_takes_its_request_out(tmp_path):
    async with Running() as engine:
        await engine.ask(mood("warm"))
        gates = [tmp_path / "first", tmp_path / "second"]
        held = asyncio.create_task(engine.ask(mood(f"[until {gates[0]}]")))
        await settled(lambda: engine._answering.health().running == 1)
        leaves, stays = (asyncio.create_task(engine.ask(mood(text))) for text in ("leaves", "stays"))
        await settled(lambda: len(engine._batchers["mood"]) == 2)
        leaves.cancel()
        await settled(lambda: len(engine._batchers["mood"]) == 1)
        gates[0].touch()
        assert (await stays).notes[0] == "0 of 1"
        assert (await held).label == "neutral"
        running = asyncio.create_task(engine.ask(mood(f"[until {gates[1]}]")))
        await settled(lambda: engine._answering.health().running == 1)
        running.cancel()
        gates[1].touch()
        assert (await engine.ask(mood("after"))).notes[1] == "after"


async def test_closing_tells_what_runs_and_what_waits_and_refuses_more(tmp_path):
    async with Running() as engine:
        await engine.ask(mood("warm"))
        runs = asyncio.create_task(engine.ask(mood(f"[hang][once {tmp_path / 'seen'}]")))
        await settled((tmp_path / "seen").exists)
        waits = asyncio.create_task(engine.ask(mood("waits")))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await engine.close()
        assert time.monotonic() - began < 60
        for task in (runs, waits):
            assert isinstance(task.exception(), EngineClosedError)
        with pytest.raises(EngineClosedError):
            await engine.ask(mood("late"))
        assert (await engine.health()).state == "stopped"


async def test_closing_while_the_process_begins_leaves_nothing():
    async with Running() as engine:
        asking = asyncio.create_task(engine.ask(mood("first")))
        await asyncio.sleep(0.02)
        await engine.close()
        assert isinstance((await asyncio.gather(asking, return_exceptions=True))[0], EngineClosedError)


PARENT = """
import asyncio
from tests.short_models import CONFIG
from models.serving.local_short_engine import LocalShortEngine
from models.serving.short_requests import MoodRequest

async def main():
    engine = LocalShortEngine(CONFIG)
    await engine.start()
    await engine.ask(MoodRequest(text="warm"))
    asking = asyncio.create_task(engine.ask(MoodRequest(text="[hang]")))
    await asyncio.sleep(0.1)
    print((await engine.health()).pid, flush=True)
    await asking

asyncio.run(main())
"""


def test_a_process_whose_parent_is_killed_ends_even_while_it_computes():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        assert not ends(worker, 0.0)
        parent.kill()
        assert ends(worker)
        os.close(worker)


async def test_in_this_process_the_same_questions_have_the_same_answers():
    leaks = Leaks()
    engine = InProcessShortEngine({"mood": Moods()})
    await engine.start()
    answers = await asyncio.gather(*(engine.ask(mood(text)) for text in ("glad", "sad", "glad")))
    assert [answer.label for answer in answers] == ["positive", "negative", "positive"]
    assert answers[0].notes[0] == "0 of 3"
    with pytest.raises(ModelMissingError, match="no model answers morph requests"):
        await engine.ask(MorphRequest(start="a", end="b"))
    with pytest.raises(RequestRefusedError, match="no words"):
        await engine.ask(mood("[refuse]"))
    assert (await engine.health()).answered == 3
    await engine.close()
    await leaks.none_remain()


def test_every_kind_of_request_has_a_loader_and_a_queue():
    from models.serving.batched_short_engine import LIMITS
    from models.serving.short_requests import AnyShortRequest
    from models.serving.short_wire import kind_of

    tags = {kind.__struct_config__.tag for kind in AnyShortRequest.__args__}
    assert tags == set(FAMILIES) == set(LIMITS)
    assert kind_of(mood("x")) == "mood"


def test_a_family_that_is_asked_in_vain_again_and_again_keeps_no_traces_of_it():
    family = Family("tests.no_such_module:load", Path("/nowhere"), {})
    depths = []
    for _ in range(20):
        with pytest.raises(ShortModelMissingError) as raised:
            family.model()
        depths.append(len(traceback.extract_tb(raised.value.__traceback__)))
    assert max(depths[1:]) <= depths[0]


async def test_an_error_of_the_engine_is_not_its_own_cause():
    engine = InProcessShortEngine({})
    await engine.start()
    with pytest.raises(ModelMissingError) as raised:
        await engine.ask(MoodRequest(text="glad"))
    assert raised.value.__cause__ is None
    await engine.close()
