"""The story model in OpenVINO: seeds, sampling, streams, cancelling, a bounded cache, and files it can't read."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.language.convert import gguf_from_directory
from models.language.llama_cpp import LlamaCppModel
from models.language.openvino_batching import BLOCK_TOKENS
from models.language.openvino_model import (
    OpenVinoModel,
    UnsupportedByOpenVinoError,
    generation_config,
    is_for_openvino,
)
from models.language.weights import LocalModel, NotAModelError, WeightsCorruptError, WeightsError
from models.serving.model_loading import load_story_model
from models.serving.requests import Sampling, StoryOutput, StoryRequest
from models.serving.wire import WorkerConfig
from tests.tiny_model import ENGLISH, TinyModel

pytest.importorskip("openvino_genai", reason="openvino-genai has no wheel for this machine")

LONG = ENGLISH * 2  # about 340 tokens
WILD = Sampling(max_new_tokens=40, temperature=1.5, top_k=0, top_p=1.0, min_p=0.001, repetition_penalty=1.05)
GREEDY = Sampling(max_new_tokens=60, temperature=0, repetition_penalty=1)
OPENINGS = (
    "The lamp in the lighthouse went out at nine, and the keeper",
    "She put it in her pocket and lit",
    "On the beach a boy",
    "大海在她脚下",
)


@pytest.fixture(scope="module")
def model(tiny_q8: Path) -> Iterator[OpenVinoModel]:
    loaded = OpenVinoModel.load(tiny_q8, threads=1, slots=4, context=512, cache_tokens=2048)
    yield loaded
    loaded.close()


def request(story: str, name: str = "r", sampling: Sampling = WILD, **changes: Any) -> StoryRequest:
    return StoryRequest(request_id=name, story=story, sampling=msgspec.structs.replace(sampling, **changes))


def tell(model: OpenVinoModel, asked: StoryRequest) -> StoryOutput:
    return model.generate(asked, lambda _: True)


def tell_at_once(model: OpenVinoModel, asked: list[StoryRequest]) -> list[StoryOutput]:
    with ThreadPoolExecutor(len(asked)) as threads:
        return list(threads.map(lambda each: tell(model, each), asked))


def test_a_seed_tells_the_same_story_again_and_another_seed_another(model: OpenVinoModel) -> None:
    first, again = (tell(model, request(OPENINGS[0], seed=1)) for _ in range(2))
    assert first.text == again.text
    assert len({tell(model, request(OPENINGS[0], seed=seed)).text for seed in range(6)}) > 3


def test_a_seed_tells_the_same_story_whatever_else_is_in_the_batch(model: OpenVinoModel) -> None:
    asked = [request(story, f"r{place}", seed=place) for place, story in enumerate(OPENINGS)]
    alone = [tell(model, each).text for each in asked]
    for turn in range(8):
        order = asked[turn % 4 :] + asked[: turn % 4]
        together = {output.request_id: output.text for output in tell_at_once(model, order)}
        assert [together[each.request_id] for each in asked] == alone


def test_an_equal_beginning_is_read_once_and_changes_no_text(tiny_q8: Path) -> None:
    model = OpenVinoModel.load(tiny_q8, threads=1, slots=2, context=512)
    cold = tell(model, request(LONG, max_new_tokens=20, seed=1))
    warm = tell(model, request(LONG, max_new_tokens=20, seed=1))
    model.close()
    assert cold.cached_tokens == 0
    assert cold.prompt_tokens - BLOCK_TOKENS - 1 <= warm.cached_tokens < warm.prompt_tokens
    assert warm.text == cold.text


def test_more_requests_than_slots_wait_their_turn(model: OpenVinoModel) -> None:
    asked = [request(OPENINGS[0], f"r{seed}", seed=seed, max_new_tokens=12) for seed in range(9)]
    outputs = tell_at_once(model, asked)
    assert [output.new_tokens for output in outputs] == [12] * 9
    assert [output.text for output in outputs] == [tell(model, each).text for each in asked]


def test_a_full_cache_makes_requests_wait_and_costs_no_text(tiny_q8: Path, model: OpenVinoModel) -> None:
    asked = [request(LONG, f"r{seed}", seed=seed, max_new_tokens=40) for seed in range(4)]
    crowded = OpenVinoModel.load(tiny_q8, threads=1, slots=4, context=512, cache_tokens=512)
    outputs = tell_at_once(crowded, asked)
    crowded.close()
    assert [output.text for output in outputs] == [tell(model, each).text for each in asked]


def test_the_output_says_how_it_came_about(model: OpenVinoModel) -> None:
    pieces: list[str] = []
    output = model.generate(
        request(OPENINGS[1], "r7", seed=3, max_new_tokens=9), lambda text: pieces.append(text) is None
    )
    assert (output.request_id, output.seed, output.new_tokens) == ("r7", 3, 9)
    assert output.model_version.startswith("tiny-llama-q8_0@")
    assert output.prompt_tokens > model.count_tokens(OPENINGS[1])
    assert "".join(pieces).startswith(output.text[: len("".join(pieces))])


def test_text_comes_in_whole_code_points(model: OpenVinoModel) -> None:
    pieces: list[str] = []
    asked = request(OPENINGS[3], sampling=GREEDY)
    output = model.generate(asked, lambda text: pieces.append(text) is None)
    assert output.text.startswith("又黑又")
    assert "\ufffd" not in "".join(pieces)
    assert pieces.count("") >= 20  # Chinese takes about three tokens a character: whoever listens is asked at each


def test_a_cancelled_request_stops_within_one_step_and_frees_its_blocks(tiny_q8: Path) -> None:
    model = OpenVinoModel.load(tiny_q8, threads=1, slots=2, context=512, cache_tokens=512)
    for number in range(12):  # together they would need six times the cache
        told: list[str] = []

        def stop_at_the_third(text: str, told: list[str] = told) -> bool:
            told.append(text)
            return len([each for each in told if each]) < 3

        output = model.generate(request(LONG, f"stopped{number}", seed=number, max_new_tokens=120), stop_at_the_third)
        assert output.finish_reason == "cancelled"
        assert output.new_tokens <= len(told)
    steps = model._batching.steps
    whole = tell(model, request(ENGLISH * 2, "next", sampling=GREEDY, max_new_tokens=100))  # needs all but two blocks
    model.close()
    assert whole.finish_reason != "cancelled"
    assert model._batching.steps - steps <= whole.new_tokens + 4  # nothing else was computed in between


def test_a_request_that_waits_for_a_place_is_cancelled(tiny_q8: Path) -> None:
    model = OpenVinoModel.load(tiny_q8, threads=1, slots=1, context=512)
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: str) -> bool:
        begun.set()
        return go_on.wait(30)

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(model.generate, request(OPENINGS[0], "first", max_new_tokens=200), hold)
        assert begun.wait(30)
        output = model.generate(request(OPENINGS[1], "second"), lambda _: False)
        go_on.set()
        assert (output.finish_reason, output.new_tokens) == ("cancelled", 0)
        assert first.result(60).new_tokens > 0
    assert tell(model, request(OPENINGS[1], "third", max_new_tokens=3)).new_tokens == 3
    model.close()


def test_a_reader_that_fails_cancels_its_request(model: OpenVinoModel) -> None:
    def emit(_: str) -> bool:
        raise ConnectionError("nobody listens")

    with pytest.raises(ConnectionError):
        model.generate(request(OPENINGS[0], "lost", max_new_tokens=300), emit)
    assert tell(model, request(OPENINGS[1], "next", max_new_tokens=2)).new_tokens == 2


def test_a_loop_that_dies_fails_every_request_and_takes_no_more(tiny_q8: Path) -> None:
    model = OpenVinoModel.load(tiny_q8, threads=1, slots=2, context=512)

    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(whole, name)

        def step(self) -> None:
            raise MemoryError("injected")

    whole = model._batching._pipeline
    model._batching._pipeline = Broken()
    with pytest.raises(RuntimeError, match="injected"):
        tell(model, request(OPENINGS[0]))
    with pytest.raises(RuntimeError, match="takes no more requests"):
        tell(model, request(OPENINGS[0]))
    model.close()


def test_a_stop_sequence_ends_the_text_before_it(model: OpenVinoModel) -> None:
    output = tell(model, request("A dragon flew over the town.", sampling=GREEDY, max_new_tokens=200, stop=("horn",)))
    assert output.finish_reason == "stop"
    assert "horn" not in output.text
    assert output.new_tokens < 200


def test_tokens_are_drawn_as_often_as_llama_cpp_gives_them_chances(tiny_q8: Path, model: OpenVinoModel) -> None:
    """First words of 400 seeds each, at temperature 1, where both engines filter alike."""
    other = LlamaCppModel.load(tiny_q8, threads=1, slots=2, context=512)
    sampling = Sampling(max_new_tokens=1, temperature=1, top_k=0, top_p=1, min_p=0, repetition_penalty=1)
    drawn: list[Counter[str]] = []
    for engine in (model, other):
        texts = Counter[str]()
        for seed in range(400):
            texts[_raw(engine, request("He saw a", sampling=sampling, seed=seed))] += 1
        drawn.append(texts)
    other.close()
    ours, theirs = drawn
    distance = sum(abs(ours[text] - theirs[text]) for text in ours | theirs) / 800
    assert len(ours) > 3
    assert distance < 0.12 + 0.02 * len(ours | theirs) ** 0.5  # two samples of one distribution differ by about this


def _raw(model: OpenVinoModel | LlamaCppModel, asked: StoryRequest) -> str:
    pieces: list[str] = []
    output = model.generate(asked, lambda text: pieces.append(text) is None)
    return output.text


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_min_p_keeps_the_same_tokens_at_every_temperature(model: OpenVinoModel, temperature: float) -> None:
    tight = Sampling(max_new_tokens=1, temperature=temperature, top_k=0, top_p=1, min_p=0.9, repetition_penalty=1)
    loose = msgspec.structs.replace(tight, min_p=0.0)
    story = "He saw a"
    kept = {tell(model, request(story, sampling=tight, seed=seed)).text for seed in range(40)}
    free = {tell(model, request(story, sampling=loose, seed=seed)).text for seed in range(40)}
    assert len(kept) < len(free)
    assert generation_config(tight, frozenset()).min_p == pytest.approx(0.9 ** (1 / temperature))


def test_settings_that_leave_one_token_are_greedy(model: OpenVinoModel) -> None:
    greedy = tell(model, request(OPENINGS[0], sampling=GREEDY)).text
    for changes in ({"min_p": 1.0}, {"top_k": 1}):
        only = msgspec.structs.replace(WILD, repetition_penalty=1, max_new_tokens=60, **changes)
        assert tell(model, request(OPENINGS[0], sampling=only, seed=9)).text == greedy


def test_top_k_and_the_repetition_penalty_are_heard(model: OpenVinoModel) -> None:
    some = Sampling(max_new_tokens=1, temperature=5, top_k=2, top_p=1, min_p=0, repetition_penalty=1)
    assert len({tell(model, request("He saw a", sampling=some, seed=seed)).text for seed in range(30)}) <= 2
    plain = tell(model, request(LONG, sampling=GREEDY)).text
    assert tell(model, request(LONG, sampling=GREEDY, repetition_penalty=2)).text != plain


def test_text_is_read_as_llama_cpp_reads_it(tiny_q8: Path, model: OpenVinoModel) -> None:
    other = LlamaCppModel.load(tiny_q8, threads=1, slots=1, context=256)
    for text in (*OPENINGS, ENGLISH, "In 1984,  two\n\n\tlines …", "<|im_start|>user\nHi<|im_end|>", "naïve 🦊", ""):
        assert model.count_tokens(text) == other.count_tokens(text), text
    other.close()


def test_more_than_the_context_is_refused(model: OpenVinoModel) -> None:
    with pytest.raises(ValueError, match="leave no room for the story"):
        tell(model, request(LONG, max_new_tokens=490))
    assert tell(model, request(OPENINGS[0], max_new_tokens=2)).new_tokens == 2


def test_a_closed_model_answers_nothing(tiny_q8: Path) -> None:
    model = OpenVinoModel.load(tiny_q8, threads=1, slots=1, context=256)
    threads = threading.active_count()
    model.close()
    model.close()
    assert threading.active_count() == threads - 1
    with pytest.raises(RuntimeError, match="closed"):
        tell(model, request(OPENINGS[0]))


@pytest.mark.parametrize("damage", ["missing", "truncated", "header only", "not a model", "empty"])
def test_a_damaged_file_is_one_sentence_and_no_crash(damage: str, tiny_q8: Path, tmp_path: Path) -> None:
    whole = tiny_q8.read_bytes()
    contents = {
        "truncated": whole[: len(whole) // 2],
        "header only": whole[:2000],
        "not a model": b"Once upon a time" * 999,
        "empty": b"",
    }
    file = tmp_path / "model.gguf"
    if damage != "missing":
        file.write_bytes(contents[damage])
    with pytest.raises(WeightsError, match=r"model\.gguf") as caught:
        OpenVinoModel.load(file)
    assert "\n" not in str(caught.value)


def test_a_file_that_openvino_does_not_read_is_left_to_llama_cpp(tiny_model: TinyModel, tmp_path: Path) -> None:
    assert not is_for_openvino(tiny_model.gguf)  # f32
    with pytest.raises(UnsupportedByOpenVinoError, match="use llama_cpp"):
        OpenVinoModel.load(tiny_model.gguf)
    config = WorkerConfig(
        model=str(tiny_model.gguf), data_dir=str(tmp_path), device="cpu", context_tokens=256, threads=1
    )
    model = load_story_model(config)
    assert isinstance(model, LlamaCppModel)
    assert model.count_tokens("The lamp") > 0  # llama.cpp hangs when it is closed before its own loop has begun
    model.close()


def test_the_worker_chooses_openvino_for_a_file_it_is_proven_with(
    tiny_q8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = WorkerConfig(model=str(tiny_q8), data_dir=str(tmp_path), device="cpu", slots=0, threads=1)
    model = load_story_model(config)
    assert isinstance(model, OpenVinoModel)
    assert model.slots == 16
    model.close()
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert not is_for_openvino(tiny_q8)


def test_a_library_that_fails_is_replaced_by_llama_cpp_unless_it_was_asked_for(
    tiny_q8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise WeightsCorruptError(f"OpenVINO can't load {tiny_q8} (injected): fetch the model again.")

    def absent(*_args: object, **_options: object) -> None:
        raise RuntimeError("OpenVINO can't be loaded: injected")

    config = WorkerConfig(model=str(tiny_q8), data_dir=str(tmp_path), device="cpu", context_tokens=256, threads=1)
    for failing in (absent, broken):
        monkeypatch.setattr(OpenVinoModel, "load", failing)
        model = load_story_model(config)
        assert isinstance(model, LlamaCppModel)
        assert model.count_tokens("The lamp") > 0
        model.close()
        with pytest.raises((RuntimeError, WeightsError), match="injected"):
            load_story_model(msgspec.structs.replace(config, engine="openvino"))


def test_a_hugging_face_directory_is_not_for_openvino(tiny_model: TinyModel) -> None:
    with pytest.raises(NotAModelError, match="no GGUF file"):
        OpenVinoModel.load(tiny_model.directory)


@pytest.mark.parametrize(
    "use",
    [
        "from models.serving.quiet_runtimes import openvino_genai; openvino_genai().SchedulerConfig()",
        "from models.sentiment.encoder_openvino import computes_bf16; computes_bf16()",
        "from models.sentiment.moods import Moods; from models.weights import MOODS_FOLDER; "
        "Moods(MOODS_FOLDER).read(['hello'])",
        "from models.serving.quiet_runtimes import onnxruntime, openvino; openvino(); onnxruntime().SessionOptions()",
    ],
)
def test_loading_the_library_tells_nobody(tmp_path: Path, use: str) -> None:
    """`import openvino` would send an event to Google Analytics and leave a folder in the home directory."""
    script = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise SystemExit('a connection was tried')\n"
        "socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse\n"
        f"{use}\n"
        "assert sys.modules.get('openvino_telemetry') is None\n"  # where ONNX Runtime answers, neither is loaded
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def default_model(default_weights: LocalModel) -> Iterator[OpenVinoModel]:
    loaded = OpenVinoModel.load(default_weights.path, context=1024, version=default_weights.version)
    yield loaded
    loaded.close()


@pytest.mark.weights
def test_the_default_model_tells_the_same_stories_alone_together_and_from_the_cache(
    default_model: OpenVinoModel,
) -> None:
    usual = Sampling(max_new_tokens=32)
    asked = [request(story, f"r{place}", sampling=usual, seed=place) for place, story in enumerate(OPENINGS * 2)]
    alone = [tell(default_model, each).text for each in asked]
    for _ in range(2):
        assert [output.text for output in tell_at_once(default_model, asked)] == alone
    assert all(text.strip() for text in alone[:3])
    assert len(set(alone)) == len(alone)


@pytest.mark.weights
def test_the_default_models_file_is_left_to_llama_cpp(default_weights: LocalModel) -> None:
    """As OpenVINO GenAI 2026.4 reads Q4_1 only 73% of its greedy tokens are torch's on the same weights."""
    assert not is_for_openvino(default_weights.path)


@pytest.mark.weights
@pytest.mark.timeout(300)
def test_the_default_model_in_8_bits_agrees_with_its_weights_in_32_bit_floats(
    default_unpacked: Path, tmp_path: Path
) -> None:
    """Each token of eight greedy texts is torch's likeliest too; one in twenty may be a near tie."""
    import torch
    from transformers import AutoModelForCausalLM

    gguf = gguf_from_directory(default_unpacked, tmp_path / "smollm2.q8_0.gguf", "q8_0")
    assert is_for_openvino(gguf)
    torch.set_num_threads(2)
    network: Any = AutoModelForCausalLM.from_pretrained(default_unpacked, dtype=torch.float32, local_files_only=True)
    model, agreed = OpenVinoModel.load(gguf, context=512), 0
    try:
        for story in (
            *OPENINGS,
            "It was the",
            "My grandmother kept a jar of",
            "The train stopped",
            "Nobody had lived in",
        ):
            prompt = model._batching.tokens_of(story)
            config = generation_config(Sampling(max_new_tokens=24, temperature=0, repetition_penalty=1), frozenset())
            config.ignore_eos = True
            ours = [token for step in model._batching.stream(prompt, config) for token in step.new]
            with torch.inference_mode():
                logits = network(input_ids=torch.tensor([prompt + ours])).logits[0]  # (tokens, vocabulary)
            theirs = logits[len(prompt) - 1 : -1].argmax(dim=1).tolist()
            agreed += sum(our == their for our, their in zip(ours, theirs, strict=True))
    finally:
        model.close()
    assert agreed >= 0.95 * 8 * 24
