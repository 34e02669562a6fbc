"""Verses out of numpy: seeded, alone, of the right form, and refused in words where something is wrong."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.gan.verse_forms import BREAK, LINES, MAX_PIECES, MIN_PIECES, lines_of, pieces_of, words_of
from models.gan.verse_forward import odds
from models.gan.verse_weights import CONFIG, Config, VerseFolder, pieces_name, weights_name
from models.gan.verses import VerseModel, load
from models.serving.engine import ModelMissingError, RequestRefusedError
from models.serving.local_short_engine import LocalShortEngine
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import PortraitRequest, Verse, VerseForm, VerseRequest
from models.serving.short_wire import ShortConfig
from tests.tiny_portraits import write_tiny_portraits
from tests.tiny_verses import PIECES, write_tiny_verses

FORMS: tuple[VerseForm, ...] = ("en", "zh5", "zh7")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_verses(tmp_path_factory.mktemp("verse"))


@pytest.fixture(scope="module")
def model(folder: Path) -> VerseModel:
    return VerseModel(VerseFolder(folder))


def verse(model: VerseModel, form: VerseForm = "zh5", seed: str = "Mara", **asked: object) -> Verse:
    (answer,) = model.answer([msgspec.convert({"type": "verse", "form": form, "seed": seed, **asked}, VerseRequest)])
    assert isinstance(answer, Verse)
    return answer


@given(seed=st.text(min_size=1, max_size=200), form=st.sampled_from(FORMS))
def test_any_seed_gives_a_verse_of_the_form(model: VerseModel, seed: str, form: VerseForm) -> None:
    (answer,) = model.answer([VerseRequest(form=form, seed=seed)])
    assert isinstance(answer, Verse)
    assert len(answer.lines) == 4
    if form == "en":
        for line in answer.lines:
            words = words_of(line)
            assert words
            assert words[0] not in PIECES["en"][1:3]  # no mark begins a line
    else:
        assert {len(line) for line in answer.lines} == {5 if form == "zh5" else 7}
        assert set("".join(answer.lines)) <= set(PIECES["zh"][1:])


@pytest.mark.parametrize("form", FORMS)
def test_the_same_seed_gives_the_same_verse_and_another_seed_another(model: VerseModel, form: VerseForm) -> None:
    assert verse(model, form) == verse(model, form, " MARA ")
    assert verse(model, form).lines != verse(model, form, "Tom").lines


def test_a_verse_does_not_depend_on_what_else_is_asked(model: VerseModel) -> None:
    requests = [VerseRequest(form=form, seed=seed) for seed in ("a", "b", "Mara") for form in FORMS]
    together = model.answer(requests)
    assert together == [model.answer([request])[0] for request in requests]


@pytest.mark.parametrize("form", FORMS)
def test_two_lines_are_the_beginning_of_four(model: VerseModel, form: VerseForm) -> None:
    assert verse(model, form, lines=2).lines == verse(model, form).lines[:2]


def test_another_process_writes_the_same_verse(folder: Path, model: VerseModel) -> None:
    code = (
        "from pathlib import Path; import sys\n"
        "from models.gan.verses import load\n"
        "from models.serving.short_requests import VerseRequest\n"
        f"model = load(Path('/nowhere'), {{'verse': {str(folder)!r}}})\n"
        "for form in ('en', 'zh5', 'zh7'):\n"
        "    print(model.answer([VerseRequest(form=form, seed='Mara')])[0])\n"
        "assert 'torch' not in sys.modules\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [str(verse(model, form)) for form in FORMS]


def test_the_generator_and_the_temperature_that_wrote_are_told(model: VerseModel) -> None:
    assert (verse(model).generator, verse(model).temperature) == ("likelihood", 0.9)
    other = verse(model, generator="adversarial")
    assert (other.generator, other.temperature) == ("adversarial", 1.0)
    assert other.lines != verse(model).lines
    assert verse(model, temperature=0.5).temperature == 0.5


def test_a_verse_begins_with_the_words_that_were_given(model: VerseModel) -> None:
    assert verse(model, begin="明月").lines[0].startswith("明月")
    assert verse(model, "zh7", begin=" 春花 秋月何时了").lines[0] == "春花秋月何时了"
    assert verse(model, "en", begin="The moon, and Rome").lines[0].startswith("The moon, and Rome")
    assert verse(model, "en", begin="nights").lines[0].startswith("Nights")


@pytest.mark.parametrize(
    ("form", "begin", "says"),
    [
        ("zh5", "龘", "does not know"),
        ("zh5", "春花秋月何时", "longer than the first line"),
        ("en", "Wyoming", "does not know"),
        ("en", "???", "does not know"),
        ("en", "moon moon moon moon moon moon", "longer than the first line"),
        ("zh5", "\n", ""),  # nothing to begin with
    ],
)
def test_a_beginning_that_can_not_be_written_is_refused(
    model: VerseModel, form: VerseForm, begin: str, says: str
) -> None:
    if not says:
        assert verse(model, form, begin=begin) == verse(model, form)
        return
    with pytest.raises(ValueError, match=says):
        verse(model, form, begin=begin)


def test_a_low_temperature_writes_what_is_likeliest(model: VerseModel) -> None:
    logits = np.array([0.0, 2.0, 1.0, 5.0], np.float32)
    may = np.array([True, True, True, False])
    assert odds(logits, may, 1.0)[3] == 0
    assert odds(logits, may, 1.0).sum() == pytest.approx(1)
    assert odds(logits, may, 0.01)[1] == pytest.approx(1)
    assert len({verse(model, seed=str(number), temperature=0.1).lines for number in range(20)}) < 20


def test_english_lines_are_never_too_short_nor_too_long(model: VerseModel) -> None:
    for number in range(50):
        tokens = model._write(VerseRequest(form="en", seed=str(number)), "en", "likelihood", 2.0)
        lengths = [len(line.split()) for line in "".join(f" {token}" for token in tokens).split(f" {BREAK}")[:LINES]]
        assert tokens.count(BREAK) == LINES
        assert min(lengths) >= MIN_PIECES
        assert max(lengths) <= MAX_PIECES


def test_words_are_cut_into_the_longest_known_pieces_and_joined_again() -> None:
    known = {"moon", "n", "##ight", "##s", ",", "##igh", "##t", "I"}
    assert pieces_of("en", "moon, nights", known) == ["moon", ",", "n", "##ight", "##s"]
    assert pieces_of("en", "moonlight", known) is None
    assert pieces_of("zh5", "明月", {"明", "月"}) == ["明", "月"]
    assert pieces_of("zh5", "明日", {"明", "月"}) is None
    assert lines_of("en", ["moon", ",", "n", "##ight", "##s", "\n", "I", "moon", "\n"]) == ("Moon, nights", "I moon")
    assert lines_of("zh5", list("春花秋月何时了往事知")) == ("春花秋月何", "时了往事知")
    assert words_of("O'er th' hill--I lov'd, 'tis!") == ["O'er", "th'", "hill", ",", "I", "lov'd", ",", "'tis", "!"]


def test_another_kind_of_request_is_refused(model: VerseModel) -> None:
    with pytest.raises(ValueError, match="doesn't answer PortraitRequest"):
        model.answer([PortraitRequest(seeds=("a",))])


def damaged(folder: Path, to: Path, name: str, content: bytes | None) -> Path:
    shutil.copytree(folder, to)
    if content is None:
        (to / name).unlink()
    else:
        (to / name).write_bytes(content)
    return to


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "can't be read"), (b"{}", "is damaged"), (b"\xff", "is damaged"), (b"x" * (33 * 2**20), "larger than")],
)
def test_a_folder_without_its_configuration_says_what_to_do(
    folder: Path, tmp_path: Path, content: bytes | None, says: str
) -> None:
    with pytest.raises(ShortModelMissingError, match=f"{says}.*inkwell gan verse train"):
        VerseFolder(damaged(folder, tmp_path / "bad", CONFIG, content))


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
@pytest.mark.parametrize("name", [weights_name("likelihood", "zh"), pieces_name("zh")])
def test_damage_in_one_language_leaves_the_other(
    folder: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    model = VerseModel(VerseFolder(damaged(folder, tmp_path / "bad", name, content)))
    with pytest.raises(ShortModelMissingError, match="zh"):
        verse(model)
    assert verse(model, "en").lines


def test_weights_of_another_shape_are_refused_although_their_checksum_fits(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(folder, bad)
    name = weights_name("likelihood", "zh")
    shutil.copyfile(bad / weights_name("likelihood", "en"), bad / name)
    config = msgspec.json.decode((bad / CONFIG).read_bytes(), type=Config)
    sha256 = config.sha256 | {name: config.sha256[weights_name("likelihood", "en")]}
    (bad / CONFIG).write_bytes(msgspec.json.encode(msgspec.structs.replace(config, sha256=sha256)))
    with pytest.raises(ShortModelMissingError, match="another shape"):
        verse(VerseModel(VerseFolder(bad)))


def test_a_generator_that_is_not_here_is_missing(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(folder, bad)
    config = msgspec.json.decode((bad / CONFIG).read_bytes(), type=Config)
    only = {
        "zh": msgspec.structs.replace(config.languages["zh"], temperatures={"likelihood": 1.0}),
    }
    (bad / CONFIG).write_bytes(msgspec.json.encode(msgspec.structs.replace(config, languages=only)))
    model = VerseModel(VerseFolder(bad))
    with pytest.raises(ShortModelMissingError, match="no adversarial generator for 'zh'"):
        verse(model, generator="adversarial")
    with pytest.raises(ShortModelMissingError, match="no generator for 'en'"):
        verse(model, "en")


async def test_the_process_of_the_small_models_writes_verses_and_outlives_damaged_ones(
    folder: Path, tmp_path: Path, model: VerseModel
) -> None:
    bad = damaged(folder, tmp_path / "bad", weights_name("likelihood", "zh"), b"nonsense")
    portraits = write_tiny_portraits(tmp_path / "portraits")
    config = ShortConfig(data_dir=str(tmp_path), options={"verse": str(bad), "portraits": str(portraits)}, niceness=0)
    engine = LocalShortEngine(config)
    await engine.start()
    try:
        asked = [VerseRequest(form="en", seed=f"seed {number}") for number in range(3)]
        answers = await asyncio.gather(
            *(engine.ask(request) for request in asked),
            engine.ask(VerseRequest(form="zh5", seed="a")),
            engine.ask(VerseRequest(form="en", seed="a", begin="Wyoming")),
            engine.ask(PortraitRequest(seeds=("a",))),
            return_exceptions=True,
        )
    finally:
        await engine.close()
    assert [answer.lines for answer in answers[:3] if isinstance(answer, Verse)] == [
        verse(model, "en", request.seed).lines for request in asked
    ]
    assert isinstance(answers[3], ModelMissingError)
    assert isinstance(answers[4], RequestRefusedError)
    assert not isinstance(answers[5], BaseException)


@pytest.mark.parametrize(
    ("field", "value"), [("seed", ""), ("seed", "x" * 201), ("lines", 5), ("lines", 0), ("temperature", 0.0),
                         ("temperature", 2.1), ("begin", "x" * 41), ("form", "zh6"), ("generator", "best")],
)  # fmt: skip
def test_what_is_out_of_bounds_is_no_request(field: str, value: object) -> None:
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({"type": "verse", "seed": "a", field: value}, VerseRequest)


def test_the_loader_takes_a_folder_below_the_data_directory(folder: Path, model: VerseModel) -> None:
    assert load(folder.parent, {"verse": folder.name}).version == model.version
