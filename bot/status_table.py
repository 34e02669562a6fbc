"""`inkwell status`: asks the running Inkwell and prints what it says. Knows no engine."""

import asyncio
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bot.control import NotRunningError, ask
from bot.status import Status, Waiting, duration, mebibytes
from models.serving.requests import WorkerHealth
from models.serving.short_requests import ShortHealth

ANSWERED, SILENT = 0, 1
_COLOURS = {
    "ready": "green",
    "asleep": "dim",
    "starting": "yellow",
    "restarting": "yellow",
    "failed": "red",
    "stopped": "red",
}
_STATES = {
    "ready": "[green]ready[/]",
    "loading": "[yellow]loading the model[/]",
    "down": "[red]no model answers[/]",
}
_UNKNOWN = "–"


def report(data_dir: Path, *, as_json: bool) -> int:
    """Print it; the exit status of a command."""
    try:
        answer = asyncio.run(ask(data_dir.absolute(), "status"))
        status = msgspec.json.decode(answer, type=Status)
    except NotRunningError as error:
        sys.stderr.write(f"{error}\n")
        return SILENT
    except msgspec.MsgspecError:
        sys.stderr.write("What runs there is another version of Inkwell: restart it.\n")
        return SILENT
    if as_json:
        sys.stdout.write(msgspec.json.format(answer, indent=2).decode() + "\n")
        return ANSWERED
    console = Console(highlight=False)
    for table in tables(status):
        console.print(table)
    return ANSWERED


def tables(status: Status) -> list[Table]:
    """The whole, the workers, the small models and, where there are any, versions trained here and whoever waits."""
    shown = [_overview(status), _workers(status.health.workers), _short(status.short)]
    shown += [_versions(status)] if status.champions or status.passed_over else []
    return shown + ([_queue(status.waiting)] if status.waiting else [])


def _overview(status: Status) -> Table:
    health = status.health
    table = Table(title=f"Inkwell {status.inkwell}", show_header=False, title_justify="left", min_width=60)
    table.add_column(style="bold")
    table.add_column()
    table.add_row(
        "state",
        f"{_STATES[status.state]}, Discord {status.discord}, servers {status.guilds}, up {duration(status.uptime_s)}",
    )
    table.add_row("queue", f"{health.queued} waiting, {health.running} running of {status.slots} at once")
    table.add_row("speed", f"{health.tokens_per_s:.1f} tokens/s over the last minute")
    first, slow = _seconds(health.first_token_p50_s), _seconds(health.first_token_p95_s)
    table.add_row("first token", f"p50 {first}, p95 {slow} over the last 200 stories")
    table.add_row("stories", f"{health.served}, failed {health.failed}, worker restarts {status.restarts}")
    workers = mebibytes(status.worker_resident_bytes) or _UNKNOWN
    table.add_row("memory", f"workers {workers}, bot {mebibytes(status.bot_resident_bytes)}")
    return table


def _workers(workers: tuple[WorkerHealth, ...]) -> Table:
    table = Table(title="Workers", title_justify="left", min_width=60)
    for heading in ("", "state", "model", "running", "memory", "restarts", "up", "pid"):
        table.add_column(heading, overflow="fold")
    for number, worker in enumerate(workers, start=1):
        table.add_row(
            str(number),
            f"[{_COLOURS[worker.state]}]{worker.state}[/]",
            escape(worker.model_version) or _UNKNOWN,
            f"{worker.running} of {worker.slots}",
            mebibytes(worker.resident_bytes) or _UNKNOWN,
            str(worker.restarts),
            duration(worker.uptime_s) if worker.state == "ready" else _UNKNOWN,
            str(worker.pid or _UNKNOWN),
        )
        if worker.error:
            table.add_row("", "", escape(worker.error))
    return table


def _short(short: ShortHealth) -> Table:
    table = Table(title="Moods, portraits, verses", show_header=False, title_justify="left", min_width=60)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    pid = f", pid {short.pid}" if short.pid else ""
    table.add_row("state", f"[{_COLOURS[short.state]}]{short.state}[/]{pid}, restarts {short.restarts}")
    table.add_row("models", escape(", ".join(short.models)) or _UNKNOWN)
    table.add_row("queue", f"{short.waiting} waiting, {short.running} running")
    table.add_row("answered", f"{short.answered}, failed {short.failed}, background work dropped {short.dropped}")
    table.add_row("memory", mebibytes(short.resident_bytes) or _UNKNOWN)
    if short.error:
        table.add_row("last error", escape(short.error))
    return table


def _versions(status: Status) -> Table:
    table = Table(title="Trained here", show_header=False, title_justify="left", min_width=60)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for family, version in status.champions.items():
        table.add_row(family, escape(version))
    for family, why in status.passed_over.items():
        table.add_row(family, f"[red]what is shipped answers:[/] {escape(why)}")
    return table


def _queue(waiting: tuple[Waiting, ...]) -> Table:
    table = Table(title="Waiting by server", title_justify="left", min_width=60)
    table.add_column("server", overflow="fold")
    table.add_column("stories", justify="right")
    for each in waiting:
        table.add_row(escape(each.name) or "direct messages and elsewhere", str(each.requests))
    return table


def _seconds(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.2f} s"
