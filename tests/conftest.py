"""What every test may ask for. Knows no test."""

from pathlib import Path

import pytest

from tests.tiny_model import TinyModel, tiny_model_in


@pytest.fixture(scope="session")
def tiny_model(pytestconfig: pytest.Config) -> TinyModel:
    """A small real Llama as `.directory` (Hugging Face layout) and `.gguf` (f32); kept in pytest's cache."""
    cache = pytestconfig.cache
    assert cache is not None, "the tests need pytest's cache: don't switch its plugin off"
    return tiny_model_in(Path(cache.mkdir("tiny_model")))
