"""Where voices lie: what a community (or the operator) taught, a folder each, swapped whole. Knows no model and loads
none.

    DATA_DIR/voices/<name>/characters/   an n-gram model over characters
    DATA_DIR/voices/<name>/tokens/       one over the GPT's tokens, with mixture.safetensors beside it (optional)

A guild's voice has the guild's number as its name; `HOUSE` answers wherever there is none.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOUSE = "house"
CHARACTERS, TOKENS = "characters", "tokens"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def voice_folder(data_dir: Path, name: str) -> Path:
    """Where the voice `name` lies or would lie. Raises ValueError for a name that could leave the folder."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"a voice's name is made of a-z, 0-9, - and _ (at most 40), not {name!r}")
    return data_dir / "voices" / name


def find_voice(data_dir: Path, guild: str, part: str, *, between: Path | None = None) -> Path | None:
    """The folder of this `part` of the guild's own voice, else `between` where there is one, else the house's, else
    None."""
    folders = [voice_folder(data_dir, guild) / part] if _NAME.fullmatch(guild) else []
    folders += [between] if between is not None and guild != HOUSE else []
    folders.append(voice_folder(data_dir, HOUSE) / part)
    return next((folder for folder in folders if (folder / "ngram.json").is_file()), None)


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` when the block ends well, and goes when it doesn't. Whoever has
    mapped the old files keeps them until it lets go."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        (room / "new").mkdir()
        yield room / "new"
        if folder.exists():
            folder.rename(room / "old")
        (room / "new").rename(folder)
    finally:
        shutil.rmtree(room, ignore_errors=True)
