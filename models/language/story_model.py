"""What a worker asks of a story model. Knows no library: llama.cpp, torch and the tests' own small model meet it."""

from collections.abc import Callable
from typing import Protocol

from models.serving.requests import StoryOutput, StoryRequest

Emit = Callable[[str], bool]


class StoryModelMissingError(ValueError):
    """The model that a request names isn't here: unknown, never trained, or its library isn't installed. The message
    says which and what an operator can do."""


class StoryModel(Protocol):
    """A loaded model. `generate` blocks and is called from up to `slots` threads at once."""

    @property
    def version(self) -> str:
        """Name and content of the weights, e.g. "smollm2-135m-instruct-q4_1@3b1f09d2" (first 8 hex of the sha256)."""

    @property
    def slots(self) -> int:
        """How many calls of `generate` may run at the same time."""

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        """Continue the story. `emit` gets text as it is decoded (whole code points; "" where it is only asked whether
        to go on) and answers False to stop within one token: then the output's finish_reason is "cancelled". Raises
        ValueError for a request that no retry can save; anything else counts as a crash of the worker."""

    def close(self) -> None:
        """Free memory and threads. Running `generate` calls end first."""
