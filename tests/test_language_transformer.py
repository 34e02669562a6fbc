"""The story model in torch: seeds, streams, cancelling, and what happens when memory runs out."""

import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.generation.continuous_batching import RequestState

from models.language.finisher import FinishReason
from models.language.transformer import BatchLimits, OutOfMemoryError, TransformersModel, unpacked
from models.language.weights import LocalModel, WeightsCorruptError
from models.serving.model_loading import load_story_model
from models.serving.requests import Sampling, StoryOutput, StoryRequest
from models.serving.wire import WorkerConfig
from tests.tiny_model import ENGLISH, TinyModel

LIMITS = BatchLimits(slots=4, context=512, batch_tokens=64)
LONG = ENGLISH * 2  # about 340 tokens
WILD = Sampling(max_new_tokens=40, temperature=2.5, top_k=0, top_p=1.0, min_p=0.0001, repetition_penalty=1.05)
OPENINGS = (
    "The lamp in the lighthouse went out at nine, and the keeper",
    "She put it in her pocket and lit",
    "On the beach a boy",
    "大海在她脚下",
)


class Whole:
    """A finisher that changes nothing."""

    stop_reason: FinishReason | None = None

    def __init__(self, _: StoryRequest) -> None:
        self._text = ""

    def feed(self, text: str) -> str:
        self._text += text
        return text

    def finish(self, reason: FinishReason) -> tuple[str, FinishReason]:
        return self._text, reason


def load(directory: Path, data_dir: Path, limits: BatchLimits = LIMITS, *, plain: bool = True) -> TransformersModel:
    raw: dict[str, Any] = {"prompt": lambda request, _count, _context: request.story, "finisher": Whole}
    return TransformersModel.load(
        directory,
        data_dir=data_dir,
        version="tiny@00000000",
        limits=limits,
        device="cpu",
        threads=1,
        **(raw if plain else {}),
    )


@pytest.fixture(scope="module")
def model(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersModel]:
    loaded = load(tiny_model.directory, tmp_path_factory.mktemp("data"))
    yield loaded
    loaded.close()


@pytest.fixture
def loaded(tiny_model: TinyModel, tmp_path: Path) -> Iterator[Callable[..., TransformersModel]]:
    """Models that the test may break."""
    models: list[TransformersModel] = []

    def make(limits: BatchLimits = LIMITS, *, directory: Path | None = None, plain: bool = True) -> TransformersModel:
        models.append(load(directory or tiny_model.directory, tmp_path, limits, plain=plain))
        return models[-1]

    yield make
    for each in models:
        each.close()


def request(story: str, name: str = "r", sampling: Sampling = WILD, **changes: Any) -> StoryRequest:
    return StoryRequest(request_id=name, story=story, sampling=_changed(sampling, **changes))


def _changed(sampling: Sampling, **changes: Any) -> Sampling:
    import msgspec

    return msgspec.structs.replace(sampling, **changes)


def tell(model: TransformersModel, asked: StoryRequest) -> StoryOutput:
    return model.generate(asked, lambda _: True)


def tell_at_once(model: TransformersModel, asked: list[StoryRequest]) -> list[StoryOutput]:
    with ThreadPoolExecutor(len(asked)) as threads:
        return list(threads.map(lambda each: tell(model, each), asked))


def fail_in_forward(model: TransformersModel, fails: Callable[[int], bool], error: Exception) -> None:
    """Raise `error` inside the network for every forward pass of so many tokens that `fails` says yes."""

    def hook(_module: torch.nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if fails(kwargs["input_ids"].shape[1]):
            raise error

    model._batching._manager.model.register_forward_pre_hook(hook, with_kwargs=True)


def test_a_seed_tells_the_same_story_again_and_another_seed_another(model: TransformersModel) -> None:
    first, again = (tell(model, request(OPENINGS[0], seed=1)) for _ in range(2))
    assert first.text == again.text
    assert len({tell(model, request(OPENINGS[0], seed=seed)).text for seed in range(6)}) > 3


def test_a_seed_tells_the_same_story_whatever_else_is_in_the_batch(model: TransformersModel) -> None:
    asked = [request(story, f"r{place}", seed=place) for place, story in enumerate(OPENINGS)]
    alone = [tell(model, each).text for each in asked]
    for turn in range(4):
        order = asked[turn:] + asked[:turn]
        together = {output.request_id: output.text for output in tell_at_once(model, order)}
        assert [together[each.request_id] for each in asked] == alone


def test_more_requests_than_slots_wait_their_turn(model: TransformersModel) -> None:
    asked = [request(OPENINGS[0], f"r{seed}", seed=seed, max_new_tokens=12) for seed in range(9)]
    outputs = tell_at_once(model, asked)
    assert [output.new_tokens for output in outputs] == [12] * 9
    assert [output.text for output in outputs] == [tell(model, each).text for each in asked]


def test_the_output_says_how_it_came_about(model: TransformersModel) -> None:
    output = tell(model, request(OPENINGS[1], "r7", seed=3, max_new_tokens=9))
    assert (output.request_id, output.model_version, output.seed) == ("r7", "tiny@00000000", 3)
    assert (output.finish_reason, output.new_tokens) == ("length", 9)
    assert output.prompt_tokens == model.count_tokens(OPENINGS[1])
    assert output.prefill_s > 0
    assert output.decode_s > 0


def test_greedy_text_with_a_repetition_penalty_is_that_of_generate(
    model: TransformersModel, tiny_model: TinyModel
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model.directory)
    reference = AutoModelForCausalLM.from_pretrained(tiny_model.directory, dtype=torch.float32)
    for story in OPENINGS:
        for penalty in (1.0, 1.3):
            ids = tokenizer(story, return_tensors="pt")
            expected = reference.generate(**ids, max_new_tokens=40, do_sample=False, repetition_penalty=penalty)
            told = tell(
                model, request(story, sampling=Sampling(temperature=0, repetition_penalty=penalty, max_new_tokens=40))
            )
            assert told.text == tokenizer.decode(expected[0, ids["input_ids"].shape[1] :]), (story, penalty)


def test_the_stream_is_the_text_in_whole_code_points(model: TransformersModel) -> None:
    pieces: list[str] = []
    greedy = Sampling(temperature=0, repetition_penalty=1, max_new_tokens=60)

    def emit(text: str) -> bool:
        pieces.append(text)
        return True

    output = model.generate(request(OPENINGS[3], sampling=greedy), emit)
    assert output.text.startswith("又黑又响。")
    assert "".join(pieces) == output.text
    assert "\ufffd" not in output.text.rstrip("\ufffd")
    assert pieces.count("") >= 20  # Chinese takes about three tokens a character: whoever listens is asked at each


def test_a_cancelled_request_stops_within_one_token_and_frees_its_pages(
    loaded: Callable[..., TransformersModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded()
    sampler = model._batching._manager.sampler
    steps: Counter[str] = Counter()
    prepare = sampler.prepare_tensor_args

    def counting(requests_in_batch: list[Any], arg_storage: torch.Tensor) -> torch.Tensor:
        steps.update(each.state.request_id for each in requests_in_batch)
        return prepare(requests_in_batch, arg_storage)

    monkeypatch.setattr(sampler, "prepare_tensor_args", counting)
    steps_allowed, free = threading.Semaphore(1), threading.Event()

    def wait_for_the_reader(_module: torch.nn.Module, _args: tuple[Any, ...]) -> None:
        assert free.is_set() or steps_allowed.acquire(timeout=30)

    model._batching._manager.model.model.register_forward_pre_hook(wait_for_the_reader)
    told: list[str] = []
    held: list[dict[str, int]] = []

    def stop_at_the_tenth(text: str) -> bool:
        if not text:  # nothing came for a while
            return True
        told.append(text)
        held.append(model.held_pages())
        if len(told) == 10:
            return False
        steps_allowed.release()
        return True

    greedy = Sampling(temperature=0, repetition_penalty=1, max_new_tokens=400)
    output = model.generate(request(OPENINGS[0], "stopped", sampling=greedy), stop_at_the_tenth)
    assert (output.finish_reason, output.new_tokens) == ("cancelled", 10)
    assert held[-1]["stopped"] == 1
    free.set()
    steps_allowed.release()  # for the step that was prepared before the reader said stop
    tell(model, request(OPENINGS[1], "next", max_new_tokens=5))  # by now the loop has gone on
    assert steps["stopped"] <= 11
    assert model.held_pages() == {}


def test_a_request_is_cancelled_while_its_prompt_is_read(loaded: Callable[..., TransformersModel]) -> None:
    model = loaded()
    reading, go_on = threading.Event(), threading.Event()

    def hook(_module: torch.nn.Module, _args: tuple[Any, ...]) -> None:
        reading.set()
        assert go_on.wait(30)

    handle = model._batching._manager.model.model.register_forward_pre_hook(hook)
    asked: list[str] = []

    def stop(text: str) -> bool:
        asked.append(text)
        return False

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(model.generate, request(LONG, "read", max_new_tokens=5), stop)
        assert reading.wait(30)
        output = running.result(30)  # before the first of six steps is over
    handle.remove()
    go_on.set()
    assert (output.finish_reason, output.new_tokens, asked) == ("cancelled", 0, [""])
    tell(model, request(OPENINGS[1], "next", max_new_tokens=2))
    assert model.held_pages() == {}


def test_a_reader_that_fails_cancels_its_request(model: TransformersModel) -> None:
    def emit(_: str) -> bool:
        raise ConnectionError("nobody listens")

    with pytest.raises(ConnectionError):
        model.generate(request(OPENINGS[0], "lost", max_new_tokens=300), emit)
    tell(model, request(OPENINGS[1], "next", max_new_tokens=2))
    assert model.held_pages() == {}


def test_a_stop_sequence_ends_the_text_before_it(loaded: Callable[..., TransformersModel]) -> None:
    model = loaded(plain=False)
    greedy = Sampling(temperature=0, repetition_penalty=1, max_new_tokens=200, stop=("horn",))
    output = tell(model, request("A dragon flew over the town.", sampling=greedy, seed=1))
    assert output.finish_reason == "stop"
    assert "horn" not in output.text
    assert output.new_tokens < 200


def test_the_models_own_end_token_ends_the_text(
    loaded: Callable[..., TransformersModel], tiny_model: TinyModel, tmp_path: Path
) -> None:
    copy = tmp_path / "ends"
    shutil.copytree(tiny_model.directory, copy)
    full_stop = json.loads((copy / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]["."]
    config = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": [2, full_stop]}))
    greedy = Sampling(temperature=0, repetition_penalty=1, max_new_tokens=200)
    output = tell(loaded(directory=copy), request(OPENINGS[1], sampling=greedy))
    assert (output.text, output.finish_reason) == (" the lamp", "end")


def test_an_equal_beginning_is_read_once(model: TransformersModel) -> None:
    first = tell(model, request(LONG, max_new_tokens=2, seed=1))
    again = tell(model, request(LONG, max_new_tokens=2, seed=1))
    assert again.cached_tokens >= first.prompt_tokens - LIMITS.page_tokens - 1
    assert again.cached_tokens % LIMITS.page_tokens == 0
    assert again.text == first.text


def test_a_step_too_large_for_the_memory_is_taken_in_parts_and_costs_nobody_a_word(
    loaded: Callable[..., TransformersModel],
) -> None:
    roomy = loaded(BatchLimits(slots=4, context=512, batch_tokens=128))
    asked = [request(story, f"r{place}", seed=place) for place, story in enumerate([*OPENINGS[:3], LONG])]
    alone = [tell(roomy, each).text for each in asked]
    tight = loaded(BatchLimits(slots=4, context=512, batch_tokens=128))
    steps: list[int] = []

    def fails(tokens: int) -> bool:
        steps.append(tokens)
        return tokens > 20

    fail_in_forward(tight, fails, torch.OutOfMemoryError("CUDA out of memory (injected)"))
    assert [output.text for output in tell_at_once(tight, asked)] == alone
    assert max(steps) > 20
    assert tight.held_pages() == {}
    failures = sum(tokens > 20 for tokens in steps)
    assert failures <= 12, "larger steps are tried again, but ever more seldom"
    steps.clear()
    tell(tight, request(LONG, "again", seed=9, max_new_tokens=2))
    assert sum(tokens > 20 for tokens in steps) <= 3, "what was learned is remembered"


def test_steps_grow_again_when_memory_comes_back(loaded: Callable[..., TransformersModel]) -> None:
    model = loaded(BatchLimits(slots=2, context=512, batch_tokens=128))
    short_of = [True]
    steps: list[int] = []

    def fails(tokens: int) -> bool:
        steps.append(tokens)
        return short_of[0] and tokens > 20

    fail_in_forward(model, fails, MemoryError())
    tell(model, request(LONG, "r", max_new_tokens=2))
    short_of[0] = False
    tell(model, request(OPENINGS[0], "r", max_new_tokens=400))
    steps.clear()
    tell(model, request("Once more: " + LONG, "r", max_new_tokens=2))
    assert max(steps) > 60


def test_a_request_that_does_not_fit_at_all_ends_and_the_others_tell_the_same_story(
    loaded: Callable[..., TransformersModel],
) -> None:
    model = loaded(BatchLimits(slots=4, context=512, batch_tokens=128))
    small = [request(story, f"small{place}", seed=place) for place, story in enumerate(OPENINGS[:3])]
    alone = [tell(model, each).text for each in small]
    far = 150  # tokens: the small ones stay below, the large one's prompt goes beyond

    def hook(_module: torch.nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if int(kwargs["position_ids"].max()) > far:
            raise torch.OutOfMemoryError("CUDA out of memory (injected)")

    model._batching._manager.model.register_forward_pre_hook(hook, with_kwargs=True)
    begun = threading.Barrier(4)

    def emit_with_the_others() -> Callable[[str], bool]:
        met = False

        def emit(_: str) -> bool:
            nonlocal met
            if not met:
                met = True
                begun.wait(30)
            return True

        return emit

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(model.generate, each, emit_with_the_others()) for each in small]
        begun.wait(30)  # all three are in the middle of their stories
        with pytest.raises(OutOfMemoryError, match=r"not enough memory to continue a prompt of \d+ tokens"):
            tell(model, request(LONG, "large"))
        assert [each.result(60).text for each in running] == alone
    assert isinstance(OutOfMemoryError(""), ValueError)  # a worker answers it, and doesn't count it as a crash
    assert tell(model, small[0]).text == alone[0]
    assert model.held_pages() == {}


def test_a_full_cache_costs_time_but_no_text(
    loaded: Callable[..., TransformersModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [request(story, f"r{place}", seed=place, max_new_tokens=90) for place, story in enumerate(OPENINGS)]
    roomy = loaded()
    alone = [tell(roomy, each) for each in asked]
    restarted: list[str] = []
    restart = RequestState.create_equivalent_initial_request

    def counting(state: RequestState) -> RequestState:
        restarted.append(state.request_id)
        return restart(state)

    monkeypatch.setattr(RequestState, "create_equivalent_initial_request", counting)
    crowded = loaded(BatchLimits(slots=4, context=160, batch_tokens=64, cache_tokens=192))
    outputs = tell_at_once(crowded, asked)
    assert restarted
    assert [output.text for output in outputs] == [output.text for output in alone]
    assert [output.new_tokens for output in outputs] == [output.new_tokens for output in alone]
    assert crowded.held_pages() == {}


def test_a_fault_that_is_no_lack_of_memory_fails_every_request_at_once(
    loaded: Callable[..., TransformersModel],
) -> None:
    model = loaded()
    fail_in_forward(model, lambda _: True, RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        tell(model, request(OPENINGS[0]))
    with pytest.raises(RuntimeError, match="takes no more requests"):
        tell(model, request(OPENINGS[0]))


def test_more_than_the_context_is_refused(model: TransformersModel) -> None:
    with pytest.raises(ValueError, match="more than the context of 512 tokens"):
        tell(model, request(ENGLISH * 3, max_new_tokens=40))
    assert tell(model, request(OPENINGS[0], max_new_tokens=2)).new_tokens == 2


def test_a_request_id_is_used_once_at_a_time(model: TransformersModel) -> None:
    def ask_for_itself(_: str) -> bool:
        with pytest.raises(ValueError, match="already running"):
            tell(model, request(OPENINGS[1], "twin"))
        return False

    model.generate(request(OPENINGS[0], "twin"), ask_for_itself)


def test_a_closed_model_answers_nothing(loaded: Callable[..., TransformersModel]) -> None:
    model = loaded()
    model.close()
    model.close()
    with pytest.raises(RuntimeError, match="closed"):
        tell(model, request(OPENINGS[0]))


def test_a_gguf_is_unpacked_once(tiny_model: TinyModel, tmp_path: Path) -> None:
    config = WorkerConfig(
        model=str(tiny_model.gguf),
        data_dir=str(tmp_path),
        engine="transformers",
        slots=2,
        context_tokens=512,
        threads=1,
    )
    stories, stamps = [], []
    for _ in range(2):
        model = load_story_model(config)
        assert isinstance(model, TransformersModel)
        assert model.version.startswith("tiny-llama.f32@")
        stories.append(model.generate(request("She put it in her pocket."), lambda _: True).text)
        (directory,) = (tmp_path / "models").glob("*-unpacked")
        stamps.append((directory / "model.safetensors").stat().st_mtime_ns)
        model.close()
    assert stories[0] == stories[1] != ""
    assert stamps[0] == stamps[1]


def test_a_directory_is_loaded_in_torch_without_being_asked(tiny_model: TinyModel, tmp_path: Path) -> None:
    config = WorkerConfig(model=str(tiny_model.directory), data_dir=str(tmp_path), context_tokens=256, threads=1)
    model = load_story_model(config)
    assert isinstance(model, TransformersModel)
    model.close()


def test_a_gguf_that_cannot_be_unpacked_is_one_sentence(tiny_model: TinyModel, tmp_path: Path) -> None:
    strange = tmp_path / "strange.gguf"
    strange.write_bytes(tiny_model.gguf.read_bytes().replace(b"llama", b"lhama"))
    with pytest.raises(
        WeightsCorruptError, match=r"can't be unpacked for torch \(.*\): use another model, or llama\.cpp"
    ):
        unpacked(strange, tmp_path, "strange@12345678")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.weights
def test_the_default_model_continues_a_story_in_torch(
    default_weights: LocalModel, default_unpacked: Path, tmp_path: Path
) -> None:
    model = TransformersModel.load(
        default_unpacked,
        data_dir=tmp_path,
        version=default_weights.version,
        limits=BatchLimits(slots=2, context=512),
        device="cpu",
    )
    asked = [
        StoryRequest(
            request_id=f"r{seed}",
            story="The lighthouse keeper found a letter under the door. It was",
            sampling=Sampling(max_new_tokens=24, seed=seed),
        )
        for seed in range(2)
    ]
    alone = [tell(model, each) for each in asked]
    together = tell_at_once(model, asked)
    model.close()
    assert [output.text for output in together] == [output.text for output in alone]
    assert all(output.text.strip() for output in alone)
    assert alone[0].text != alone[1].text
    assert together[1].model_version == "smollm2-135m-instruct-q4_1@b179c952"
