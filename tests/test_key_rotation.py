"""`inkwell key rotate`: another key for the same database, whole under one of both wherever it is killed."""

import asyncio
import io
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot import key_rotation
from bot.settings import Settings
from bot.store import Store, rotation, sqlite
from bot.store.errors import StoreDiskError, StoreFaultError, StoreFullError, StoreInUseError, StoreKeyError
from bot.store.keys import derive_keys
from models.serving.requests import Sampling

ROOT = Path(__file__).parents[1]
ME = 42
FORMER, LATER = SecretStr("the former key of all"), SecretStr("the later key of all")
ASKED: dict[str, Any] = {
    "user_id": ME, "guild_id": 7, "channel_id": 2, "sampling": Sampling(), "application_id": 3,
    "interaction_token": None, "locale": "en-GB",
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deriving a key is dear on purpose, and these tests do it hundreds of times."""
    monkeypatch.setattr("bot.store.keys._SCRYPT_N", 16)


@pytest.fixture
async def path(tmp_path: Path, quick_keys: None) -> Path:
    """A closed database with a story, under a key file, and a copy of it as an upgrade leaves one."""
    path = tmp_path / "inkwell.db"
    async with Store.open(path) as store:
        await store.begin_story(prompt="unmistakable words", **ASKED)
        keys = derive_keys(path.with_suffix(".key").read_text().strip())
    sqlite.copy(path, keys, tmp_path / "inkwell.db.before-0005")
    return path


async def look(path: Path, key: SecretStr | None = None) -> tuple[str, list[str]]:
    """Who `ME` is in it, and what it holds."""
    async with Store.open(path, key=key) as store:
        assert await store.check() == ()
        return store.person_key(ME), [job.prompt_turn.text for job in await store.open_jobs()]


def rotate(path: Path, key: SecretStr | None = None, new: SecretStr | None = None) -> rotation.Rotated:
    return rotation.rotate(path, key=key, key_file=path.with_suffix(".key"), new=new)


def names(path: Path) -> set[str]:
    return {file.name for file in path.parent.iterdir() if not file.name.endswith((".lock", "-wal", "-shm"))}


def which_opens(file: Path, *secrets: str) -> list[bool]:
    return [rotation.opens(file, derive_keys(secret)) for secret in secrets]


async def test_a_new_key_opens_everything_and_the_former_nothing(path: Path) -> None:
    key_file, copy = path.with_suffix(".key"), path.with_name("inkwell.db.before-0005")
    before, former, there = await look(path), key_file.read_text().strip(), names(path)
    done = rotate(path)
    assert (done.key_file, done.copies, done.left) == (key_file, 1, ())
    later = key_file.read_text().strip()
    assert later != former
    assert (len(later), oct(key_file.stat().st_mode & 0o777)) == (64, "0o600")
    for file in (path, copy):
        assert which_opens(file, former, later) == [False, True], file
        assert oct(file.stat().st_mode & 0o777) == "0o600"
        assert b"unmistakable" not in file.read_bytes()
    assert await look(path) == before
    assert names(path) == there
    copy.replace(path)  # also who goes back to the copy keeps everybody's pseudonym
    assert await look(path) == before
    key_file.write_text(former)
    with pytest.raises(StoreKeyError):
        await look(path)


async def test_a_key_can_move_into_the_setting_and_back_to_a_file(path: Path) -> None:
    before = await look(path)
    assert rotate(path, new=FORMER).key_file is None
    assert not path.with_suffix(".key").exists()
    assert await look(path, FORMER) == before
    rotate(path, key=FORMER, new=LATER)
    assert await look(path, LATER) == before
    rotate(path, key=LATER)
    assert await look(path) == before
    with pytest.raises(StoreKeyError, match="remove DB_KEY"):
        await look(path, LATER)


async def test_a_database_from_before_keeps_its_pseudonyms_too(path: Path) -> None:
    keys = derive_keys(path.with_suffix(".key").read_text().strip())
    with closing(sqlite.connect(path, keys)) as connection:
        connection.execute("DELETE FROM kv WHERE key = 'person_key'")
    assert (await look(path))[0] == keys.person_key(ME)
    rotate(path)
    assert (await look(path))[0] == keys.person_key(ME)


async def test_a_new_database_has_pseudonyms_that_its_secret_does_not_tell(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "inkwell.db", key=FORMER) as store:
        person = store.person_key(ME)
    assert person != derive_keys(FORMER.get_secret_value()).person_key(ME)
    async with Store.open(tmp_path / "inkwell.db", key=FORMER) as store:
        assert store.person_key(ME) == person


@pytest.mark.parametrize("why", ["running", "wrong key", "short key", "no database", "full disk"])
async def test_what_cant_be_rotated_is_left_as_it_was(path: Path, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith(".lock")}
    key: SecretStr | None = None
    new: SecretStr | None = None
    expected: type[StoreFaultError] = StoreKeyError
    match why:
        case "running":
            async with Store.open(path):
                with pytest.raises(StoreInUseError):
                    rotate(path)
            return
        case "wrong key":
            key = LATER
        case "short key":
            new = SecretStr("short")
        case "no database":
            path, expected = path.with_name("other.db"), StoreDiskError
        case _:
            real, expected = sqlite.export, StoreFullError

            def full(connection: Any, target: Path, keys: Any) -> None:
                real(connection, target, keys)
                if "before" in target.name:
                    raise OSError(28, "No space left on device", str(target))

            monkeypatch.setattr(sqlite, "export", full)
    with pytest.raises(expected) as caught:
        rotate(path, key=key, new=new)
    assert "\n" not in str(caught.value)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith(".lock")} == before


# Each call that changes a file or makes it durable is a moment to die before. One process for each death, forked from
# one that has loaded everything; what it leaves lies in a folder of its own.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from pydantic import SecretStr
from bot.store import keys, rotation, sqlite

keys._SCRYPT_N = 16  # as in the tests
source, target, new = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def dying_at(moment, path):
    count = 0
    def deadly(function):
        def called(*arguments, **options):
            nonlocal count
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        return called
    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "rename"), (Path, "unlink"), (sqlite, "export"),
                        (rotation, "put_person_key")):
        setattr(owner, name, deadly(getattr(owner, name)))
    rotation.rotate(path, key=None, key_file=path.with_suffix(".key"), new=SecretStr(new) if new else None)

for moment in range(1, 100):
    folder = target / str(moment)
    shutil.copytree(source, folder)
    child = os.fork()
    if not child:
        dying_at(moment, folder / "inkwell.db")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        assert not os.WEXITSTATUS(status)
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("new", ["", LATER.get_secret_value()], ids=["key file", "setting"])
async def test_kill_9_at_any_moment_leaves_it_whole_under_one_key(
    path: Path, new: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    former = path.with_suffix(".key").read_text().strip()
    before, there, target = await look(path), names(path), tmp_path_factory.mktemp("killed")
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED, str(path.parent), str(target), new], cwd=ROOT, check=True
    )
    outcomes = []
    for moment in sorted(target.iterdir(), key=lambda folder: int(folder.name)):
        left = moment / path.name
        outcomes.append(rotation.opens(left, derive_keys(former)))
        key = SecretStr(new) if new and not outcomes[-1] else None
        assert await look(left, key) == before, moment
        secret = new if key is not None else left.with_suffix(".key").read_text().strip()
        for file in (left, left.with_name("inkwell.db.before-0005")):
            assert which_opens(file, secret) == [True], (moment, file)
        assert names(left) - {"inkwell.key"} == there - {"inkwell.key"}, moment
    assert len(outcomes) > 12
    assert outcomes == sorted(outcomes, reverse=True)  # once it counts, it counts
    assert set(outcomes) == {True, False}


async def test_the_command_rotates_and_says_so_and_never_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # its process takes the real time
    path, key_file = tmp_path / "inkwell.db", tmp_path / "inkwell.key"
    async with Store.open(path) as store:
        await store.begin_story(prompt="unmistakable words", **ASKED)
    before, former = await look(path), key_file.read_text().strip()
    said = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "bot", "key", "rotate", "--data-dir", str(tmp_path)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (said.returncode, said.stderr) == (0, "")
    assert "has a new key." in said.stdout
    assert await look(path) == before
    for secret in (former, key_file.read_text().strip()):
        assert secret not in said.stdout


async def test_where_the_key_is_a_setting_the_operator_hears_what_to_set(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(key: SecretStr | None, *, to_setting: bool) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{LATER.get_secret_value()}\n"))
        settings = Settings(_env_file=None, data_dir=path.parent, db_key=key)
        status = key_rotation.rotate(settings, to_setting=to_setting)
        printed = capsys.readouterr()
        assert LATER.get_secret_value() not in printed.out + printed.err
        return status, printed.out, printed.err

    before = await look(path)
    status, out, _ = said(None, to_setting=True)
    assert (status, "Set DB_KEY to the new key now" in out, "with 1 of its copies" in out) == (0, True, True)
    assert await look(path, LATER) == before
    status, out, _ = said(LATER, to_setting=False)
    assert (status, "Remove DB_KEY" in out) == (0, True)
    assert await look(path) == before
    status, out, err = said(LATER, to_setting=False)
    assert (status, out, err.count("\n")) == (1, "", 1)
