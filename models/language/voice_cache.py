"""Keeps the voices in use loaded, and loads one anew when it was taught again. Knows no model: a function loads it."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

KEPT = 8


class VoiceCache(Generic[T]):
    """The last `KEPT` voices asked for. Safe to use from several threads; two that ask at once wait for one loading."""

    def __init__(self, load: Callable[[Path], T]) -> None:
        self._load = load
        self._loaded: OrderedDict[Path, tuple[int, T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, folder: Path) -> T:
        """What `folder` holds now. Raises what the loading raises."""
        with self._lock:
            stamp = (folder / "ngram.json").stat().st_mtime_ns
            known = self._loaded.get(folder)
            voice = known[1] if known is not None and known[0] == stamp else self._load(folder)
            self._loaded[folder] = (stamp, voice)
            self._loaded.move_to_end(folder)
            while len(self._loaded) > KEPT:
                self._loaded.popitem(last=False)
            return voice

    def clear(self) -> None:
        with self._lock:
            self._loaded.clear()
