"""One training of a verse generator in a folder: vocabulary, progress, log and what is kept on the way. Knows no loss.

A run's folder holds pieces.json (the vocabulary), shape.json, log.jsonl, curves.png and checkpoints/; when it has ended
generator.safetensors, and of an adversarial one the generators on the way, kept-STEP.safetensors.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.gan.verse_forms import PLACES, Language
from models.gan.verse_networks import VerseGenerator, VerseShape
from models.training.verse_adversarial import AdversarialRecipe, AdversarialRun
from models.training.verse_data import Corpus, read
from models.training.verse_likelihood import LikelihoodRecipe, LikelihoodRun, held_out_loss
from models.training.verse_pictures import draw_run

VOCABULARY: Final[dict[Language, int]] = {"zh": 4000, "en": 3000}
PIECES, _SHAPE, LOG, GENERATOR = "pieces.json", "shape.json", "log.jsonl", "generator.safetensors"


def corpus_of(data: Path, language: Language, folder: Path, begin: Path | None = None) -> Corpus:
    """The data in the vocabulary of the run in `folder`, which is made when the run begins or taken from the run
    `begin` that it goes on from. Raises ValueError."""
    kept = (begin or folder) / PIECES
    corpus = read(data, language, VOCABULARY[language], json.loads(kept.read_text("utf-8")) if kept.exists() else None)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PIECES).write_text(json.dumps(corpus.pieces, ensure_ascii=False), encoding="utf-8")
    return corpus


def shape_of(corpus: Corpus, *, embedding: int, hidden: int) -> VerseShape:
    return VerseShape(vocabulary=len(corpus.pieces), places=PLACES[corpus.language], embedding=embedding, hidden=hidden)


def train_likelihood(
    corpus: Corpus,
    shape: VerseShape,
    recipe: LikelihoodRecipe,
    folder: Path,
    *,
    judge_every: int = 250,
    quiet: bool = False,
    on_step: Callable[[int], None] | None = None,
) -> LikelihoodRun:
    """Run the schedule to its end, from the newest checkpoint in `folder` if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _SHAPE).write_bytes(msgspec.json.encode(shape))
    run = LikelihoodRun(corpus.train, shape, recipe, folder)
    log = folder / LOG
    forget_after(log, run.position.step)
    held_out = [each.complete() for each in corpus.held_out]
    with progress(quiet) as bar:
        task = bar.add_task("likelihood", total=1.0, said="")
        for step in run.steps():
            bar.update(task, completed=step.progress, said=f"step {step.step}, {step.loss:.3f} nats a token")
            if on_step is not None:
                on_step(step.step)
            if step.step % 50 == 0:
                write(log, step=step.step, cpu_s=step.cpu_s, loss=step.loss, rate=step.rate, at=time.time())
            if step.step % judge_every == 0 or step.progress == 1:
                write(log, step=step.step, cpu_s=step.cpu_s, held_out=held_out_loss(run.generator, held_out))
                curves(folder)
    _keep(run.generator, folder / GENERATOR)
    return run


def train_adversarial(
    corpus: Corpus,
    likelihood: Path,
    recipe: AdversarialRecipe,
    folder: Path,
    *,
    judge_every: int = 50,
    keep_every: int = 100,
    quiet: bool = False,
) -> AdversarialRun:
    """The same against a discriminator, from the end of the run in the folder `likelihood`. Raises ValueError when that
    has not ended."""
    shape, begin = generator_of(likelihood)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _SHAPE).write_bytes(msgspec.json.encode(shape))
    whole, held_out = ([each.complete() for each in side] for side in (corpus.train, corpus.held_out))
    run = AdversarialRun(whole, corpus.pieces, shape, begin, recipe, folder)
    log = folder / LOG
    forget_after(log, run.position.step)
    with progress(quiet) as bar:
        task = bar.add_task("adversarial", total=1.0, said="")
        for step in run.steps():
            said = f"step {step.step}, D {step.discriminator:.3f} G {step.generator:.3f} beta {step.beta:.1f}"
            bar.update(task, completed=step.progress, said=said)
            if step.step % 10 == 0:
                write(
                    log, step=step.step, cpu_s=step.cpu_s, d=step.discriminator, g=step.generator, right=step.right,
                    beta=step.beta,
                )  # fmt: skip
            if step.step % judge_every == 0 or step.progress == 1:
                write(log, step=step.step, cpu_s=step.cpu_s, held_out=held_out_loss(run.generator, held_out, 500))
                curves(folder)
            if step.step % keep_every == 0:
                _keep(run.generator, folder / f"kept-{step.step:06d}.safetensors")
    _keep(run.generator, folder / GENERATOR)
    return run


def _keep(generator: VerseGenerator, path: Path) -> None:
    save_file({name: weight.detach().half() for name, weight in generator.named_parameters()}, path)


def generator_of(folder: Path, name: str = GENERATOR) -> tuple[VerseShape, dict[str, Tensor]]:
    """The shape and the fp16 weights, in fp32, that a run left. Raises ValueError in one sentence."""
    try:
        shape = msgspec.json.decode((folder / _SHAPE).read_bytes(), type=VerseShape)
        return shape, {key: value.float() for key, value in load_file(folder / name).items()}
    except (OSError, SafetensorError, msgspec.MsgspecError) as error:
        raise ValueError(f"{folder / name} is no trained generator: {error}") from error


def kept(folder: Path) -> list[str]:
    """Names of the generators that a run kept on its way, the earliest first."""
    return sorted(path.name for path in folder.glob("kept-*.safetensors"))


def curves(folder: Path) -> None:
    """Draw curves.png from log.jsonl."""
    lines = [json.loads(line) for line in (folder / LOG).read_text("utf-8").splitlines()]
    draw_run(lines, folder / "curves.png")


def progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description} {task.percentage:.0f} %"),
        BarColumn(),
        TextColumn("{task.fields[said]}"),
        TimeRemainingColumn(),
        disable=quiet,
    )


def write(log: Path, **values: float) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps({name: round(value, 6) for name, value in values.items()}) + "\n")


def forget_after(log: Path, step: int) -> None:
    """Cut the log back to the checkpoint: steps that a crash lost are made again."""
    if log.exists():
        lines = log.read_text("utf-8").splitlines(keepends=True)
        log.write_text("".join(x for x in lines if x.endswith("\n") and json.loads(x)["step"] <= step), "utf-8")
    else:
        log.touch()
