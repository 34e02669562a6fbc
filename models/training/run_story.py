"""The story family of a training run: an adapter for the main model, from the shipped adapter. Knows no registry.

The base is what is configured: the default model's GGUF is unpacked once into DATA_DIR, other models are read where
they lie. A model that writes no Chinese is taught none: Chinese passages are for the families of our own.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import torch
from safetensors import SafetensorError

from models.language.adapters import Adapter, AdapterError, read_adapter, resolve_adapter
from models.language.known_models import KNOWN_MODELS
from models.language.story_model import StoryModel
from models.language.transformer import BatchLimits, TransformersModel, unpacked
from models.language.weight_files import WeightsError
from models.language.weights import LocalModel, resolve
from models.serving.training import Family, Progressed
from models.training.adapter_run import AdapterRun, Recipe, describe
from models.training.base_text import LANGUAGES, Language
from models.training.gate import PAIRS, Judgement, judge_language
from models.training.lesson_source import Source
from models.training.passage_windows import Lesson, Lessons
from models.training.registry import DESCRIPTION, Version
from models.training.run_errors import NothingToLearnError, RunError
from models.training.snapshot import Snapshot
from models.training.story_family import ScoredModel, StoryFamily
from models.training.train import Candidate, RunContext

_CONTEXT: Final = 1_024  # tokens a story may take while the gate has one written
_SLOTS: Final = 4
_CONTEXT_CHARS: Final = 1_600  # before a passage: more than any window here holds of a story


@dataclass(frozen=True, kw_only=True)
class Base:
    """What a candidate is trained from. `directory` is that of `weights` for torch; `adapter` the one it begins with,
    None for a fresh one."""

    weights: LocalModel
    directory: Path
    adapter: Adapter | None

    @property
    def languages(self) -> tuple[Language, ...]:
        """Those that the model writes; of a model that we don't know we believe all."""
        known = next((each for each in KNOWN_MODELS.values() if each.sha256 == self.weights.sha256), None)
        return LANGUAGES if known is None else tuple(each for each in LANGUAGES if each in known.languages)

    @property
    def version(self) -> str:
        return self.weights.version if self.adapter is None else f"{self.weights.version}+{self.adapter.version}"


def base_of(context: RunContext) -> Base:
    """Raises NothingToLearnError for a model that can't be trained here."""
    request = context.request
    if not request.model:
        raise NothingToLearnError("The story model runs on another server, and Inkwell can't train it there.")
    try:
        weights = resolve(request.model, context.data_dir, fetch=False)
        adapter = resolve_adapter(request.adapter, weights)
        context.stop_if_cancelled()
        directory = weights.path
        if weights.format == "gguf":
            directory = unpacked(weights.path, context.data_dir, weights.version)
    except AdapterError as error:
        raise NothingToLearnError(f"The adapter that training would begin with can't be used: {error}") from error
    except WeightsError as error:
        raise NothingToLearnError(f"The story model can't be trained: {error}") from error
    context.stop_if_cancelled()
    return Base(weights=weights, directory=directory, adapter=adapter)


class StoryTrainer:
    """See `models.training.train.Trainer`."""

    family: Family = "story"

    def train(self, snapshot: Snapshot, context: RunContext) -> Candidate:
        options = context.request.options
        base = base_of(context)
        source = Source(snapshot, options, languages=base.languages)
        if options.threads:
            torch.set_num_threads(options.threads)
        recipe = Recipe(
            seed=options.seed,
            steps=options.steps,
            rank=options.rank,
            rate=options.rate,
            batch=options.batch,
            length=options.length,
            replay=options.replay,
            base=base.weights.spec,
        )
        lessons = Lessons(
            [
                *(Lesson(context=each.context, text=each.text) for each in source.lessons(context=_CONTEXT_CHARS)),
                *(Lesson(context="", text=canary.text) for canary in source.canaries),
            ],
            seed=options.seed,
        )
        replay = Lessons((Lesson(context="", text=text) for text in source.replay()), seed=options.seed)
        context.stop_if_cancelled()
        try:
            run = AdapterRun(base.directory, lessons, replay, recipe, context.folder, base.adapter)
        except (ValueError, KeyError, NotImplementedError, SafetensorError) as error:
            raise NothingToLearnError(f"The story model can't be trained ({error}).") from error
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
        return Candidate(
            folder=run.save(context.folder / "candidate"),
            recipe=describe(recipe),
            base=base.version,
            model=context.request.model,
            counts=source.counts,
        )

    def judge(self, candidate: Candidate, champion: Path | None, snapshot: Snapshot, context: RunContext) -> Judgement:
        options = context.request.options
        base = base_of(context)
        source = Source(snapshot, options, languages=base.languages)
        if options.threads:
            torch.set_num_threads(options.threads)
        own = read_adapter(candidate.folder)
        former = _champion_adapter(champion, context.request.model) or base.adapter
        rank = max(each.rank for each in (own, former, base.adapter) if each is not None)
        scored = ScoredModel(base.directory, rank=rank)
        with (
            _family(scored, own, base, context, "candidate") as new,
            _family(scored, former, base, context, "champion") as old,
            _family(scored, base.adapter, base, context, "shipped") as shipped,
        ):
            return judge_language(
                new,
                old,
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


def _champion_adapter(champion: Path | None, model: str) -> Adapter | None:
    """None where what is shipped answers: also where the champion was trained for another model than today's."""
    if champion is None:
        return None
    described = msgspec.json.decode((champion / DESCRIPTION).read_bytes(), type=Version)
    return read_adapter(champion) if described.model == model else None


@contextmanager
def _family(
    scored: ScoredModel, adapter: Adapter | None, base: Base, context: RunContext, name: str
) -> Iterator[StoryFamily]:
    family = StoryFamily(scored, adapter, lambda: _writer(base, adapter, context, name), cancelled=context.cancelled)
    try:
        yield family
    finally:
        family.close()


def _writer(base: Base, adapter: Adapter | None, context: RunContext, name: str) -> StoryModel:
    """The engine that serves such a model: llama.cpp with the adapter in the weights, or torch."""
    threads = context.request.options.threads or None
    if base.weights.format != "gguf":
        return TransformersModel.load(
            base.weights.path,
            data_dir=context.data_dir,
            version=name,
            limits=replace(BatchLimits(), slots=_SLOTS, context=_CONTEXT),
            threads=threads,
            adapter=adapter,
        )
    from models.language.llama_cpp import LlamaCppModel

    path = base.weights.path
    if adapter is not None:
        path = context.folder / f"{name}.gguf"
        _merge(base.weights.path, adapter, path)
    return LlamaCppModel.load(path, threads=threads, slots=_SLOTS, context=_CONTEXT, version=name)


def _merge(model: Path, adapter: Adapter, target: Path) -> None:
    """In a process of its own: it takes hundreds of megabytes for some seconds. Here and not beside the models, so that
    a candidate that nobody promotes leaves nothing."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "models.language.adapter_merge", str(model.absolute()), str(adapter.path)]
    done = subprocess.run(  # noqa: S603 our own code
        [*command, str(target.absolute())], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1].rstrip(".")
        raise RunError(f"The candidate can't be put into the model's weights: {reason}.")
