"""From the tokens of a batching engine to a finished continuation. Knows neither the engine nor how it is asked."""

import time
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from typing import Protocol

from models.language.finisher import FinishReason
from models.language.story_model import Emit
from models.language.token_text import TokenText
from models.serving.requests import StoryOutput, StoryRequest


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What one request has produced since it was last looked at. Empty when nothing came in a while. `cached` is the
    number of the prompt's tokens that were found in the KV cache, known once a new token came."""

    new: list[int]
    finished: bool = False
    cached: int = 0


class StoryFinisher(Protocol):
    """Makes a continuation of what a model decodes. See finisher.Finisher."""

    @property
    def stop_reason(self) -> FinishReason | None: ...

    def feed(self, text: str) -> str: ...

    def finish(self, reason: FinishReason) -> tuple[str, FinishReason]: ...


def tell(
    request: StoryRequest,
    emit: Emit,
    stream: Generator[Tokens],
    *,
    finisher: StoryFinisher,
    decode: Callable[[list[int]], str],
    stops: Collection[int],
    started: float,
    prompt_tokens: int,
    version: str,
) -> StoryOutput:
    """Read `stream` to its end, or close it (which cancels the request) once `emit` or the finisher has had enough.
    `decode` as in `TokenText`; `stops` end a text; the prefill counts from `started`, a time of `perf_counter`.
    """
    first = None
    text = TokenText(decode)
    reason: FinishReason = "length"
    new = cached = 0
    try:
        for step in stream:
            if step.new and first is None:
                first = time.perf_counter()
            new, cached = new + len(step.new), step.cached
            ended = bool(step.new) and step.new[-1] in stops
            shown = finisher.feed(text.add(step.new[:-1] if ended else step.new))
            if step.finished:
                reason = "end" if ended else "length"
                shown += finisher.feed(text.rest())
            if not emit(shown):
                reason = "cancelled"
                break
            if finisher.stop_reason is not None:
                break
    finally:
        stream.close()
    ended_at = time.perf_counter()
    continuation, reason = finisher.finish(reason)
    return StoryOutput(
        request_id=request.request_id,
        text=continuation,
        finish_reason=reason,
        model_version=version,
        seed=request.sampling.seed,
        prompt_tokens=prompt_tokens,
        cached_tokens=cached,
        new_tokens=new,
        prefill_s=(first or ended_at) - started,
        decode_s=ended_at - (first or ended_at),
    )
