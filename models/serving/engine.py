"""The one interface through which the Discord side reaches a model, and the errors it can meet. Knows no host and no
model: a process, a remote server or a test stands behind it.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from models.serving.requests import Health, StoryEvent, StoryRequest


class EngineError(Exception):
    """Every failure that a caller of an engine can meet. The subclass says what the caller can do."""


class EngineOverloadedError(EngineError):
    """The queue is full, for everybody or for this user or guild. Try again in `retry_after_s`."""

    def __init__(self, scope: str, queued: int, retry_after_s: float | None = None) -> None:
        super().__init__(f"the {scope} queue is full ({queued} waiting)")
        self.scope, self.queued, self.retry_after_s = scope, queued, retry_after_s


class EngineUnavailableError(EngineError):
    """No model can answer now (starting failed, restarts exhausted, the remote server is down). An operator must act;
    the message says on what."""


class EngineClosedError(EngineError):
    """Inkwell is shutting down. The request is not lost if it was persisted: ask again after the next start."""


class RequestRefusedError(EngineError):
    """This request can't be served and must not be sent again unchanged (malformed, too long, crashed two workers)."""


class ModelMissingError(RequestRefusedError):
    """The model that the request names isn't here (unknown, never taught, a library that isn't installed). Ask another;
    an operator finds the reason in the message."""


class WorkerDiedError(EngineError):
    """The worker died under this request twice, or the remote server broke off. Asking again may work."""


class DeadlineExceededError(EngineError):
    """The request waited past its deadline; nothing was generated."""


class Engine(Protocol):
    """Submits requests and streams what comes back. Every method is called on the event loop and never blocks it."""

    async def start(self) -> None:
        """Load the model and return when it can answer. Raises EngineUnavailableError with the reason when it can't."""

    async def submit(self, request: StoryRequest) -> int:
        """Queue `request`; return its position (0: it runs at once). Raises EngineOverloadedError, EngineClosedError,
        EngineUnavailableError, RequestRefusedError (malformed, or its `request_id` is in use)."""

    def stream(self, request_id: str) -> AsyncIterator[StoryEvent]:
        """Events of a submitted request, from its first: `Queued`*, `Started`, `TextDelta`*, `StoryOutput` (the last).
        One reader per request. After `cancel` it ends with a `StoryOutput` whose finish_reason is "cancelled" and
        whose text is what had been generated. Raises WorkerDiedError, DeadlineExceededError, RequestRefusedError,
        EngineUnavailableError or EngineClosedError in place of the last event. A reader that leaves early (aclose)
        cancels the request."""

    async def cancel(self, request_id: str) -> None:
        """Stop the computation within one token, or take the request out of the queue. Unknown ids are ignored."""

    async def health(self) -> Health:
        """What `/inkwell status` shows."""

    async def close(self, grace_s: float = 10.0) -> None:
        """Refuse new work, let what runs finish for at most `grace_s`, end what is left, free everything."""
