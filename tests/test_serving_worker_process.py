"""The worker process itself: its parent's death, Ctrl-C, and garbage in either direction."""

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.serving import wire
from models.serving.worker_process import WorkerProcess
from tests.serving_reader import CONFIG, Leaks

ROOT = Path(__file__).parents[1]
CONFIGURE = wire.Configure(config=CONFIG, factory="tests.bigram_model:load")
PARENT = """
import asyncio
from tests.serving_reader import CONFIG, ask
from models.serving.local_engine import LocalEngine

async def main():
    engine = LocalEngine([CONFIG], factory="tests.bigram_model:load_slow")
    await engine.start()
    await engine.submit(ask("r", max_new_tokens=2048))
    print((await engine.health()).workers[0].pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def ends(pid_descriptor: int, seconds: float = 60.0) -> bool:
    """Whether the process behind a pidfd ends within `seconds`."""
    poller = select.poll()
    poller.register(pid_descriptor, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


def test_a_worker_whose_parent_is_killed_ends_even_while_it_generates():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        assert not ends(worker, 0.0)
        parent.kill()
        assert ends(worker)
        os.close(worker)


class RawWorker:
    """A worker process with the bare socket on our side."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(60)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "models.serving.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        theirs.close()
        self._frames = wire.FrameSplitter()

    def receive_until(self, kind: type) -> wire.FromWorker:
        while True:
            data = self.socket.recv(65536)
            assert data, "the worker has gone"
            for body in self._frames.feed(data):
                message = wire.decode_from_worker(body)
                if isinstance(message, kind):
                    return message

    def __enter__(self) -> "RawWorker":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.process.kill()
        self.process.communicate()


def test_a_worker_ignores_ctrl_c_and_ends_with_its_parents_socket():
    with RawWorker() as worker:
        worker.socket.sendall(wire.encode(CONFIGURE))
        worker.receive_until(wire.Ready)
        worker.process.send_signal(signal.SIGINT)
        worker.socket.sendall(wire.encode(wire.Ping()))
        worker.receive_until(wire.Pong)
        worker.socket.close()
        assert worker.process.wait(60) == 0


def test_a_worker_that_still_loads_answers_pings_and_ends_with_its_parent():
    with RawWorker() as worker:
        worker.socket.sendall(wire.encode(wire.Configure(config=CONFIG, factory="tests.bigram_model:load_never")))
        worker.socket.sendall(wire.encode(wire.Ping()))
        assert worker.receive_until(wire.Pong).stats.resident_bytes > 0
        worker.socket.close()
        assert worker.process.wait(60) == 0


def test_a_shutdown_ends_a_worker_cleanly():
    with RawWorker() as worker:
        worker.socket.sendall(wire.encode(CONFIGURE))
        worker.receive_until(wire.Ready)
        worker.socket.sendall(wire.encode(wire.Shutdown()))
        assert worker.process.wait(60) == 0


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x00\x00\x05hello",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 64,
        wire.encode(wire.Ping()),
        wire.encode(CONFIGURE) * 2,
        wire.encode(CONFIGURE) + b"\x00\x00\x00\x01\xc1",
    ],
)
def test_garbage_ends_a_worker_with_one_sentence(garbage):
    with RawWorker() as worker:
        worker.socket.sendall(garbage)
        assert worker.process.wait(60) == 2
        lines = worker.process.stderr.read().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("inkwell worker: ")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=64), max_size=8))
def test_garbage_from_a_worker_never_hangs_or_escapes(pieces):
    """Whatever arrives is a message, or the connection is over; the rest of the stream is not looked at."""

    async def receive() -> None:
        heard: list[wire.FromWorker] = []
        protocol = WorkerProcess(heard.append, wire.decode_from_worker)
        left, right = socket.socketpair()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_unix_connection(lambda: protocol, sock=left)
        right.setblocking(False)
        for piece in pieces:
            if transport.is_closing():
                break
            await loop.sock_sendall(right, piece)
        right.close()
        async with asyncio.timeout(60):
            await protocol._disconnected

    asyncio.run(receive())


async def test_a_process_that_closes_its_socket_and_lives_on_is_killed():
    leaks = Leaks()
    heard: list[wire.FromWorker] = []
    deaf = "import os, sys, threading; os.close(int(sys.argv[1])); threading.Event().wait()"
    process = await WorkerProcess.spawn(heard.append, wire.decode_from_worker, program=[sys.executable, "-c", deaf])
    async with asyncio.timeout(60):
        assert await process.ended == "the worker closed its connection"
    await leaks.none_remain()


async def test_what_a_library_prints_is_logged(caplog):
    caplog.set_level("INFO")
    process = await WorkerProcess.spawn(lambda message: None, wire.decode_from_worker)
    process.send(wire.Configure(config=CONFIG, factory="tests.bigram_model:load_loud"))
    async with asyncio.timeout(60):
        await process.ended
    assert "printed: to standard output" in caplog.text
    assert "printed: to standard error" in caplog.text
