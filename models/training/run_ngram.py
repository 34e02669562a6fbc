"""The n-gram family of a training run: counted anew from all that people wrote. Knows no registry, and needs no torch.

There is nothing to begin from and nothing to forget. It is its text, so nobody asks it not to copy.
"""

import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from models.language.ngram import NGram
from models.language.normal_form import normalise
from models.serving.training import Family, Progressed
from models.training.base_text import LANGUAGES
from models.training.families import NGramFamily
from models.training.gate import Judgement, judge_language
from models.training.lesson_source import Source
from models.training.snapshot import Snapshot
from models.training.snapshot_rows import Passage
from models.training.train import Candidate, RunContext

ORDER: Final = 6  # of characters, as a voice that is taught (models.training.teach)
_AT_ONCE: Final = 100_000  # characters between two looks at whether the run was cancelled
_TASTED: Final = 2_000  # characters of each piece that are predicted before they are learned: the loss that is told


class NGramTrainer:
    """See `models.training.train.Trainer`."""

    family: Family = "ngram"

    def train(self, snapshot: Snapshot, context: RunContext) -> Candidate:
        source = Source(snapshot, context.request.options, languages=LANGUAGES)
        model = NGram(order=ORDER)
        started, learned = time.monotonic(), 0
        steps = max(1, -(-source.characters // _AT_ONCE))
        for step, text in enumerate(_pieces(source.lessons(context=0)), 1):
            context.stop_if_cancelled()
            loss = model.score(text[:_TASTED]).bits_per_character if learned else 0.0
            model.add(text)
            learned += len(text)
            spent = max(1e-9, time.monotonic() - started)
            context.tell(
                Progressed(
                    family=self.family,
                    step=min(step, steps),
                    steps=steps,
                    loss=loss,
                    tokens_per_s=learned / spent,
                    left_s=spent * max(0, steps - step) / step,
                )
            )
        context.stop_if_cancelled()
        target = context.folder / "candidate"
        if target.exists():
            shutil.rmtree(target)
        target.mkdir()
        model.save(target)
        return Candidate(
            folder=target,
            recipe={"order": model.order, "unit": model.unit, "smoothing": model.smoothing},
            base="",
            counts=source.counts | {"dictionary": len(model.dictionary)},
        )

    def judge(self, candidate: Candidate, champion: Path | None, snapshot: Snapshot, context: RunContext) -> Judgement:
        source = Source(snapshot, context.request.options, languages=LANGUAGES)
        return judge_language(
            NGramFamily(NGram.load(candidate.folder)),
            None if champion is None else NGramFamily(NGram.load(champion)),
            held_out=source.held_out,
            training=source.training(),
            base={},
            learned=source.learned,
            limits=replace(source.limits, copied_span=None, copied_share=None, exposure=None),
            seed=context.request.options.seed,
            tick=context.stop_if_cancelled,
        )


def _pieces(passages: Iterable[Passage]) -> Iterator[str]:
    """All of them in normal form, joined to pieces of about `_AT_ONCE` characters."""
    parts: list[str] = []
    size = 0
    for passage in passages:
        parts.append(normalise(passage.text))
        size += len(parts[-1]) + 2
        if size >= _AT_ONCE:
            yield "\n\n".join(parts)
            parts, size = [], 0
    if parts:
        yield "\n\n".join(parts)
