"""`inkwell gan`: what a person at the command line gets."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from models.gan_cli import gan
from models.training import gan_recipe
from models.training.gan_recipe import RecipeError, make
from tests.tiny_portraits import write_tiny_portraits

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_portraits(tmp_path_factory.mktemp("model"))


def size_of(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as image:
        return image.size


def test_inkwell_gan_is_a_process_of_its_own_that_draws(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "mara.png"
    command = [sys.executable, "-m", "bot", "gan", "sample", "Mara", "--model", str(model), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert "glasses" in done.stdout
    assert size_of(out) == (512, 512)


def test_sample_draws_a_grid_with_traits_and_a_morph(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    asked = ["sample", "张三", "--count", "4", "--trait", "glasses:yes", "--model", str(model), "--out", str(out)]
    assert CliRunner().invoke(gan, asked).exit_code == 0
    assert min(size_of(out)) >= 512
    asked = ["sample", "a", "--morph", "b", "--frames", "3", "--model", str(model), "--out", str(out)]
    assert CliRunner().invoke(gan, asked).exit_code == 0
    assert size_of(out.with_suffix(".gif")) == (512, 512)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--trait", "nose:long"], "There is no trait"),
        (["--trait", "nose:long", "--morph", "b"], "There is no trait"),
        (["--trait", "glasses:pink"], "glasses can't be"),
        (["--count", "0"], "greater than or equal to 1"),
        (["--frames", "10000"], "less than or equal to 48"),
    ],
)
def test_sample_refuses_in_a_sentence(model: Path, arguments: list[str], sentence: str) -> None:
    done = CliRunner().invoke(gan, ["sample", "a", "--model", str(model), *arguments])
    assert done.exit_code == 2
    assert sentence in done.output
    assert "Traceback" not in done.output


def test_sample_says_what_to_do_without_weights(tmp_path: Path) -> None:
    done = CliRunner().invoke(gan, ["sample", "a", "--model", str(tmp_path)], env={"COLUMNS": "500"})
    assert done.exit_code == 2
    assert "inkwell gan train" in done.output


def test_the_recipe_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan_recipe, "_renderer", lambda: lambda svg: b"")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RecipeError, match=r"Node\.js"):
        make(tmp_path, tmp_path / "out", 3)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_recipe_says_which_package_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan_recipe, "_renderer", lambda: lambda svg: b"")
    with pytest.raises(RecipeError, match=r"DiceBear failed"):
        make(tmp_path, tmp_path / "out", 3)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_recipe_writes_what_the_training_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.training.gan_data import read

    drawn = (
        '{primaryBackgroundColor: "#c0aede", clothing: "variant09", eyes: "variant07", mouth: "sad08", '
        'hair: "short13", clothingColor: "#44c585", hairColor: "#611c17", skinColor: "#e0b687"}'
    )
    core, style = (tmp_path / "node_modules" / "@dicebear" / name for name in ("core", "pixel-art"))
    for package, code in (
        (
            core,
            f"export const createAvatar = (style, {{ seed }}) => ({{toJson: () => ({{svg: seed, extra: {drawn}}})}});",
        ),
        (style, "export const create = 1;"),
    ):
        package.mkdir(parents=True)
        (package / "package.json").write_text('{"type": "module", "exports": {".": {"default": "./index.js"}}}')
        (package / "index.js").write_text(code)

    def render(svg: str) -> bytes:
        out = io.BytesIO()
        Image.fromarray(np.full((16, 16, 3), int(svg.removeprefix("avatar-")), np.uint8)).save(out, "PNG")
        return out.getvalue()

    monkeypatch.setattr(gan_recipe, "_renderer", lambda: render)
    assert make(tmp_path, tmp_path / "out", 3) == 3
    portraits = read(tmp_path / "out")
    assert portraits.pictures[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert portraits.labels.shape == (3, 14)
