"""A training run as a real process: its stages, its end, and every way to end it early. The family is the n-gram model,
which learns in no time; what it learns from is the made-up style."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.serving.training import (
    Began,
    Counted,
    Event,
    Judged,
    Progressed,
    RunEnded,
    RunFailed,
    RunOptions,
    RunRequest,
    Skipped,
)
from models.training.registry import Registry, Version
from models.training.train import PROGRESS_EVERY_S, Announcer
from tests.disks import small_disk
from tests.made_up_style import made_up_records, without
from tests.training_process import KEY, left_by_runs, outcome, stand_still, started, training

PLANTED = "wexel"  # a word of the style that stands in no other text of ours
SMALL_FILES = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"


def request(data_dir: Path, run: str = "run-1", **changes: Any) -> RunRequest:
    asked = RunRequest(run=run, families=("ngram",), data_dir=str(data_dir), model="", key=KEY)
    return msgspec.structs.replace(asked, **changes)


def began(stage: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Began) and event.stage == stage


def versions(data_dir: Path) -> list[Version]:
    return Registry(data_dir / "versions").versions("ngram")


def failure(events: list[Event]) -> RunFailed:
    assert isinstance(events[-1], RunFailed), events
    return events[-1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Event], Version]:
    """What a run says that nobody disturbs, and what it registers."""
    data_dir = tmp_path_factory.mktemp("whole")
    events = outcome(request(data_dir), made_up_records())
    (version,) = versions(data_dir)
    assert left_by_runs(data_dir) == [".lock"]
    assert Registry(data_dir / "versions").promotions("ngram") == [], "nothing is promoted by a run"
    return events, version


def test_a_run_goes_through_its_stages_and_registers_what_it_made(whole: tuple[list[Event], Version]) -> None:
    events, version = whole
    stages = [event.stage for event in events if isinstance(event, Began)]
    assert stages == ["snapshot", "train", "evaluate", "register"]
    (counted,) = (event for event in events if isinstance(event, Counted))
    assert (counted.kept, counted.authors) == (60, 3)
    assert 0 < counted.held_out < 30
    (judged,) = (event for event in events if isinstance(event, Judged))
    assert isinstance(events[-1], RunEnded)
    assert (judged.version, judged.accepted, judged.checks) == (version.id, True, version.checks)
    assert version.data_digest == counted.digest
    assert version.counts["characters"] == 18_372
    assert (version.run, version.model, len(version.contributors)) == ("run-1", "", 3)
    assert version.code_version.startswith("0.")


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("Counted", id="snapshot-whole"),
        pytest.param("train", id="train"),
        pytest.param("evaluate", id="evaluate"),
        pytest.param("register", id="register"),
        pytest.param("Judged", id="judged"),
    ],
)
def test_a_run_that_was_killed_goes_on_and_makes_the_same(
    moment: str, whole: tuple[list[Event], Version], tmp_path: Path
) -> None:
    with started(request(tmp_path), made_up_records(), before=stand_still(moment)) as running:
        running.until_it_stands_still()
        running.kill()
    for file in (tmp_path / "training").rglob("*.sealed"):
        assert PLANTED.encode() not in file.read_bytes()
    events = outcome(request(tmp_path, resume=True))
    assert isinstance(events[-1], RunEnded), events
    (version,) = versions(tmp_path)
    assert version.files == whole[1].files
    assert version.data_digest == whole[1].data_digest
    assert version.metrics == whole[1].metrics
    assert left_by_runs(tmp_path) == [".lock"]


def test_a_run_that_ended_unheard_tells_its_end_again_when_resumed(
    whole: tuple[list[Event], Version], tmp_path: Path
) -> None:
    assert isinstance(outcome(request(tmp_path), made_up_records())[-1], RunEnded)
    events = outcome(request(tmp_path, resume=True, families=("ngram", "gpt")))
    (judged,) = (event for event in events if isinstance(event, Judged))
    (version,) = versions(tmp_path)
    assert (judged.version, judged.accepted, version.files) == (version.id, True, whole[1].files)
    assert [event.family for event in events if isinstance(event, Skipped)] == ["gpt"], "of which nothing is known"
    assert isinstance(events[-1], RunEnded)
    assert left_by_runs(tmp_path) == [".lock"]


def test_a_run_that_was_killed_before_its_snapshot_was_whole_fails_and_a_new_one_does_not(
    whole: tuple[list[Event], Version], tmp_path: Path
) -> None:
    records = made_up_records()
    with training() as running:
        running.send(msgspec.json.encode(request(tmp_path)), *(msgspec.json.encode(each) for each in records[:30]))
        running.until(began("snapshot"))
        running.kill()
    assert "start a new run" in failure(outcome(request(tmp_path, resume=True))).reason
    assert left_by_runs(tmp_path) == [".lock"]
    assert isinstance(outcome(request(tmp_path), records)[-1], RunEnded)
    assert versions(tmp_path)[0].files == whole[1].files


def test_what_a_killed_run_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    with started(request(tmp_path, "killed"), made_up_records(), before=stand_still("train")) as running:
        running.until_it_stands_still()
        running.kill()
    assert left_by_runs(tmp_path) == [".lock", "killed"]
    outcome(request(tmp_path, "next"), made_up_records())
    assert left_by_runs(tmp_path) == [".lock"]
    assert [version.run for version in versions(tmp_path)] == ["next"]


def test_the_snapshot_can_not_be_read_with_another_key(tmp_path: Path) -> None:
    with started(request(tmp_path), made_up_records(), before=stand_still("train")) as running:
        running.until_it_stands_still()
        running.kill()
    failed = failure(outcome(request(tmp_path, resume=True, key="00" * 32)))
    assert "start a new run" in failed.reason
    assert left_by_runs(tmp_path) == [".lock"]


def test_sigterm_while_records_come_cancels_and_leaves_nothing(tmp_path: Path) -> None:
    with training() as running:
        running.send(msgspec.json.encode(request(tmp_path)), msgspec.json.encode(made_up_records()[0]))
        running.until(began("snapshot"))
        running.cancel()
        assert failure(running.rest()).cancelled
        assert running.process.returncode == 1
    assert left_by_runs(tmp_path) == [".lock"]
    assert versions(tmp_path) == []


def test_sigterm_while_it_is_judged_cancels_and_leaves_nothing(tmp_path: Path) -> None:
    with started(request(tmp_path), made_up_records(), before=stand_still("evaluate")) as running:
        running.until_it_stands_still()
        running.cancel()
        running.go_on()
        assert failure(running.rest()).cancelled
    assert left_by_runs(tmp_path) == [".lock"]
    assert versions(tmp_path) == []


def test_sigint_is_no_more_than_sigterm(tmp_path: Path) -> None:
    with training() as running:
        running.send(msgspec.json.encode(request(tmp_path)))
        running.until(began("snapshot"))
        os.kill(running.process.pid, signal.SIGINT)
        assert failure(running.rest()).cancelled


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        pytest.param([], "Nothing was asked", id="nothing"),
        pytest.param([b"hello"], "no request", id="no-json"),
        pytest.param([b'{"type":"run","run":"x"}'], "no request", id="half-a-request"),
        pytest.param([b"\xff\xfe\x00"], "no request", id="no-text"),
        pytest.param(["REQUEST", b'{"type":"turn","id":"secret-word"}'], "Line 2 is no record", id="half-a-record"),
        pytest.param(["REQUEST", b"[]"], "Line 2 is no record", id="another-thing"),
    ],
)
def test_malformed_input_fails_in_a_sentence_that_repeats_nothing(
    lines: list[bytes | str], reason: str, tmp_path: Path
) -> None:
    with training() as running:
        running.send(*(line if isinstance(line, bytes) else msgspec.json.encode(request(tmp_path)) for line in lines))
        running.close()
        failed = failure(running.rest())
        assert running.process.returncode == 1
    assert reason in failed.reason
    assert "secret" not in failed.reason
    assert not (tmp_path / "training").exists() or left_by_runs(tmp_path) == [".lock"]


def test_a_record_that_was_cut_short_fails_the_run(tmp_path: Path) -> None:
    with training() as running:
        running.send(msgspec.json.encode(request(tmp_path)))
        assert running.process.stdin is not None
        running.process.stdin.write(msgspec.json.encode(made_up_records()[0])[:-20])
        running.close()
        assert "cut short" in failure(running.rest()).reason
    assert left_by_runs(tmp_path) == [".lock"]


@pytest.mark.parametrize(
    "changes",
    [{"run": "../elsewhere"}, {"run": ""}, {"families": ()}, {"families": ("ngram", "ngram")}, {"key": "short"}],
    ids=str,
)
def test_a_request_that_makes_no_sense_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    failure(outcome(request(tmp_path, **changes)))
    assert not (tmp_path / "training").exists()
    assert not (tmp_path.parent / "elsewhere").exists()


def test_where_nobody_shared_anything_the_family_is_skipped_and_the_run_ends_well(tmp_path: Path) -> None:
    events = outcome(request(tmp_path))
    (skipped,) = (event for event in events if isinstance(event, Skipped))
    assert "it writes: 0;" in skipped.reason
    assert isinstance(events[-1], RunEnded)
    assert left_by_runs(tmp_path) == [".lock"]


def test_too_few_people_are_no_lesson(tmp_path: Path) -> None:
    events = outcome(request(tmp_path, options=RunOptions(min_authors=4)), made_up_records())
    (skipped,) = (event for event in events if isinstance(event, Skipped))
    assert skipped.reason == "People who shared words that it could learn: 3; it takes 4."


def test_who_is_gone_is_in_no_later_digest_and_in_no_later_version(
    whole: tuple[list[Event], Version], tmp_path: Path
) -> None:
    gone = made_up_records()[0].author
    outcome(request(tmp_path), without(gone))
    (version,) = versions(tmp_path)
    assert version.data_digest != whole[1].data_digest
    assert Registry(tmp_path / "versions").learned_from(gone) == []
    assert len(version.contributors) == 2


@pytest.mark.parametrize("size", [2_000, 60_000], ids=["in-the-snapshot", "in-the-candidate"])
def test_a_full_disk_fails_the_run_in_a_sentence_and_leaves_nothing(size: int, tmp_path: Path) -> None:
    """Files that may not grow stand for the disk: the error is of the same kind."""
    failed = failure(outcome(request(tmp_path), made_up_records(), before=SMALL_FILES.format(size)))
    assert failed.reason == f"The disk that holds {tmp_path / 'training'} is full: make room there, then start again."
    assert left_by_runs(tmp_path) == [".lock"]
    assert versions(tmp_path) == []


def test_a_disk_that_is_really_full_fails_the_run_and_leaves_nothing() -> None:
    with small_disk(mebibytes=1) as disk:
        (disk / "filling").write_bytes(b"x" * 900_000)
        failed = failure(outcome(request(disk), made_up_records()))
        assert "is full" in failed.reason
        assert left_by_runs(disk) == [".lock"]


def test_a_second_run_at_the_same_time_is_refused_and_disturbs_nothing(tmp_path: Path) -> None:
    with training() as first:
        first.send(msgspec.json.encode(request(tmp_path, "first")))
        first.until(began("snapshot"))
        assert "in progress" in failure(outcome(request(tmp_path, "second"), made_up_records())).reason
        first.send(*(msgspec.json.encode(record) for record in made_up_records()))
        first.close()
        assert isinstance(first.rest()[-1], RunEnded)
    assert [version.run for version in versions(tmp_path)] == ["first"]


def test_a_run_that_nobody_hears_stops_and_can_be_resumed(whole: tuple[list[Event], Version], tmp_path: Path) -> None:
    with started(request(tmp_path), made_up_records(), before=stand_still("Counted")) as running:
        running.until_it_stands_still()
        assert running.process.stdout is not None
        running.process.stdout.close()
        running.go_on()
        assert running.process.wait(timeout=60) == 1
    assert left_by_runs(tmp_path) == [".lock", "run-1"]
    assert isinstance(outcome(request(tmp_path, resume=True))[-1], RunEnded)
    assert versions(tmp_path)[0].files == whole[1].files


def test_progress_is_told_twice_a_second_at_most() -> None:
    now, told = 0.0, []
    announce = Announcer(told.append, clock=lambda: now)
    for step in range(100):
        now = step * 0.1
        announce(Progressed(family="story", step=step, steps=100, loss=1.0, tokens_per_s=1.0, left_s=1.0))
        announce(Began(stage="train", family="story"))
    steps = [event.step for event in told if isinstance(event, Progressed)]
    assert len([event for event in told if isinstance(event, Began)]) == 100
    assert len(steps) == round(10 / PROGRESS_EVERY_S)
    assert steps[:3] == [0, 5, 10]
