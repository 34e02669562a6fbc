"""Several story models behind the one that a worker hosts: a request names which of them writes. Knows how each is
loaded, and loads none before it is asked for; knows no process.
"""

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from models.language.story_model import Emit, StoryModel, StoryModelMissingError
from models.language.weight_files import WeightsError
from models.serving.machine import unbounded_memory
from models.serving.model_loading import load_story_model
from models.serving.requests import DEFAULT_MODEL, StoryOutput, StoryRequest
from models.serving.wire import WorkerConfig
from models.serving.worker_core import cancelled_output
from models.weights import GPT_FOLDER, GPT_GGUF

log = logging.getLogger(__name__)

Load = Callable[[], StoryModel]

_GPT_SLOTS: Final = 2
_LISTEN_S: Final = 0.1  # how often a request that waits for a place looks whether it was cancelled


class NamedModels:
    """A story model that hands each request to the one that it names. `default` is loaded already; each of `others` is
    loaded when it is first asked for, and a failure to load it is that request's failure, tried again with the next.

    Requests beyond a model's own slots wait for one, in the threads of whoever hosts this.
    """

    def __init__(self, default: StoryModel, others: Mapping[str, Load]) -> None:
        self._default = default
        self._others = {name: _Other(name, load) for name, load in others.items()}

    @property
    def version(self) -> str:
        return self._default.version

    @property
    def slots(self) -> int:
        return self._default.slots

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        """See `StoryModel.generate`. Raises StoryModelMissingError for a name that stands for no model here."""
        if request.model == DEFAULT_MODEL:
            return self._default.generate(request, emit)
        other = self._others.get(request.model)
        if other is None:
            raise StoryModelMissingError(
                f"there is no model {request.model!r} here, only {', '.join((DEFAULT_MODEL, *self._others))}"
            )
        return other.generate(request, emit)

    def close(self) -> None:
        for other in self._others.values():
            other.close()
        self._default.close()


class _Other:
    """One model that may not be loaded yet."""

    def __init__(self, name: str, load: Load) -> None:
        self._name, self._load = name, load
        self._model: StoryModel | None = None
        self._places: threading.Semaphore | None = None
        self._loading = threading.Lock()

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        with self._loading:
            if self._model is None:
                self._model = self._loaded()
                self._places = threading.Semaphore(self._model.slots)
                log.info("loaded %s (%s)", self._name, self._model.version)
        assert self._places is not None
        while not self._places.acquire(timeout=_LISTEN_S):
            if not emit(""):
                return cancelled_output(request, self._model.version)
        try:
            return self._model.generate(request, emit)
        finally:
            self._places.release()

    def _loaded(self) -> StoryModel:
        """Raises StoryModelMissingError also where a file or library is broken: the worker and its other models are
        well."""
        try:
            return self._load()
        except StoryModelMissingError:
            raise
        except (OSError, RuntimeError, ValueError, WeightsError) as error:
            log.exception("the model %s can't be loaded", self._name)
            raise StoryModelMissingError(f"the model {self._name} can't be loaded: {error}") from error

    def close(self) -> None:
        if self._model is not None:
            self._model.close()


def host(config: WorkerConfig, factory: str = "") -> NamedModels:
    """The configured model, and beside it those of our own. Blocks until the first can answer; raises what
    `load_story_model` raises."""
    default = load_story_model(config, factory)
    others = {"gpt": partial(_gpt, config), "ngram": partial(_ngram, config), "house": partial(_house, config)}
    return NamedModels(default, others)


def _gpt(config: WorkerConfig) -> StoryModel:
    """Through llama.cpp: five times as fast there as in torch, which need not be installed. A champion that can't be
    loaded is no reason to be silent: then what is shipped answers."""
    champion = config.champions.get("gpt")
    if champion is not None:
        try:
            return _small_gpt(Path(champion) / GPT_GGUF.name, version=f"gpt-{Path(champion).name}")
        except (OSError, RuntimeError, ValueError, WeightsError):
            log.exception("the champion %s can't be loaded: the GPT that is shipped answers", champion)
    if not GPT_GGUF.is_file():
        raise StoryModelMissingError(f"{GPT_GGUF} isn't there: this copy of Inkwell came without the small GPT")
    return _small_gpt(GPT_GGUF)


def _small_gpt(path: Path, version: str | None = None) -> StoryModel:
    from models.language.gguf_header import read_header
    from models.language.rolling_window import RollingLlamaCppModel

    context = read_header(path).context
    if context is None:
        raise ValueError(f"{path} doesn't tell its context")
    return RollingLlamaCppModel.load(path, threads=1, slots=_GPT_SLOTS, context=context, version=version)


def _ngram(config: WorkerConfig) -> StoryModel:
    from models.language.ngram_story import NGramStoryModel
    from models.language.voices import CHARACTERS

    champion = config.champions.get("ngram")
    folder = None if champion is None else Path(champion)
    if folder is not None and (folder / CHARACTERS).is_dir():  # laid out as a voice is
        folder /= CHARACTERS
    return NGramStoryModel(Path(config.data_dir), champion=folder)


def _house(config: WorkerConfig) -> StoryModel:
    torch_is_taken = "torch" in sys.modules  # by the main model, which has set its own number of threads
    try:
        with unbounded_memory():
            import torch

            from models.language.gpt import GPT
            from models.language.house_story import HouseStoryModel
    except ImportError as error:
        raise StoryModelMissingError(
            f"the house voice needs torch and transformers ({error}): pip install 'inkwell[torch]'"
        ) from error
    from models.language.weight_files import sha256_of

    if not torch_is_taken:
        torch.set_num_threads(config.threads or 1)  # of a network this small, more would wait for each other
    version = f"house-gpt@{sha256_of(GPT_FOLDER / 'model.safetensors')[:8]}"
    return HouseStoryModel(GPT.load(GPT_FOLDER), Path(config.data_dir), version=version)
