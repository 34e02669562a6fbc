"""A training run as a process of its own, `python -m models.training.train_process`. Knows no Discord and no database.

Standard input: a `RunRequest` as a line of JSON, then (without `resume`) a record a line, then its end. Standard
output: an `Event` a line, the last one `RunEnded` or `RunFailed`. The exit status is 0 after `RunEnded`.

SIGTERM or SIGINT cancels at the next step, with everything removed. Where the one who listens is gone, or after a kill,
the run's folder stays and the same request with `resume` goes on; that one must have seen `Counted` before, for only
then all records had been sent.
"""

import argparse
import contextlib
import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Final

import msgspec

from models.serving.training import Event, Record, RunEnded, RunFailed, RunRequest

log = logging.getLogger(__name__)

NICENESS: Final = 10
MAX_LINE_BYTES: Final = 32 * 2**20  # a picture of 16 MiB in base64, and then some
_LISTEN_S: Final = 0.2  # how often a run that waits for a record looks whether it was cancelled
_CHUNK_BYTES: Final = 1 << 18


class MalformedInputError(Exception):
    """Whoever started the run does not speak its language. The message repeats nothing of what was sent."""


class Signals:
    """Whether somebody asked this process to stop. A second SIGTERM or SIGINT does no more than the first."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True

    def __call__(self) -> bool:
        return self._asked


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--niceness", type=int, default=NICENESS, help="whoever waits for a story comes first")
    niceness = parser.parse_args().niceness
    os.umask(0o077)
    cancelled = Signals()
    give_way(niceness)
    os.putenv("OMP_WAIT_POLICY", "passive")  # threads that spin while they wait cost others what they don't gain
    out = _events_only()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")

    from models.training.run_errors import RunCancelledError, RunError, UnheardError

    def tell(event: Event) -> None:
        try:
            out.write(msgspec.json.encode(event) + b"\n")
            out.flush()
        except OSError as error:
            raise UnheardError from error

    try:
        try:
            from models.training.train import carry_out

            lines = _lines(sys.stdin.fileno(), cancelled)
            request = _request(lines)
            carry_out(request, _records(lines), tell, cancelled)
        except RunCancelledError:
            tell(RunFailed(reason="The run was cancelled.", cancelled=True))
            return 1
        except (RunError, MalformedInputError) as error:
            log.exception("the run failed")
            tell(RunFailed(reason=str(error)))
            return 1
        except UnheardError:
            raise
        except Exception as error:
            log.exception("the run failed")
            tell(RunFailed(reason=sentence(error)))
            return 1
        tell(RunEnded())
    except UnheardError:
        log.warning("nobody listens any more: what was made stays, to be resumed")
        return 1
    return 0


def sentence(error: Exception) -> str:
    """For the admin; the log has the cause, in which words of the training text may stand."""
    if isinstance(error, MemoryError) or "alloc" in str(error) or type(error).__name__ == "OutOfMemoryError":
        return "There is not enough memory for this: use a smaller batch or shorter windows."
    if isinstance(error, FloatingPointError):
        return "Training ran away (the loss is no number any more): use a lower learning rate."
    return f"Something inside went wrong ({type(error).__name__}): the log has the details."


def give_way(niceness: int) -> None:
    """Niceness alone has no effect between sessions where the kernel groups processes by session; the group's own
    niceness has."""
    os.nice(niceness)
    if os.getsid(0) == os.getpid():  # else it is the session of whoever started us
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(niceness))


def _events_only() -> BinaryIO:
    """What was standard output; from now on libraries that print do so into the log."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def _request(lines: Iterator[bytes]) -> RunRequest:
    line = next(lines, None)
    if line is None:
        raise MalformedInputError("Nothing was asked: the first line must be a request.")
    try:
        return msgspec.json.decode(line, type=RunRequest)
    except msgspec.MsgspecError as error:
        log.warning("a line that is no request: %s", error)
        raise MalformedInputError("The first line is no request of this version of Inkwell.") from None


def _records(lines: Iterator[bytes]) -> Iterator[Record]:
    decoder = msgspec.json.Decoder(Record)
    for number, line in enumerate(lines, 2):
        try:
            yield decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise MalformedInputError(f"Line {number} is no record of this version of Inkwell.") from None


def _lines(descriptor: int, cancelled: Callable[[], bool]) -> Iterator[bytes]:
    """Whole lines without their ends. Raises RunCancelledError; MalformedInputError for a line that is too long or
    that ends nowhere."""
    from models.training.run_errors import RunCancelledError

    rest = b""
    while True:
        if cancelled():
            raise RunCancelledError
        if not select.select([descriptor], [], [], _LISTEN_S)[0]:
            continue
        chunk = os.read(descriptor, _CHUNK_BYTES)
        if not chunk:
            break
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line)
        if len(rest) > MAX_LINE_BYTES:
            raise MalformedInputError(f"A line has more than {MAX_LINE_BYTES:,} bytes.")
    if rest:
        raise MalformedInputError("The last line was cut short.")


if __name__ == "__main__":
    sys.exit(main())
