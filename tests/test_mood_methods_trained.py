"""The trained ways of reading a mood: features, weights, arithmetic, calibration, and all behind one question."""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.sentiment import encoder_weights
from models.sentiment.calibration import (
    Calibration,
    Stage,
    fit_calibration,
    fit_stage,
    load_calibrations,
    save_calibrations,
    sigmoid,
    two_class,
)
from models.sentiment.combination import DEFAULT_TIERS
from models.sentiment.encoder import MAX_WINDOWS, WINDOW, EncoderScorer, load_encoder, split
from models.sentiment.encoder_numpy import NumpyRuntime
from models.sentiment.encoder_onnx import OnnxRuntime
from models.sentiment.encoder_ranges import RANGES_FILE, Ranges, load_ranges, save_ranges
from models.sentiment.features import BITS, extract
from models.sentiment.linear import LinearScorer, compand, expand
from models.sentiment.moods import Moods, load
from models.sentiment.scorer import prepare
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import MAX_MOOD_CHARS, Method, Mood, MoodRequest, MorphRequest
from models.training.mood_calibrate import widened
from models.weights import MOODS_FOLDER
from tests.small_moods import SHAPE, random_encoder, small_ranges, small_tokenizer, write_small_moods

LINES = [
    "I love this chapter!!!", "not good at all :(", "meeting at 9", "sooooo happy 😀", "今天真好，我很高兴", "太差了！",
    "", "   ", "😭", "https://example.org", "```print(1)```", "ok", "это плохо", "a" * 300, "WHY", "不 喜欢 this",
]  # fmt: skip
TRAINED: tuple[Method, ...] = ("linear", "encoder", "default")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_moods(tmp_path_factory.mktemp("moods"))


@pytest.fixture(scope="module")
def moods(folder: Path) -> Moods:
    return Moods(folder, runtime="numpy")


def alike(one: Mood, other: Mood) -> bool:
    return one.label == other.label and bool(np.allclose(one.probabilities, other.probabilities, atol=1e-5))


# --- features -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "zh"])
@settings(deadline=None)
@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=6))
def test_a_text_has_the_same_features_in_any_company(language: str, texts: list[str]) -> None:
    together = extract(texts, language)  # type: ignore[arg-type]
    for n, text in enumerate(texts):
        alone = extract([text], language)  # type: ignore[arg-type]
        assert sorted(alone.index) == sorted(together.index[together.starts[n] : together.starts[n + 1]])


def test_features_are_the_same_in_another_process() -> None:
    program = "from models.sentiment.features import extract; print(int(extract(['good day'], 'en').index.sum()))"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert int(done.stdout) == int(extract(["good day"], "en").index.sum())


def test_case_is_folded_and_elongation_shortened_but_both_are_counted() -> None:
    one, other = (set(extract([text], "en").index.tolist()) for text in ("so good", "SOOOO GOOD"))
    words = extract(["so good"], "en").index[:2]
    assert set(extract(["GOOD"], "en").index[:1].tolist()) <= set(words.tolist())
    assert one != other


def test_a_negation_reaches_its_clause_and_no_further() -> None:
    def negated(text: str) -> int:
        spans = extract([text], "en", spans=True).spans
        assert spans is not None
        pieces = [text[a:b] for a, b in spans.tolist()]
        return pieces.count("good")

    # as a word, and in words of five characters and less as pieces of it; a negated word stands there once more
    assert negated("it is not good") == negated("it is so good") + 1
    assert negated("not that, good") == negated("but that, good")


def test_spans_lie_in_the_text() -> None:
    for text in LINES:
        cleaned = prepare(text).text
        spans = extract([cleaned], "en", spans=True).spans
        assert spans is not None
        assert spans.min(initial=0) >= -1
        assert spans.max(initial=0) <= len(cleaned) + 1


# --- weights --------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(-8, 8), min_size=1, max_size=50))
def test_companded_weights_come_back_within_a_step(values: list[float]) -> None:
    weights = np.array(values)
    codes, largest = compand(weights)
    back = expand(codes, largest)
    step = 2 * np.sqrt(np.abs(weights) * float(largest)) / 127 + float(largest) / 127**2
    assert (np.abs(back - weights) <= step).all()


def test_int8_rows_come_back_within_half_a_step(tmp_path: Path) -> None:
    weights = random_encoder()
    encoder_weights.save(weights, tmp_path / "e.safetensors")
    loaded = encoder_weights.load(tmp_path / "e.safetensors")
    assert loaded.shape == SHAPE
    matrix = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    quantised = encoder_weights.quantise(matrix)
    assert quantised.values.dtype == np.int8
    assert (np.abs(quantised.floats() - matrix) <= quantised.scale[:, None] / 2 + 1e-7).all()
    for name, original in weights.matrices.items():
        assert (loaded.matrices[name].values == original.values).all()
        assert (loaded.matrices[name].scale == original.scale).all()
    assert loaded.vectors.keys() == weights.vectors.keys()


def test_the_runtimes_agree_with_torch_and_each_other() -> None:
    torch = pytest.importorskip("torch")
    from models.sentiment.encoder_openvino import OpenVinoRuntime
    from models.training.mood_net import MoodNet
    from models.training.mood_net import Shape as TorchShape

    weights = random_encoder()
    net = MoodNet(TorchShape(**asdict(SHAPE))).eval()
    state = {f"{name}.weight": torch.from_numpy(matrix.floats()) for name, matrix in weights.matrices.items()}
    net.load_state_dict(state | {name: torch.from_numpy(value) for name, value in weights.vectors.items()})
    ids = [[0, 5, 6, 7, 2], [0, 9, 2], [0, *range(10, 40), 2]]
    with torch.no_grad():
        expected = np.concatenate([net(torch.tensor([row])).reshape(1, 4).numpy() for row in ids])
    assert np.abs(NumpyRuntime(weights).logits(ids) - expected).max() < 0.02
    precise = OpenVinoRuntime(
        weights, settings={"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    )
    assert np.abs(precise.logits(ids) - expected).max() < 0.02
    assert np.abs(OpenVinoRuntime(weights).logits(ids) - expected).max() < 0.3  # bfloat16 where there is such
    assert np.abs(OnnxRuntime(weights, small_ranges()).logits(ids) - expected).max() < 0.15  # int8


def test_integer_arithmetic_answers_as_floats_do_and_the_same_in_any_company() -> None:
    lines = [text for text in LINES if text.strip()] + ["The ending felt rushed, but I cried anyway. " * 6]
    texts = [prepare(text) for text in lines]
    whole, floats = (load_encoder(MOODS_FOLDER, runtime=name) for name in ("onnxruntime", "numpy"))
    together, exact = whole.score(texts).logits, floats.score(texts).logits
    assert np.sqrt(np.square(together - exact).mean()) < 0.1 * exact.std()
    alone = np.concatenate([whole.score([text]).logits for text in texts])
    assert np.allclose(alone, together, atol=1e-4)
    assert whole.version == floats.version


def test_ranges_of_another_encoder_or_of_no_numbers_are_not_taken(tmp_path: Path) -> None:
    folder, weights = write_small_moods(tmp_path), random_encoder()

    def ranges() -> Ranges | None:
        digest = hashlib.sha256((folder / "encoder.safetensors").read_bytes()).hexdigest()
        return load_ranges(folder / RANGES_FILE, weights, digest)

    found = ranges()
    assert found is not None
    assert all((found[name] == wanted).all() for name, wanted in small_ranges().items())
    save_ranges(small_ranges() | {"layers.0.up": np.full((2, SHAPE.hidden), np.nan, np.float32)}, folder)
    assert ranges() is None
    save_ranges(small_ranges(), folder)
    encoder_weights.save(random_encoder(seed=7), folder / "encoder.safetensors")  # of the same shape
    assert ranges() is None
    (folder / RANGES_FILE).write_bytes(b"no tensors")
    assert ranges() is None
    (folder / RANGES_FILE).unlink()
    assert ranges() is None
    with pytest.raises(RuntimeError, match=RANGES_FILE):
        load_encoder(folder, runtime="onnxruntime")


@pytest.mark.parametrize(
    ("bf16", "ranges", "missing", "chosen"),
    [
        (True, True, (), "openvino"),
        (False, True, (), "onnxruntime"),
        (False, False, (), "openvino"),
        (None, True, ("encoder_openvino",), "onnxruntime"),
        (False, True, ("encoder_onnx",), "openvino"),
        (None, True, ("encoder_openvino", "encoder_onnx"), "numpy"),
    ],
)
def test_the_fastest_arithmetic_that_is_there_is_chosen(
    bf16: bool | None,
    ranges: bool,
    missing: tuple[str, ...],
    chosen: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write_small_moods(tmp_path)
    if not ranges:
        (folder / RANGES_FILE).unlink()
    for name in missing:  # as if its library had no wheel for this machine
        monkeypatch.setitem(sys.modules, f"models.sentiment.{name}", None)
    if bf16 is not None:
        monkeypatch.setattr("models.sentiment.encoder._computes_bf16", lambda: bf16)
    encoder = load_encoder(folder)
    assert encoder.runtime == chosen
    assert encoder.score([prepare("hello")]).logits.shape == (1, 2)


def test_windows_hold_every_token_once_and_too_many_are_spread() -> None:
    ids = list(range(10, 10 + 3 * WINDOW))
    windows, whole = split(ids)
    assert whole
    assert [token for window in windows for token in window[1:-1]] == ids
    assert max(map(len, windows)) <= WINDOW
    windows, whole = split(list(range(100, 100 + 100 * WINDOW)))
    assert not whole
    assert len(windows) == MAX_WINDOWS
    assert split([]) == ([[0, 2]], True)


# --- calibration ----------------------------------------------------------------------------------------------------


def test_a_stage_finds_the_temperature_that_made_the_labels() -> None:
    generator = np.random.default_rng(3)
    scores = generator.normal(0, 3, (20_000, 1))
    positive = generator.random(20_000) < sigmoid(0.5 * scores[:, 0] - 0.4)
    stage = fit_stage(scores, positive, np.ones(20_000))
    assert stage.weights[0] == pytest.approx(0.5, abs=0.05)
    assert stage.bias == pytest.approx(-0.4, abs=0.08)


def test_a_tier_that_says_nothing_gets_no_weight_and_none_speaks_against_itself() -> None:
    generator = np.random.default_rng(4)
    useful, noise = generator.normal(0, 2, (2, 4_000))
    positive = generator.random(4_000) < sigmoid(useful)
    stage = fit_stage(np.stack([useful, noise, -useful], axis=1), positive, np.ones(4_000))
    assert stage.weights[0] > 0.8
    assert all(weight >= 0 for weight in stage.weights)
    assert stage.weights[1] < 0.1


def test_two_class_rows_do_not_move_the_neutral_stage() -> None:
    generator = np.random.default_rng(5)
    logits = generator.normal(0, 2, (1, 600, 2))
    labels = generator.integers(0, 3, 600)
    three = np.ones(600, bool)
    alone = fit_calibration(logits, labels, three, ["a"] * 600)
    more_logits = np.concatenate([logits, generator.normal(3, 1, (1, 200, 2))], axis=1)
    more_labels = np.concatenate([labels, np.tile([0, 2], 100)])
    more = fit_calibration(
        more_logits, more_labels, np.concatenate([three, np.zeros(200, bool)]), ["a"] * 600 + ["b"] * 200
    )
    assert more.polar == alone.polar
    assert more.positive != alone.positive


def test_three_quarters_of_the_rows_are_sure() -> None:
    generator = np.random.default_rng(6)
    labels = generator.integers(0, 3, 1_000)
    logits = generator.normal(0, 2, (2, 1_000, 2))
    fitted = fit_calibration(logits, labels, np.ones(1_000, bool), ["a"] * 1_000)
    rows = fitted.probabilities(logits)
    assert np.allclose(rows.sum(1), 1)
    assert (rows.max(1) >= fitted.sure_from).mean() == pytest.approx(0.75, abs=0.01)


def test_two_classes_share_what_neutral_leaves() -> None:
    assert np.allclose(two_class(np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])), [[0.4, 0.6], [0.5, 0.5]])


# --- the methods ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", TRAINED)
def test_a_text_gets_the_same_mood_in_any_company(moods: Moods, method: Method) -> None:
    together = moods.read(LINES, method)
    backwards = moods.read(LINES[::-1], method)[::-1]
    for text, one, other in zip(LINES, together, backwards, strict=True):
        (alone,) = moods.read([text], method)
        assert alike(alone, one)
        assert alike(alone, other)
        assert [e.text for e in alone.evidence] == [e.text for e in one.evidence]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=400))
def test_any_string_gets_a_mood_by_every_trained_method(moods: Moods, text: str) -> None:
    for method in TRAINED:
        (mood,) = moods.read([text], method)
        assert sum(mood.probabilities) == pytest.approx(1)
        assert mood.method == method


def test_texts_that_cannot_be_read_are_neutral_unsure_and_say_why(moods: Moods) -> None:
    for text, note in (
        ("", "empty"),
        ("  ", "empty"),
        ("https://example.org/x", "no_words"),
        ("```a = 1```", "no_words"),
    ):
        (mood,) = moods.read([text])
        assert (mood.label, mood.sure) == ("neutral", False)
        assert note in mood.notes
    (mood,) = moods.read(["это очень плохо, я так расстроен"])
    assert not mood.sure
    assert not mood.calibrated
    assert "other_language" in mood.notes
    assert "emoji_only" in moods.read(["😀😀"])[0].notes
    assert "one_word" in moods.read(["great"])[0].notes


def test_six_thousand_characters_are_read_whole_and_the_longest_text_is_answered(moods: Moods) -> None:
    (mood,) = moods.read(["what a lovely long story. " * 230], "encoder")
    assert "cut" not in mood.notes
    (mood,) = moods.read(["x y z " * (MAX_MOOD_CHARS // 6)], "encoder")
    assert "cut" in mood.notes


def test_a_long_text_is_the_average_of_its_windows() -> None:
    scorer = EncoderScorer(small_tokenizer(), NumpyRuntime(random_encoder()), "test")
    text = prepare("abcdefgh" * 18)  # 145 tokens with the space: windows of 73 and 72
    pieces, _ = split(small_tokenizer().encode(text.text, add_special_tokens=False).ids)
    parts = NumpyRuntime(random_encoder()).logits(pieces)[:, :2]
    assert len(pieces) == 2
    expected = np.average(parts, axis=0, weights=[len(piece) for piece in pieces])
    assert np.allclose(scorer.score([text]).logits[0], expected, atol=1e-4)


def test_without_its_reasons_the_fast_tier_says_the_same_mood(moods: Moods) -> None:
    texts = ["I love this chapter so much", "worst ending ever", "the session is at nine", "太难看了", ""]
    requests = [MoodRequest(text=text, method="linear", explain=explain) for text in texts for explain in (True, False)]
    found = moods.answer(requests)
    assert any(mood.evidence for mood in found[::2] if isinstance(mood, Mood))
    for told, bare in zip(found[::2], found[1::2], strict=True):
        assert isinstance(told, Mood)
        assert isinstance(bare, Mood)
        assert bare.evidence == ()
        assert (bare.label, bare.probabilities, bare.sure) == (told.label, told.probabilities, told.sure)


def test_a_tier_that_weighs_nothing_in_a_language_does_not_say_what_decided() -> None:
    shipped = Moods()
    text = "I love this but the ending is terrible"
    for language, weighing in (("en", "linear"), ("zh", "rules")):
        said = text if language == "en" else "我很喜欢，就是结尾太糟糕了"
        found = {method: shipped.read([said], method)[0].evidence for method in ("rules", "linear")}
        assert found["rules"] != found["linear"]
        assert {e.text for e in shipped.read([said])[0].evidence} == {e.text for e in found[weighing]}


def test_one_batch_may_ask_for_several_methods(moods: Moods) -> None:
    methods: list[Method] = ["rules", "linear", "default", "positive_lexicon", "encoder", "negative_lexicon", "linear"]
    found = moods.answer([MoodRequest(text=f"I like it {n}", method=method) for n, method in enumerate(methods)])
    assert [mood.method for mood in found if isinstance(mood, Mood)] == methods
    with pytest.raises(ValueError, match="MorphRequest is no question about a mood"):
        moods.answer([MorphRequest(start="a", end="b")])


def test_the_default_names_all_tiers_and_the_fast_one_loads_no_encoder(folder: Path) -> None:
    fresh = Moods(folder, runtime="numpy")
    fresh.read(["hello there"], "linear")
    assert set(fresh._scorers) == {"linear"}
    assert fresh.version.startswith("rules@1+linear@")
    assert "+encoder@" in fresh.version


def test_what_ships_weighs_the_language_model_in_chinese_only() -> None:
    shipped = Moods(MOODS_FOLDER)
    assert "+language_model@" in shipped.version
    weights = load_calibrations(MOODS_FOLDER / "calibration.json")["default"]
    place = DEFAULT_TIERS.index("language_model")
    assert weights["zh"].positive.weights[place] > 0 == weights["en"].positive.weights[place]
    assert shipped.read(["这家店太难吃了，再也不来"])[0].label == "negative"


def test_a_calibration_from_before_the_language_model_needs_no_tables_of_it(folder: Path, tmp_path: Path) -> None:
    assert "language_model" not in Moods(folder, runtime="numpy").version
    newer = write_small_moods(tmp_path)
    found = load_calibrations(newer / "calibration.json")
    found["default"] = {language: widened(own, (0, 1, 2), 4) for language, own in found["default"].items()}
    save_calibrations(found, newer / "calibration.json")
    with pytest.raises(ShortModelMissingError, match="naive Bayes"):
        Moods(newer, runtime="numpy").read(["hello"])


@pytest.mark.parametrize(
    "name",
    [
        "linear-zh.safetensors", "encoder.safetensors", "naive_bayes_zh.safetensors", "tokenizer.json",
        "calibration.json",
    ],
)  # fmt: skip
def test_a_damaged_champion_is_passed_over(name: str, tmp_path: Path) -> None:
    champion = tmp_path / "champion"
    shutil.copytree(MOODS_FOLDER, champion)
    whole = (champion / name).read_bytes()
    (champion / name).write_bytes(whole[: len(whole) // 2])
    assert load(tmp_path, {"mood_champion": str(champion)}).read(["I love it"])[0].label == "positive"
    with pytest.raises(ShortModelMissingError, match=r"damaged|can't be read"):
        load(tmp_path, {"mood_champion": str(champion), "trial": "yes"})


@pytest.mark.parametrize("weights", [(), (1.0,) * 5])
def test_a_calibration_of_no_version_of_inkwell_is_said_to_be_one(weights: tuple[float, ...], tmp_path: Path) -> None:
    folder = write_small_moods(tmp_path)
    found = load_calibrations(folder / "calibration.json")
    stage = Stage(weights=weights, bias=0.0)
    odd = Calibration(polar=stage, positive=stage, sure_from=0.5)
    save_calibrations(found | {"default": {"en": odd, "zh": odd}}, folder / "calibration.json")
    with pytest.raises(ShortModelMissingError, match="another version"):
        Moods(folder, runtime="numpy").read(["hello"])
    save_calibrations({"linear": found["linear"]}, folder / "calibration.json")
    with pytest.raises(ShortModelMissingError, match="default"):
        Moods(folder, runtime="numpy").read(["hello"])


def test_missing_weights_are_said_to_be_missing(tmp_path: Path) -> None:
    for method in ("linear", "encoder", "default", "naive_bayes"):
        with pytest.raises(ShortModelMissingError):
            Moods(tmp_path).method(method)  # type: ignore[arg-type]


def test_weights_of_ones_own_come_before_those_that_ship(tmp_path: Path) -> None:
    own = write_small_moods(tmp_path / "moods")
    found = load(tmp_path, {})
    assert found.read(["hello"], "linear")[0].model_version == LinearScorer(own).version


def test_the_trained_methods_import_neither_torch_nor_scikit_learn() -> None:
    program = (
        "import sys; import models.sentiment.moods, models.sentiment.encoder_openvino, models.sentiment.encoder_numpy;"
        "import models.sentiment.encoder_onnx;"
        "print([name for name in ('torch', 'sklearn', 'scipy', 'transformers') if name in sys.modules])"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_calibrations_come_back_from_their_file(folder: Path) -> None:
    found = load_calibrations(folder / "calibration.json")
    assert found["default"]["en"].polar.weights == (0.2, 0.5, 0.5)
    assert 1 << BITS == 524_288
