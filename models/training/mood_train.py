"""`inkwell mood train`: every step from the public sets to a folder of weights. Knows no formula of any step."""

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from models.sentiment.clean_text import clean
from models.sentiment.encoder import load_encoder
from models.training import mood_linear
from models.training.mood_calibrate import calibrate
from models.training.mood_corpus import LABELS, CorpusLanguage, Row
from models.training.mood_methods import train_naive_bayes
from models.training.mood_ranges import measure_ranges
from models.weights import MOODS_FOLDER

ENCODER_FILES = ("encoder.safetensors", "tokenizer.json")
CHAT = "chat"


def train_all(
    rows: Sequence[Row],
    out: Path,
    *,
    start: Path | None,
    run: Path | None = None,
    minutes: float,
    chat: Path | None,
    seed: int,
    bf16: bool = True,
    say: Callable[[str], object],
) -> None:
    """Weights of all trained methods and calibration.json in `out`; the encoder's run, which can go on, in
    `out`/encoder-run. It begins with `start`: e5's file, or a folder with an encoder that was tuned before."""
    mood_linear.require_both_sides(rows)
    out.mkdir(parents=True, exist_ok=True)
    held_back = [*rows, *(chat_rows(chat) if chat else [])]
    say("Counting for naive Bayes; a minute or two for all public sets …")
    train_naive_bayes(rows, out)
    if run or start:
        from models.training.mood_export import export
    if run:
        export(run, out)
    elif start:
        from models.training import mood_encoder

        say(f"Tuning the encoder for {minutes:g} minutes; {out / 'encoder-run' / 'log.txt'} tells how it goes …")
        recipe = mood_encoder.Recipe(minutes=minutes, seed=seed, bf16=bf16)
        mood_encoder.train(recipe, list(rows), start, out / "encoder-run")
        export(out / "encoder-run", out)
    elif not all((out / name).is_file() for name in ENCODER_FILES):
        for name in ENCODER_FILES:
            shutil.copyfile(MOODS_FOLDER / name, out / name)
    say("Watching the encoder read held-back texts …")
    measure_ranges(rows, out)
    say("Fitting the fast tier, which the encoder teaches; some ten minutes for all public sets …")
    mood_linear.fit(rows, out, seed, teacher=load_encoder(out), say=say)
    say("Calibrating …")
    calibrate(held_back, out)
    say(f"The weights are in {out}.")


def chat_rows(path: Path) -> list[Row]:
    """The development half of hand-written chat lines (columns text, label, language, split), for calibration only.
    Raises ValueError where a column is missing."""
    found = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        for line in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if not {"text", "label", "language", "split"} <= line.keys():
                raise ValueError(f"{path.name} lacks one of the columns text, label, language, split.")
            if line["split"] != "development" or line["label"] not in LABELS:
                continue
            language: CorpusLanguage = "zh" if line["language"] == "zh" else "en"
            found.append(Row(
                text=clean(line["text"]), label=line["label"], classes=3, language=language, source=CHAT,
                group=f"{CHAT}:{line['text']}", part="calibration",
            ))  # fmt: skip
    return found
