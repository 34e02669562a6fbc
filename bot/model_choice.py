"""`inkwell models`: the recommended story models as a table, fetching one, and choosing one. Knows where weights lie
and what a licence asks for, not what is in them.
"""

import importlib.util
import sys
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bot import licences
from bot.env_file import EnvFileError, set_in_env_file
from bot.models_on_disk import fetch
from bot.settings import Settings, SettingsError, load, worker_environment
from models.language import weights
from models.language.catalogue import (
    CATALOGUE,
    Hardware,
    Recommended,
    UnknownModelNameError,
    misfit,
    named,
    of_spec,
)
from models.serving.machine import largest_gpu_bytes, memory_bytes

_GB = 1_000_000_000
ENV_FILE = Path(".env")


def show(settings: Settings) -> int:
    """Print the table; the exit status of a command."""
    hardware = _hardware()
    gpu = f"a GPU with {hardware.gpu_memory_bytes / _GB:.0f} GB" if hardware.gpu_memory_bytes else "no GPU"
    table = Table(title=f"Story models. This machine: {hardware.memory_bytes / _GB:.0f} GB of memory, {gpu}.")
    table.add_column("Model", no_wrap=True)
    table.add_column("Writes")
    table.add_column("Licence", min_width=10)
    for column in ("Download", "Memory"):
        table.add_column(column, justify="right")
    table.add_column("Here")
    for row in CATALOGUE:
        asked = " (to accept)" if licences.needs_acceptance(row.licence, settings.data_dir) else ""
        table.add_row(
            row.name,
            ", ".join(row.languages),
            row.licence.name + asked,
            _size(row.download_bytes) if row.download_bytes else "none",
            _size(row.memory_bytes) + (" GPU" if row.wants_gpu else ""),
            escape(_here(row, settings, hardware)),  # its brackets are no markup
        )
    console = Console()
    console.print(table)
    for tried in dict.fromkeys(row.tried for row in CATALOGUE):
        names = ", ".join(row.name for row in CATALOGUE if row.tried == tried)
        console.print(f"{names}: {tried}.", highlight=False, markup=False)
    if not settings.remote and of_spec(settings.story_model) is None:
        console.print(f"STORY_MODEL is {settings.story_model}, which is none of these.", markup=False, soft_wrap=True)
    console.print("inkwell models pull NAME fetches one, inkwell models use NAME chooses it.", highlight=False)
    return 0


def pull(name: str, settings: Settings, *, accept_licence: bool) -> int:
    """Fetch a model of the table, after its licence was accepted where it restricts use; the exit status."""
    row = _row(name)
    if row is None:
        return 1
    if not row.spec:
        _say(f"{row.name} comes with Inkwell: there is nothing to fetch.")
        return 0
    if not _may_be_used(row, settings.data_dir, accept_licence):
        return 1
    return fetch(row.spec, settings.data_dir)


def use(name: str, settings: Settings, *, accept_licence: bool) -> int:
    """Write STORY_MODEL into `.env`, after the licence was accepted where it restricts use; the exit status."""
    row = _row(name)
    if row is None:
        return 1
    if not row.spec:
        _say(f"{row.name} is always there beside the main model, as /story model:{row.name}; it can't be the main one.")
        return 1
    if settings.remote:
        _say("STORY_ENGINE=openai takes the model of a server: set STORY_ENGINE=auto in .env before you choose here.")
        return 1
    if row.needs_torch and settings.story_engine in ("llama_cpp", "openvino"):
        _say(f"STORY_ENGINE={settings.story_engine} can't read {row.name}: set STORY_ENGINE=auto in .env first.")
        return 1
    if not _may_be_used(row, settings.data_dir, accept_licence):
        return 1
    try:
        set_in_env_file(ENV_FILE, "STORY_MODEL", row.spec)
    except EnvFileError as error:
        _say(str(error))
        return 1
    _say(f"STORY_MODEL={row.spec} stands in {ENV_FILE.absolute()}; it counts from the next start or `inkwell reload`.")
    _warn(row, settings)
    return 0


def _warn(row: Recommended, settings: Settings) -> None:
    """What could keep the choice from working."""
    try:
        if load().story_model != row.spec:
            _say("But the environment has a STORY_MODEL of its own, which counts more: remove it there.")
    except SettingsError as error:
        _say(str(error))
    if reason := misfit(row, _hardware()):
        _say(f"Mind that it {reason}.")
    if row.needs_torch and not _has_torch():
        _say("It needs torch and transformers: pip install 'inkwell[torch]'.")
    elif not _is_on_disk(row, settings):
        _say(f"It is not fetched yet; the next start does it ({_size(row.download_bytes)}), or inkwell models pull.")
    if settings.story_adapter not in ("default", "none"):
        _say("STORY_ADAPTER names an adapter that was made for one model: see that it is made for this one.")


def _row(name: str) -> Recommended | None:
    try:
        return named(name)
    except UnknownModelNameError as error:
        _say(str(error))
        return None


def _may_be_used(row: Recommended, data_dir: Path, accept_licence: bool) -> bool:
    """Show the licence; ask where it restricts use and nobody has said yes before. A yes is kept."""
    _say(f"{row.name}: {row.licence.name} {' '.join(row.licence.links)}".rstrip())
    if not licences.needs_acceptance(row.licence, data_dir):
        return True
    _say(row.licence.restricts)
    if not accept_licence and not _says_yes(row):
        _say(f"Not accepted, so {row.name} stays out: answer y, or add --accept-licence once you have read it.")
        return False
    try:
        licences.accept(row, data_dir)
    except OSError as error:
        _say(f"The acceptance can't be kept in {data_dir} ({error.strerror}): check its permissions or set DATA_DIR.")
        return False
    return True


def _says_yes(row: Recommended) -> bool:
    try:
        return typer.confirm(f"Have you read the {row.licence.name}, and do you accept?", err=True)
    except typer.Abort:  # nobody there to answer
        _say("")
        return False


def _here(row: Recommended, settings: Settings, hardware: Hardware) -> str:
    words = []
    if not settings.remote and of_spec(settings.story_model) == row:
        words.append("chosen")
    if not row.spec or _is_on_disk(row, settings):
        words.append("on disk")
    words.append(misfit(row, hardware) or "suits")
    if row.needs_torch and not _has_torch():
        words.append("needs inkwell[torch]")
    return ", ".join(words)


def _is_on_disk(row: Recommended, settings: Settings) -> bool:
    try:
        weights.resolve(row.spec, settings.data_dir, fetch=False)
    except weights.WeightsError:
        return False
    return True


def _has_torch() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))


def _hardware() -> Hardware:
    gpu = largest_gpu_bytes(worker_environment()) if _has_torch() else 0
    return Hardware(memory_bytes=memory_bytes(), gpu_memory_bytes=gpu)


def _size(count: int) -> str:
    return f"{count / _GB:.1f} GB" if count >= _GB else f"{count / 1e6:.0f} MB"


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
