"""No secret in any line that the operator sees, however it got there."""

import base64
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import aiohttp
import discord
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from bot import logs
from bot.logs import RedactingFormatter
from bot.running import Place
from bot.sandbox import Sandbox, point_discord_at
from bot.settings import Settings

TOKEN = base64.urlsafe_b64encode(b"123456789012345678").decode().rstrip("=") + ".GabcdE." + "t0k-en_" * 6
DB_KEY = "sword'fish\"\\ 字 and a long one"
INTERACTION = "aW50ZXJhY3Rpb246MTIzOmFiYw-_x" * 4


class Log:
    """A log as `configure` makes it, and what it wrote."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook
    logs.configure("debug", [TOKEN, DB_KEY])
    yield Log(stream)
    root.handlers[:], level, sys.excepthook = before
    root.setLevel(level)
    logging.captureWarnings(False)


def assert_silent(text: str) -> None:
    assert TOKEN not in text
    assert TOKEN.split(".")[2] not in text
    for spelling in (DB_KEY, repr(DB_KEY)[1:-1], json.dumps(DB_KEY)[1:-1], quote(DB_KEY, safe="")):
        assert spelling not in text


def test_a_secret_is_blanked_in_messages_arguments_and_any_spelling(log: Log) -> None:
    logging.getLogger("a").warning("raw %s, repr %r, %s", TOKEN, {"key": DB_KEY}, f"Authorization: Bot {TOKEN}")
    logging.getLogger("b").debug("json %s, address /x?key=%s", json.dumps([TOKEN, DB_KEY]), quote(DB_KEY, safe=""))
    assert log.text.count("[secret]") == 6
    assert_silent(log.text)


def raise_chained() -> None:
    try:
        try:
            raise ValueError(f"first {TOKEN}")
        except ValueError as error:
            raise discord.LoginFailure(f"second {DB_KEY}") from error
    except discord.LoginFailure:
        raise RuntimeError(f"third Bot {TOKEN}")  # noqa: B904 - the chain without "from" is meant


def test_chained_exceptions_keep_their_story_and_lose_the_secret(log: Log) -> None:
    try:
        raise_chained()
    except RuntimeError:
        logging.getLogger("discord.client").exception("Ignoring exception in on_ready")
    for word in ("first", "second", "third", "direct cause", "During handling", "raise_chained"):
        assert word in log.text
    assert log.text.count("[secret]") >= 3
    assert_silent(log.text)


def test_groups_notes_and_stacks_lose_it_too(log: Log) -> None:
    error = ValueError(f"inner {TOKEN}")
    error.add_note(f"note {DB_KEY}")
    logging.getLogger("c").error("group", exc_info=ExceptionGroup(f"outer {TOKEN}", [error]), stack_info=True)
    assert "inner [secret]" in log.text
    assert "note [secret]" in log.text
    assert_silent(log.text)


def test_an_http_client_s_exception_that_carries_our_headers_is_blanked(log: Log) -> None:
    headers = CIMultiDictProxy(CIMultiDict({"Authorization": f"Bot {TOKEN}"}))
    request = aiohttp.RequestInfo(URL("http://discord.invalid/gateway"), "GET", headers, URL("http://x.invalid"))
    error = aiohttp.WSServerHandshakeError(request, (), status=403, message="no", headers=headers)
    assert TOKEN in repr(error)
    logging.getLogger("discord.gateway").warning("handshake: %r", error)
    assert_silent(log.text)


def test_what_looks_like_a_token_is_blanked_though_nobody_named_it(log: Log) -> None:
    """The sandbox's peers, another bot's token in an error text, an interaction's token in an address."""
    other = base64.urlsafe_b64encode(b"876543210987654321").decode().rstrip("=") + ".AbCdEf." + "q" * 38
    logging.getLogger("d").warning("other %s", other)
    address = f"https://discord.com/api/v10/webhooks/1234/{INTERACTION}/messages/@original"
    logging.getLogger("discord.http").warning("We are being rate limited. PATCH %s responded with 429.", address)
    logging.getLogger("e").warning("POST /interactions/99/%s/callback", INTERACTION)
    assert other not in log.text
    assert INTERACTION not in log.text
    assert "/webhooks/1234/[secret]/messages/@original" in log.text
    assert "/interactions/99/[secret]/callback" in log.text


def test_ordinary_words_and_addresses_stay(log: Log) -> None:
    words = "synced 1 commands for https://example.org/a.b.c/models.language.weights in 12.5 s at /webhooks/list"
    logging.getLogger("f").info(words)
    assert words in log.text


def test_discord_py_s_remark_on_voice_is_left_out_and_its_warnings_are_not(log: Log) -> None:
    logger = logging.getLogger("discord.client")
    logger.warning("PyNaCl is not installed, voice will NOT be supported")
    logger.warning("davey is not installed, voice will NOT be supported")
    logger.warning("something is the matter")
    assert "voice" not in log.text
    assert "something is the matter" in log.text


def test_a_short_secret_blanks_no_ordinary_words() -> None:
    line = RedactingFormatter(["", "a", "word"]).format(logging.makeLogRecord({"msg": "a word is a word"}))
    assert line.endswith("a word is a word")


async def test_a_refused_login_names_no_token(log: Log, tmp_path: Path) -> None:
    """discord.py's own exception, from its own request, with all that hangs on it."""
    async with Sandbox(tmp_path) as sandbox:
        with point_discord_at(sandbox.base_url):
            async with discord.Client(intents=discord.Intents(guilds=True)) as client:
                with pytest.raises(discord.LoginFailure) as refused:
                    await client.login(TOKEN)
    error: BaseException | None = refused.value
    logging.getLogger("discord.client").error("login", exc_info=error)
    while error is not None:
        assert_silent(f"{error} {error!r} {error.args}")
        error = error.__cause__ or error.__context__
    assert "LoginFailure" in log.text
    assert_silent(log.text)


def test_nothing_that_holds_the_token_shows_it(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, discord_token=TOKEN, db_key=DB_KEY)
    place = Place(token=TOKEN, page_url=None)
    assert_silent(f"{settings!r} {settings} {settings.model_dump()} {place!r} {place}")


UNCAUGHT = """
import asyncio, gc, logging, sys, threading, warnings
sys.path.insert(0, sys.argv[1])
from bot import logs
token, key = sys.argv[2:4]
logs.configure("debug", [token, key])

async def forgotten():
    async def fails():
        raise RuntimeError(f"in a task {token}")
    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()
    asyncio.get_running_loop().call_soon(lambda: [][0])
    await asyncio.sleep(0.01)

def in_thread():
    raise ValueError(f"in a thread {key}")

thread = threading.Thread(target=in_thread, name="worker")
thread.start()
thread.join()
warnings.warn(f"a warning {token}")
asyncio.run(forgotten())
try:
    raise KeyError(token)
except KeyError as error:
    raise RuntimeError(f"at the end {key}") from error
"""


def test_errors_that_nobody_caught_are_told_without_it_too() -> None:
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", UNCAUGHT, root, TOKEN, DB_KEY]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 1
    for word in ("in a thread", "a warning", "in a task", "IndexError", "at the end", "direct cause"):
        assert word in told.stderr
    assert_silent(told.stdout + told.stderr)


def test_ctrl_c_leaves_no_traceback(log: Log) -> None:
    trace: TracebackType | None = None
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), trace)
    assert log.text == ""
