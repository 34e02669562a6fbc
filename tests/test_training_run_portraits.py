"""The portraits' part of a training run: real shipped weights, and drawings in two colours that no face here had."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

torch = pytest.importorskip("torch")

from models.gan.portrait_weights import CONFIG, DISCRIMINATOR, GENERATOR, read  # noqa: E402
from models.gan.portraits import PortraitModel  # noqa: E402
from models.serving.short_requests import PortraitRequest  # noqa: E402
from models.serving.training import Event, Judged, PictureRecord, Progressed, RunOptions, RunRequest  # noqa: E402
from models.training import run_portraits  # noqa: E402
from models.training.registry import Registry  # noqa: E402
from models.training.run_portraits import PortraitsTrainer, copied, on_palette, sixteen, with_colours_of  # noqa: E402
from models.training.snapshot import Snapshot  # noqa: E402
from models.training.snapshot_writing import write_snapshot  # noqa: E402
from models.training.train import NothingToLearnError, RunCancelledError, RunContext, carry_out  # noqa: E402
from models.weights import PORTRAITS_FOLDER  # noqa: E402

KEY = "5a" * 32
INK, PAPER = (12, 20, 110), (250, 214, 20)


def drawing(number: int) -> bytes:
    """A face in blue ink on yellow paper."""
    chance = random.Random(number)
    image = Image.new("RGB", (16, 16), PAPER)
    pen = ImageDraw.Draw(image)
    top = chance.randint(3, 5)
    pen.ellipse((chance.randint(2, 4), top, chance.randint(11, 13), 14), outline=INK)
    for eye in (6, 10):
        pen.point((eye, top + chance.randint(3, 4)), INK)
    pen.line((6, 11, chance.randint(8, 10), 11 + chance.randint(-1, 1)), INK)
    for _ in range(chance.randint(2, 6)):
        left = chance.randint(3, 12)
        pen.line((left, top, left + chance.randint(-1, 1), chance.randint(0, 2)), INK)
    return as_png(image)


def as_png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def given(people: int, each: int) -> list[PictureRecord]:
    return [
        PictureRecord(
            id=f"{person:02d}{number:04d}", author=f"{person:064x}", png=drawing(100 * person + number), at=1e9 + number
        )
        for person in range(people)
        for number in range(each)
    ]


def snapshot_of(records: list[PictureRecord], folder: Path) -> Snapshot:
    write_snapshot(records, folder, key=KEY)
    return Snapshot.open(folder, KEY)


def context(folder: Path, *, steps: int, told: list[Event] | None = None, cancelled_after: int = 10**9) -> RunContext:
    folder.mkdir(exist_ok=True)
    options = RunOptions(steps=steps, threads=1)
    request = RunRequest(run="r1", families=("portraits",), data_dir=str(folder), model="", key=KEY, options=options)
    heard = told if told is not None else []
    return RunContext(
        request=request, folder=folder, tell=heard.append, cancelled=lambda: len(heard) >= cancelled_after
    )


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer pictures to compare with, and fewer steps."""
    for name, value in (("STEPS", 6), ("_REPLAYED", 120), ("_JUDGED", 120), ("_GIVEN_ROWS", 120)):
        monkeypatch.setattr(run_portraits, name, value)


def test_drawings_of_a_new_style_are_learned_and_the_faces_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_portraits, "RATE", 4e-4)
    monkeypatch.setattr(run_portraits, "ATTRIBUTES_LOST", 0.2)  # of so few pictures the share is a guess
    told: list[Event] = []
    snapshot = snapshot_of(given(5, 4), tmp_path / "snapshot")
    within = context(tmp_path / "run", steps=25, told=told)
    candidate = PortraitsTrainer().train(snapshot, within)
    assert [event.step for event in told if isinstance(event, Progressed)] == list(range(1, 151))
    judgement = PortraitsTrainer().judge(candidate, None, snapshot, within)
    assert judgement.accepted, judgement.checks
    assert judgement.metrics["held_out_distance"] < 0.97 * judgement.metrics["held_out_distance_before"]
    new, old = read(candidate.folder), read(PORTRAITS_FOLDER)
    assert INK in {tuple(colour) for colour in new.palette.tolist()}
    assert new.version != old.version
    assert new.config.shares == old.config.shares
    (face,) = PortraitModel(new).answer([PortraitRequest(seeds=("Mara",))])
    assert face.portraits[0].png.startswith(b"\x89PNG")  # type: ignore[union-attr]
    assert sum(candidate.counts.values()) == 20


def test_a_run_that_was_cut_short_ends_with_the_candidate_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_portraits, "CHECKPOINT_EVERY_S", 0.0)
    snapshot = snapshot_of(given(5, 4), tmp_path / "snapshot")
    whole = PortraitsTrainer().train(snapshot, context(tmp_path / "whole", steps=1))
    with pytest.raises(RunCancelledError):
        PortraitsTrainer().train(snapshot, context(tmp_path / "cut", steps=1, cancelled_after=4))
    told: list[Event] = []
    resumed = PortraitsTrainer().train(snapshot, context(tmp_path / "cut", steps=1, told=told))
    assert isinstance(told[0], Progressed)
    assert told[0].step > 1
    for name in (GENERATOR, DISCRIMINATOR, CONFIG):
        assert (whole.folder / name).read_bytes() == (resumed.folder / name).read_bytes(), name


def test_a_few_drawings_are_not_enough(tmp_path: Path) -> None:
    snapshot = snapshot_of(given(2, 3), tmp_path / "snapshot")
    with pytest.raises(NothingToLearnError, match="Pictures: 6, of them to test with: "):
        PortraitsTrainer().train(snapshot, context(tmp_path / "run", steps=1))


def test_an_enlarged_drawing_comes_back_as_it_was_drawn() -> None:
    small_one = Image.open(io.BytesIO(drawing(1)))
    large = small_one.resize((320, 320), Image.Resampling.NEAREST)
    assert np.array_equal(sixteen(as_png(large)), np.asarray(small_one))
    assert np.array_equal(sixteen(drawing(1)), np.asarray(small_one))


def test_a_near_copy_is_counted_and_another_drawing_is_not() -> None:
    drawn = np.stack([sixteen(drawing(number)) for number in range(4)])
    nearly = (drawn[:1].astype(int) + 2).clip(0, 255).astype(np.uint8)
    assert copied(nearly, drawn) == 1.0
    assert copied(drawn[:1], drawn[1:]) == 0.0
    assert copied(np.concatenate([nearly, 255 - drawn]), drawn) == pytest.approx(0.2)


def test_pictures_get_the_nearest_colours_as_the_served_model_paints() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    weights = read(PORTRAITS_FOLDER)
    served = PortraitModel(weights)
    found = on_palette(pictures, weights.palette)
    assert all(np.array_equal(ours, served._on_palette(theirs)) for ours, theirs in zip(found, pictures, strict=True))
    noisy = with_colours_of(pictures, weights.palette)
    assert len(weights.palette) < len(noisy) <= len(weights.palette) + 128


def test_a_whole_run_registers_a_version_that_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_portraits, "STEPS", 1)
    told: list[Event] = []
    options = RunOptions(steps=1, threads=1)
    request = RunRequest(run="r1", families=("portraits",), data_dir=str(tmp_path), model="", key=KEY, options=options)
    carry_out(request, given(5, 4), told.append, lambda: False)
    (judged,) = [event for event in told if isinstance(event, Judged)]
    assert [check.name for check in judged.checks] == [
        "portraits_held_out",
        "portraits_forgetting",
        "portraits_copies",
        "portraits_attributes",
    ]
    registry = Registry(tmp_path / "versions")
    (version,) = registry.versions("portraits")
    assert version.base == read(PORTRAITS_FOLDER).version
    assert registry.learned_from(f"{3:064x}") == [version]
    folder = registry.path("portraits", version.id)
    assert sorted(version.files) == sorted(path.name for path in PORTRAITS_FOLDER.iterdir() if path.suffix != ".md")
    assert PortraitModel(read(folder)).version != version.base
    assert [path.name for path in (tmp_path / "training").iterdir()] == [".lock"]
