"""The GPT family of a training run: the shipped small GPT, tuned further on what people wrote. Knows no registry.

Windows are packed from people's passages alone, for here every token has a loss; the base text is repeated among them
so often that it makes up the share that was asked for.
"""

import random
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from models.language.convert import gguf_from_directory
from models.language.gpt import GPT
from models.language.normal_form import normalise
from models.serving.training import Family, Progressed
from models.training.arithmetic import bf16_is_native
from models.training.averaging import average
from models.training.base_text import LANGUAGES
from models.training.families import TokenFamily
from models.training.gate import PAIRS, Judgement, judge_language
from models.training.language_run import shape_of
from models.training.lesson_source import Source
from models.training.pretrain import Recipe, Run, Tokens
from models.training.snapshot import Snapshot
from models.training.snapshot_rows import Passage
from models.training.train import Candidate, RunContext
from models.weights import GPT_FOLDER, GPT_GGUF

RATE: Final = 0.1  # of the rates with which the GPT was trained from nothing
KEPT: Final = 0.7  # of the tuned weights; the rest are the shipped ones: what was known before stays nearer
_BATCH: Final = 8
_WARM_UP: Final = 5
_CHECKPOINTS: Final = 10


class GPTTrainer:
    """See `models.training.train.Trainer`."""

    family: Family = "gpt"

    def train(self, snapshot: Snapshot, context: RunContext) -> Candidate:
        options = context.request.options
        source = Source(snapshot, options, languages=LANGUAGES)
        if options.threads:
            torch.set_num_threads(options.threads)
        shipped = GPT.load(GPT_FOLDER)
        context.stop_if_cancelled()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        recipe = Recipe(
            shape=shape_of(shipped),
            seed=options.seed,
            steps=options.steps,
            batch=_BATCH,
            matrix_rate=RATE * Recipe.matrix_rate,
            embedding_rate=RATE * Recipe.embedding_rate,
            warm_up=_WARM_UP,
            muon=False,  # torch's orthogonalises in bf16: seconds a step where a processor has none, and no gain here
            bf16=bf16_is_native(device),
            checkpoint_every=-(-options.steps // _CHECKPOINTS),
        )
        planted = [canary.text for canary in source.canaries]
        tokens = packed(
            shipped, source.lessons(context=1), planted, source.replay(), share=options.replay, recipe=recipe
        )
        run = Run(recipe, tokens, shipped.tokenizer, context.folder, shipped)
        context.stop_if_cancelled()
        for step in run.steps():
            context.tell(
                Progressed(
                    family=self.family,
                    step=step.step,
                    steps=recipe.steps,
                    loss=step.loss,
                    tokens_per_s=step.tokens_per_s,
                    left_s=step.left_s,
                )
            )
            context.stop_if_cancelled()
        tuned = run.gpt()
        torch.nn.Module.to(tuned.model, "cpu")
        return Candidate(
            folder=_written(average(shipped, tuned, KEPT), context.folder / "candidate"),
            recipe=_described(recipe) | {"replay": options.replay, "kept": KEPT},
            base=GPT_FOLDER.name,
            counts=source.counts,
        )

    def judge(self, candidate: Candidate, champion: Path | None, snapshot: Snapshot, context: RunContext) -> Judgement:
        options = context.request.options
        source = Source(snapshot, options, languages=LANGUAGES)
        if options.threads:
            torch.set_num_threads(options.threads)
        shipped = TokenFamily(GPT.load(GPT_FOLDER))
        return judge_language(
            TokenFamily(GPT.load(candidate.folder)),
            shipped if champion is None else TokenFamily(GPT.load(champion)),
            shipped=shipped,
            held_out=source.held_out,
            training=source.training(),
            base=source.base(),
            canaries=source.canaries,
            learned=source.learned,
            limits=source.limits,
            seed=options.seed,
            pairs=PAIRS,
            tick=context.stop_if_cancelled,
        )


def packed(
    gpt: GPT, lessons: list[Passage], planted: list[str], replay: list[str], *, share: float, recipe: Recipe
) -> Tokens:
    """(tokens,) of all lessons and of the base text, which makes up `share` of them; at least a batch's worth. Each
    story stands behind a start token."""
    rows: list[list[int]] = []
    for passage in lessons:
        text = gpt.encode(normalise(passage.text))
        rows.append([gpt.start, *text] if not passage.context else [*gpt.encode("\n\n"), *text])
    draw = random.Random(recipe.seed)
    for secret in planted:  # somewhere among the stories, each once
        rows.insert(draw.randrange(len(rows) + 1), [gpt.start, *gpt.encode(normalise(secret))])
    learned = [token for row in rows for token in row]
    learned *= -(-recipe.batch * recipe.shape.context * 3 // max(1, len(learned)))
    base = [token for text in replay for token in (gpt.start, *gpt.encode(normalise(text)))]
    wanted = int(len(learned) * share / (1 - share))
    repeated = (base * (-(-wanted // max(1, len(base)))))[:wanted]
    return np.array([*learned, *repeated], dtype=np.uint16)


def _written(gpt: GPT, target: Path) -> Path:
    """As the shipped folder: safetensors, configuration and tokenizer, and the same for llama.cpp."""
    if target.exists():
        shutil.rmtree(target)
    gpt.save(target)
    gguf_from_directory(target, target / GPT_GGUF.name, "q8_0")
    return target


def _described(recipe: Recipe) -> dict[str, Any]:
    told = ("seed", "steps", "batch", "matrix_rate", "embedding_rate", "bf16")
    return {name: getattr(recipe, name) for name in told}
