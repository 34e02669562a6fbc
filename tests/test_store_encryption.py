"""No text, token or Discord user id of anybody lies readable on the disk: every byte of every file is searched."""

# ruff: noqa: ASYNC240  # a test may look at its files directly

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.store import Recipe, Setting, Store
from bot.store.keys import derive_keys
from bot.store.schema import metadata
from bot.store.sqlite import connect, copy
from models.serving.requests import Sampling

USER_ID = 871_234_567_890_123_456
MARKS = {
    "prompt": "quixotic marmalade lighthouse",
    "result": "Der Wärter öffnete den Brief und weinte",
    "title": "A title nobody else would choose",
    "own words": "灯塔看守人找到了一封信",
    "error": "unmistakable failure wording",
    "value": "unmistakable small state",
    "setting": "unmistakable guild setting",
    "token": "aW50ZXJhY3Rpb246unmistakable",
}
KEY = SecretStr("correct horse battery staple")
NOTE = Setting(key="note", kind=str, default="")


async def fill(store: Store) -> None:
    asked: dict[str, Any] = {
        "user_id": USER_ID,
        "guild_id": 1,
        "channel_id": 2,
        "sampling": Sampling(),
        "application_id": 3,
        "interaction_token": MARKS["token"],
        "locale": "en-GB",
    }
    begun = await store.begin_story(prompt=MARKS["prompt"], title=MARKS["title"], **asked)
    recipe = Recipe(model_version="tiny@1", seed=0, sampling=Sampling())
    turn = await store.write_result(begun.job.id, MARKS["result"], recipe)
    await store.finish_job(begun.job.id, [5])
    more = await store.continue_story(turn.id, text=MARKS["own words"], **asked)
    await store.fail_job(more.job.id, MARKS["error"])
    await store.retry(more.turn.id, **asked)  # its job stays open, its token stored
    await store.set_value("note", MARKS["value"])
    await store.set_guild_setting(1, NOTE, MARKS["setting"])


def found_in_files(directory: Path) -> set[tuple[str, str]]:
    """(file, mark) for every mark that a file holds in UTF-8 or UTF-16, whole or only its first eight characters."""
    found = set()
    for file in directory.iterdir():
        content = file.read_bytes()
        for name, mark in {**MARKS, "user id": str(USER_ID), "magic": "SQLite format 3"}.items():
            if any(mark[:8].encode(encoding) in content for encoding in ("utf-8", "utf-16-le")):
                found.add((file.name, name))
    return found


def decrypted(path: Path) -> str:
    """Everything that stands in any cell of any table."""
    connection = connect(path, derive_keys(KEY.get_secret_value()))
    try:
        return "\n".join(
            repr(row) for table in metadata.tables for row in connection.execute(f"SELECT * FROM {table}").fetchall()
        )
    finally:
        connection.close()


async def test_neither_database_nor_log_nor_copy_holds_a_readable_word(tmp_path: Path) -> None:
    path = tmp_path / "inkwell.db"
    async with Store.open(path, key=KEY) as store:
        await fill(store)
        log = tmp_path / "inkwell.db-wal"
        assert log.stat().st_size > 10_000  # the words are in it: nothing was folded into the file yet
        assert found_in_files(tmp_path) == set()
    assert not log.exists()
    copy(path, derive_keys(KEY.get_secret_value()), tmp_path / "copy.db")
    assert found_in_files(tmp_path) == set()

    for file in (path, tmp_path / "copy.db"):
        stored = decrypted(file)
        assert {name for name, mark in MARKS.items() if mark not in stored} == set()  # the search knows what to find
    (tmp_path / "plain.txt").write_text(decrypted(path))
    assert {name for _, name in found_in_files(tmp_path)} == set(MARKS)  # and finds it where it is readable


async def test_people_stand_in_the_database_only_as_keyed_hashes(tmp_path: Path) -> None:
    path = tmp_path / "inkwell.db"
    async with Store.open(path, key=KEY) as store:
        await fill(store)
        person = store.person_key(USER_ID)
    stored = decrypted(path)
    assert str(USER_ID) not in stored
    assert person in stored
    assert (len(person), int(person, 16) > 0) == (64, True)


def test_the_pseudonym_depends_on_person_and_key_and_not_on_the_day() -> None:
    keys, others = derive_keys("correct horse battery staple"), derive_keys("correct horse battery stable")
    assert keys.person_key(1) == derive_keys("correct horse battery staple").person_key(1)
    assert len({keys.person_key(1), keys.person_key(2), others.person_key(1)}) == 3
    assert keys.database != keys.person


async def test_neither_keys_nor_words_show_in_a_log_or_repr(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    async with Store.open(tmp_path / "inkwell.db") as store:
        await fill(store)
        shown = (caplog.text, repr(store))
    secret = (tmp_path / "inkwell.key").read_text().strip()
    keys = derive_keys(secret)
    assert "Made the database key" in caplog.text  # the log was listening
    for place in (*shown, repr(keys)):
        for hidden in (secret, keys.database.hex(), keys.person.hex(), repr(keys.database)[2:12], *MARKS.values()):
            assert hidden not in place


async def test_files_are_closed_to_other_users(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "inkwell.db") as store:
        await fill(store)
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()}
    names = {"inkwell.db", "inkwell.db-wal", "inkwell.db-shm", "inkwell.db.lock", "inkwell.key"}
    assert modes == dict.fromkeys(names, "0o600")
