"""Shows how far a fetch is: a bar on a terminal, now and then a line elsewhere. Knows nothing of what is fetched."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TransferSpeedColumn
from rich.progress import Progress as RichProgress

_LINE_EVERY_S = 5.0

Report = Callable[[str, int, int | None], None]
Say = Callable[[str], None]


@contextmanager
def console_progress(stream: TextIO | None = None) -> Iterator[tuple[Report, Say]]:
    """Two functions: one that takes (what, bytes done, bytes in all or None), one that prints a sentence."""
    stream = stream or sys.stderr
    if stream.isatty():
        console = Console(file=stream)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with RichProgress(*columns, console=console, transient=True) as bars:
            yield _Bars(bars), lambda sentence: console.print(sentence, highlight=False, soft_wrap=True)
    else:
        lines = _Lines(stream)
        yield lines, lines.say


class _Bars:
    """One bar for each thing that is done."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done, total=total)


class _Lines:
    """A line when something new is done, and one every few seconds while it goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._what, self._next_line = "", 0.0

    def __call__(self, what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if what == self._what and now < self._next_line:
            return
        self._what, self._next_line = what, now + _LINE_EVERY_S
        if total:
            self.say(f"{what}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")
        else:
            self.say(f"{what}: {done / 1e6:,.0f} MB" if done else f"{what} …")

    def say(self, sentence: str) -> None:
        self._stream.write(f"{sentence}\n")
        self._stream.flush()
