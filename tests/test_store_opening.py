"""Opening, closing and everything that can be wrong with a file, a key, a disk or a second Inkwell. Real files, real
processes."""

# ruff: noqa: ASYNC240  # a test may look at its files directly

import asyncio
import errno
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.store import Store, keys, sqlite
from bot.store import store as store_module
from bot.store.errors import (
    StoreBusyError,
    StoreClosedError,
    StoreDamagedError,
    StoreDiskError,
    StoreFaultError,
    StoreForeignError,
    StoreFullError,
    StoreInUseError,
    StoreKeyError,
    StoreReadOnlyError,
    StoreTooNewError,
)
from models.serving.requests import Sampling

ROOT = Path(__file__).parents[1]
HEAD = "0009"
KEY = SecretStr("correct horse battery staple")
ASKED: dict[str, Any] = {
    "user_id": 1,
    "guild_id": None,
    "channel_id": 2,
    "sampling": Sampling(),
    "application_id": 3,
    "interaction_token": "token",
    "locale": "en-GB",
}


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A database with one story, closed, its key KEY."""
    path = tmp_path / "inkwell.db"
    async with Store.open(path, key=KEY) as store:
        await store.begin_story(prompt="one", **ASKED)
    return path


async def prompts(path: Path, key: SecretStr | None = KEY) -> list[str]:
    async with Store.open(path, key=key) as store:
        assert await store.check() == ()
        return [job.prompt_turn.text for job in await store.open_jobs()]


def raw(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite.connect(path, keys.derive_keys(KEY.get_secret_value())))


def threads_end(before: set[threading.Thread]) -> bool:
    """Whether all but `before` and asyncio's own end: a connection's thread tells of its closing, and then returns."""
    started = [thread for thread in set(threading.enumerate()) - before if "asyncio" not in thread.name]
    for thread in started:
        thread.join(30)
    return not any(thread.is_alive() for thread in started)


async def refused(path: Path, error: type[StoreFaultError], **options: Any) -> StoreFaultError:
    """Opening fails with `error`, said in one line, and leaves neither thread nor lock behind."""
    threads = set(threading.enumerate())
    with pytest.raises(error) as caught:
        async with Store.open(path, **options):
            pytest.fail("it opened")
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert threads_end(threads)
    return caught.value


async def test_what_was_stored_is_there_after_reopening(path: Path) -> None:
    assert await prompts(path) == ["one"]


@pytest.mark.parametrize("name", ["100% \u706f\u5854's #1?mode=ro;.db", "file:x.db", "[a-z]*.db"])
async def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    async with Store.open(tmp_path / "deep" / "er" / name, key=KEY) as store:
        await store.begin_story(prompt="one", **ASKED)
    assert await prompts(tmp_path / "deep" / "er" / name) == ["one"]
    assert (tmp_path / "deep" / "er" / name).stat().st_size > 0


async def test_a_relative_path_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with Store.open(Path("inkwell.db")) as store:
        await store.begin_story(prompt="one", **ASKED)
    assert {"inkwell.db", "inkwell.key"} <= {file.name for file in tmp_path.iterdir()}


# Keys


async def test_a_first_start_makes_a_key_file_that_also_works_as_a_setting(tmp_path: Path) -> None:
    path, key_file = tmp_path / "inkwell.db", tmp_path / "keys" / "master"
    async with Store.open(path, key_file=key_file) as store:
        await store.begin_story(prompt="one", **ASKED)
        person = store.person_key(5)
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert len(key_file.read_text().strip()) == 64
    assert [file.name for file in key_file.parent.iterdir()] == ["master"]

    as_setting = SecretStr(key_file.read_text().strip())
    key_file.unlink()
    async with Store.open(path, key=as_setting, key_file=key_file) as store:
        assert store.person_key(5) == person
    assert await prompts(path, as_setting) == ["one"]
    assert not key_file.exists()


async def test_a_wrong_key_is_refused_and_nothing_touched(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = path.read_bytes()
    error = await refused(path, StoreKeyError, key=SecretStr("another key, but a long one"))
    assert str(path) in str(error)
    assert path.read_bytes() == before
    assert capfd.readouterr() == ("", "")  # SQLCipher would like to say more
    assert await prompts(path) == ["one"]


@pytest.mark.parametrize("content", [b"xy", b"hello world\n" * 1_000, b"SQLite format 3\0" + bytes(8_000)])
async def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "novel.txt"
    path.write_bytes(content)
    await refused(path, StoreKeyError, key=KEY)
    assert path.read_bytes() == content


async def test_a_plain_sqlite_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "plain.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (a)")
        connection.commit()
    before = path.read_bytes()
    await refused(path, StoreKeyError, key=KEY)
    assert path.read_bytes() == before


async def test_a_database_of_another_program_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with raw(path) as connection:
        connection.execute("CREATE TABLE mine (a)")
    before = path.read_bytes()
    await refused(path, StoreForeignError, key=KEY)
    assert path.read_bytes() == before


async def test_a_missing_key_file_is_not_replaced_when_there_is_a_database(tmp_path: Path) -> None:
    path, key_file = tmp_path / "inkwell.db", tmp_path / "inkwell.key"
    async with Store.open(path):
        pass
    hidden = key_file.rename(tmp_path / "elsewhere")
    error = await refused(path, StoreKeyError)
    assert "inkwell.key" in str(error)
    assert not key_file.exists()
    hidden.rename(key_file)
    async with Store.open(path):
        pass


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00", b"short"])
async def test_a_key_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "inkwell.key").write_bytes(content)
    await refused(tmp_path / "inkwell.db", StoreKeyError)
    assert not (tmp_path / "inkwell.db").exists()


async def test_a_short_key_is_refused_without_repeating_it(tmp_path: Path) -> None:
    error = await refused(tmp_path / "inkwell.db", StoreKeyError, key=SecretStr("hunter2"))
    assert "hunter2" not in str(error)


async def test_a_key_file_open_to_others_is_closed_with_a_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Store.open(tmp_path / "inkwell.db"):
        pass
    key_file = tmp_path / "inkwell.key"
    key_file.chmod(0o644)
    async with Store.open(tmp_path / "inkwell.db"):
        pass
    assert key_file.stat().st_mode & 0o777 == 0o600
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "644" in line
    assert str(key_file) in line


async def test_a_start_that_died_between_key_and_database_is_taken_up_again(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "inkwell.db"):
        pass
    secret = (tmp_path / "inkwell.key").read_text()
    (tmp_path / "inkwell.db").write_bytes(b"")  # as SQLite leaves it before its first commit
    async with Store.open(tmp_path / "inkwell.db") as store:
        assert (await store.counts()).stories == 0
    assert (tmp_path / "inkwell.key").read_text() == secret


# Versions


async def test_a_newer_database_is_refused_by_both_revisions_and_nothing_touched(path: Path) -> None:
    with raw(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9042'")
    before = path.read_bytes()
    error = await refused(path, StoreTooNewError, key=KEY)
    assert isinstance(error, StoreTooNewError)
    assert (error.found, error.known) == ("9042", HEAD)
    assert "9042" in str(error)
    assert HEAD in str(error)
    assert path.read_bytes() == before


# Places that may not be written


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory of a user who is not root (root may write everywhere), with the tests running as that user."""
    directory = Path(tempfile.mkdtemp(prefix="inkwell-"))
    root = os.geteuid() == 0
    if root:
        os.chown(directory, 65534, 65534)
        os.seteuid(65534)
    yield directory
    if root:
        os.seteuid(0)
    directory.chmod(0o700)
    shutil.rmtree(directory)


async def test_a_read_only_directory_is_refused(unprivileged: Path) -> None:
    unprivileged.chmod(0o500)
    error = await refused(unprivileged / "inkwell.db", StoreReadOnlyError)
    assert str(unprivileged) in str(error)
    await refused(unprivileged / "deeper" / "inkwell.db", StoreReadOnlyError)
    assert list(unprivileged.iterdir()) == []


async def test_a_read_only_file_is_refused_and_kept(unprivileged: Path) -> None:
    path = unprivileged / "inkwell.db"
    path.write_bytes(b"whatever it is")
    path.chmod(0o400)
    error = await refused(path, StoreReadOnlyError, key=KEY)
    assert str(path) in str(error)
    assert path.read_bytes() == b"whatever it is"


async def test_an_unreadable_key_file_is_refused(unprivileged: Path) -> None:
    key_file = unprivileged / "inkwell.key"
    key_file.mkdir()
    await refused(unprivileged / "inkwell.db", StoreDiskError)


async def test_a_directory_in_the_databases_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inkwell.db").mkdir()
    await refused(tmp_path / "inkwell.db", StoreDiskError, key=KEY)


async def test_a_database_that_turns_read_only_says_so(path: Path) -> None:
    async with Store.open(path, key=KEY) as store:
        await store._database.write(lambda connection: connection.exec_driver_sql("PRAGMA query_only = ON"))
        with pytest.raises(StoreReadOnlyError):
            await store.begin_story(prompt="two", **ASKED)
        assert len(await store.open_jobs()) == 1
    assert await prompts(path) == ["one"]


# A full disk


async def test_a_full_disk_loses_nothing_and_the_store_goes_on_when_there_is_room(path: Path) -> None:
    async with Store.open(path, key=KEY) as store:
        pages = await store._database.write(lambda connection: connection.exec_driver_sql("PRAGMA page_count"))
        limit = pages.scalar_one() + 3
        await store._database.write(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {limit}"))
        with pytest.raises(StoreFullError) as full:
            await store.begin_story(prompt="x" * 100_000, **ASKED)
        assert str(path) in str(full.value)
        assert (await store.counts()).stories == 1
        await store._database.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 100000"))
        await store.begin_story(prompt="two", **ASKED)
    assert await prompts(path) == ["one", "two"]


async def test_a_disk_that_fills_while_the_key_is_written_leaves_no_half_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        await refused(tmp_path / "inkwell.db", StoreFullError)
    assert [file.name for file in tmp_path.iterdir()] == ["inkwell.db.lock"]
    async with Store.open(tmp_path / "inkwell.db"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
async def test_a_lock_that_finds_no_room_says_so(tmp_path: Path) -> None:
    (tmp_path / "inkwell.db.lock").symlink_to("/dev/full")
    await refused(tmp_path / "inkwell.db", StoreFullError)


# Damage


async def test_damaged_pages_are_named_and_the_rest_stays_readable(path: Path) -> None:
    async with Store.open(path, key=KEY) as store:
        for _ in range(20):
            await store.begin_story(prompt="x" * 3_000, **ASKED)
    content = bytearray(path.read_bytes())
    for page in range(len(content) // 4096 - 12, len(content) // 4096):
        content[page * 4096 + 99] ^= 0xFF
    path.write_bytes(content)

    async with Store.open(path, key=KEY) as store:
        for _ in range(2):  # the second meets a connection that has seen damage
            with pytest.raises(StoreDamagedError):
                await store.open_jobs()
        assert len(await store.check()) == 12
        assert (await store.counts()).stories == 21


# Other processes

HOLDER = """
import asyncio, sys
from pathlib import Path
from pydantic import SecretStr
from bot.store import Store

async def main():
    async with Store.open(Path(sys.argv[1]), key=SecretStr(sys.argv[2])):
        print("open", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        if sys.argv[3:]:
            raise RuntimeError("the body failed")

asyncio.run(main())
"""


def holder(path: Path, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), KEY.get_secret_value(), *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


async def test_a_second_inkwell_is_told_who_holds_the_database(path: Path) -> None:
    with holder(path) as process:
        error = await refused(path, StoreInUseError, key=KEY)
        assert isinstance(error, StoreInUseError)
        assert error.pid == process.pid
        assert str(process.pid) in str(error)
        process.kill()
        process.communicate()
    assert await prompts(path) == ["one"]


async def test_the_same_process_can_not_open_it_twice(path: Path) -> None:
    async with Store.open(path, key=KEY) as store:
        error = await refused(path, StoreInUseError, key=KEY)
        assert isinstance(error, StoreInUseError)
        assert error.pid == os.getpid()
        assert len(await store.open_jobs()) == 1
    assert await prompts(path) == ["one"]


def test_a_process_whose_work_fails_still_ends(path: Path) -> None:
    process = holder(path, "fail")
    _, complaints = process.communicate("\n", timeout=30)
    assert process.returncode == 1
    assert "the body failed" in complaints


async def test_waiting_for_another_programs_lock_does_not_stop_the_event_loop(path: Path) -> None:
    async with Store.open(path, key=KEY) as store:
        with raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            writing = asyncio.create_task(store.begin_story(prompt="two", **ASKED))
            for _ in range(5):
                assert len(await store.open_jobs()) == 1
            assert not writing.done()
            other.execute("ROLLBACK")
        await writing
    assert await prompts(path) == ["one", "two"]


async def test_a_lock_held_too_long_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.02)
    async with Store.open(path, key=KEY) as store:
        with raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreBusyError):
                await store.begin_story(prompt="two", **ASKED)
            other.execute("ROLLBACK")
        await store.begin_story(prompt="three", **ASKED)
    assert await prompts(path) == ["one", "three"]


# Closing and cancelling


async def test_closing_ends_every_thread_also_when_the_body_raises(path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="body"):
        async with Store.open(path, key=KEY) as store:
            await asyncio.gather(*(store.open_jobs() for _ in range(10)), store.set_value("a", "b"))
            assert len([thread for thread in threading.enumerate() if "connection_worker" in thread.name]) >= 2
            raise RuntimeError("body")
    assert threads_end(before)
    assert not path.with_name("inkwell.db-wal").exists()
    with pytest.raises(StoreClosedError):
        await store.open_jobs()
    with pytest.raises(StoreClosedError):
        await store.begin_story(prompt="late", **ASKED)


async def test_errors_of_the_body_are_left_alone(path: Path) -> None:
    with pytest.raises(PermissionError):
        async with Store.open(path, key=KEY):
            raise PermissionError(errno.EACCES, "not the store's")


async def test_closing_lets_running_transactions_end(path: Path) -> None:
    async with Store.open(path, key=KEY) as store:
        writing = [asyncio.create_task(store.begin_story(prompt=str(number), **ASKED)) for number in range(10)]
        await asyncio.sleep(0)  # every one has begun
    await asyncio.gather(*writing)
    assert sorted(await prompts(path)) == sorted(["one", *map(str, range(10))])


@pytest.mark.parametrize("turns_of_the_loop", [0, 1, 2, 5, 10, 20, 40])
async def test_a_cancelled_write_is_whole_or_absent_and_the_store_goes_on(path: Path, turns_of_the_loop: int) -> None:
    async with Store.open(path, key=KEY) as store:
        writing = asyncio.create_task(store.begin_story(prompt="two", **ASKED))
        for _ in range(turns_of_the_loop):
            await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        counts = await store.counts()
        expected = 2 if turns_of_the_loop else 1  # once begun, a transaction ends
        assert (counts.stories, counts.turns, counts.jobs["queued"]) == (expected, 2 * expected, expected)
        await store.begin_story(prompt="three", **ASKED)


async def test_a_cancelled_opening_gives_back_the_lock_only_when_its_work_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    prepare = store_module._prepare

    def slow(*arguments: Any) -> Any:
        entered.set()
        go_on.wait(30)
        return prepare(*arguments)

    async def open_and_close() -> None:
        async with Store.open(tmp_path / "inkwell.db"):
            pytest.fail("it was cancelled")

    monkeypatch.setattr(store_module, "_prepare", slow)
    opening = asyncio.create_task(open_and_close())
    await asyncio.to_thread(entered.wait, 30)
    opening.cancel()
    await asyncio.sleep(0)
    await refused(tmp_path / "inkwell.db", StoreInUseError)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    monkeypatch.undo()
    async with Store.open(tmp_path / "inkwell.db") as store:
        assert (await store.counts()).stories == 0


async def test_nothing_that_blocks_runs_on_the_event_loop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: dict[str, set[int]] = {"connect": set(), "derive": set()}
    connect, derive = sqlite.connect, keys.derive_keys

    def watched_connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        threads["connect"].add(threading.get_ident())
        return connect(*arguments, **options)

    def watched_derive(secret: str) -> keys.StoreKeys:
        threads["derive"].add(threading.get_ident())
        return derive(secret)

    monkeypatch.setattr(sqlite, "connect", watched_connect)
    monkeypatch.setattr(keys, "derive_keys", watched_derive)
    async with Store.open(path, key=KEY) as store:
        await store.begin_story(prompt="two", **ASKED)
        await store.open_jobs()
    assert len(threads["connect"]) >= 3  # migrations, the writer, a reader
    assert threads["derive"]
    assert threading.get_ident() not in threads["connect"] | threads["derive"]
