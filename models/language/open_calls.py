"""Counts the calls that are inside a model, so that it is freed only once they have ended. Knows no model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class OpenCalls:
    """Any thread may enter; one closes."""

    def __init__(self) -> None:
        self._open, self._closed = 0, False
        self._changed = threading.Condition()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """One call. Raises RuntimeError once the model is closed."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the model is closed")
            self._open += 1
        try:
            yield
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def close(self) -> bool:
        """Let no more calls in and wait for those inside to end; False where that was done before."""
        with self._changed:
            first, self._closed = not self._closed, True
            self._changed.wait_for(lambda: self._open == 0)
            return first
