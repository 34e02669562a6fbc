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
def reload(data_dir: DataDir = None) -> None:
    """Have the running Inkwell read the STORY_... settings again and answer with that model, with no restart: running
    stories are finished by the former one. Exit status 1, and no change, when the new one can't be loaded."""
    from bot.reload_command import reload as reload_running

    raise typer.Exit(reload_running(_settings(data_dir).data_dir))


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
def use_model(
    name: ModelName,
    accept_licence: AcceptLicence = False,
    now: Annotated[bool, typer.Option("--now", help="Then have the running Inkwell take it (inkwell reload).")] = False,
    data_dir: DataDir = None,
) -> None:
    """Make a model of the table the main one: writes STORY_MODEL into .env and leaves the rest of it alone."""
    from bot import model_choice

    settings = _settings(data_dir)
    status = model_choice.use(name, settings, accept_licence=accept_licence)
    if now and not status:
        from bot.reload_command import reload as reload_running

        status = reload_running(settings.data_dir)
    raise typer.Exit(status)


key = typer.Typer(help="The key that encrypts the database.", no_args_is_help=True)
app.add_typer(key, name="key")


@key.callback()
def _key() -> None:
    """The key that encrypts the database."""


@key.command("rotate")
def rotate_key(
    to_setting: Annotated[
        bool, typer.Option("--to-setting", help="Ask for the new key, for DB_KEY; keep it in no file.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Give the database a new key; stop Inkwell first. People keep their pseudonyms. Killed half-way it is whole under
    one of both keys, and the next start finishes it."""
    from bot.key_rotation import rotate

    raise typer.Exit(rotate(_settings(data_dir), to_setting=to_setting))


versions = typer.Typer(
    help="Models that were trained here: see them, and have another one answer.", no_args_is_help=True
)
app.add_typer(versions, name="versions")

FamilyName = Annotated[str, typer.Argument(help="story, gpt, ngram, mood or portraits.")]
AnyFamily = Annotated[str, typer.Argument(help="story, gpt, ngram, mood or portraits; all when left out.")]
VersionId = Annotated[
    str, typer.Argument(help="As `inkwell versions list` shows it; `shipped` is what Inkwell came with.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the champions' log.")]
Force = Annotated[
    bool, typer.Option("--force", help="Also a version that the gate refused or an erasure marked. Needs --reason.")
]


@versions.command("list")
def list_versions(family: AnyFamily = "", data_dir: DataDir = None) -> None:
    """Show every version: what the gate said, which one answers, where a rollback leads."""
    from bot.versions_command import show_all

    raise typer.Exit(show_all(_settings(data_dir).versions, family))


@versions.command("show")
def show_version(family: FamilyName, version: VersionId, data_dir: DataDir = None) -> None:
    """Show all that is known of a version: its data, recipe, checks and files, every byte of which is read."""
    from bot.versions_command import show_one

    raise typer.Exit(show_one(_settings(data_dir).versions, family, version))


@versions.command("promote")
def promote_version(
    family: FamilyName, version: VersionId, reason: Reason = "", force: Force = False, data_dir: DataDir = None
) -> None:
    """Let a version answer from now on. A running Inkwell takes it with no restart, and running stories are finished by
    the former one. Exit status 1, and no change, when it can't be loaded or the gate refused it."""
    from bot.versions_command import promote

    settings = _settings(data_dir)
    raise typer.Exit(promote(settings.data_dir, settings.versions, family, version, reason=reason, force=force))


@versions.command("rollback")
def roll_version_back(family: FamilyName, reason: Reason = "", force: Force = False, data_dir: DataDir = None) -> None:
    """Let the champion before the present one answer again; once more leads to the one before that."""
    from bot.versions_command import rollback

    settings = _settings(data_dir)
    raise typer.Exit(rollback(settings.data_dir, settings.versions, family, reason=reason, force=force))


@versions.command("collect")
def collect_versions(
    family: AnyFamily = "",
    keep: Annotated[int, typer.Option("--keep", min=0, help="So many of the newest stay.")] = 5,
    data_dir: DataDir = None,
) -> None:
    """Remove old versions and those marked by an erasure; never the champion, nor the one before it."""
    from bot.versions_command import collect

    raise typer.Exit(collect(_settings(data_dir).versions, family, keep))


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
    raise typer.Exit(_apart("models.cli", context.args))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def gan(context: typer.Context) -> None:
    """Train, judge and sample the GAN that draws portraits."""
    raise typer.Exit(_apart("models.gan_cli", context.args))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def mood(context: typer.Context) -> None:
    """Read the mood of a text, measure the methods on labelled files, train them."""
    raise typer.Exit(_apart("models.mood_cli", context.args))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def train(context: typer.Context, data_dir: DataDir = None) -> None:
    """Let the models learn from text files of your own, and put to use what the gate accepts."""
    from bot.train_command import train as train_apart

    raise typer.Exit(train_apart(_settings(data_dir), context.args))


def _apart(module: str, arguments: list[str]) -> int:
    """Run another command line in a process of its own, for this one never loads what it needs; its exit status."""
    # Ours is the code, wherever it is called from.
    program = f"import sys; sys.path.insert(0, sys.argv.pop(1)); from {module} import main; main()"
    root = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", program, root, *arguments], check=False)  # noqa: S603 our own code
    return done.returncode


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
