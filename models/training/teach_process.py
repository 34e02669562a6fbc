"""Teaching as a process of its own, `python -m models.training.teach_process DATA_DIR VOICE [--anew]`. Knows no
Discord.

Standard input is a JSON array of texts: they come from an encrypted store, and must touch no disk on their way.
Standard output is one JSON object a line: `{"type": "Heard"}` once the n-gram model knows them, then `Learned` or,
for texts that can't be learned, `Refused`.
"""

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from models.language.voices import voice_folder
from models.serving.teaching import Heard, Learned, Refused, Told
from models.weights import GPT_FOLDER

NICENESS = 5  # whoever waits for a story comes first


def main() -> int:
    """The exit status."""
    from models.training.teach import teach, teach_anew

    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("voice")
    parser.add_argument("--anew", action="store_true", help="know exactly these texts, not these as well")
    chosen = parser.parse_args()
    os.nice(NICENESS)
    texts = msgspec.json.decode(sys.stdin.buffer.read(), type=list[str])
    learn = teach_anew if chosen.anew else teach
    try:
        with _alone(chosen.data_dir, chosen.voice):
            taught = learn(texts, chosen.data_dir, chosen.voice, gpt_folder=GPT_FOLDER, heard=lambda: _tell(Heard()))
    except ValueError as error:
        _tell(Refused(reason=str(error)))
        return 1
    if taught is None:
        _tell(Learned(characters=0, mixture=False))
    else:
        _tell(Learned(characters=taught.characters, mixture=taught.mixture))
    return 0


@contextmanager
def _alone(data_dir: Path, voice: str) -> Iterator[None]:
    """One teaching of a voice at a time, also beside one whose bot was killed."""
    folder = voice_folder(data_dir, voice)
    folder.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder.with_name(f"{voice}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _tell(told: Told) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
