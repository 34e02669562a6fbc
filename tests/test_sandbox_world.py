"""The sandbox's world on disk and in bounds: kept, set aside when unreadable, never growing without end."""

import asyncio
import io
import json
import logging
from pathlib import Path

import pytest
from PIL import Image

from bot.sandbox import Sandbox, SandboxError, SandboxPortTakenError
from bot.sandbox.attachments import image_size, safe_filename
from bot.sandbox.limits import KEPT_LOOSE_ATTACHMENTS, KEPT_MESSAGES, KEPT_THREADS
from bot.sandbox.message_form import MessageForm
from bot.sandbox.wire import Snowflakes, Upload, snowflake_time
from tests.disks import small_disk
from tests.sandbox_client import Person


def found(directory: Path, pattern: str) -> list[Path]:
    return list(directory.glob(pattern))


async def test_a_taken_port_is_said_in_one_sentence(tmp_path: Path) -> None:
    async with Sandbox(tmp_path / "one") as first:
        with pytest.raises(SandboxPortTakenError, match=f"Port {first.port} is taken by another program"):
            await Sandbox(tmp_path / "two", port=first.port).start()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format": 1}', b"\x00" * 100, b'{"format": 99}'], ids=range(6)
)
async def test_an_unreadable_world_is_set_aside_and_a_new_one_begins(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "world.json").write_bytes(content)
    with caplog.at_level(logging.ERROR):
        async with Sandbox(tmp_path) as sandbox:
            assert len(sandbox.world.text_channels()) == 4
    aside = found(tmp_path, "world.json.unreadable-*")
    assert [path.read_bytes() for path in aside] == [content]
    assert "set aside" in caplog.text
    assert json.loads((tmp_path / "world.json").read_bytes())["format"] == 1


async def test_a_truncated_world_is_set_aside(tmp_path: Path) -> None:
    async with Sandbox(tmp_path) as sandbox:
        capability = sandbox.world.data.capability
    whole = (tmp_path / "world.json").read_bytes()
    (tmp_path / "world.json").write_bytes(whole[: len(whole) // 2])
    async with Sandbox(tmp_path) as sandbox:
        assert sandbox.world.data.capability != capability


async def test_a_world_is_written_soon_and_whole_while_it_runs(tmp_path: Path) -> None:
    """What a kill -9 a moment later would leave behind."""
    async with Sandbox(tmp_path) as sandbox, Person.join(sandbox, "writer") as wren:
        await wren.say("kept")
        async with asyncio.timeout(60):
            while "kept" not in (tmp_path / "world.json").read_text():
                await asyncio.sleep(0.02)
        assert json.loads((tmp_path / "world.json").read_text())["messages"]
        assert (tmp_path / "world.json").stat().st_mode & 0o077 == 0  # it holds the token


async def test_a_directory_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SandboxError, match="can't be"):
        await Sandbox(tmp_path / "file" / "below").start()


async def test_a_full_disk_is_logged_and_the_sandbox_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Sandbox(tmp_path) as sandbox, Person.join(sandbox, "writer") as wren:

        def full(self: Path, target: Path) -> Path:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        await wren.say("unkept")
        async with asyncio.timeout(60):
            while "is full: free some space. The sandbox goes on" not in caplog.text:
                await asyncio.sleep(0.02)
        assert [message["content"] for message in await wren.messages()] == ["unkept"]
        assert found(tmp_path, "*.new") == []
        monkeypatch.undo()
        await wren.say("kept")
    assert "unkept" in (tmp_path / "world.json").read_text()


async def test_only_the_newest_messages_threads_and_loose_files_stay(tmp_path: Path) -> None:
    async with Sandbox(tmp_path) as sandbox:
        backend, world = sandbox.backend, sandbox.world
        channel = world.text_channels()[0]
        upload = ((Upload(filename="a", content=b"x"), None),)
        first = backend.messages.create(world.bot_id, channel, MessageForm(content="first", uploads=upload))
        for number in range(KEPT_MESSAGES):
            backend.messages.create(world.bot_id, channel, MessageForm(content=str(number)))
        kept = list(world.history(channel["id"]))
        assert (len(kept), kept[0]["content"], kept[-1]["content"]) == (KEPT_MESSAGES, str(KEPT_MESSAGES - 1), "0")
        assert not backend.attachments.path(first["attachment_ids"][0]).exists()
        for number in range(KEPT_THREADS + 1):
            backend.channels.start_thread(world.bot_id, channel, {"name": str(number), "type": 11})
        assert [thread["name"] for thread in world.threads()] == [str(number) for number in range(1, KEPT_THREADS + 1)]
        for _ in range(KEPT_LOOSE_ATTACHMENTS + 1):
            backend.attachments.add(channel["id"], Upload(filename="a", content=b"x"), loose=True)
        assert len(list((tmp_path / "attachments").iterdir())) == KEPT_LOOSE_ATTACHMENTS


async def test_the_token_is_random_and_looks_like_no_real_one(tmp_path: Path) -> None:
    tokens = set()
    for name in ("one", "two"):
        async with Sandbox(tmp_path / name) as sandbox:
            tokens.add(sandbox.bot_token)
            assert sandbox.bot_token.startswith("sandbox-")
            assert sandbox.bot_token not in repr(vars(sandbox))
    assert len(tokens) == 2


def test_ids_grow_even_within_a_millisecond_and_carry_their_time() -> None:
    ids = Snowflakes()
    made = [int(ids.next()) for _ in range(10_000)]
    assert made == sorted(set(made))
    assert abs((snowflake_time(str(made[0])) - snowflake_time(str(made[-1]))).total_seconds()) < 5
    assert int(Snowflakes(last=2**62).next()) == 2**62 + 1  # a clock set back


@pytest.mark.parametrize(
    ("name", "safe"),
    [("a b.png", "a_b.png"), ("../../etc/passwd", "_.._etc_passwd"), ("你好.txt", "_.txt"), ("...", "file")],
)
def test_a_filename_becomes_safe(name: str, safe: str) -> None:
    assert safe_filename(name) == safe


def test_the_size_of_a_picture_is_read_from_its_header() -> None:
    for kind in ("PNG", "GIF", "JPEG"):
        file = io.BytesIO()
        Image.new("RGB", (31, 17)).save(file, kind)
        assert image_size(file.getvalue()) == (31, 17)
    assert image_size(b"\xff\xd8\xff") is None
    assert image_size(b"no picture") is None


async def test_a_disk_that_is_full_at_the_start_is_a_sentence() -> None:
    with small_disk(mebibytes=1) as disk:
        (disk / "ballast").write_bytes(b"x" * 1024 * 1024)
        with pytest.raises(SandboxError, match=rf"^The disk that holds {disk}/world.json is full: free some space\.$"):
            await Sandbox(disk).start()
