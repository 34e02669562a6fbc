"""What a dispatcher asks of a place where stories are generated, and what it hears from there. Knows no such place: a
supervised process, threads and a remote server meet it.
"""

from typing import Protocol

from models.serving.engine import EngineError
from models.serving.requests import StoryRequest, WorkerHealth
from models.serving.wire import JobMessage


class Listener(Protocol):
    """What a replica tells, always on the event loop."""

    def heard(self, replica: "Replica", message: JobMessage) -> None:
        """About one of the requests it runs. The last message of each is Finished, Refused or Failed."""

    def gave_up(self, replica: "Replica", request_id: str, error: EngineError) -> None:
        """The request ends with `error`, and neither it nor the replica is to blame: it is not run again."""

    def lost(self, replica: "Replica", reason: str) -> None:
        """It died; every request that it ran is gone with it."""

    def changed(self, replica: "Replica") -> None:
        """`accepting` or `failure` is another one now."""


class Replica(Protocol):
    """Every method is called on the event loop and never blocks it."""

    @property
    def slots(self) -> int:
        """How many requests it runs at once."""

    @property
    def accepting(self) -> bool:
        """Whether `run` may be called now."""

    @property
    def failure(self) -> str:
        """Why it will not accept anything until an operator acts or a long while has passed; empty otherwise."""

    @property
    def model_version(self) -> str:
        """Of the model that answers, or that answered last."""

    async def start(self, listener: Listener) -> None:
        """Return when it accepts requests. Raises EngineUnavailableError with the reason when it can't."""

    def run(self, request: StoryRequest) -> None:
        """Begin at once; only while `accepting`, and never more than `slots` at a time."""

    def cancel(self, request_id: str) -> None:
        """Stop within one token; the request still ends with its last message. Unknown ids are ignored."""

    def health(self) -> WorkerHealth:
        """As it was when it last spoke."""

    async def close(self) -> None:
        """End what runs, without further messages, and free everything."""
