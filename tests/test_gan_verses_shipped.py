"""The verse generators that ship: whole, small, quick, various, and as their card says."""

import hashlib
import time
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from models.gan.verse_forms import FORMS
from models.gan.verse_weights import VerseFolder, pieces_name, weights_name
from models.gan.verses import VerseModel, load
from models.serving.short_requests import Verse, VerseForm, VerseRequest
from models.weights import VERSE_FOLDER

SHIPPED: tuple[VerseForm, ...] = ("en", "zh5", "zh7")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> VerseModel:
    return load(tmp_path_factory.mktemp("data"), {})


def written(model: VerseModel, requests: list[VerseRequest]) -> list[Verse]:
    return [answer for answer in model.answer(requests) if isinstance(answer, Verse)]


def test_the_card_tells_the_checksums_of_files_that_are_small_enough() -> None:
    card = (VERSE_FOLDER / "README.md").read_text("utf-8")
    config = VerseFolder(VERSE_FOLDER).config
    names = [
        name
        for language, own in config.languages.items()
        for name in (pieces_name(language), *(weights_name(kind, language) for kind in own.temperatures))
    ]
    assert set(config.sha256) == set(names)
    for name in names:
        data = (VERSE_FOLDER / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == config.sha256[name]
        assert config.sha256[name] in card
        assert len(data) <= 6 << 20


def test_every_generator_writes_every_form_of_its_language(model: VerseModel) -> None:
    config = VerseFolder(VERSE_FOLDER).config
    for language, own in config.languages.items():
        for kind in own.temperatures:
            for form in FORMS[language]:
                (verse,) = written(model, [VerseRequest(form=form, seed="Mara", generator=kind)])
                assert len(verse.lines) == 4
                assert verse.generator == kind


@pytest.mark.parametrize("form", SHIPPED)
def test_verses_differ_and_are_written_in_a_moment(model: VerseModel, form: VerseForm) -> None:
    requests = [VerseRequest(form=form, seed=f"seed {number}") for number in range(30)]
    written(model, requests[:1])
    with threadpool_limits(1):  # on a busy machine two threads of BLAS spend ten times as much waiting for each other
        began = time.process_time()
        verses = written(model, requests)
        assert (time.process_time() - began) / len(requests) < 0.3
    lines = [line for verse in verses for line in verse.lines]
    assert len(set(lines)) > 0.97 * len(lines)


def test_the_documented_seeds_write_what_the_documentation_shows(model: VerseModel) -> None:
    """docs/verse.md shows verses unchosen, with their seeds; this is that they are these."""
    document = (Path(__file__).parents[1] / "docs" / "verse.md").read_text("utf-8")
    for form in SHIPPED:
        (verse,) = written(model, [VerseRequest(form=form, seed="Mara")])
        for line in verse.lines:
            assert line in document
    assert model.version in document


def test_a_beginning_in_common_words_is_taken(model: VerseModel) -> None:
    for form, begin in (("zh5", "明月"), ("zh7", "春江花月夜"), ("en", "The moon and I")):
        (verse,) = written(model, [VerseRequest(form=form, seed="Mara", begin=begin)])  # type: ignore[arg-type]
        assert verse.lines[0].startswith(begin)
