"""Blind votes in the store: one vote a person, none once it is closed, and gone with whose words a version knows."""

import shutil
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlcipher3 import dbapi2

from bot.store import Store, sqlite, training_runs
from bot.store.ballots import BallotClosedError, BallotGoneError, Key
from bot.store.keys import derive_keys
from bot.store.migrate import MIGRATIONS, prepare
from bot.store.training_runs import Place, TrainingRun
from models.serving.training import Paired, RunOptions, TextPair
from tests.test_store_erased_pages import SECRET, holding, pages

KEYS = derive_keys("correct horse battery staple")
ADA, BEN, CAY = 42, 43, 44
PAIRS = tuple(TextPair(prompt=f"The keeper {n}", candidate=f"{SECRET} {n}.", other=f"slept on {n}.") for n in (1, 2))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("bot.store.store.load_keys", lambda *_, **__: KEYS)
    return tmp_path / "inkwell.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with Store.open(path) as store:
        yield store


def rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite.connect(path, KEYS)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


async def begin(store: Store) -> TrainingRun:
    return await store.training_runs.begin(
        trigger="manual", families=("story", "gpt"), options=RunOptions(), user_key=None, snapshot_key="ab" * 32,
        place=Place(guild_id=1, channel_id=2, locale="en-GB"),
    )  # fmt: skip


def paired(**changes: Any) -> Paired:
    return Paired(**{"family": "story", "version": "v2", "against": "v1", "pairs": PAIRS, **changes})


async def test_a_vote_counts_once_and_can_be_changed_until_what_is_which_is_told(store: Store) -> None:
    run = await begin(store)
    await store.ballots.add(run.id, paired())
    await store.ballots.add(run.id, paired(family="gpt", pairs=PAIRS[:1], against=""))
    await store.training_runs.end(run.id, "ended")
    found = await store.ballots.of_run(run.id)
    assert [(each.key.family, each.key.number) for each in found] == [("gpt", 1), ("story", 1), ("story", 2)]
    assert await store.ballots.of_runs([run.id, "none"]) == found
    ballot = found[1]
    assert {ballot.a, ballot.b} == {f"{SECRET} 1.", "slept on 1."}
    assert (ballot.a == ballot.candidate) == ballot.candidate_first
    own, theirs = ("a", "b") if ballot.candidate_first else ("b", "a")
    await store.ballots.vote(ballot.key, ADA, theirs)  # type: ignore[arg-type]
    await store.ballots.vote(ballot.key, ADA, own)  # type: ignore[arg-type]
    await store.ballots.vote(ballot.key, BEN, own)  # type: ignore[arg-type]
    after = await store.ballots.vote(ballot.key, CAY, "same")
    assert (after.for_candidate, after.for_other, after.votes["same"], after.voted) == (2, 0, 1, 3)
    closed = await store.ballots.close(ballot.key)
    assert not closed.open
    assert closed == await store.ballots.close(ballot.key)
    with pytest.raises(BallotClosedError):
        await store.ballots.vote(ballot.key, ADA, "same")
    assert (await store.ballots.ballot(ballot.key)).votes == after.votes
    assert (await store.ballots.ballot(found[2].key)).open
    with pytest.raises(BallotGoneError):
        await store.ballots.vote(Key(run_id=run.id, family="ngram", number=1), ADA, "a")


async def test_which_text_stands_first_is_drawn_anew_for_each_pair(store: Store) -> None:
    run = await begin(store)
    for _ in range(8):
        await store.ballots.add(run.id, paired(pairs=PAIRS * 4))
        drawn = {ballot.candidate_first for ballot in await store.ballots.of_run(run.id)}
        if drawn == {True, False}:
            return
    pytest.fail("64 draws, all the same")


async def test_pairs_are_kept_of_an_open_run_only_and_go_where_it_begins_from_nothing_or_is_forgotten(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await begin(store)
    await store.ballots.add(run.id, paired())
    await store.training_runs.set_running(run.id, anew=False)
    assert len(await store.ballots.of_run(run.id)) == 2
    await store.training_runs.set_running(run.id)
    assert await store.ballots.of_run(run.id) == ()
    await store.ballots.add(run.id, paired())
    await store.training_runs.end(run.id, "ended")
    await store.ballots.add(run.id, paired(family="gpt"))
    (ballot, _) = await store.ballots.of_run(run.id)
    await store.ballots.vote(ballot.key, ADA, "a")
    monkeypatch.setattr(training_runs, "KEPT_RUNS", 1)
    await begin(store)
    assert rows(path, "ballots") == rows(path, "ballot_votes") == []


async def test_the_schema_takes_no_vote_without_its_pair_and_no_other_word(store: Store, path: Path) -> None:
    run = await begin(store)
    await store.ballots.add(run.id, paired())
    with closing(sqlite.connect(path, KEYS)) as connection:
        for number, choice in ((3, "a"), (1, "candidate")):
            with pytest.raises(dbapi2.IntegrityError):
                connection.execute(
                    "INSERT INTO ballot_votes VALUES (?, 'story', ?, 'k', ?, 1.0)", (run.id, number, choice)
                )


async def test_only_pairs_of_versions_that_know_no_erased_words_are_kept(store: Store, path: Path) -> None:
    run = await begin(store)
    await store.ballots.add(run.id, paired())
    await store.ballots.add(run.id, paired(family="gpt", version="v9", against=""))
    await store.fold_log()
    assert holding(pages(path)) > 0
    for ballot in await store.ballots.of_run(run.id):
        await store.ballots.vote(ballot.key, ADA, "a")
    versions = {("story", "v1"), ("story", "v2"), ("gpt", "v9")}
    assert await store.ballots.keep_only(versions) == 0
    assert await store.ballots.keep_only(versions - {("story", "v1")}) == 2  # the other text's version
    assert {row[1] for row in rows(path, "ballots")} == {row[1] for row in rows(path, "ballot_votes")} == {"gpt"}
    assert await store.ballots.keep_only({("story", "v9")}) == 2
    assert rows(path, "ballots") == rows(path, "ballot_votes") == []
    await store.fold_log()
    assert holding(pages(path)) == 0


async def test_an_erasure_removes_one_s_votes_and_an_export_has_what_one_pressed(store: Store, path: Path) -> None:
    run = await begin(store)
    await store.ballots.add(run.id, paired())
    first, second = await store.ballots.of_run(run.id)
    await store.ballots.vote(first.key, ADA, "a")
    await store.ballots.vote(second.key, ADA, "same")
    await store.ballots.vote(first.key, BEN, "b")
    await store.ballots.close(first.key)
    kept = await store.people.kept_of(ADA)
    assert [(each["family"], each["number"], each["choice"]) for each in kept.votes] == [
        ("story", 1, "a"), ("story", 2, "same"),
    ]  # fmt: skip
    await store.people.erase(ADA)
    assert [row[3] for row in rows(path, "ballot_votes")] == [store.person_key(BEN)]
    assert (await store.people.kept_of(ADA)).votes == []


async def test_a_run_from_before_blind_votes_stays_as_it_was_and_has_none(path: Path, tmp_path: Path) -> None:
    older = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, older, ignore=shutil.ignore_patterns("__pycache__", "v0009*"))
    prepare(path, KEYS, older)
    with closing(sqlite.connect(path, KEYS)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(training_runs)")]
        given = {
            "id": "run", "slot": 1, "state": "running", "trigger": "manual", "locale": "en", "options": "{}",
            "snapshot_key": "ab", "curves": "{}", "counted": "null", "guild_id": 1, "channel_id": 2, "created_at": 1.0,
            "user_key": None, "message_id": None, "began_at": None, "ended_at": None, "authors": 0, "attempt": 1,
            "resumes": 0, "reported": 0, "stage": "", "reason": "", "detail": "",
        }  # fmt: skip
        values = [given.get(name, "[]") for name in columns]
        connection.execute(f"INSERT INTO training_runs VALUES ({', '.join('?' * len(values))})", values)
    async with Store.open(path) as store:
        assert await store.ballots.of_run("run") == ()
        await store.ballots.add("run", paired())
        assert len(await store.ballots.of_run("run")) == 2
        assert (await store.training_runs.run("run")).state == "running"
