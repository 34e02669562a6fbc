"""What goes wrong at a start, in a real process: one sentence that says what to do, no traceback, nothing lost."""

import re
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.sandbox import Sandbox
from bot.store import Store, sqlite
from bot.store.keys import load_keys
from models.serving.requests import Sampling
from tests.disks import read_only, small_disk
from tests.inkwell_process import names, start
from tests.sandbox_token import OTHER_TOKEN, TOKEN, write_world
from tests.tiny_model import TinyModel

LOG_LINE = re.compile(r"\d\d:\d\d:\d\d (INFO|WARNING|ERROR) ")


@pytest.fixture
def gguf(tiny_model: TinyModel) -> str:
    return str(tiny_model.gguf)


async def refused(data_dir: Path, *, status: int = 1, discord: str = "", **settings: str) -> str:
    """Start, and expect that it ends by itself; the last line it printed, which is its reason."""
    settings = {"SANDBOX_PORT": "0", "OPEN_BROWSER": "false", "LOG_LEVEL": "debug"} | settings
    inkwell = await start(data_dir, "run", discord=discord, **settings)
    ended, printed = await inkwell.rest()
    assert ended == status, printed
    assert "Traceback" not in printed
    assert TOKEN not in printed
    assert OTHER_TOKEN not in printed
    reason = printed.strip().splitlines()[-1]
    assert not LOG_LINE.match(reason), printed
    assert reason.endswith((".", "?"))
    return reason


# The token


async def test_a_token_that_discord_refuses(tmp_path: Path, gguf: str) -> None:
    async with Sandbox(write_world(tmp_path / "discord")) as sandbox:
        reason = await refused(tmp_path, discord=sandbox.base_url, DISCORD_TOKEN=OTHER_TOKEN, STORY_MODEL=gguf)
    assert reason.startswith("Discord refuses DISCORD_TOKEN: make a new one in the Developer Portal")


async def test_a_discord_that_nobody_reaches(tmp_path: Path, gguf: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        reason = await refused(tmp_path, discord=nowhere, DISCORD_TOKEN=TOKEN, STORY_MODEL=gguf)
    assert reason.startswith("Discord can't be reached (")


async def test_a_discord_that_lets_nobody_in(tmp_path: Path, gguf: str) -> None:
    async def banned(request: web.Request) -> web.Response:
        return web.json_response({"message": "You are being blocked", "code": 0}, status=403)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", banned)
    async with TestServer(application) as server:
        reason = await refused(tmp_path, discord=str(server.make_url("")), DISCORD_TOKEN=TOKEN, STORY_MODEL=gguf)
    assert reason.startswith("Discord refuses the start (status 403): try again later")


# Settings


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("STORY_SLOTS=many", "STORY_SLOTS can't be used: input should be a valid integer"),
        ("STORY_SLOT=3", "STORY_SLOT in .env is not a setting of Inkwell; did you mean STORY_SLOTS?"),
    ],
)
async def test_a_setting_that_is_wrong(tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / ".env").write_text(line + "\n")
    assert (await refused(tmp_path, status=2)).startswith(expected)
    assert names(tmp_path) == [".env"]


# The port


async def test_a_port_that_is_taken(tmp_path: Path, gguf: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        reason = await refused(tmp_path, SANDBOX_PORT=str(port), STORY_MODEL=gguf)
    assert reason.startswith(f"Port {port} is taken by another program. End it, or choose another port")


# The model


async def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    reason = await refused(tmp_path, STORY_MODEL=str(tmp_path / "gone.gguf"))
    assert reason == f"There is no file or directory {tmp_path}/gone.gguf: check the path of the model."


async def test_a_model_that_is_cut_off(tmp_path: Path, tiny_model: TinyModel) -> None:
    whole = tiny_model.gguf.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    reason = await refused(tmp_path, STORY_MODEL=str(tmp_path / "cut.gguf"))
    assert f"cut.gguf is damaged (it has {len(whole) // 2:,} of at least" in reason


async def test_a_model_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "letter.gguf").write_text("a letter")
    reason = await refused(tmp_path, STORY_MODEL=str(tmp_path / "letter.gguf"))
    assert "letter.gguf is not a model (it doesn't begin with the letters GGUF): give a GGUF file" in reason


async def test_a_gguf_file_that_holds_no_language_model(tmp_path: Path, tiny_model: TinyModel) -> None:
    renamed = tiny_model.gguf.read_bytes().replace(b"tokenizer.ggml.model", b"tokenizer.ggml.modem")
    (tmp_path / "other.gguf").write_bytes(renamed)
    reason = await refused(tmp_path, STORY_MODEL=str(tmp_path / "other.gguf"))
    assert "other.gguf holds no language model" in reason


# The database and its disk


@pytest_asyncio.fixture
async def used(tmp_path: Path) -> AsyncIterator[Path]:
    """A data folder with one story in it."""
    async with Store.open(tmp_path / "inkwell.db") as store:
        await store.begin_story(
            user_id=1,
            guild_id=2,
            channel_id=3,
            prompt="kept",
            sampling=Sampling(),
            application_id=4,
            interaction_token=None,
            locale="en-US",
        )
    yield tmp_path


async def stories(data_dir: Path) -> int:
    async with Store.open(data_dir / "inkwell.db") as store:
        return (await store.counts()).stories


def sql(data_dir: Path, statement: str) -> None:
    keys = load_keys(data_dir / "inkwell.db", key=None, key_file=data_dir / "inkwell.key")
    with closing(sqlite.connect(data_dir / "inkwell.db", keys)) as connection:
        connection.execute(statement)


async def test_a_database_of_a_newer_inkwell_is_left_alone(used: Path, gguf: str) -> None:
    sql(used, "UPDATE alembic_version SET version_num = '9042'")
    before = (used / "inkwell.db").read_bytes()
    reason = await refused(used, STORY_MODEL=gguf)
    assert "was written by a newer Inkwell: it has schema 9042" in reason
    assert (used / "inkwell.db").read_bytes() == before


async def test_a_database_whose_key_is_gone(used: Path, gguf: str) -> None:
    (used / "inkwell.key").rename(used / "elsewhere")
    reason = await refused(used, STORY_MODEL=gguf)
    assert "inkwell.key of the existing database" in reason
    (used / "elsewhere").rename(used / "inkwell.key")
    assert await stories(used) == 1


async def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    reason = await refused(tmp_path, DATA_DIR=str(tmp_path / "file"))  # the default model would lie there too
    assert "is a file where a folder should be" in reason


async def test_a_database_that_is_read_only(used: Path, gguf: str) -> None:
    with read_only(used):
        reason = await refused(used, STORY_MODEL=gguf)
    assert f"{used}/inkwell.db" in reason
    assert "can't be written: make it and its directory readable and writable." in reason
    assert await stories(used) == 1


async def test_a_disk_that_is_full(gguf: str) -> None:
    with small_disk(mebibytes=1) as disk:
        (disk / "ballast").write_bytes(b"x" * (1024 - 64) * 1024)  # room for a key, not for a database
        reason = await refused(disk, STORY_MODEL=gguf)
        assert reason.startswith(f"The disk that holds {disk}/inkwell.db is full: free some space.")
        (disk / "ballast").unlink()
        assert await stories(disk) == 0  # what was begun can be used when there is room
