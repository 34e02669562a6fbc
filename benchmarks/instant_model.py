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

    def __init__(self, slots: int, pause_s: float = 0.0) -> None:
        self.slots = slots
        self._pause_s = pause_s

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        tokens = request.sampling.max_new_tokens
        said = 0
        while said < tokens:
            if self._pause_s:
                time.sleep(self._pause_s)
            said += 1
            if not emit(PIECE):
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
    return InstantModel(config.slots)


def steady(config: WorkerConfig) -> InstantModel:
    return InstantModel(config.slots, pause_s=0.002)
