"""What the store lets train: only turns whose authors agreed and whose whole context did, held by the schema itself."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlcipher3 import dbapi2

from bot.store import Recipe, Store, sqlite
from bot.store.errors import StoryNotFoundError
from bot.store.keys import derive_keys
from bot.store.people import ConsentMissingError, Correction
from models.serving.requests import Sampling
from models.serving.training import CorrectionRecord, TurnRecord

KEYS = derive_keys("correct horse battery staple")
GUILD, CHANNEL, ME, OTHER = 7, 70, 42, 43
DAY = 86_400.0
CORRECTION = Correction(text="good", answered="neutral", label="negative", method="m", model_version="", language="en")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("bot.store.store.load_keys", lambda *_, **__: KEYS)
    return tmp_path / "inkwell.db"


@pytest.fixture
async def store(path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with Store.open(path, clock=clock) as store:
        yield store


def asked(user: int, guild: int | None = GUILD) -> dict[str, Any]:
    return {
        "user_id": user, "guild_id": guild, "channel_id": CHANNEL, "sampling": Sampling(), "application_id": 1,
        "interaction_token": None, "locale": "en-US",
    }  # fmt: skip


async def tell(
    store: Store, user: int, prompt: str, parent: str | None = None, *, answer: str = " and so on.", guild: int = GUILD
) -> str:
    """A prompt and its continuation; the continuation's id."""
    if parent is None:
        job = await store.begin_story(prompt=prompt, **asked(user, guild))
    else:
        job = await store.continue_story(parent, text=prompt, **asked(user, guild))
    await store.start_job(job.job.id)
    turn = await store.write_result(job.job.id, answer, Recipe(model_version="m", seed=1, sampling=Sampling()))
    await store.finish_job(job.job.id, [1])
    return turn.id


async def agree(store: Store, *users: int, wording: int = 2) -> None:
    for user in users:
        await store.people.set_consent(user, "training", wording=wording)


async def handed_out(store: Store) -> list[TurnRecord]:
    return [record async for record in store.training.records() if isinstance(record, TurnRecord)]


async def lessons(store: Store) -> list[str]:
    return [record.text for record in await handed_out(store) if record.author]


async def story_of(store: Store, turn_id: str) -> str:
    return (await store.story_of_turn(turn_id)).id


def refused(path: Path, statement: str) -> bool:
    with closing(sqlite.connect(path, KEYS)) as connection:
        try:
            connection.execute(statement)
        except dbapi2.IntegrityError:
            return True
    return False


def rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite.connect(path, KEYS)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


async def test_without_a_consent_the_schema_refuses_a_shared_turn(store: Store, path: Path) -> None:
    await tell(store, ME, "mine")
    await tell(store, OTHER, "theirs")
    key, other = store.person_key(ME), store.person_key(OTHER)
    (mine,), (theirs,) = [
        [(turn["id"], turn["story_id"]) for turn in (await store.people.kept_of(user)).turns] for user in (ME, OTHER)
    ]

    def share(turn: tuple[str, str], author: str, level: str = "training") -> str:
        return f"INSERT INTO shared_turns VALUES ('{turn[0]}', '{turn[1]}', '{author}', '{level}', 1.0)"

    assert refused(path, share(mine, key))
    for level in ("private", "library"):
        await store.people.set_consent(ME, level, wording=2)
        await store.training.choose(ME, mine[1], level, wording=2)
        for claimed in ("training", level):
            assert refused(path, share(mine, key, claimed)), (level, claimed)
    await agree(store, ME)
    assert refused(path, share(mine, key))  # a general yes is none for a story kept apart
    await store.training.choose(ME, mine[1], "training", wording=2)
    assert [row[0] for row in rows(path, "shared_turns")] == [mine[0]]
    await store.training.choose(OTHER, theirs[1], "private", wording=2)
    assert refused(path, share(theirs, key))  # nobody agrees for another
    assert refused(path, share(theirs, other))
    assert refused(path, f"UPDATE story_choices SET level = 'private' WHERE author_key = '{key}'")


@pytest.mark.parametrize("way", ["withdraw", "library", "erase", "delete", "story"])
async def test_shared_turns_go_with_what_they_hang_on(store: Store, path: Path, way: str) -> None:
    await agree(store, ME, OTHER)
    end = await tell(store, ME, "mine")
    await tell(store, OTHER, "theirs")
    key, story = store.person_key(ME), await story_of(store, end)
    assert len(rows(path, "shared_turns")) == 2
    assert refused(path, "UPDATE consents SET level = 'private'")
    match way:
        case "withdraw" | "library":
            taken = await store.people.set_consent(ME, "private" if way == "withdraw" else "library", wording=2)
            assert (taken.turns, taken.corrections) == (1, 0)
        case "erase":
            assert (await store.people.erase(ME)).shared == 1
        case _:
            statement = {
                "delete": f"DELETE FROM consents WHERE author_key = '{key}'",
                "story": f"DELETE FROM stories WHERE id = '{story}'",
            }[way]
            with closing(sqlite.connect(path, KEYS)) as connection:
                connection.execute(statement)
    assert [row[2] for row in rows(path, "shared_turns")] == [store.person_key(OTHER)]
    assert await lessons(store) == ["theirs"]


async def test_a_general_yes_counts_from_now_on_and_earlier_stories_one_by_one(store: Store) -> None:
    before = await tell(store, ME, "before")
    await agree(store, ME)
    await tell(store, ME, "after")
    assert await lessons(store) == ["after"]
    await tell(store, ME, "more of the former", before)
    assert await lessons(store) == ["after"]  # its own beginning is not agreed to
    choice = await store.training.choose(ME, await story_of(store, before), "training", wording=2)
    assert (choice.level, choice.own, choice.turns, choice.shared) == ("training", True, 2, 2)
    assert sorted(await lessons(store)) == ["after", "before", "more of the former"]
    choice = await store.training.choose(ME, await story_of(store, before), "private", wording=2)
    assert (choice.level, choice.own, choice.turns, choice.shared) == ("private", True, 2, 0)
    await tell(store, ME, "and more", before)
    assert await lessons(store) == ["after"]
    assert await store.training.shared(ME) == 1


async def test_one_story_can_be_given_without_a_general_yes_and_private_takes_it_back(store: Store) -> None:
    one = await tell(store, ME, "given")
    await tell(store, ME, "kept")
    await store.training.choose(ME, await story_of(store, one), "training", wording=2)
    await tell(store, ME, "also given", one)
    assert await lessons(store) == ["given", "also given"]
    assert (await store.people.set_consent(ME, "private", wording=2)).turns == 2
    await tell(store, ME, "not any more", one)
    assert await lessons(store) == []


@pytest.mark.parametrize("general", [None, "private", "library"])
async def test_a_story_given_alone_leaves_everything_else_at_the_general_level(
    store: Store, path: Path, general: Any
) -> None:
    if general is not None:
        await store.people.set_consent(ME, general, wording=2)
    story = await story_of(store, await tell(store, ME, "given"))
    await store.training.choose(ME, story, "training", wording=2)
    await tell(store, ME, "another")
    assert await lessons(store) == ["given"]
    consent = await store.people.consent(ME)
    assert consent is not None
    assert consent.level == (general or "private")
    with pytest.raises(ConsentMissingError):
        await store.people.correct(ME, CORRECTION)
    await agree(store, ME)
    await tell(store, ME, "after a general yes")
    assert sorted(await lessons(store)) == ["after a general yes", "given"]
    await store.people.set_consent(ME, "private", wording=2)
    await store.training.choose(ME, story, "training", wording=2)
    await store.training.choose(ME, story, "library", wording=2)
    assert rows(path, "consents")[0][1:2] == ("private",)
    assert await lessons(store) == []


async def test_a_story_kept_apart_stays_apart_whatever_the_general_level(store: Store) -> None:
    end = await tell(store, ME, "apart")
    await store.training.choose(ME, await story_of(store, end), "private", wording=2)
    for level in ("training", "private", "training"):
        await store.people.set_consent(ME, level, wording=2)
        await tell(store, ME, f"apart while {level}", end)
    assert await lessons(store) == []
    assert {choice.level for choice in await store.training.choices(ME)} == {"private"}


async def test_a_yes_to_words_that_did_not_speak_of_stories_shares_none(store: Store) -> None:
    await agree(store, ME, wording=1)
    await tell(store, ME, "of older words")
    assert await lessons(store) == []
    await agree(store, ME)
    await tell(store, ME, "of newer words")
    assert await lessons(store) == ["of newer words"]


async def test_where_the_operator_allows_none_nothing_is_shared_or_handed_out(store: Store, path: Path) -> None:
    await agree(store, ME)
    await tell(store, ME, "while it was allowed")
    store.training.allowed = False
    end = await tell(store, ME, "while it was not")
    await store.training.choose(ME, await story_of(store, end), "training", wording=2)
    assert len(rows(path, "shared_turns")) == 1
    assert await handed_out(store) == []


async def test_nobody_decides_for_a_story_in_which_they_wrote_nothing(store: Store) -> None:
    end = await tell(store, OTHER, "theirs")
    for story in (await story_of(store, end), "nosuchstory00000"):
        with pytest.raises(StoryNotFoundError):
            await store.training.choose(ME, story, "training", wording=2)
        with pytest.raises(StoryNotFoundError):
            await store.training.choice(ME, story)
    assert await store.training.choices(ME) == ()


async def test_a_turn_is_a_lesson_only_where_everybody_before_it_agreed(store: Store) -> None:
    await agree(store, ME)
    shared = await tell(store, ME, "one", answer=" two.")
    foreign = await tell(store, OTHER, "three, by another", shared, answer=" four.")
    await tell(store, ME, "five, on theirs", foreign, answer=" six.")
    branch = await tell(store, ME, "three, beside theirs", shared, answer=" leaf.")
    records = await handed_out(store)
    assert [(record.text, bool(record.author)) for record in records] == [
        ("one", True),
        (" two.", False),
        ("three, beside theirs", True),
    ]
    assert [record.parent for record in records] == [None, records[0].id, shared]
    assert records[0].author == store.person_key(ME)
    assert {record.story for record in records} == {await story_of(store, branch)}
    await store.training.choose(OTHER, records[0].story, "training", wording=2)
    assert "five, on theirs" in await lessons(store)
    await store.people.set_consent(OTHER, "private", wording=2)
    assert sorted(await lessons(store)) == ["one", "three, beside theirs"]


async def test_what_was_undone_erased_or_never_written_is_no_lesson_and_no_context(store: Store) -> None:
    await agree(store, ME, OTHER)
    first = await tell(store, ME, "one")
    second = await tell(store, ME, "two", first)
    await tell(store, ME, "three", second)
    await store.undo(second, ME)
    assert await lessons(store) == ["one", "two"]
    guest = await tell(store, OTHER, "by a guest", first)
    await tell(store, ME, "after the guest", guest)
    await store.people.erase(OTHER)
    assert await lessons(store) == ["one", "two"]
    job = await store.continue_story(first, text="whose answer failed", **asked(ME))
    await store.fail_job(job.job.id, "broken")
    assert await lessons(store) == ["one", "two", "whose answer failed"]


async def test_a_long_story_comes_whole_parents_first_and_others_between_stay_apart(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.training.TURNS", 8)
    monkeypatch.setattr("bot.store.training.TEXTS", 3)
    monkeypatch.setattr("bot.store.training.STORIES", 2)
    await agree(store, ME)
    told = []
    for story in range(5):
        end = None
        for part in range(7 if story == 2 else 2):
            end = await tell(store, ME, f"{story}/{part}", end)
            told.append(f"{story}/{part}")
    records = await handed_out(store)
    assert [record.text for record in records if record.author] == told
    seen: set[str] = set()
    for record in records:
        assert record.parent is None or record.parent in seen
        seen.add(record.id)
    assert len(seen) == len(records)
    order = [record.story for record in records]
    assert len({(a, b) for a, b in pairwise(order) if a != b}) == 4


async def test_who_withdraws_while_records_are_read_is_left_out_from_then_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.training.TEXTS", 1)
    await agree(store, ME, OTHER)
    first = await tell(store, ME, "one")
    second = await tell(store, OTHER, "two", first)
    await tell(store, ME, "three", second)
    seen = []
    async for record in store.training.records():
        assert isinstance(record, TurnRecord)
        seen.append(record.text)
        if record.text == "one":
            await asyncio.wait_for(store.people.set_consent(OTHER, "private", wording=2), 60)  # nobody waits
    assert "one" in seen
    assert "two" not in seen
    assert "three" not in seen


async def test_corrections_come_with_their_labels(store: Store) -> None:
    await agree(store, ME)
    for text in ("good", "bad"):
        await store.people.correct(ME, msgspec.structs.replace(CORRECTION, text=text))
    found = [record async for record in store.training.records()]
    assert all(isinstance(record, CorrectionRecord) for record in found)
    assert [(record.text, record.label) for record in found if isinstance(record, CorrectionRecord)] == [
        ("good", "negative"),
        ("bad", "negative"),
    ]


async def test_counts_tell_of_no_fewer_people_than_asked(store: Store) -> None:
    for user in range(100, 104):
        await agree(store, user)
        await tell(store, user, "12345")
    empty = await store.training.counts()
    assert {getattr(empty, name) for name in empty.__struct_fields__} == {None}
    await agree(store, ME)
    await tell(store, ME, "1234567")
    counts = await store.training.counts()
    assert (counts.authors, counts.stories, counts.turns, counts.characters) == (5, 5, 5, 27)
    assert (counts.correctors, counts.corrections) == (None, None)
    assert (await store.training.counts(at_least=6)).turns is None


async def test_what_was_shared_goes_in_time_and_the_story_stays(store: Store, clock: Clock) -> None:
    await agree(store, ME)
    old = await tell(store, ME, "old")
    clock.now += 10 * DAY
    await tell(store, ME, "new")
    assert await store.training.forget_before(clock.now - 5 * DAY) == 1
    assert await lessons(store) == ["new"]
    assert [turn.text for turn in await store.story_path(old)] == ["old", " and so on."]


async def test_a_server_that_was_left_trains_nothing_after_the_grace_unless_it_is_joined_again(
    store: Store, clock: Clock
) -> None:
    await agree(store, ME)
    await store.training.here_now(frozenset({GUILD, 8, 9}), complete=False)
    for guild in (GUILD, 8, 9, 1000):  # of the last, only somebody who installed Inkwell for themselves
        await tell(store, ME, f"in {guild}", guild=guild)
    await store.training.left(GUILD)
    await store.training.left(8)
    await store.training.here_now(frozenset({GUILD}), complete=True)  # back in one; removed from 9 while it did not run
    assert await store.training.end_departed(clock.now - 30 * DAY) == 0
    clock.now += 31 * DAY
    assert await store.training.end_departed(clock.now - 30 * DAY) == 2
    assert sorted(await lessons(store)) == ["in 1000", f"in {GUILD}"]
    assert len(await store.training.pending()) == 1
    assert await store.training.end_departed(clock.now - 30 * DAY) == 0


async def test_a_member_who_left_trains_nothing_there_after_the_grace(store: Store, clock: Clock, path: Path) -> None:
    await agree(store, ME, OTHER)
    for user in (ME, OTHER):
        await tell(store, user, f"{user} here")
        await tell(store, user, f"{user} elsewhere", guild=8)
        await store.training.member_left(GUILD, user)
    await store.training.member_left(GUILD, 99)  # of whom there is nothing to end
    assert len(rows(path, "left_members")) == 2
    await store.training.member_joined(GUILD, OTHER)
    clock.now += 31 * DAY
    assert await store.training.end_departed(clock.now - 30 * DAY) == 1
    assert sorted(await lessons(store)) == ["42 elsewhere", "43 elsewhere", "43 here"]


async def test_a_withdrawal_waits_until_everybody_was_told_and_an_erasure_stays_one(store: Store) -> None:
    await agree(store, ME)
    end = await tell(store, ME, "mine")
    assert await store.training.pending() == ()
    await store.training.choose(ME, await story_of(store, end), "private", wording=2)
    (first,) = await store.training.pending()
    assert (first.author_key, first.erased) == (store.person_key(ME), False)
    await store.people.erase(ME)
    (second,) = await store.training.pending()
    assert second.erased
    await store.training.settled(first)
    assert await store.training.pending() == (second,)
    await store.training.settled(second)
    assert await store.training.pending() == ()


async def test_being_asked_is_remembered_once_and_is_no_yes(store: Store) -> None:
    assert await store.people.note_asked(ME)
    assert not await store.people.note_asked(ME)
    consent = await store.people.consent(ME)
    assert consent is not None
    assert (consent.level, consent.wording) == ("private", 0)


def fill(path: Path, author: str, stories: int) -> None:
    """Stories of two lessons with what a model wrote between, each of some length."""
    text = "Der Regen fiel, und niemand kam. " * 12
    with closing(sqlite.connect(path, KEYS)) as connection:
        connection.execute("BEGIN")
        turn = "INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?, 'done', 0, NULL, NULL, '[]', 1.0, 1.0)"
        connection.execute("PRAGMA defer_foreign_keys = ON")
        for number in range(stories):
            story, ids = f"s{number:015}", [f"t{number:013}{part}" for part in range(3)]
            connection.execute(
                "INSERT INTO stories VALUES (?, 1, 2, ?, 'x', '', ?, 1.0, 1.0)", (story, author, ids[-1])
            )
            connection.execute("INSERT INTO story_choices VALUES (?, ?, 'training', 0, 1.0, 2)", (author, story))
            for part, turn_id in enumerate(ids):
                mine = part != 1
                values = (author, "prompt") if mine else (None, "continuation")
                connection.execute(turn, (turn_id, story, ids[part - 1] if part else None, *values, text))
                if mine:
                    connection.execute(
                        "INSERT INTO shared_turns VALUES (?, ?, ?, 'training', 1.0)", (turn_id, story, author)
                    )
        connection.execute("COMMIT")


async def test_memory_does_not_grow_with_what_is_handed_out(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.training.STORIES", 40)
    monkeypatch.setattr("bot.store.training.TURNS", 120)
    await agree(store, ME)
    peaks = []
    for stories in (400, 1_600):
        with closing(sqlite.connect(path, KEYS)) as connection:
            connection.execute("DELETE FROM stories")
        fill(path, store.person_key(ME), stories)
        count = 0
        tracemalloc.start()
        async for _ in store.training.records():
            count += 1
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == 3 * stories
    assert peaks[1] < peaks[0] * 1.2 + 100_000
