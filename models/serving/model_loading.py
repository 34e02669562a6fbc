"""From a worker's configuration to a loaded story model. Knows which file hosts which library and imports only the one
that is asked for; knows nothing of processes and requests.
"""

import importlib
from collections.abc import Callable
from typing import cast

from models.language.story_model import StoryModel
from models.serving.wire import WorkerConfig


def load_story_model(config: WorkerConfig, factory: str = "") -> StoryModel:
    """Block until the model answers. Raises whatever the loader raises, and ImportError, AttributeError or ValueError
    for a `factory` that is not "module:callable"."""
    if factory:
        module, _, name = factory.partition(":")
        if not name:
            raise ValueError(f"{factory!r} is not module:callable")
        make = cast("Callable[[WorkerConfig], StoryModel]", getattr(importlib.import_module(module), name))
        return make(config)
    raise ValueError(f"the engine {config.engine} is not built in")
