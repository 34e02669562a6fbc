"""The small models in one place: which family answers a kind of request, loaded when it is first asked. Knows neither a
process nor what a family computes.
"""

import importlib
import inspect
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from models.serving.short_model import ShortModel, ShortModelMissingError

log = logging.getLogger(__name__)

_AGAIN_S = 30.0  # a family that could not be loaded isn't tried again for so long: that may cost seconds each time


class UnloadableError(Exception):
    """A family is here but can't be loaded; the message says why, its cause is logged."""


class Family:
    """One loader ("module:callable") and what it gave. Called from one thread."""

    def __init__(self, loader: str, data_dir: Path, options: Mapping[str, str]) -> None:
        self._loader, self._data_dir, self._options = loader, data_dir, options
        self._model: ShortModel | None = None
        self._failure: Exception | None = None
        self._failed_at = 0.0

    @property
    def loaded(self) -> bool:
        return self._model is not None

    @property
    def failing(self) -> bool:
        """Whether `model` raises at once what it raised before."""
        return self._failure is not None and time.monotonic() - self._failed_at < _AGAIN_S

    def model(self) -> ShortModel:
        """Raises ShortModelMissingError, UnloadableError."""
        if self._model is not None:
            return self._model
        if self._failure is not None and self.failing:
            raise self._failure.with_traceback(None)  # it would grow with each raise, and keep the frames' batches
        try:
            self._model = self._load()
        except ShortModelMissingError as error:
            self._failure, self._failed_at = error, time.monotonic()
            raise
        except Exception as error:
            log.exception("%s failed", self._loader)
            said = " ".join(str(error).split()) or type(error).__name__
            self._failure, self._failed_at = UnloadableError(said), time.monotonic()
            raise self._failure from error
        return self._model

    def _load(self) -> ShortModel:
        module, _, name = self._loader.partition(":")
        try:
            load = cast("Callable[..., ShortModel]", getattr(importlib.import_module(module), name))
        except ModuleNotFoundError as error:
            if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
                raise ShortModelMissingError(f"this installation of Inkwell has no {module}") from None
            raise ShortModelMissingError(
                f"{module} needs the library {error.name}, which isn't installed: see `inkwell doctor`"
            ) from None
        takes = len(inspect.signature(load).parameters)
        return load(self._data_dir, dict(self._options)) if takes > 1 else load(self._data_dir)
