"""`inkwell status` and the socket behind it: what is said when all is well, and when nobody answers."""

import asyncio
import io
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from PIL import Image
from rich.console import Console

from bot.control import NAME, NotRunningError, ask, listening
from bot.status import Status, Waiting, by_guild, duration
from bot.status_history import SPAN_S, History, Moment, draw
from bot.status_table import report, tables
from models.serving.requests import Health, WorkerHealth
from models.serving.short_requests import ShortHealth
from tests.serving_reader import Leaks

WorkerState = Literal["starting", "ready", "restarting", "failed", "stopped"]
STATUS = Status(
    inkwell="1.2",
    discord="connected",
    guilds=3,
    uptime_s=3_725.0,
    bot_resident_bytes=100 * 2**20,
    health=Health(
        ready=True,
        workers=(
            WorkerHealth(
                state="ready", pid=77, model_version="m@12345678", slots=4, running=3, resident_bytes=2**28, uptime_s=60
            ),
            WorkerHealth(state="failed", slots=4, restarts=6, error="the worker was ended by SIGKILL"),
        ),
        queued=7,
        running=3,
        tokens_per_s=41.25,
        first_token_p50_s=0.31,
        first_token_p95_s=2.5,
        served=120,
        failed=2,
    ),
    waiting=(Waiting(guild_id=7, name="[bold]The Inkwell", requests=5), Waiting(requests=2)),
    short=ShortHealth(
        state="ready",
        pid=78,
        models=("moods@3b1f09d2", "portraits@[bold]"),
        waiting=3,
        running=32,
        restarts=1,
        resident_bytes=50 * 2**20,
        answered=900,
        failed=4,
        dropped=17,
        error="the worker was ended by SIGSEGV",
    ),
)


def printed(status: Status) -> str:
    paper = Console(file=io.StringIO(), width=110, highlight=False)
    for table in tables(status):
        paper.print(table)
    text: str = paper.file.getvalue()  # type: ignore[attr-defined]
    return text


async def answer() -> bytes:
    return msgspec.json.encode(STATUS)


def told(data_dir: Path, **options: bool) -> int:
    return report(data_dir, **{"as_json": False} | options)


def test_the_table_says_everything_an_operator_asks_for() -> None:
    text = printed(STATUS)
    for words in (
        "ready, Discord connected, servers 3, up 1 h 2 min",
        "7 waiting, 3 running of 4 at once",
        "41.2 tokens/s",
        "p50 0.31 s, p95 2.50 s",
        "120, failed 2, worker restarts 6",
        "workers 306 MiB, bot 100 MiB",
        "ready, pid 78, restarts 1",
        "moods@3b1f09d2, portraits@[bold]",
        "3 waiting, 32 running",
        "900, failed 4, background work dropped 17",
        "50 MiB",
        "ended by SIGSEGV",
        "m@12345678",
        "ended by SIGKILL",
        "direct messages and elsewhere",
    ):
        assert words in text, text


def test_versions_trained_here_are_shown_with_the_reason_why_one_does_not_answer() -> None:
    assert "Trained here" not in printed(STATUS)
    text = printed(
        msgspec.structs.replace(STATUS, champions={"gpt": "20261130-1"}, passed_over={"story": "It is [bold]damaged."})
    )
    assert "20261130-1" in text
    assert "what is shipped answers: It is [bold]damaged." in text


def test_a_servers_name_is_text_and_never_markup() -> None:
    assert "[bold]The Inkwell" in printed(STATUS)


async def test_the_command_prints_what_the_running_inkwell_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leaks = Leaks()
    async with listening(tmp_path, {"status": answer}):
        assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
        assert await asyncio.to_thread(told, tmp_path) == 0
        assert "41.2 tokens/s" in capsys.readouterr().out
        assert await asyncio.to_thread(told, tmp_path, as_json=True) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=Status) == STATUS
    assert not (tmp_path / NAME).exists()
    await leaks.none_remain()


async def test_a_folder_with_a_very_long_name_works_as_well(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    async with listening(deep, {"status": answer}):
        assert await ask(deep, "status") == await answer()
    assert not (deep / NAME).exists()


async def test_a_socket_left_by_a_kill_is_replaced_and_tells_nobody_that_it_runs(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / NAME))
    with pytest.raises(NotRunningError, match="is not running on"):
        await ask(tmp_path, "status")
    async with listening(tmp_path, {"status": answer}):
        assert await ask(tmp_path, "status") == await answer()


@pytest.mark.parametrize("folder", ["", "no such folder"])
def test_without_a_running_inkwell_one_sentence_says_so(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(tmp_path / folder) == 1
    said = capsys.readouterr().err
    assert said.startswith("Inkwell is not running on ")
    assert said.count("\n") == 1
    assert "`inkwell run`" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every socket")
async def test_another_user_is_told_why_nothing_is_shown(tmp_path: Path) -> None:
    async with listening(tmp_path, {"status": answer}):
        (tmp_path / NAME).chmod(0)
        with pytest.raises(NotRunningError, match="Only the user who runs"):
            await ask(tmp_path, "status")


async def _silent() -> bytes:
    await asyncio.Event().wait()
    return b""


async def _timed_out() -> bytes:
    raise TimeoutError


async def _of_another_version() -> bytes:
    return b'{"health": 7}'


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [(_silent, "did not answer within"), (_timed_out, "gives no status"), (_of_another_version, "another version")],
)
async def test_an_inkwell_that_does_not_tell_is_a_sentence(
    behaviour: Callable[[], Awaitable[bytes]],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if behaviour is _silent:  # the others do answer, in whatever time a busy machine takes
        monkeypatch.setattr("bot.control._ANSWER_S", 0.3)
    async with listening(tmp_path, {"status": behaviour}):
        assert await asyncio.to_thread(told, tmp_path) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("ready", "states", "said"),
    [
        (True, ("ready", "failed"), "ready"),
        (False, ("starting",), "loading"),
        (False, ("failed", "restarting"), "loading"),
        (False, ("failed",), "down"),
        (False, (), "down"),
    ],
)
def test_a_model_that_is_on_its_way_is_not_called_down(ready: bool, states: tuple[WorkerState, ...], said: str) -> None:
    workers = tuple(WorkerHealth(state=state) for state in states)
    status = msgspec.structs.replace(STATUS, health=Health(ready=ready, workers=workers))
    assert status.state == said
    assert "MiB" in printed(status)


def test_the_queue_is_counted_by_server_and_strangers_together() -> None:
    waiting = by_guild({"7": 2, "8": 9, "123": 1, "": 3, "x": 1}, {7: "Here", 8: "There"})
    assert waiting == (
        Waiting(guild_id=8, name="There", requests=9),
        Waiting(requests=5),
        Waiting(guild_id=7, name="Here", requests=2),
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (0.4, "0 s"), (61, "1 min 1 s"), (3_600, "1 h"), (90_061, "1 d 1 h"), (8_640_000, "100 d")],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


class Counting:
    """An engine of which only the health is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def health(self) -> Health:
        self.asked += 1
        if self.asked == 3:
            raise RuntimeError("not now")
        return Health(ready=True, tokens_per_s=float(self.asked), queued=self.asked % 4)


async def test_the_history_keeps_half_an_hour_and_survives_an_engine_that_fails() -> None:
    now = 0.0
    history = History(Counting(), clock=lambda: now)  # type: ignore[arg-type]
    assert await history.picture() is None
    for _ in range(400):
        await history.look()
        now += 15
    moments = history.moments
    assert len(moments) == 121
    assert moments[-1].at - moments[0].at == SPAN_S
    picture = await history.picture()
    assert picture is not None
    assert Image.open(io.BytesIO(picture)).format == "PNG"
    assert len(picture) < 60_000


@pytest.mark.parametrize("values", [[0.0] * 9, [5e9] * 9, [0.001, *[0.0] * 7, 30.0]])
def test_a_picture_is_drawn_of_any_numbers(values: list[float]) -> None:
    moments = [
        Moment(at=float(place), tokens_per_s=value, queued=int(value), running=1) for place, value in enumerate(values)
    ]
    for now in (8.0, 1e9):
        assert Image.open(io.BytesIO(draw(moments, now))).size == (640, 220)
