"""What the store keeps of moods and of consent: numbers of enough people, corrections only with a yes, and nothing
after an erasure; held by the schema itself.
"""

from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlcipher3 import dbapi2

from bot.store import Recipe, Store, sqlite
from bot.store.errors import TurnBusyError
from bot.store.keys import derive_keys
from bot.store.moods import MoodCount, TooManyChannelsError
from bot.store.people import ConsentMissingError, Correction, TooManyCorrectionsError
from bot.story_cast import Cast
from models.serving.requests import Sampling

KEYS = derive_keys("correct horse battery staple")
GUILD, CHANNEL, ME, OTHER = 7, 70, 42, 43
SECRET = "an unmistakable secret"
COUNT = MoodCount(hour=1000, hours=1, negative=2, neutral=3, positive=4, unsure=1, skipped=5, authors=6)
CORRECTION = Correction(
    text=SECRET, answered="positive", label="negative", method="default", model_version="m@1", language="en"
)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("bot.store.store.load_keys", lambda *_, **__: KEYS)
    return tmp_path / "inkwell.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with Store.open(path) as store:
        yield store


def dump(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every table of the file with all its rows."""
    with closing(sqlite.connect(path, KEYS)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}


def columns(path: Path, table: str) -> dict[str, str]:
    with closing(sqlite.connect(path, KEYS)) as connection:
        return {row[1]: row[2] for row in connection.execute(f"PRAGMA table_info({table})")}


def refuses(path: Path, statement: str) -> bool:
    with closing(sqlite.connect(path, KEYS)) as connection:
        try:
            connection.execute(statement)
        except dbapi2.IntegrityError:
            return True
    return False


async def test_the_counts_have_no_place_for_a_text_or_an_author(store: Store, path: Path) -> None:
    await store.moods.sample(CHANNEL, GUILD, None)
    assert await store.moods.add_count(CHANNEL, COUNT)
    assert {kind.split("(")[0] for kind in columns(path, "mood_counts").values()} == {"INTEGER", "BIGINT"}
    assert {name for name, kind in columns(path, "mood_channels").items() if "CHAR" in kind or "TEXT" in kind} == set()
    assert await store.moods.counts(CHANNEL, 900, 1000) == (COUNT,)


async def test_counts_of_too_few_people_are_refused_by_code_and_by_schema(store: Store, path: Path) -> None:
    await store.moods.sample(CHANNEL, GUILD, None)
    assert not await store.moods.add_count(CHANNEL, replace(COUNT, authors=4))
    assert await store.moods.counts(CHANNEL, 0, 2000) == ()
    assert refuses(path, "INSERT INTO mood_counts VALUES (70, 1, 1, 0, 0, 0, 0, 0, 4)")
    assert refuses(path, "INSERT INTO mood_counts VALUES (71, 1, 1, 0, 0, 0, 0, 0, 5)"), "of a channel not sampled"


async def test_a_second_count_of_the_same_hour_is_added(store: Store) -> None:
    await store.moods.sample(CHANNEL, GUILD, None)
    await store.moods.add_count(CHANNEL, COUNT)
    await store.moods.add_count(CHANNEL, replace(COUNT, hours=3, authors=9))
    (both,) = await store.moods.counts(CHANNEL, 1000, 1000)
    assert (both.negative, both.read, both.skipped, both.hours, both.authors) == (4, 20, 10, 3, 9)


async def test_counts_go_with_their_channel_their_server_and_their_time(store: Store) -> None:
    for channel, guild in ((CHANNEL, GUILD), (71, GUILD), (80, 8)):
        await store.moods.sample(channel, guild, None)
        await store.moods.add_count(channel, COUNT)
        await store.moods.add_count(channel, replace(COUNT, hour=2000))
    assert await store.moods.forget_before(1500) == 3
    assert [each.hour for each in await store.moods.counts(CHANNEL, 0, 3000)] == [2000]
    assert await store.moods.stop_sampling(CHANNEL)
    assert not await store.moods.stop_sampling(CHANNEL)
    assert not await store.moods.add_count(CHANNEL, COUNT)
    assert await store.moods.forget_guild(GUILD) == 1
    assert [each.channel_id for each in await store.moods.channels()] == [80]
    await store.moods.sample(CHANNEL, GUILD, None)
    assert await store.moods.counts(CHANNEL, 0, 3000) == ()


async def test_a_server_samples_only_so_many_channels(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.store.moods.MAX_CHANNELS", 1)
    await store.moods.sample(CHANNEL, GUILD, None)
    with pytest.raises(TooManyChannelsError):
        await store.moods.sample(71, GUILD, None)
    changed = await store.moods.sample(CHANNEL, GUILD, 99)
    assert changed.alert_channel_id == 99
    assert await store.moods.channel(CHANNEL) == changed


async def test_opting_out_is_remembered_as_a_key_and_can_be_undone(store: Store, path: Path) -> None:
    key = await store.moods.opt_out(ME)
    assert await store.moods.opt_out(ME) == key == store.person_key(ME)
    assert await store.moods.opted_out() == {key}
    assert await store.moods.opt_in(ME) == key
    assert await store.moods.opted_out() == frozenset()


async def test_without_consent_no_correction_can_be(store: Store, path: Path) -> None:
    with pytest.raises(ConsentMissingError):
        await store.people.correct(ME, CORRECTION)
    for level in ("private", "library"):
        await store.people.set_consent(ME, level, wording=1)
        with pytest.raises(ConsentMissingError):
            await store.people.correct(ME, CORRECTION)
    key = store.person_key(ME)
    row = f"('i', '{key}', '{{}}', '{SECRET}', 'positive', 'negative', 'default', 'm', 'en', 1.0)"
    for level in ("private", "library", "training"):
        assert refuses(path, f"INSERT INTO mood_corrections VALUES {row.format(level)}"), level
    assert SECRET not in str(dump(path))


@pytest.mark.parametrize("way", ["withdraw", "erase", "delete"])
async def test_corrections_go_with_the_consent(store: Store, path: Path, way: str) -> None:
    await store.people.set_consent(ME, "training", wording=1)
    await store.people.correct(ME, CORRECTION)
    await store.people.set_consent(OTHER, "training", wording=1)
    await store.people.correct(OTHER, replace_text("theirs"))
    assert SECRET in str(dump(path))
    if way == "withdraw":
        assert (await store.people.set_consent(ME, "private", wording=1)).corrections == 1
    elif way == "erase":
        assert (await store.people.erase(ME)).corrections == 1
        assert await store.people.consent(ME) is None
    else:
        with closing(sqlite.connect(path, KEYS)) as connection:
            connection.execute(f"DELETE FROM consents WHERE author_key = '{store.person_key(ME)}'")
    rows = dump(path)
    assert SECRET not in str(rows)
    assert [row[3] for row in rows["mood_corrections"]] == ["theirs"]


async def test_a_consent_that_covers_rows_cant_be_lowered_in_place(store: Store, path: Path) -> None:
    await store.people.set_consent(ME, "training", wording=1)
    await store.people.correct(ME, CORRECTION)
    assert refuses(path, "UPDATE consents SET level = 'private'")
    assert (await store.people.set_consent(ME, "training", wording=2)).corrections == 0
    consent = await store.people.consent(ME)
    assert consent is not None
    assert consent.wording == 2


def replace_text(text: str) -> Correction:
    return Correction(text=text, answered="neutral", label="neutral", method="rules", model_version="", language="zh")


async def test_the_same_text_is_kept_once_old_ones_go_and_nobody_teaches_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.people.MAX_CORRECTIONS", 2)
    await store.people.set_consent(ME, "training", wording=1)
    await store.people.correct(ME, CORRECTION)
    await store.people.correct(ME, CORRECTION)
    await store.people.correct(ME, replace_text("more"))
    with pytest.raises(TooManyCorrectionsError):
        await store.people.correct(ME, replace_text("too much"))
    assert len((await store.people.kept_of(ME)).corrections) == 2
    assert await store.people.forget_corrections_before(4e9) == 2


async def tell(store: Store, user: int, prompt: str, parent: str | None = None, done: bool = True) -> str:
    """A prompt and its continuation; the continuation's id."""
    asked: dict[str, Any] = {
        "user_id": user, "guild_id": GUILD, "channel_id": CHANNEL, "sampling": Sampling(), "application_id": 1,
        "interaction_token": None, "locale": "en-US",
    }  # fmt: skip
    if parent is None:
        job = await store.begin_story(prompt=prompt, **asked)
    else:
        job = await store.continue_story(parent, text=prompt, **asked)
    if not done:
        return job.turn.id
    await store.start_job(job.job.id)
    turn = await store.write_result(job.job.id, " and so on.", Recipe(model_version="m", seed=1, sampling=Sampling()))
    await store.finish_job(job.job.id, [1])
    return turn.id


async def test_erasing_takes_every_word_and_key_and_leaves_others_theirs(store: Store, path: Path) -> None:
    await tell(store, ME, f"{SECRET} alone")
    shared = await tell(store, ME, f"{SECRET} shared")
    end = await tell(store, OTHER, "words of another", shared)
    theirs = await tell(store, OTHER, "a story of another's")
    await tell(store, ME, f"{SECRET} as a guest", theirs)
    await store.add_taught_text(guild_id=GUILD, user_id=ME, source="file", title=f"{SECRET}.txt", text=SECRET * 3)
    await store.add_taught_text(guild_id=8, user_id=OTHER, source="file", title="other.txt", text="other")
    await store.people.set_consent(ME, "training", wording=1)
    await store.people.correct(ME, CORRECTION)
    await store.moods.opt_out(ME)
    before = await store.people.kept_of(ME)
    assert (len(before.stories), len(before.turns), len(before.taught), len(before.corrections)) == (2, 3, 1, 1)

    erased = await store.people.erase(ME)
    for told in await store.training.pending():  # their key stays in it until runs and versions were told
        await store.training.settled(told)
    await store.fold_log()
    assert (erased.stories, erased.turns, erased.taught, erased.corrections, erased.guilds) == (1, 2, 1, 1, (GUILD,))
    rows = dump(path)
    assert SECRET not in str(rows)
    assert store.person_key(ME) not in str({name: each for name, each in rows.items() if name != "mood_optouts"})
    assert [turn.text for turn in await store.story_path(end)] == [
        "…",
        " and so on.",
        "words of another",
        " and so on.",
    ]
    assert await store.check() == ()
    assert await store.moods.opted_out() == {store.person_key(ME)}
    assert path.with_name("inkwell.db-wal").stat().st_size == 0
    assert (await store.people.erase(ME)).stories == 0
    await tell(store, OTHER, "and it goes on", end)


async def test_nothing_is_erased_under_the_pen(store: Store, path: Path) -> None:
    turn = await tell(store, ME, SECRET, done=False)
    with pytest.raises(TurnBusyError) as busy:
        await store.people.erase(ME)
    assert busy.value.turn_id == turn
    assert SECRET in str(dump(path))


async def test_names_that_only_erased_words_held_are_offered_no_more(store: Store) -> None:
    shared = await tell(store, ME, 'The keeper Mara waited. "No," said Mara.')
    await tell(store, OTHER, ' The boat came. "Yes," said Tom.', shared)
    cast = Cast(store)
    assert set(await cast.offered(CHANNEL, "")) == {"Mara", "Tom"}
    await store.people.erase(ME)
    assert await cast.offered(CHANNEL, "") == ["Tom"]
