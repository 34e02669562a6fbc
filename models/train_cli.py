"""`inkwell train …`: a training run on text files of the operator's own, with a bar in the terminal. Knows no Discord
and no database.

The run is a process of its own (models.training.train_process). Ctrl-C cancels it at its next step, and then nothing of
it is left.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from models.language.known_models import DEFAULT_SPEC
from models.serving.training import (
    FAMILIES,
    Began,
    Counted,
    Event,
    Family,
    Judged,
    Paired,
    Progressed,
    Record,
    RunEnded,
    RunFailed,
    RunOptions,
    RunRequest,
    Skipped,
)

train = typer.Typer(
    name="train",
    help="Let the models learn from text files of your own, judge what came of it, and put it to use.",
    no_args_is_help=True,
    add_completion=False,
)

OF_TEXT: Final[tuple[Family, ...]] = ("story", "gpt", "ngram")
_STAGES: Final = {
    "snapshot": "reading and cleaning",
    "train": "learning",
    "evaluate": "being judged",
    "register": "being kept",
}
_EVERY: Final = 10  # a line for each so many steps, where there is no terminal to draw a bar on


@train.callback()
def _group() -> None:
    """A group, though it has one command: `inkwell train run`."""


@train.command()
def run(
    text: Annotated[
        Path,
        typer.Option(
            "--text",
            help="A folder of .txt files in UTF-8; a folder in it is one author.",
            exists=True,
            file_okay=False,
        ),
    ],
    families: Annotated[
        list[str] | None, typer.Option("--family", help="story, gpt or ngram; repeat it. All of them when left out.")
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Let what the gate accepts answer, in a running Inkwell at once.")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, max=100_000)] = RunOptions().steps,
    rank: Annotated[int, typer.Option(min=1, max=64, help="Of the adapter.")] = RunOptions().rank,
    rate: Annotated[float, typer.Option(min=1e-7, max=0.1, help="Peak learning rate.")] = RunOptions().rate,
    batch: Annotated[int, typer.Option(min=1, max=64, help="Windows a step.")] = RunOptions().batch,
    length: Annotated[int, typer.Option(min=64, max=4096, help="Tokens a window.")] = RunOptions().length,
    replay: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of windows from the base text, against forgetting.")
    ] = RunOptions().replay,
    seed: Annotated[int, typer.Option(min=0)] = RunOptions().seed,
    threads: Annotated[int, typer.Option(min=0, max=256, help="CPU threads; 0 for all cores.")] = 0,
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Inkwell's DATA_DIR.")] = Path("data"),
    model: Annotated[str, typer.Option(help="The story model (STORY_MODEL).")] = DEFAULT_SPEC,
    adapter: Annotated[str, typer.Option(help="What its training begins with (STORY_ADAPTER).")] = "default",
    told: Annotated[
        Path | None, typer.Option("--told", hidden=True, help="Write what is to be promoted there instead.")
    ] = None,
) -> None:
    """Train on text files, and keep what came of it as versions. They must be yours to use: nothing here asks for
    anybody's consent. Exit status 1 when the run failed or the gate accepted nothing."""
    from models.training.text_records import UnreadableTextError, check, records_of

    try:
        check(text)
    except UnreadableTextError as error:
        raise typer.BadParameter(str(error)) from error
    request = RunRequest(
        run=f"cli-{secrets.token_hex(6)}",
        families=tuple(_families(families)),
        data_dir=str(data_dir.absolute()),
        model=model,
        adapter=adapter,
        key=secrets.token_hex(32),  # of this run alone: what a crash leaves can't be read
        options=RunOptions(
            seed=seed, steps=steps, rank=rank, rate=rate, batch=batch, length=length, replay=replay, threads=threads
        ),
    )
    console = Console(highlight=False)
    judged, failed = _follow(request, records_of(text), console)
    if failed is not None:
        console.print(failed)
        raise typer.Exit(1)
    accepted = [each for each in judged if each.accepted]
    if promote and told is not None:
        told.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in accepted))
    elif promote:
        _promote(data_dir, accepted, console)
    else:
        for each in accepted:
            console.print(f"To let it answer: inkwell versions promote {each.family} {each.version}")
    raise typer.Exit(0 if accepted else 1)


def _families(names: list[str] | None) -> Iterator[Family]:
    known: dict[str, Family] = {name: name for name in OF_TEXT}
    for name in dict.fromkeys(names or OF_TEXT):
        if name not in known:
            other = (
                " Moods and portraits learn from what members give, not from text files." if name in FAMILIES else ""
            )
            raise typer.BadParameter(f"there is no family {name} for text; there are {', '.join(OF_TEXT)}.{other}")
        yield known[name]


def _follow(request: RunRequest, records: Iterable[Record], console: Console) -> tuple[list[Judged], str | None]:
    """Run it and show how it goes: what was judged, and the sentence with which it failed."""
    root = str(Path(__file__).parents[1])  # ours is the code, wherever it is called from
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); "
        "from models.training.train_process import main; sys.exit(main())"
    )
    judged: list[Judged] = []
    failed: str | None = "The training process ended without a word."
    with (
        subprocess.Popen(  # noqa: S603 our own code
            [sys.executable, "-c", program, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us, who pass it on
        ) as process,
        _interruptible(process),
        _bar(console) as bar,
    ):
        assert process.stdout is not None
        feeding = threading.Thread(target=_feed, args=(process, request, records), daemon=True)
        feeding.start()
        for line in process.stdout:
            event = msgspec.json.decode(line, type=Event)
            match event:
                case Judged():
                    judged.append(event)
                case RunFailed(reason=reason):
                    failed = reason
                case RunEnded():
                    failed = None
                case _:
                    pass
            bar.show(event)
    return judged, failed


def _feed(process: "subprocess.Popen[bytes]", request: RunRequest, records: Iterable[Record]) -> None:
    assert process.stdin is not None
    encoder = msgspec.json.Encoder()
    try:
        process.stdin.write(encoder.encode(request) + b"\n")
        for record in records:
            process.stdin.write(encoder.encode(record) + b"\n")
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended early: its last event says why
    except BaseException:
        process.kill()  # or it would learn from a part, or wait for ever
        raise


@contextlib.contextmanager
def _interruptible(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Ctrl-C asks the run to stop, and what it says then still comes; a second one ends it at once."""
    asked = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL if asked else signal.SIGTERM)
        asked = True

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Bar:
    """A bar for each family, or lines where there is no terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, event: Event) -> None:
        say = self._progress.console.print
        match event:
            case Began(stage=stage, family=family):
                self._describe(family or "texts", _STAGES[stage])
            case Counted():
                say(
                    f"passages: {event.kept:,}, authors: {event.authors:,}, characters: {event.characters:,}; "
                    f"passages held out to judge by: {event.held_out:,}"
                )
                for reason, count in sorted(event.dropped.items()):
                    say(f"  left out: {count:,} ({reason})")
            case Progressed():
                seconds = int(event.left_s)
                words = (
                    f"loss {event.loss:.3f}, {event.tokens_per_s:,.0f} tokens/s, "
                    f"{seconds // 60}:{seconds % 60:02d} left"
                )
                self._describe(event.family, words, step=event.step, steps=event.steps)
                if self._progress.disable and event.step % _EVERY == 0:
                    say(f"{event.family}: step {event.step} of {event.steps}, {words}")
            case Judged():
                say(f"{event.family}: version {event.version} {'accepted' if event.accepted else 'not accepted'}")
                for check in event.checks:
                    before = "" if check.before is None else f", before {check.before:.4g}"
                    say(
                        f"  {'passed' if check.passed else 'FAILED'} {check.name}: {check.value:.4g} "
                        f"(limit {check.limit:.4g}{before})"
                    )
            case Skipped():
                say(f"{event.family}: {event.reason}")
            case Paired() | RunFailed() | RunEnded():
                pass

    def _describe(self, name: str, words: str, *, step: int | None = None, steps: int | None = None) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=None)
        self._progress.update(self._tasks[name], description=f"{name}: {words}", completed=step, total=steps)


@contextlib.contextmanager
def _bar(console: Console) -> Iterator[_Bar]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield _Bar(progress)


def _promote(data_dir: Path, accepted: list[Judged], console: Console) -> None:
    from models.training.registry import Registry, RegistryError

    registry = Registry(data_dir / "versions")
    for each in accepted:
        try:
            registry.promote(each.family, each.version, by="operator", reason="inkwell train run --promote")
        except RegistryError as error:
            console.print(str(error))
            raise typer.Exit(1) from error
        console.print(f"{each.family}: version {each.version} is the champion now.")


def main() -> None:
    """`inkwell train`."""
    train(prog_name="inkwell train")


if __name__ == "__main__":
    main()
