"""`inkwell train`: has the models learn from text files in a process of its own, and what the gate accepts answer where
that was asked for. Knows no model.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from bot.settings import Settings
from models.serving.training import Judged

# Ours is the code, wherever it is called from.
PROGRAM: Final = "import sys; sys.path.insert(0, sys.argv.pop(1)); from models.train_cli import main; main()"


def train(settings: Settings, arguments: Sequence[str]) -> int:
    """The command `arguments` (such as "run --text DIR") with what the settings say of models and training; its exit
    status."""
    from bot.versions_command import promote

    with tempfile.TemporaryDirectory(prefix="inkwell-train-") as room:
        told = Path(room) / "accepted.jsonl"
        asked = list(arguments)
        if asked[:1] == ["run"]:
            asked[1:1] = [*_configured(settings), "--told", str(told)]
        root = str(Path(__file__).parents[1])
        status = _waited_for([sys.executable, "-c", PROGRAM, root, *asked])
        if not told.exists():
            return status
        accepted = [msgspec.json.decode(line, type=Judged) for line in told.read_bytes().splitlines()]
    for each in accepted:
        status |= promote(
            settings.data_dir,
            settings.versions,
            each.family,
            each.version,
            reason="inkwell train run --promote",
            force=False,
        )
    return status


def _configured(settings: Settings) -> list[str]:
    """What is typed comes behind this, and so before it in rank."""
    options = settings.training_options
    return [
        *("--data-dir", str(settings.data_dir), "--adapter", settings.story_adapter),
        *("--model", "" if settings.remote else settings.story_model),
        *("--steps", str(options.steps), "--rank", str(options.rank), "--rate", str(options.rate)),
        *("--batch", str(options.batch), "--length", str(options.length), "--replay", str(options.replay)),
        *("--threads", str(options.threads)),
    ]


def _waited_for(command: Sequence[str]) -> int:
    """Ctrl-C is for the command, which ends in good order and says so."""
    with subprocess.Popen(command) as process:  # noqa: S603 our own code
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue
