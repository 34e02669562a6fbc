"""Runs of training in the store: one at a time, no key beyond its end, no author without consent, a bounded past."""

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlcipher3 import dbapi2

from bot.store import Store, sqlite, training_runs
from bot.store.keys import derive_keys
from bot.store.training_runs import (
    Decision,
    Place,
    Schedule,
    TrainingRun,
    TrainingRunNotFoundError,
    TrainingUnderWayError,
)
from models.serving.training import Check, Counted, Judged, RunOptions, Skipped

KEYS = derive_keys("correct horse battery staple")
KEY = "ab" * 32
PLACE = Place(guild_id=1, channel_id=2, locale="zh-CN")
ME, OTHER = 42, 43
COUNTED = Counted(kept=9, dropped={"short": 2}, authors=2, characters=900, held_out=1, digest="d" * 64)
JUDGED = Judged(
    family="story", version="v1", accepted=True, metrics={"bits": 1.5},
    checks=(Check(name="bits", passed=True, value=1.5, limit=1.7, before=1.7),),
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("bot.store.store.load_keys", lambda *_, **__: KEYS)
    return tmp_path / "inkwell.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with Store.open(path) as store:
        yield store


async def begin(store: Store, **chosen: Any) -> TrainingRun:
    given: dict[str, Any] = {
        "trigger": "manual", "families": ("story", "gpt"), "options": RunOptions(steps=7), "place": PLACE,
        "snapshot_key": KEY, "user_key": store.person_key(ME),
    }  # fmt: skip
    return await store.training_runs.begin(**{**given, **chosen})


async def test_a_run_is_kept_with_all_that_was_noted_until_it_ends_without_its_key(store: Store, path: Path) -> None:
    runs = store.training_runs
    run = await begin(store)
    assert (run.state, run.open, run.place, run.options.steps, run.stage) == ("queued", True, PLACE, 7, None)
    assert run.snapshot_key == KEY
    assert KEY not in repr(run)
    await runs.set_running(run.id)
    skipped = Skipped(family="gpt", reason="There was too little text.")
    await runs.note(run.id, stage="train", counted=COUNTED, curves={"story": [(1, 3.5), (2, 3.0)]})
    await runs.note(run.id, judged=[JUDGED], skipped=[skipped])
    await runs.set_message(run.id, 99)
    held = await runs.open_run()
    assert held is not None
    assert (held.state, held.stage, held.counted, held.judged, held.skipped) == (
        "running", "train", COUNTED, (JUDGED,), (skipped,),
    )  # fmt: skip
    assert held.curves == {"story": [(1, 3.5), (2, 3.0)]}
    assert await runs.end(run.id, "failed", reason="said", detail="The disk is full.")
    assert not await runs.end(run.id, "ended")
    await runs.note(run.id, stage="register")
    ended = await runs.run(run.id)
    assert (ended.state, ended.reason, ended.detail, ended.stage, ended.snapshot_key, ended.message_id) == (
        "failed", "said", "The disk is full.", "train", "", 99,
    )  # fmt: skip
    assert await runs.open_run() is None
    assert await runs.unreported() == (ended,)
    await runs.set_reported(run.id)
    assert await runs.unreported() == ()
    with pytest.raises(TrainingRunNotFoundError):
        await runs.run("none")


async def test_a_second_run_is_refused_by_name_and_by_the_schema(store: Store, path: Path) -> None:
    run = await begin(store)
    with pytest.raises(TrainingUnderWayError) as refused:
        await begin(store)
    assert refused.value.run.id == run.id
    with closing(sqlite.connect(path, KEYS)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(training_runs)")]
        others = ", ".join(name for name in columns if name != "id")
        for statement in (
            f"INSERT INTO training_runs (id, {others}) SELECT 'another', {others} FROM training_runs",
            "UPDATE training_runs SET state = 'ended', ended_at = 1.0, slot = NULL",  # with its key
            "UPDATE training_runs SET state = 'ended'",
            "UPDATE training_runs SET slot = 2",
        ):
            with pytest.raises(dbapi2.IntegrityError):
                connection.execute(statement)


async def test_only_who_consents_can_stand_as_an_author_and_who_withdraws_is_missed(store: Store) -> None:
    runs, people = store.training_runs, store.people
    me, other = store.person_key(ME), store.person_key(OTHER)
    run = await begin(store)
    await runs.set_running(run.id)
    assert not await runs.add_authors(run.id, [me])
    await people.set_consent(ME, "training", wording=1)
    assert await runs.add_authors(run.id, [me])
    assert not await runs.add_authors(run.id, [me, other])
    await people.set_consent(OTHER, "training", wording=1)
    assert await runs.add_authors(run.id, [me, other])
    assert (await runs.run(run.id)).authors == 2
    assert await runs.authors(run.id) == {me, other}
    await people.set_consent(OTHER, "library", wording=1)
    assert await runs.authors(run.id) == {me}
    assert (await runs.run(run.id)).authors == 2
    await people.erase(ME)
    assert await runs.authors(run.id) == frozenset()
    assert (await runs.run(run.id)).user_key is None
    await runs.end(run.id, "ended")
    assert not await runs.add_authors(run.id, [other])


async def test_ending_a_run_forgets_whose_words_it_had_and_begun_anew_it_starts_from_nothing(store: Store) -> None:
    runs = store.training_runs
    await store.people.set_consent(ME, "training", wording=1)
    run = await begin(store)
    await runs.set_running(run.id)
    await runs.add_authors(run.id, [store.person_key(ME)])
    await runs.note(run.id, counted=COUNTED, judged=[JUDGED])
    await runs.set_running(run.id, anew=False)
    await runs.add_resume(run.id)
    held = await runs.run(run.id)
    assert (held.resumes, held.authors, held.counted) == (1, 1, COUNTED)
    await runs.set_running(run.id)
    held = await runs.run(run.id)
    assert (held.authors, held.counted, held.judged, await runs.authors(run.id)) == (0, None, (), frozenset())
    await runs.add_authors(run.id, [store.person_key(ME)])
    await runs.end(run.id, "ended")
    assert await runs.authors(run.id) == frozenset()


async def test_a_later_decision_about_a_family_replaces_the_one_before(store: Store) -> None:
    run = await begin(store)
    for answers in (False, True):
        await store.training_runs.add_decision(run.id, Decision(family="story", version="v1", answers=answers))
    await store.training_runs.add_decision(run.id, Decision(family="gpt", version="v2", answers=True))
    decisions = (await store.training_runs.run(run.id)).decisions
    assert [(each.family, each.answers) for each in decisions] == [("story", True), ("gpt", True)]


async def test_the_past_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_runs, "KEPT_RUNS", 3)
    ids = []
    for _ in range(5):
        run = await begin(store)
        ids.append(run.id)
        await store.training_runs.end(run.id, "ended")
    await begin(store)
    assert [run.id for run in await store.training_runs.latest(10)][1:] == ids[:2:-1]


async def test_the_schedule_is_one_and_a_run_for_it_notes_its_time(store: Store) -> None:
    runs = store.training_runs
    assert await runs.schedule() is None
    schedule = Schedule(
        hour=3, weekday=None, families=("story",), place=PLACE, user_key=store.person_key(ME), due_at=100.0
    )
    await runs.set_schedule(schedule)
    await runs.set_schedule(schedule)
    assert await runs.schedule() == schedule
    run = await begin(store, trigger="schedule", due_at=200.0)
    assert (await runs.schedule() or schedule).due_at == 200.0
    with pytest.raises(TrainingUnderWayError):
        await begin(store, trigger="schedule", due_at=300.0)
    assert (await runs.schedule() or schedule).due_at == 200.0
    await runs.end(run.id, "ended")
    await runs.pass_over(150.0)
    assert (await runs.schedule() or schedule).due_at == 200.0
    await store.people.erase(ME)
    assert (await runs.schedule() or schedule).user_key is None
    await runs.set_schedule(None)
    assert await runs.schedule() is None
