"""`inkwell versions`: shows the models that were trained here, and has another one answer. A running Inkwell does it
itself, with no restart; else it is written for the next start. Knows no model.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bot.control import NotRunningError, order
from bot.errand import Step
from bot.version_orders import BY, Order, told_of
from models.serving.training import FAMILIES, Check
from models.training.registry import SHIPPED, Promotion, Registry, RegistryError, Version

DONE, NOT_DONE = 0, 1
SHIPPED_WORD: Final = "shipped"  # as nobody's fingers type ""
_UNKNOWN = "–"


def show_all(root: Path, family: str) -> int:
    """Print the versions of one family, or of all with ""; the exit status of a command."""
    registry = Registry(root)
    families = [family] if family else list(FAMILIES)
    if not _known(*families):
        return NOT_DONE
    console = Console(highlight=False)
    table = Table(title="Versions", title_justify="left")
    for heading in ("family", "version", "trained", "gate", "", "bits per byte"):
        table.add_column(heading, no_wrap=heading == "version")
    rows = 0
    for each in families:
        champion, before = registry.champion_id(each), registry.predecessor_id(each)
        marks = registry.marks(each)
        for version in registry.versions(each):
            notes = [
                *(["answers"] if version.id == champion else []),
                *(["a rollback leads here"] if version.id == before else []),
                *(["marked by an erasure"] if version.id in marks else []),
            ]
            table.add_row(
                each, version.id, _date(version.created_at), _verdict(version), ", ".join(notes), _bits(version)
            )
            rows += 1
    if not rows:
        console.print(f"No {family or 'model'} was trained here yet: what Inkwell came with answers.")
        return DONE
    console.print(table)
    shipped = [each for each in families if registry.champion_id(each) == SHIPPED]
    if shipped:
        console.print(f"What Inkwell came with answers as: {', '.join(shipped)}.")
    return DONE


def show_one(root: Path, family: str, version_id: str) -> int:
    """Print all that is known of a version; the exit status of a command."""
    if not _known(family):
        return NOT_DONE
    registry = Registry(root)
    try:
        version = registry.version(family, version_id)
    except RegistryError as error:
        return _refused(str(error))
    console = Console(highlight=False)
    table = Table(title=f"{family} {version.id}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, words in _described(registry, version):
        table.add_row(name, escape(words))
    console.print(table)
    if version.checks:
        console.print(_checks(version.checks))
    return DONE


def promote(data_dir: Path, root: Path, family: str, version_id: str, *, reason: str, force: bool) -> int:
    """Let a version answer, or what is shipped; the exit status of a command."""
    chosen = SHIPPED if version_id == SHIPPED_WORD else version_id
    asked = Order(act="promote", family=family, version=chosen, reason=reason, force=force)
    return _ordered(data_dir, asked, lambda: Registry(root).promote(family, chosen, by=BY, reason=reason, force=force))


def rollback(data_dir: Path, root: Path, family: str, *, reason: str, force: bool) -> int:
    """Let the champion before answer again; the exit status of a command."""
    asked = Order(act="rollback", family=family, reason=reason, force=force)
    return _ordered(data_dir, asked, lambda: Registry(root).rollback(family, by=BY, reason=reason, force=force))


def collect(root: Path, family: str, keep: int) -> int:
    """Remove versions that nobody needs, of one family or of all with ""; the exit status of a command."""
    families = [family] if family else list(FAMILIES)
    if not _known(*families):
        return NOT_DONE
    removed = []
    try:
        for each in families:
            removed += [f"{each} {version}" for version in Registry(root).collect(each, keep)]
    except OSError as error:
        return _refused(f"A version can't be removed ({error}).")
    for gone in removed:
        sys.stdout.write(f"{gone} is removed.\n")
    if not removed:
        sys.stdout.write("There is nothing to remove: the newest, the champion and the one before it stay.\n")
    return DONE


def _ordered(data_dir: Path, asked: Order, alone: Callable[[], Promotion]) -> int:
    if not _known(asked.family):
        return NOT_DONE
    if asked.force and not asked.reason.strip():
        return _refused("--force needs a --reason, which is kept with it.")
    try:
        return asyncio.run(_told(data_dir.absolute(), asked))
    except NotRunningError as error:
        if not error.nobody:
            return _refused(str(error))
    except msgspec.MsgspecError:
        return _refused("What runs there is another version of Inkwell: restart it.")
    except KeyboardInterrupt:
        return _refused("The running Inkwell goes on with it; `inkwell versions list` shows the result.")
    try:
        promotion = alone()
    except RegistryError as error:
        return _refused(str(error))
    except OSError as error:
        return _refused(f"The disk does not take it ({error.strerror}). Nothing was changed.")
    sys.stdout.write(f"{told_of(promotion)} It answers from the next start on.\n")
    return DONE


async def _told(data_dir: Path, asked: Order) -> int:
    async for line in order(data_dir, "versions", msgspec.json.encode(asked)):
        step = msgspec.json.decode(line, type=Step)
        (sys.stderr if step.ended is False else sys.stdout).write(f"{step.words}\n")
        sys.stdout.flush()
        if step.ended is not None:
            return DONE if step.ended else NOT_DONE
    raise NotRunningError("Inkwell ended before the version answered; see its log.")


def _described(registry: Registry, version: Version) -> list[tuple[str, str]]:
    marks = registry.marks(version.family)
    rows = [
        ("trained", _date(version.created_at)),
        ("gate", _verdict(version)),
        ("champion", "yes" if registry.champion_id(version.family) == version.id else "no"),
        ("whole", _wholeness(registry, version)),
        ("marked", f"erased {_date(marks[version.id].at)}" if version.id in marks else "no"),
        ("from", version.base),
        ("for the model", version.model),
        ("run", version.run),
        ("contributors", str(len(version.contributors))),
        ("data", ", ".join([*(f"{name} {count}" for name, count in version.counts.items()), version.data_digest[:16]])),
        ("metrics", ", ".join(f"{name} {value:.4g}" for name, value in version.metrics.items())),
        ("recipe", ", ".join(f"{name} {value}" for name, value in version.recipe.items())),
        ("Inkwell", version.code_version),
        ("files", ", ".join(f"{name} {digest[:8]}" for name, digest in version.files.items())),
        ("folder", str(registry.path(version.family, version.id))),
    ]
    return [(name, words or _UNKNOWN) for name, words in rows]


def _checks(checks: tuple[Check, ...]) -> Table:
    table = Table(title="The gate", title_justify="left")
    for heading in ("check", "passed", "value", "limit", "champion"):
        table.add_column(heading)
    for check in checks:
        passed = "[green]yes[/]" if check.passed else "[red]no[/]"
        before = _UNKNOWN if check.before is None else f"{check.before:.4g}"
        table.add_row(escape(check.name), passed, f"{check.value:.4g}", f"{check.limit:.4g}", before)
    return table


def _wholeness(registry: Registry, version: Version) -> str:
    try:
        registry.verified(version.family, version.id)
    except RegistryError as error:
        return str(error)
    return "yes"


def _verdict(version: Version) -> str:
    if version.accepted:
        return "accepted"
    failed = ", ".join(check.name for check in version.checks if not check.passed)
    return f"rejected ({failed})" if failed else "not asked"


def _bits(version: Version) -> str:
    value = version.metrics.get("bits_per_byte")
    return _UNKNOWN if value is None else f"{value:.3f}"


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _known(*families: str) -> bool:
    for family in families:
        if family not in cast("tuple[str, ...]", FAMILIES):
            _refused(f"There is no family {family}: the families are {', '.join(FAMILIES)}.")
            return False
    return True


def _refused(words: str) -> int:
    sys.stderr.write(f"{words}\n")
    return NOT_DONE
