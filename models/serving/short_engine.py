"""The interface through which the Discord side reaches the small models: one question, one answer. Knows no host and
no model. Its errors are those of `engine`.
"""

from typing import Protocol, TypeVar

from models.serving.short_requests import ShortHealth, ShortRequest

Output = TypeVar("Output")


class ShortEngine(Protocol):
    """Called on the event loop; never blocks it."""

    async def start(self) -> None:
        """Take requests from now on. Returns at once and loads nothing: the first request of a kind waits for its
        model. Never raises; a failure to load is each request's EngineUnavailableError."""

    async def ask(self, request: ShortRequest[Output], *, background: bool = False) -> Output:
        """Answer one request, in a micro-batch with others that came within a few milliseconds. `background` work runs
        in what room is left and is dropped first (EngineOverloadedError). A caller that is cancelled takes its request
        out. Raises EngineOverloadedError, EngineClosedError, EngineUnavailableError, ModelMissingError (its weights or
        library are not here), RequestRefusedError (malformed, or it killed the process twice), WorkerDiedError."""

    async def health(self) -> ShortHealth:
        """What `/inkwell status` shows of it."""

    async def close(self) -> None:
        """Refuse new work, end the process."""
