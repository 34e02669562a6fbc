"""Who may talk to the sandbox: loopback, Host, Origin, capability, token; and what the page may load."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from bot.sandbox import Sandbox
from bot.sandbox.limits import MAX_FILE_BYTES
from tests.sandbox_client import File, Person, RefusedToPersonError
from tests.sandbox_raw import WAIT_S, RawBot


@pytest_asyncio.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(tmp_path) as sandbox:
        yield sandbox


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


async def test_it_listens_on_loopback_only(sandbox: Sandbox) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", sandbox.port))  # free, so the sandbox did not take every address


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:PORT", "127.0.0.1", "127.0.0.1:1", "localhost.evil:PORT"]
)
async def test_a_foreign_host_is_refused_everywhere(sandbox: Sandbox, http: aiohttp.ClientSession, host: str) -> None:
    headers = {"Host": host.replace("PORT", str(sandbox.port)), "Authorization": f"Bot {sandbox.bot_token}"}
    for url in (sandbox.page_url, f"{sandbox.base_url}/api/v10/users/@me", f"{sandbox.page_url}ui/state"):
        async with http.get(url, headers=headers) as answer:
            assert answer.status == 403
            assert sandbox.bot_token not in await answer.text()


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
async def test_another_site_is_refused(sandbox: Sandbox, http: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    async with http.get(f"{sandbox.page_url}ui/state", headers=headers) as answer:
        assert answer.status == 403
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{sandbox.page_url}ui/socket?as={sandbox.world.data.parts['writer']}", headers=headers)
    assert refused.value.status == 403


async def test_its_own_page_is_let_in(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    headers = {"Origin": sandbox.base_url, "Sec-Fetch-Site": "same-origin"}
    async with http.get(f"{sandbox.page_url}ui/state", headers=headers) as answer:
        assert answer.status == 200
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["", "wrong/", "wrong/ui/state", "wrong/page/main.js", "wrong/ui/socket"])
async def test_without_the_capability_there_is_nothing(
    sandbox: Sandbox, http: aiohttp.ClientSession, path: str
) -> None:
    async with http.get(f"{sandbox.base_url}/{path}") as answer:
        assert answer.status == 404


async def test_the_page_may_load_only_from_here(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    async with http.get(sandbox.page_url) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"  # the address is the key
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert f"connect-src 'self' ws://127.0.0.1:{sandbox.port} ws://localhost:{sandbox.port};" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "name", ["../page_api.py", "..%2fpage_api.py", "%2e%2e/limits.py", "../../../etc/passwd", "x.py"]
)
async def test_only_the_pages_own_files_are_served(sandbox: Sandbox, http: aiohttp.ClientSession, name: str) -> None:
    async with http.get(URL(f"{sandbox.page_url}page/{name}", encoded=True)) as answer:
        assert answer.status == 404


async def test_a_file_beside_the_pages_folder_is_not_served(
    sandbox: Sandbox, http: aiohttp.ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "mine.json").write_text("{}")
    (tmp_path / "secret.json").write_text("{}")
    monkeypatch.setattr("bot.sandbox.page_api.PAGE_DIRECTORY", folder)
    for name, status in (("mine.json", 200), ("..%2fsecret.json", 404), ("%2e%2e%2fsecret.json", 404)):
        async with http.get(URL(f"{sandbox.page_url}page/{name}", encoded=True)) as answer:
            assert answer.status == status


async def test_the_bots_routes_need_its_token_and_no_browser(sandbox: Sandbox) -> None:
    async with RawBot.of(sandbox) as bot:
        assert (await bot.ask("GET", "/users/@me")).status == 200
        for wrong in ("", "Bot wrong", sandbox.bot_token, f"Bearer {sandbox.bot_token}"):
            answer = await bot.ask("GET", "/users/@me", Authorization=wrong)
            assert (answer.status, answer.body["code"]) == (401, 0)
        assert (await bot.ask("GET", "/users/@me", Origin=sandbox.base_url)).status == 403


async def test_a_bots_link_to_a_file_is_signed_and_a_file_cannot_run(
    sandbox: Sandbox, http: aiohttp.ClientSession
) -> None:
    async with Person.join(sandbox, "writer") as wren:
        message = await wren.say("", File("page.html", b"<script>alert(1)</script>"))
        record = sandbox.backend.attachments.get(message["attachments"][0]["id"])
        assert record is not None
        signed = sandbox.backend.attachments.present(record)["url"]
        async with http.get(signed) as answer:
            assert await answer.read() == b"<script>alert(1)</script>"
            assert answer.headers["Content-Type"] == "application/octet-stream"
            assert answer.headers["Content-Disposition"].startswith("attachment")
            assert "sandbox" in answer.headers["Content-Security-Policy"]
        async with http.get(signed[:-1] + ("0" if signed[-1] != "0" else "1")) as answer:
            assert answer.status == 403


async def test_what_is_too_large_is_refused(sandbox: Sandbox) -> None:
    async with Person.join(sandbox, "writer") as wren, RawBot.of(sandbox) as bot:
        with pytest.raises(RefusedToPersonError) as refused:
            await wren.say("", File("a.bin", b"x" * (MAX_FILE_BYTES + 1)))
        assert refused.value.status == 413
        answer = await bot.form("POST", f"/channels/{wren.channel_id}/messages", {}, big=b"x" * (MAX_FILE_BYTES + 1))
        assert (answer.status, answer.body["code"]) == (413, 40005)
        assert await wren.messages() == []


async def test_nobody_acts_as_the_bot_or_a_stranger(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    for user_id in (sandbox.world.bot_id, "42"):
        async with http.get(f"{sandbox.page_url}ui/state?as={user_id}") as answer:
            assert answer.status == 403


async def test_a_page_that_reads_too_slowly_is_dropped(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    """Nothing is awaited between the sends: the queue fills as it would for a page that stands still."""
    writer = sandbox.world.data.parts["writer"]
    socket = await http.ws_connect(f"{sandbox.page_url}ui/socket?as={writer}")
    async with Person.join(sandbox, "writer") as wren:
        await wren.say("both are connected")
        await socket.receive(timeout=WAIT_S)
        for number in range(600):
            sandbox.backend.pages.send(writer, "TYPING_START", {"number": number})
        message = await socket.receive(timeout=WAIT_S)
        while message.type is aiohttp.WSMsgType.TEXT:
            message = await socket.receive(timeout=WAIT_S)
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE)
    await socket.close()
