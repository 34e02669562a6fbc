"""Training runs as real processes, as the bot starts them: what to send, what they say, and how to kill one. Knows no
family."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from models.serving.training import Event, Record, RunRequest

ROOT = Path(__file__).parents[1]
KEY = "5a" * 32
MAIN = "from models.training.train_process import main; sys.exit(main())"
STAND_STILL = """
import os, signal
from models.training.train import Announcer
tell = Announcer.__call__
def tell_and_stand_still(announcer, event):
    tell(announcer, event)
    if {!r} in (type(event).__name__, getattr(event, "stage", "")):
        os.kill(os.getpid(), signal.SIGSTOP)
Announcer.__call__ = tell_and_stand_still
"""


class Training:
    """One running process. `events` gives what it says until it ends; all that was said is in `said`."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.said: list[Event] = []

    def send(self, *lines: bytes) -> None:
        assert self.process.stdin is not None
        for line in lines:
            self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def events(self) -> Iterator[Event]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(msgspec.json.decode(line, type=Event))
            yield self.said[-1]

    def until(self, wanted: Callable[[Event], bool]) -> Event:
        for event in self.events():
            if wanted(event):
                return event
        raise AssertionError(f"it ended before that: {self.said}")

    def until_it_stands_still(self) -> None:
        """Where it was told to, by `stand_still`; what it says until then is not read."""
        seen = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert seen is not None
        assert seen.si_code == os.CLD_STOPPED, "it ended before that"

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def cancel(self) -> None:
        os.kill(self.process.pid, signal.SIGTERM)

    def rest(self) -> list[Event]:
        """What it says from here to its end."""
        before = len(self.said)
        for _ in self.events():
            pass
        self.process.wait(timeout=60)
        return self.said[before:]


def stand_still(moment: str) -> str:
    """For `before`: the run stops itself once it has told of `moment`, a stage or the kind of an event. So it has done
    no more when it is killed, however busy the machine is."""
    return STAND_STILL.format(moment)


@contextmanager
def training(*, before: str = "", program: str = MAIN) -> Iterator[Training]:
    """A process that waits for its request. `before` is Python to be run in it first."""
    command = [sys.executable, "-c", f"import sys\n{before}\n{program}", "--niceness", "0"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        running = Training(process)
        try:
            yield running
        finally:
            if process.poll() is None:
                running.kill()


@contextmanager
def started(request: RunRequest, records: Iterable[Record] = (), *, before: str = "") -> Iterator[Training]:
    """A run that was asked for and has got all its records."""
    with training(before=before) as running:
        running.send(msgspec.json.encode(request), *(msgspec.json.encode(record) for record in records))
        running.close()
        yield running


def outcome(request: RunRequest, records: Iterable[Record] = (), *, before: str = "") -> list[Event]:
    """All that a run says from its beginning to its end."""
    with started(request, records, before=before) as running:
        return running.rest()


def left_by_runs(data_dir: Path) -> list[str]:
    """What lies in DATA_DIR/training beside its lock."""
    return sorted(path.name for path in (data_dir / "training").glob("*"))
