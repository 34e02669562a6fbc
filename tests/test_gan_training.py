"""A portrait GAN's run: it resumes to the bit, leaves what it promises, and serves what it learned."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.gan import forward  # noqa: E402
from models.gan.attribute_classifier import AttributeClassifier  # noqa: E402
from models.gan.networks import Discriminator, Generator, Shape  # noqa: E402
from models.gan.portrait_weights import ATTRIBUTES, GENERATOR, read  # noqa: E402
from models.gan.portraits import PortraitModel, load  # noqa: E402
from models.gan.traits import FIELDS  # noqa: E402
from models.serving.short_requests import PortraitRequest  # noqa: E402
from models.training import gan_data  # noqa: E402
from models.training.gan_classifier import accuracy, train_classifier  # noqa: E402
from models.training.gan_data import HIDDEN, Portraits  # noqa: E402
from models.training.gan_evaluate import Evaluation, evaluate, gaussian_pictures  # noqa: E402
from models.training.gan_export import export, exported  # noqa: E402
from models.training.gan_run import CONDITIONS, Judge, as_bytes, condition_labels, condition_shape, train  # noqa: E402
from models.training.gan_train import Recipe, Run  # noqa: E402

SHAPE = Shape(z=8, embedding=8, stages=(16, 16), patch=4, expansion=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def some_portraits(count: int = 64) -> Portraits:
    """Pictures whose upper half shows the background's class and whose lower half the clothes'."""
    random = np.random.default_rng(0)
    labels = np.stack([random.integers(0, len(field.classes), count) for field in FIELDS], 1)
    pictures = np.zeros((count, 16, 16, 3), np.uint8)
    names = [field.name for field in FIELDS]
    pictures[:, :8] = (40 + 50 * labels[:, names.index("background")])[:, None, None, None]
    pictures[:, 8:, :, 0] = (20 * labels[:, names.index("clothingColor")])[:, None, None]
    labels[::3, names.index("hatColor")] = HIDDEN
    return Portraits(pictures=pictures, labels=labels)


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in run.weights.items()}


def a_run(folder: Path, *, steps: int, loss: str = "relativistic") -> Run:
    portraits = some_portraits()
    pictures = torch.from_numpy(portraits.pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    recipe = Recipe(loss=loss, steps=steps, batch=4, warm_up=2)
    return Run(pictures, condition_labels(portraits), condition_shape(SHAPE), recipe, folder)


@pytest.mark.parametrize("loss", ["relativistic", "classical"])
def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(tmp_path: Path, loss: str) -> None:
    whole = a_run(tmp_path / "whole", steps=10, loss=loss)
    for _ in whole.steps():
        pass
    killed = a_run(tmp_path / "killed", steps=10, loss=loss)
    for step in killed.steps():
        if step.step == 6:
            killed.checkpoint()
        if step.step == 8:
            break  # two steps after its last checkpoint
    resumed = a_run(tmp_path / "killed", steps=10, loss=loss)
    assert resumed.position.step == 6
    for _ in resumed.steps():
        pass
    ends = weights_of(whole), weights_of(resumed)
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert not torch.equal(ends[0]["g.start.weight"], weights_of(a_run(tmp_path / "new", steps=1))["g.start.weight"])


def test_a_run_says_which_step_broke_the_numbers(tmp_path: Path) -> None:
    run = a_run(tmp_path, steps=3)
    with torch.no_grad():
        run.discriminator.verdict.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="at step 0"):
        next(run.steps())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run over a few pictures, its classifier and its model."""
    folder, portraits = tmp_path_factory.mktemp("trained"), some_portraits(128)
    train_classifier(portraits, epochs=1).save(folder / "classifier.safetensors")
    judge = Judge(AttributeClassifier.load(folder / "classifier.safetensors"), portraits.pictures)
    recipe = Recipe(steps=50, batch=4, warm_up=5)
    run = train(portraits, SHAPE, recipe, folder / "run", judge, judged=64, quiet=True)
    classifier = folder / "classifier.safetensors"
    export(folder / "model", run.average, run.discriminator, classifier, portraits, palette=True, origin="a test")
    return folder


def test_a_run_leaves_a_grid_curves_and_the_kernel_distance(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "run" / "log.jsonl").read_text().splitlines()]
    assert any("kid" in line and line["step"] == 50 for line in lines)
    assert any("d" in line and line["cpu_s"] > 0 for line in lines)
    for picture in ("grid.png", "curves.png"):
        assert (trained / "run" / picture).read_bytes().startswith(b"\x89PNG")


def test_what_is_served_paints_what_the_trained_generator_paints(trained: Path) -> None:
    model = PortraitModel(read(trained / "model"))
    shape, generator_weights, discriminator_weights = exported(trained / "model")
    generator, discriminator = Generator(shape), Discriminator(shape)
    generator.load_state_dict(generator_weights)
    discriminator.load_state_dict(discriminator_weights)
    for seed in ("a", "b", "c"):
        point = model.point(seed, {})
        z, labels = torch.from_numpy(point.z)[None], torch.tensor([point.labels])
        with torch.inference_mode():
            raw = generator(z, labels)
        start = model.start(point)
        ours = forward.generate(
            read(trained / "model").generator, start, coarsest=shape.coarsest, stages=2, blocks=1, patch=shape.patch
        )
        assert np.allclose(ours, raw[0].numpy(), atol=1e-4)
        palette = read(trained / "model").palette
        assert {tuple(each) for each in model.paint(start).reshape(-1, 3)} <= {tuple(each) for each in palette}
        assert as_bytes(raw).shape == (1, 16, 16, 3)


def test_the_classifier_sees_the_same_in_numpy(trained: Path) -> None:
    network = AttributeClassifier.load(trained / "model" / ATTRIBUTES)
    weights = read(trained / "model").attributes
    picture = torch.randn(1, 3, 16, 16).clamp(-1, 1)
    with torch.inference_mode():
        expected = network(picture)[0].numpy()
    assert np.allclose(forward.classify(weights, picture[0].numpy()), expected, atol=1e-3)


def test_a_model_answers_from_where_it_was_exported(trained: Path) -> None:
    model = load(trained, {"portraits": "model"})
    (answer,) = model.answer([PortraitRequest(seeds=("Mara",))])
    assert answer.model_version == model.version
    assert model.version.startswith("portraits@")


def test_a_run_can_go_on_from_an_exported_model(trained: Path, tmp_path: Path) -> None:
    shape, *begin = exported(trained / "model")
    portraits = some_portraits()
    run = train(portraits, shape, Recipe(steps=1, batch=2), tmp_path, None, quiet=True, begin=(begin[0], begin[1]))
    moved = run.discriminator.state_dict()["features.weight"] - begin[1]["features.weight"]
    assert 0 < float(moved.abs().max()) < 0.01


def test_an_export_that_is_cut_short_is_refused_in_one_sentence(trained: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(trained / "model", broken)
    (broken / GENERATOR).write_bytes((broken / GENERATOR).read_bytes()[:100])
    with pytest.raises(ValueError, match="can't be read"):
        exported(broken)


def test_the_classifier_learns_what_a_picture_shows_and_its_seed_decides_it() -> None:
    portraits = some_portraits(256)
    first = train_classifier(portraits, epochs=25, rate=3e-3, seed=3)
    assert accuracy(first, portraits)["background"] > 0.8  # a fifth by chance
    short = [train_classifier(portraits, epochs=1, seed=seed).state_dict()["first.weight"] for seed in (3, 3, 4)]
    assert torch.equal(short[0], short[1])
    assert not torch.equal(short[0], short[2])


def test_an_evaluation_ranks_real_pictures_before_the_baseline(trained: Path, tmp_path: Path) -> None:
    portraits = some_portraits(400)
    classifier = AttributeClassifier.load(trained / "classifier.safetensors")
    model, parts = load(trained, {"portraits": "model"}), (slice(0, 250), slice(250, 400))
    report = evaluate(
        portraits,
        model,
        classifier,
        tmp_path,
        count=100,
        reference=parts[0],
        held_out=parts[1],
        unseen=parts[1],
        truncations=(1.0,),
    )
    rows = {row.name: row for row in report.rows}
    assert rows["real, held out"].kid < rows["PCA-Gaussian"].kid
    assert rows["real, held out"].coverage >= rows["generator, truncation 1"].coverage
    saved = json.loads((tmp_path / "evaluation.json").read_text())
    assert saved["version"] == report.version
    assert set(report.obeyed) == set(report.accuracy)
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")


def test_copies_of_training_pictures_are_counted() -> None:
    portraits = some_portraits(400)
    random = np.random.default_rng(1)
    noisy = np.clip(portraits.pictures.astype(int) + random.integers(-9, 10, portraits.pictures.shape), 0, 255)
    portraits = Portraits(pictures=noisy.astype(np.uint8), labels=portraits.labels)
    evaluation = Evaluation(portraits, AttributeClassifier().eval(), slice(0, 250), slice(250, 400))
    row = evaluation.row("copies", portraits.pictures[100:150])
    assert row.copies == 50
    assert row.near_copies == 1.0
    assert evaluation.row("others", gaussian_pictures(portraits.pictures, 50, 1)).copies == 0


def test_labels_that_dicebear_drew_become_class_numbers() -> None:
    drawn = {
        "primaryBackgroundColor": "#c0aede",
        "clothing": "variant09",
        "eyes": "variant07",
        "mouth": "sad08",
        "hair": "short13",
        "clothingColor": "#44c585",
        "hairColor": "#611c17",
        "hatColor": "#a62116",
        "glassesColor": "#43677d",
        "skinColor": "#e0b687",
    }
    row = dict(zip([field.name for field in FIELDS], gan_data.label_row(drawn), strict=True))
    assert row["background"] == 1
    assert row["glasses"] == row["hat"] == 0
    assert row["hatColor"] == row["glassesColor"] == HIDDEN
    assert row["mouth"] == 13 + 7
    with pytest.raises(ValueError, match="variant99"):
        gan_data.label_row({**drawn, "eyes": "variant99"})


@pytest.mark.parametrize("fault", ["nothing", "size", "count", "json"])
def test_data_of_another_kind_is_refused_in_one_sentence(tmp_path: Path, fault: str) -> None:
    if fault != "nothing":
        pictures = np.zeros((2, 8 if fault == "size" else 16, 16, 3), np.uint8)
        np.savez(tmp_path / "dice16.npz", x=pictures)
        text = b"[{}]" if fault == "count" else b"[{}, {}]" if fault != "json" else b"{"
        (tmp_path / "attributes.json.gz").write_bytes(gzip.compress(text))
    with pytest.raises(ValueError, match=r"holds"):
        gan_data.read(tmp_path)


def test_every_condition_can_be_asked_for() -> None:
    assert condition_labels(some_portraits()).shape == (64, len(CONDITIONS))
    assert int(condition_labels(some_portraits()).min()) >= 0
