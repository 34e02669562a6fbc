"""Continue does not read the story again: what llama.cpp finds in its caches, by its own count of tokens processed."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.language.llama_cpp import LlamaCppModel
from models.serving.local_engine import LocalEngine
from models.serving.requests import Sampling, StoryOutput, StoryRequest
from models.serving.wire import WorkerConfig
from tests.serving_reader import ask, served
from tests.tiny_model import ENGLISH, TinyModel

OPENING = ENGLISH + "That was long ago, and the keeper had told it many times."
NEW = 30


@pytest.fixture
def loaded(tiny_model: TinyModel) -> Iterator[Callable[..., LlamaCppModel]]:
    models: list[LlamaCppModel] = []

    def make(**options: int) -> LlamaCppModel:
        models.append(LlamaCppModel.load(tiny_model.gguf, **{"threads": 1, "slots": 2, "context": 1024} | options))
        return models[-1]

    yield make
    for model in models:
        model.close()


def tell(model: LlamaCppModel, story: str, seed: int = 1) -> StoryOutput:
    sampling = Sampling(max_new_tokens=NEW, seed=seed, temperature=0.7)
    return model.generate(StoryRequest(request_id="r", story=story, sampling=sampling), lambda _: True)


def processed(output: StoryOutput) -> int:
    return output.prompt_tokens - output.cached_tokens


def test_continue_reads_only_what_is_new(loaded: Callable[..., LlamaCppModel]) -> None:
    model = loaded()
    first = tell(model, OPENING)
    assert first.cached_tokens == 0
    assert first.prompt_tokens > 150
    story, prefills = OPENING + first.text, []
    for turn in range(3):
        again = tell(model, story, seed=turn)
        assert processed(again) <= NEW + 1, "at most the last passage, tokenised anew, and one token to begin with"
        prefills.append(again.prefill_s)
        story += again.text
    assert min(prefills) < first.prefill_s + 1  # of three: one may meet a moment in which others have the core


def test_stories_that_take_turns_on_fewer_slots_find_their_beginnings_again(
    loaded: Callable[..., LlamaCppModel],
) -> None:
    model = loaded()
    stories = [f"This is the tale of keeper {number}. {OPENING}" for number in range(6)]
    for _ in range(2):
        outputs = [tell(model, story, seed=place) for place, story in enumerate(stories)]
        stories = [story + output.text for story, output in zip(stories, outputs, strict=True)]
    assert all(processed(output) <= NEW + 1 for output in outputs), [processed(output) for output in outputs]
    without = loaded(prompt_cache_mib=0)
    for _ in range(2):
        outputs = [tell(without, story) for story in stories]
    assert min(processed(output) for output in outputs) > 150, "the slots alone forget them"


def test_a_text_does_not_depend_on_what_was_found_in_the_cache(loaded: Callable[..., LlamaCppModel]) -> None:
    fresh, used = loaded(prompt_cache_mib=0), loaded()
    stories = [f"Keeper {number} went up. {OPENING}" for number in range(4)]
    for story in stories:
        tell(used, story, seed=5)
    for story in stories:
        again = tell(used, story, seed=9)
        assert again.cached_tokens > 100
        assert again.text == tell(fresh, story, seed=9).text


def test_the_cache_is_bounded_and_the_oldest_stories_go(loaded: Callable[..., LlamaCppModel]) -> None:
    model = loaded(prompt_cache_mib=1)
    stories = [f"{number} keepers and {number * 7} lamps. " + ENGLISH * 3 for number in range(40)]
    for story in stories:
        tell(model, story)
    assert processed(tell(model, stories[-3])) <= NEW + 1
    assert processed(tell(model, stories[0])) > 300


async def test_of_several_workers_the_one_that_read_a_story_goes_on_with_it(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    config = WorkerConfig(
        model=str(tiny_model.gguf), data_dir=str(tmp_path), threads=1, slots=2, context_tokens=1024, niceness=0
    )
    engine = LocalEngine([config, config])
    await engine.start()
    stories = [f"Keeper {number} went up. {OPENING}" for number in range(4)]
    for turn in range(3):
        requests = [ask(f"{turn}-{place}", story, max_new_tokens=NEW) for place, story in enumerate(stories)]
        outputs = await asyncio.gather(*(served(engine, request) for request in requests[turn:] + requests[:turn]))
        if turn:
            assert all(processed(output) <= NEW + 1 for output in outputs)
        texts = {output.request_id: output.text for output in outputs}
        stories = [story + texts[f"{turn}-{place}"] for place, story in enumerate(stories)]
    await engine.close()


async def test_the_saved_prefill_is_told_to_whoever_asked(tiny_model: TinyModel, tmp_path: Path) -> None:
    config = WorkerConfig(
        model=str(tiny_model.gguf), data_dir=str(tmp_path), threads=1, slots=2, context_tokens=1024, niceness=0
    )
    engine = LocalEngine([config])
    await engine.start()
    first = await served(engine, ask("first", OPENING, max_new_tokens=NEW))
    again = await served(engine, ask("again", OPENING + first.text, max_new_tokens=NEW))
    await engine.close()
    assert (first.cached_tokens, again.cached_tokens >= first.prompt_tokens - 1) == (0, True)
