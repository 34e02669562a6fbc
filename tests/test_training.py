"""Runs of training with a real process beside them that does as it is told, or anything else."""

import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from bot.settings import Settings
from bot.store import Store
from bot.store.errors import StoreFullError
from bot.store.training_runs import Place, Schedule, TrainingRun, TrainingUnderWayError
from bot.training import (
    MAX_RESUMES,
    NothingToLearnError,
    NoTrainingError,
    Training,
    TrainingClosedError,
    TrainingNotAllowedError,
)
from bot.training_run import draw
from models.serving.training import CorrectionRecord, PictureRecord, Progressed, Record, TurnRecord
from tests.fake_training import program, sent

PLACE = Place(guild_id=1, channel_id=2, locale="en-GB")
ADA, BEN = 42, 43
DAY_S = 86_400.0
HOLD_THE_LOCK = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(99)
"""


@dataclass(kw_only=True)
class Scene:
    store: Store
    data_dir: Path
    records: list[Record] = field(default_factory=list)
    now: float = 1_700_000_000.0
    ended: list[TrainingRun] = field(default_factory=list)
    chosen: dict[str, Any] = field(default_factory=dict)
    trainings: list[Training] = field(default_factory=list)
    reading: Callable[[int], Any] = lambda number: None

    def training(self, kind: str = "good", **options: Any) -> Training:
        async def ended(run: TrainingRun) -> None:
            self.ended.append(run)

        async def records() -> AsyncIterator[Record]:
            for number, record in enumerate(list(self.records)):
                if (waiting := self.reading(number)) is not None:
                    await waiting
                yield record

        training = Training(
            self.store, lambda: Settings(_env_file=None, data_dir=self.data_dir, **self.chosen), records, ended=ended,
            program=program(kind), clock=lambda: self.now, **{"grace_s": 5.0, **options},
        )  # fmt: skip
        self.trainings.append(training)
        return training

    async def consenting(self, *people: int) -> None:
        """Each has a turn; between them stands the model's."""
        for person in people:
            await self.store.people.set_consent(person, "training", wording=1)
            self.records += [
                turn(f"{person}a", self.store.person_key(person), f"The words of {person}."),
                turn(f"{person}b", "", "And so."),
            ]

    def folder(self, run: TrainingRun) -> Path:
        return self.data_dir / "training" / run.id

    async def over(self, training: Training, run: TrainingRun) -> TrainingRun:
        await until(lambda: training.live is None or training.live.run.id != run.id)
        assert not self.folder(run).exists()
        ended = await self.store.training_runs.run(run.id)
        assert ended.snapshot_key == ""
        return ended


def turn(name: str, author: str, text: str) -> TurnRecord:
    return TurnRecord(id=name, story="s", parent=None, author=author, text=text, language="en", at=1.0)


async def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Scene]:
    async with Store.open(tmp_path / "inkwell.db") as store:
        scene = Scene(store=store, data_dir=tmp_path)
        await scene.consenting(ADA, BEN)
        yield scene
        for training in scene.trainings:
            await training.close()


async def trains(training: Training) -> None:
    await until(lambda: training.live is not None and training.live.stage == "train")


async def test_a_run_gets_the_records_and_ends_with_its_verdicts_and_without_its_key(at: Scene) -> None:
    training = at.training()
    run = await training.start(place=PLACE, families=("story", "portraits"), user_key="me")
    assert len(run.snapshot_key) == 64
    ended = await at.over(training, run)
    assert (ended.state, ended.reason, ended.stage) == ("ended", "", "evaluate")
    assert [(each.family, each.accepted) for each in ended.judged] == [("story", True)]
    assert [each.family for each in ended.skipped] == ["portraits"]
    assert ended.counted is not None
    assert (ended.counted.kept, ended.counted.authors) == (4, 2)
    assert ended.curves == {"story": [(step, 3.0 / step) for step in range(1, 6)]}
    assert b"The words of 42." in sent(at.data_dir, run.id)[0]
    assert at.ended == [ended]
    assert await at.store.training_runs.authors(run.id) == frozenset()


async def test_a_run_is_given_no_record_that_its_families_can_t_use(at: Scene) -> None:
    ada = at.store.person_key(ADA)
    at.records = [
        *at.records,
        CorrectionRecord(id="c", author=ada, text="Oh", label="neutral", language="en", at=1.0),
        PictureRecord(id="p", author=ada, png=b"\x89PNG", at=1.0),
    ]
    training = at.training()
    kinds = {}
    for family in ("mood", "portraits", "ngram"):
        run = await training.start(place=PLACE, families=(family,))
        await at.over(training, run)
        kinds[family] = [line[:15] for line in sent(at.data_dir, run.id)]
    assert kinds == {
        "mood": [b'{"type":"correc'], "portraits": [b'{"type":"pictur'], "ngram": [b'{"type":"turn",'] * 4,
    }  # fmt: skip


async def test_nothing_trains_unless_the_operator_allows_it(at: Scene) -> None:
    token = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcdE." + "x" * 38
    at.chosen = {"discord_token": token}
    training = at.training()
    with pytest.raises(TrainingNotAllowedError):
        await training.start(place=PLACE)
    at.chosen = {"discord_token": token, "train_on_prompts": True}
    run = await training.start(place=PLACE)
    assert run.options.min_authors == 3
    assert (await at.over(training, run)).state == "ended"


async def test_without_a_single_record_no_run_begins(at: Scene) -> None:
    training = at.training()
    for families in (("mood",), ("portraits",)):
        with pytest.raises(NothingToLearnError):
            await training.start(place=PLACE, families=families)
    at.records = []
    with pytest.raises(NothingToLearnError):
        await training.start(place=PLACE)
    assert await at.store.training_runs.latest(5) == ()


@pytest.mark.parametrize(
    ("kind", "state", "reason", "detail"),
    [
        ("exit", "failed", "crashed", "3"),
        ("kill", "failed", "killed", "9"),
        ("fail", "failed", "said", "The disk is full."),
        ("babble", "failed", "unreadable", ""),
        ("endless", "failed", "unreadable", ""),
        ("mute", "failed", "silent", ""),
    ],
)
async def test_a_process_that_ends_badly_is_a_failed_run_with_its_reason_and_the_next_can_begin(
    at: Scene, kind: str, state: str, reason: str, detail: str
) -> None:
    training = at.training(kind, silence_s=1.0 if kind == "mute" else 60.0)
    run = await training.start(place=PLACE, families=("story", "gpt"))
    ended = await at.over(training, run)
    assert (ended.state, ended.reason, ended.detail) == (state, reason, detail)
    if kind == "kill":
        again = at.training()
        assert (await at.over(again, await again.start(place=PLACE, families=("gpt",)))).state == "ended"


async def test_a_process_that_can_t_be_started_is_a_failed_run(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    training = at.training()
    ended = await at.over(training, await training.start(place=PLACE))
    assert (ended.state, ended.reason) == ("failed", "start")


async def test_of_two_starts_at_once_one_is_refused_with_the_name_of_the_other(at: Scene) -> None:
    training = at.training("wait")
    first, second = await asyncio.gather(
        training.start(place=PLACE), training.start(place=PLACE), return_exceptions=True
    )
    assert isinstance(first, TrainingRun)
    assert isinstance(second, TrainingUnderWayError)
    assert second.run.id == first.id
    (at.data_dir / "go").touch()
    assert (await at.over(training, first)).state == "ended"


async def test_a_cancelled_run_may_clean_up_and_a_deaf_one_is_killed(at: Scene) -> None:
    with pytest.raises(NoTrainingError):
        await at.training().cancel()
    for kind, grace_s in (("wait", 90.0), ("deaf", 0.2)):  # `over` waits less than the first
        training = at.training(kind, grace_s=grace_s)
        run = await training.start(place=PLACE, families=("story",))
        await trains(training)
        with pytest.raises(NoTrainingError):
            await training.cancel("another")
        await training.cancel(run.id)
        ended = await at.over(training, run)
        assert (ended.state, ended.reason) == ("cancelled", "cancelled")


async def test_a_run_that_is_cancelled_before_its_process_stands_never_trains(at: Scene) -> None:
    training = at.training("good")
    run = await training.start(place=PLACE, families=("story",))
    await training.cancel()
    ended = await at.over(training, run)
    assert (ended.state, ended.judged) == ("cancelled", ())


async def test_a_flood_of_events_starves_nobody_and_takes_no_memory(at: Scene) -> None:
    training = at.training("flood")
    run = await training.start(place=PLACE, families=("story",))
    await trains(training)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    longest, revision, turns = 0.0, training.revision, 0
    async with asyncio.timeout(60):
        while turns < 40 or training.revision - revision <= 500:
            began = time.thread_time()  # of this thread alone: what others take of a busy machine is no starving
            await asyncio.sleep(0.01)
            longest, turns = max(longest, time.thread_time() - began), turns + 1
    assert longest < 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
    assert training.live is not None
    assert len(training.live.curves["story"]) <= 201
    await training.cancel()
    assert (await at.over(training, run)).state == "cancelled"


async def test_a_process_that_reads_nothing_holds_the_records_back(at: Scene) -> None:
    ada, read = at.store.person_key(ADA), []
    at.records = [turn(str(number), ada, "x" * 2_000) for number in range(5_000)]
    at.reading = lambda number: read.append(number)  # type: ignore[func-returns-value]
    training = at.training("hungry", grace_s=0.1)
    run = await training.start(place=PLACE, families=("story",))
    await asyncio.sleep(1.0)
    assert max(read) < 1_000
    await training.cancel()
    await at.over(training, run)


async def test_who_leaves_is_gone_from_disk_at_once_and_the_run_begins_anew_without_them_once(at: Scene) -> None:
    training = at.training("wait")
    run = await training.start(place=PLACE, families=("story",))
    await trains(training)
    key = at.store.person_key(ADA)
    assert not await training.author_left(at.store.person_key(99))
    await at.store.people.set_consent(ADA, "private", wording=1)
    at.records = [record for record in at.records if record.author != key]
    assert await training.author_left(key)
    assert not at.folder(run).exists()
    ended = await at.store.training_runs.run(run.id)
    assert (ended.state, ended.reason, ended.snapshot_key) == ("cancelled", "author_left", "")
    await until(lambda: training.live is not None and training.live.run.id != run.id)
    await trains(training)
    second = training.live.run if training.live is not None else run
    assert (second.attempt, second.families, second.place) == (2, ("story",), PLACE)
    assert b"words of 42" not in b"".join(sent(at.data_dir, second.id))
    assert second.snapshot_key not in ("", run.snapshot_key)
    await at.store.people.erase(BEN)
    at.records = []
    assert await training.author_left(at.store.person_key(BEN))
    await until(lambda: training.live is None)
    assert len(await at.store.training_runs.latest(9)) == 2


async def test_a_deaf_process_does_not_keep_an_erasure_waiting(at: Scene) -> None:
    training = at.training("deaf", grace_s=0.3)
    run = await training.start(place=PLACE, families=("story",))
    await trains(training)
    await at.store.people.erase(ADA)
    async with asyncio.timeout(30):
        assert await training.author_left(at.store.person_key(ADA))
    assert not at.folder(run).exists()


async def test_words_of_who_leaves_while_records_are_read_never_reach_the_process(at: Scene) -> None:
    training, reading, leave = at.training("wait"), asyncio.Event(), asyncio.Event()
    at.records = [*at.records[:2], *[turn(f"m{n}", "", "And so.") for n in range(100)], *at.records[2:]]

    async def wait() -> None:
        reading.set()
        await leave.wait()

    at.reading = lambda number: wait() if number == 100 and training.live is not None else None
    run = await training.start(place=PLACE, families=("story",))
    await asyncio.wait_for(reading.wait(), 60)
    await at.store.people.set_consent(BEN, "private", wording=1)
    assert not await training.author_left(at.store.person_key(BEN))
    stale, at.records = at.records, at.records[:-2]
    assert len(stale) > len(at.records)
    leave.set()
    ended = await at.over(training, run)
    assert (ended.state, ended.reason) == ("cancelled", "author_left")
    await until(lambda: training.live is not None and training.live.run.id != run.id)
    await trains(training)
    assert training.live is not None
    assert b"words of 43" not in b"".join(sent(at.data_dir, training.live.run.id))


async def test_a_run_whose_pairs_can_t_be_kept_goes_on_without_a_vote(
    at: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise StoreFullError

    training = at.training("pairs")
    kept = await at.over(training, await training.start(place=PLACE, families=("story",)))
    assert len(await at.store.ballots.of_run(kept.id)) == 2
    monkeypatch.setattr(at.store.ballots, "add", full)
    ended = await at.over(training, await training.start(place=PLACE, families=("story",)))
    assert (ended.state, len(ended.judged)) == ("ended", 1)
    assert await at.store.ballots.of_run(ended.id) == ()


async def test_what_follows_a_run_may_fail(at: Scene) -> None:
    async def fail(_: TrainingRun) -> None:
        raise ZeroDivisionError

    training = at.training()
    training._ended = fail
    run = await training.start(place=PLACE, families=("ngram",))
    assert (await at.over(training, run)).state == "ended"
    assert (await at.over(training, await training.start(place=PLACE, families=("ngram",)))).state == "ended"


async def test_a_run_is_resumed_after_inkwell_s_end_with_the_same_key_and_no_second_reading(at: Scene) -> None:
    first = at.training("wait")
    run = await first.start(place=PLACE, families=("ngram", "story"))
    await trains(first)
    process = first.live.process if first.live is not None else None
    assert process is not None
    pid = process._process.pid
    await first.close()
    assert not psutil.pid_exists(pid)
    with pytest.raises(TrainingClosedError):
        await first.start(place=PLACE)
    held = await at.store.training_runs.run(run.id)
    assert (held.state, held.snapshot_key) == ("running", run.snapshot_key)
    assert at.folder(run).is_dir()
    (at.data_dir / f"sent-{run.id}.jsonl").write_bytes(b'{"author": "kept"}')
    at.records = []
    (at.data_dir / "training" / "0left").mkdir()
    second = at.training("good")
    await second.resume()
    ended = await at.over(second, run)
    assert (ended.state, ended.resumes, len(ended.judged)) == ("ended", 1, 2)
    assert sent(at.data_dir, run.id) == [b'{"author": "kept"}']
    assert not (at.data_dir / "training" / "0left").exists()


async def test_an_orphan_of_a_killed_inkwell_is_ended_before_its_run_is_resumed(at: Scene) -> None:
    first = at.training("deaf")
    run = await first.start(place=PLACE, families=("story",))
    await trains(first)
    assert first.live is not None
    assert first.live.process is not None
    orphan = psutil.Process(first.live.process._process.pid)
    first.live.stopping = "paused"  # as if nobody listened any more
    second = at.training("good")
    await second.resume()
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert (await at.over(second, run)).state == "ended"


@pytest.mark.parametrize("what", ["not counted", "no folder", "often", "forbidden", "withdrawn"])
async def test_a_run_that_can_t_be_resumed_begins_anew_or_ends_with_a_reason(at: Scene, what: str) -> None:
    first = at.training("wait")
    run = await first.start(place=PLACE, families=("story",))
    await trains(first)
    await first.close()
    runs = at.store.training_runs
    match what:
        case "not counted":
            await runs.set_running(run.id)
        case "no folder":
            (at.folder(run) / "snapshot").unlink()
            at.folder(run).rmdir()
        case "often":
            for _ in range(MAX_RESUMES):
                await runs.add_resume(run.id)
        case "forbidden":
            at.chosen = {"discord_token": "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcdE." + "x" * 38}
        case "withdrawn":
            await at.store.people.set_consent(ADA, "private", wording=1)
            at.records = at.records[2:]
    (at.data_dir / f"sent-{run.id}.jsonl").unlink()
    second = at.training("good")
    await second.resume()
    await until(lambda: second.live is None)
    ended, newest = await at.over(second, run), (await runs.latest(1))[0]
    match what:
        case "often":
            assert (ended.state, ended.reason) == ("failed", "interrupted")
        case "forbidden":
            assert (ended.state, ended.reason) == ("cancelled", "not_allowed")
        case "withdrawn":
            assert (ended.state, ended.reason) == ("cancelled", "author_left")
            assert (newest.state, newest.attempt) == ("ended", 2)
            assert b"words of 42" not in b"".join(sent(at.data_dir, newest.id))
        case _:
            assert (ended.state, ended.resumes) == ("ended", 1)
            assert len(sent(at.data_dir, run.id)) == 4


async def test_leftovers_are_swept_at_the_start_unless_somebody_else_trains_there(at: Scene) -> None:
    left = at.data_dir / "training" / "0left" / "story"
    left.mkdir(parents=True)
    (left / "adapter.safetensors").write_bytes(b"x")
    left.chmod(0o500)
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c",
        HOLD_THE_LOCK, str(at.data_dir / "training" / ".lock"), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    await holder.stdout.readline()
    await at.training().resume()
    assert left.exists()
    holder.kill()
    await holder.wait()
    await at.training().resume()
    assert not left.parent.exists()
    assert (at.data_dir / "training" / ".lock").exists()


async def test_a_run_whose_end_could_not_be_noted_does_not_stand_in_the_way(at: Scene) -> None:
    training = at.training()
    lost = await at.store.training_runs.begin(
        trigger="manual", families=("gpt",), options=Settings(_env_file=None).training_options, place=PLACE,
        snapshot_key="ab", user_key=None,
    )  # fmt: skip
    run = await training.start(place=PLACE, families=("gpt",))
    assert (await at.over(training, run)).state == "ended"
    assert (await at.over(training, lost)).reason == "interrupted"


async def test_ten_missed_nights_are_one_run_and_the_next_night_is_another(at: Scene) -> None:
    runs, training = at.store.training_runs, at.training()
    assert await training.start_due() is None
    await runs.set_schedule(
        Schedule(hour=3, weekday=None, families=("ngram",), place=PLACE, user_key="me", due_at=at.now)
    )
    assert await training.start_due() is None
    at.now += 10 * DAY_S
    run = await training.start_due()
    assert run is not None
    assert (run.trigger, run.families, run.user_key) == ("schedule", ("ngram",), "me")
    await at.over(training, run)
    for _ in range(3):
        assert await training.start_due() is None
    at.now += DAY_S
    assert await training.start_due() is not None


async def test_a_scheduled_run_waits_for_the_one_in_progress_and_is_passed_over_where_nothing_can_be_learned(
    at: Scene,
) -> None:
    runs, training = at.store.training_runs, at.training("wait")
    await runs.set_schedule(Schedule(hour=3, weekday=2, families=(), place=PLACE, user_key=None, due_at=at.now))
    at.now += 7 * DAY_S
    run = await training.start(place=PLACE, families=("ngram",))
    assert await training.start_due() is None
    (at.data_dir / "go").touch()
    await at.over(training, run)
    kept, at.records = at.records, []
    assert await training.start_due() is None
    at.records = kept
    assert await training.start_due() is None
    at.now += 7 * DAY_S
    scheduled = await training.start_due()
    assert scheduled is not None
    assert scheduled.families == training.families()


def test_a_curve_keeps_its_ends_and_forgets_steps_that_are_done_again() -> None:
    curves: dict[Any, Any] = {}
    for step in [*range(1, 1_000), 500]:
        draw(curves, Progressed(family="gpt", step=step, steps=999, loss=1.0, tokens_per_s=1.0, left_s=1.0))
    points = curves["gpt"]
    assert len(points) <= 201
    assert points[0][0] == 1
    assert points[-1][0] == 500
    assert points == sorted(points)
