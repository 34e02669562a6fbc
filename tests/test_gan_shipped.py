"""The portrait model that ships: whole, quick, obedient, and as its card says."""

import hashlib

import numpy as np
import pytest

from models.gan.asked_traits import asked_classes
from models.gan.portrait_weights import ATTRIBUTES, DISCRIMINATOR, GENERATOR
from models.gan.portraits import PortraitModel, load
from models.serving.short_requests import MorphRequest, PortraitRequest
from models.weights import PORTRAITS_FOLDER


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PortraitModel:
    return load(tmp_path_factory.mktemp("data"), {})


def test_the_card_tells_the_checksums_of_files_that_are_small_enough() -> None:
    card = (PORTRAITS_FOLDER / "README.md").read_text("utf-8")
    for name, most in ((GENERATOR, 8 << 20), (DISCRIMINATOR, 8 << 20), (ATTRIBUTES, 1 << 20)):
        data = (PORTRAITS_FOLDER / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() in card
        assert len(data) <= most


def test_a_morph_of_the_most_frames_is_small_enough_for_discord(model: PortraitModel) -> None:
    (answer,) = model.answer([MorphRequest(start="Mara", end="Jonas", frames=48)])
    assert len(answer.gif) < 8 << 20


@pytest.mark.parametrize(
    ("asked", "least"),
    [
        ({"glasses": "yes"}, 0.9),
        ({"glasses": "no"}, 0.9),
        ({"background": "pink"}, 0.9),
        ({"hair colour": "blue", "hat": "no"}, 0.9),
        ({"skin": "deep brown"}, 0.8),
        ({"hat": "yes"}, 0.8),
    ],
)
def test_what_is_asked_for_is_seen(model: PortraitModel, asked: dict[str, str], least: float) -> None:
    seen = []
    for number in range(60):
        point = model.point(f"obey {number}", asked_classes(asked))
        seen.append(model.attributes(model.paint(model.start(point))))
    right = [
        all(each[trait] == word or (word == "yes" and each[trait] != "no") for trait, word in asked.items())
        for each in seen
    ]
    assert np.mean(right) >= least


def test_backgrounds_are_clean(model: PortraitModel) -> None:
    """The upper corners, which no hair reaches in most faces, have one colour."""
    clean = []
    for number in range(60):
        picture = model.paint(model.start(model.point(f"clean {number}", {})))
        clean.append(len(np.unique(picture[0:2, 0:2].reshape(-1, 3), axis=0)) == 1)
    assert np.mean(clean) > 0.8


def test_faces_of_different_seeds_differ(model: PortraitModel) -> None:
    answers = model.answer([PortraitRequest(seeds=(f"differ {number}",)) for number in range(30)])
    assert len({answer.grid for answer in answers}) == 30
