"""The base text that ships: what it holds, that its halves are strangers, and that an installed Inkwell has it."""

import re

import pytest

from models.training.base_text import FOLDER, LANGUAGES, pieces
from models.training.overlap import shared_with
from tests.test_training_storyteller import ROOT


@pytest.mark.parametrize("split", ["replay", "held_out"])
def test_each_half_has_a_dozen_english_and_a_handful_of_chinese_pieces(split) -> None:
    found = pieces(split)
    assert [sum(piece.language == language for piece in found) for language in LANGUAGES] == [12, 5]
    for piece in found:
        assert piece.title and not piece.text.startswith("#")
        low, high = (600, 1500) if piece.language == "en" else (150, 600)
        assert low <= len(piece.text) <= high, piece.title
        assert bool(re.search("[一-鿿]", piece.text)) == (piece.language == "zh")


def test_one_language_can_be_asked_for_alone() -> None:
    assert {piece.language for piece in pieces("held_out", ("zh",))} == {"zh"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_halves_share_no_run_of_eight_words_and_no_title(language) -> None:
    replay, held_out = (pieces(split, (language,)) for split in ("replay", "held_out"))
    assert not {piece.title for piece in replay} & {piece.title for piece in held_out}
    [shares] = shared_with([piece.text for piece in replay], [[piece.text for piece in held_out]])
    assert shares.max() == 0


def test_a_wheel_carries_the_base_text(monkeypatch) -> None:
    pytest.importorskip("setuptools", "77", reason="pyproject.toml asks it to build a wheel")
    from setuptools import Distribution
    from setuptools.command.build_py import build_py
    from setuptools.config.pyprojecttoml import apply_configuration

    monkeypatch.chdir(ROOT)
    command = build_py(apply_configuration(Distribution(), ROOT / "pyproject.toml"))
    command.ensure_finalized()
    listed = command.get_data_files_without_manifest()  # the other way asks git, which a source archive lacks
    shipped = {file for package, _, _, files in listed if package == "models.training.base_text" for file in files}
    assert {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.txt")} <= shipped
