"""From a worker's configuration to a loaded story model. Knows which file hosts which library and imports only the one
that is asked for; knows nothing of processes and requests.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

from models.language.story_model import StoryModel
from models.serving.wire import WorkerConfig


def load_story_model(config: WorkerConfig, factory: str = "") -> StoryModel:
    """Block until the model answers. Fetches nothing: the weights must be under `config.data_dir` already. Raises what
    the loader raises; ImportError, AttributeError or ValueError for a `factory` that is not "module:callable"."""
    if factory:
        module, _, name = factory.partition(":")
        if not name:
            raise ValueError(f"{factory!r} is not module:callable")
        make = cast("Callable[[WorkerConfig], StoryModel]", getattr(importlib.import_module(module), name))
        return make(config)
    if config.engine == "transformers":
        raise ValueError("the transformers engine is not built in")
    from models.language.llama_cpp import LlamaCppModel
    from models.language.weights import resolve

    weights = resolve(config.model, Path(config.data_dir), fetch=False)
    return LlamaCppModel.load(
        weights.path,
        threads=config.threads or None,
        slots=config.slots,
        context=config.context_tokens,
        name=weights.name,
    )
