"""A story model that costs nothing, so that what is measured is the way to it and back. `pause_s` a token makes it slow
instead, for soaking.
"""

import time

from models.language.story_model import Emit
from models.serving.requests import StoryOutput, StoryRequest
from models.serving.wire import WorkerConfig

PIECE = " word"


class InstantModel:
    """Says the same word until it is stopped."""

    version = "instant"

    def __init__(self, slots: int, pause_s: float = 0.0, *, stamped: bool = False) -> None:
        """`stamped`: the text of a token is the time at which it was emitted, in nanoseconds."""
        self.slots = slots
        self._pause_s = pause_s
        self._stamped = stamped

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        tokens = request.sampling.max_new_tokens
        said = 0
        while said < tokens:
            if self._pause_s:
                time.sleep(self._pause_s)
            said += 1
            if not emit(f"{time.monotonic_ns()} " if self._stamped else PIECE):
                break
        return StoryOutput(
            request_id=request.request_id,
            text=PIECE * said,
            finish_reason="length" if said == tokens else "cancelled",
            model_version=self.version,
            seed=request.sampling.seed,
            prompt_tokens=1,
            new_tokens=said,
        )

    def close(self) -> None:
        """Nothing is held."""


def instant(config: WorkerConfig) -> InstantModel:
    return InstantModel(config.slots or 4)


def stamped(config: WorkerConfig) -> InstantModel:
    return InstantModel(config.slots or 4, pause_s=0.005, stamped=True)


def steady(config: WorkerConfig) -> InstantModel:
    return InstantModel(config.slots or 4, pause_s=0.002)
