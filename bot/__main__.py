"""The command line, and the composition root: everything is built here, handed in, and closed in reverse order."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

import bot.settings as settings_module
from bot import logs
from bot.settings import Settings, SettingsError

log = logging.getLogger("inkwell")

app = typer.Typer(
    name="inkwell",
    help="Inkwell: a story bot for Discord that runs on your own machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its boxes show local variables, and a token may be one
    context_settings={"help_option_names": ["-h", "--help"]},
)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Use this folder instead of DATA_DIR.")]


@app.command()
def run(
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Open the local Discord-like page even when a token is set.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Start Inkwell: in Discord with DISCORD_TOKEN, else in its own page on this machine."""
    settings = _settings(data_dir, **({"discord_token": None} if sandbox else {}))
    from bot.running import start  # imports discord.py; neither `--help` nor a wrong setting need wait for it

    raise typer.Exit(start(settings))


@app.command()
def doctor(data_dir: DataDir = None) -> None:
    """Check everything that Inkwell needs; each line says ok or what to do. Exit status 1 when something is wrong."""
    from bot.doctor import examine, refuse

    try:
        settings = _load(data_dir)
    except SettingsError as error:
        raise typer.Exit(refuse(error)) from None
    raise typer.Exit(examine(settings))


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show what the running Inkwell does: queue, workers, speed, memory. Exit status 1 when none runs."""
    from bot.status_table import report

    raise typer.Exit(report(_settings(data_dir).data_dir, as_json=as_json))


@app.command()
def pull(
    spec: Annotated[str | None, typer.Argument(help="What to fetch; STORY_MODEL when left out.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Fetch and verify a model now, so that the first start needs no network."""
    from bot.models_on_disk import fetch

    settings = _settings(data_dir)
    raise typer.Exit(fetch(spec or settings.story_model, settings.data_dir))


models = typer.Typer(help="Story models that suit this machine: see, fetch and choose them.", no_args_is_help=True)
app.add_typer(models, name="models")

ModelName = Annotated[str, typer.Argument(help="A name of the table (inkwell models list).")]
AcceptLicence = Annotated[
    bool, typer.Option("--accept-licence", help="Say yes to the model's licence, which you have read.")
]


@models.command("list")
def list_models(data_dir: DataDir = None) -> None:
    """Show the recommended models: size, languages, licence, what is here and what suits this machine."""
    from bot.model_choice import show

    raise typer.Exit(show(_settings(data_dir)))


@models.command("pull")
def pull_model(name: ModelName, accept_licence: AcceptLicence = False, data_dir: DataDir = None) -> None:
    """Fetch a model of the table."""
    from bot import model_choice

    raise typer.Exit(model_choice.pull(name, _settings(data_dir), accept_licence=accept_licence))


@models.command("use")
def use_model(name: ModelName, accept_licence: AcceptLicence = False, data_dir: DataDir = None) -> None:
    """Make a model of the table the main one: writes STORY_MODEL into .env and leaves the rest of it alone."""
    from bot import model_choice

    raise typer.Exit(model_choice.use(name, _settings(data_dir), accept_licence=accept_licence))


@app.command()
def invite(application_id: Annotated[int, typer.Argument(help="The application's id (Developer Portal).")]) -> None:
    """Print the link with which a server owner installs the bot, with the least permissions that it needs."""
    from bot.client import invite_url

    typer.echo(invite_url(application_id))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def lm(context: typer.Context) -> None:
    """Train, teach, inspect, score, sample and compare the language models of our own."""
    # A process of its own, for this one never loads what it needs. Ours is the code, wherever it is called from.
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from models.cli import main; main()"
    root = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", program, root, *context.args], check=False)  # noqa: S603 our own code
    raise typer.Exit(done.returncode)


@app.command()
def version() -> None:
    """Print Inkwell's version."""
    from importlib.metadata import version as installed

    typer.echo(installed("inkwell"))


def _settings(data_dir: Path | None, **overrides: object) -> Settings:
    try:
        return _load(data_dir, **overrides)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


def _load(data_dir: Path | None, **overrides: object) -> Settings:
    """The settings, and from then on a log without their secrets. Raises SettingsError."""
    if data_dir is not None:
        overrides["data_dir"] = data_dir
    settings = settings_module.load(**overrides)
    logs.configure(settings.log_level, settings.secrets)
    return settings


def main() -> None:
    """The `inkwell` command."""
    app()


if __name__ == "__main__":
    main()
