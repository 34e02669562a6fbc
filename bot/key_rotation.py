"""`inkwell key rotate`: the database gets another key. Asks for it where it is to be kept elsewhere; knows no SQL."""

import sys

import typer
from pydantic import SecretStr

from bot.settings import Settings
from bot.store import rotation
from bot.store.errors import StoreFaultError


def rotate(settings: Settings, *, to_setting: bool) -> int:
    """Encrypt the database anew, under a key that is made here and lies in the key file, or (`to_setting`) under one
    that is typed or piped in; the exit status."""
    new = _asked() if to_setting else None
    key_file = settings.database.with_suffix(".key")
    try:
        done = rotation.rotate(settings.database, key=settings.db_key, key_file=key_file, new=new)
    except StoreFaultError as error:
        typer.echo(str(error), err=True)
        return 1
    with_copies = f", with {done.copies} of its copies from before upgrades" if done.copies else ""
    typer.echo(f"{settings.database} has a new key{with_copies}. The former key opens it no more.")
    for copy in done.left:
        typer.echo(f"{copy} has still another key: it was left as it is.")
    if done.key_file is None:
        typer.echo("Set DB_KEY to the new key now: the next start needs it, and it is kept nowhere else.")
    else:
        typer.echo(f"The new key is in {done.key_file}: back it up apart from the database.")
        if settings.db_key is not None:
            typer.echo("Remove DB_KEY from .env and the environment: it is the former key.")
    typer.echo("Backups of your own still open with the former key: delete them, or keep that key as long as them.")
    return 0


def _asked() -> SecretStr:
    if sys.stdin.isatty():
        return SecretStr(str(typer.prompt("New key", hide_input=True, confirmation_prompt=True)))
    return SecretStr(sys.stdin.readline().strip())
