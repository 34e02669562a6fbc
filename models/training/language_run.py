"""The training run of the shipped small GPT from corpus folder to weights. Knows where files lie, not how to learn.

Used by `inkwell lm train`; may be run again with the same folder after a crash and goes on where it was.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tokenizers import Tokenizer

from models.language.dictionary import train_bpe, train_characters
from models.language.gpt import GPT, TOKENIZER_FILE, Shape
from models.training.language_charts import draw_curve
from models.training.pretrain import Recipe, Run, Step, encode_titles, read_log

# How often a title is read in one pass, by the beginning of its file name. Verse and classical Chinese are less like
# what members write than prose is; the few modern Chinese books are worth reading more than once.
REPEATS = {
    "zh-poetry": 0.1,
    "en-tinyshakespeare": 0.2,
    "zh-classic-vernacular--阅微草堂笔记": 0.4,
    "zh-classic-vernacular--子不语": 0.4,
    "zh-classic-vernacular--聊斋志异": 0.5,
    "zh-classic-vernacular--耳食录": 0.4,
    "zh-classic-vernacular--夜雨秋灯录": 0.4,
    "zh-luxun": 1.5,
    "zh-modern": 1.5,
    "en-fairytaleqa": 1.2,
}
DEV_EXCERPT = {"en": (100_000, 140_000), "zh": (20_000, 36_000)}  # characters of the development set scored in the run


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        yield from (line for line in file if line.strip())


def prepare_tokenizer(corpus: Path, folder: Path, *, size: int) -> Tokenizer:
    """The run's tokenizer, trained on half of the English and all Chinese lines of `corpus` if `folder` has none yet.
    `size` 0 stands for characters."""
    path = folder / TOKENIZER_FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        english = (line for number, line in enumerate(_lines(corpus / "train-en.txt")) if number % 2 == 0)
        texts = [*english, *_lines(corpus / "train-zh.txt")]
        tokenizer = train_bpe(texts, size) if size else train_characters(texts)
        tokenizer.save(str(path))
    return Tokenizer.from_file(str(path))


def bits_per_byte_of_both(corpus: Path) -> "DevelopmentSet":
    return DevelopmentSet(
        {language: _excerpt(corpus / f"dev-{language}.txt", *DEV_EXCERPT[language]) for language in DEV_EXCERPT}
    )


def _excerpt(path: Path, begin: int, end: int) -> str:
    text = path.read_text(encoding="utf-8")
    return text[begin:end] or text


class DevelopmentSet:
    """Scores a model by the mean over the languages of bits per byte; keeps the last figures by language."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts
        self.bits_per_character: dict[str, float] = {}

    def __call__(self, model: GPT) -> float:
        values = []
        for language, text in self.texts.items():
            score = model.score(text, stride=model.context)
            self.bits_per_character[language] = score.bits / score.characters
            values.append(score.bits / score.bytes)
        return sum(values) / len(values)


def shape_of(gpt: GPT) -> Shape:
    """The shape that `build` made this network in."""
    config = gpt.model.config
    return Shape(
        vocabulary=config.vocab_size,
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        feed_forward=config.intermediate_size,
        context=gpt.context,
    )


def train(recipe: Recipe, corpus: Path, folder: Path, *, begin: Path | None = None, report_every: int = 20) -> Path:
    """Train in `folder` until the schedule ends, showing progress; return the folder of the best weights. `begin` is a
    GPT's folder, whose weights and tokenizer the run goes on with."""
    if begin is not None and not (folder / TOKENIZER_FILE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(begin / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    tokenizer = prepare_tokenizer(corpus, folder, size=recipe.shape.vocabulary)
    encoded = folder / "tokens.npy"
    if not encoded.exists():
        np.save(encoded, encode_titles(corpus / "train", tokenizer, REPEATS, seed=recipe.seed))
    tokens = np.load(encoded, mmap_mode="r")
    run = Run(recipe, tokens, tokenizer, folder, None if begin is None else GPT.load(begin))
    development = bits_per_byte_of_both(corpus)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("training", total=recipe.steps, completed=run.position.step)
        for step in run.steps(development):
            progress.update(task, completed=step.step, description=describe(step))
            if progress.disable and step.step % report_every == 0:
                figures = {name: round(value, 3) for name, value in development.bits_per_character.items()}
                print(describe(step), json.dumps(figures), flush=True)  # noqa: T201 the log of a run without a terminal
    draw_curve(*read_log(folder), folder / "loss.png")
    return folder / "best"


def describe(step: Step) -> str:
    hours, seconds = divmod(int(step.left_s), 3600)
    return (
        f"step {step.step} loss {step.loss:.3f} rate {step.rate:.3f} norm {step.gradient_norm:.2f} "
        f"{step.tokens_per_s:.0f} tokens/s, {hours}:{seconds // 60:02d}:{seconds % 60:02d} left"
    )
