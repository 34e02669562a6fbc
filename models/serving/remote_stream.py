"""One call to an OpenAI-compatible server, from the request to the last event of its stream. Knows how such a call
fails and whether trying again helps; knows no queue.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import openai

from models.language.continuation import Finisher, FinishReason
from models.serving.engine import EngineError, EngineUnavailableError, RequestRefusedError, WorkerDiedError
from models.serving.remote_prompt import Dialogue, call_for
from models.serving.requests import StoryOutput, StoryRequest

_REFUSALS = (400, 413, 422)
_BUSY = (408, 409, 425, 429)


class TryAgainError(Exception):
    """The call failed before any text, in a way that may pass. `pause_s` is what the server asked for."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class RemoteStream:
    """A request while a server works on it. Holds what has arrived, so that a cancelled request keeps its text."""

    def __init__(self, request: StoryRequest, version: str) -> None:
        self._request, self._version = request, version
        self._began = time.monotonic()
        self._first_text = 0.0
        self._finisher = Finisher(request.story, stop=request.sampling.stop)
        self._pieces = 0
        self._usage: Any = None

    async def read(
        self,
        client: openai.AsyncOpenAI,
        dialogue: Dialogue,
        *,
        first_token_s: float,
        next_token_s: float,
        on_start: Callable[[], None],
        on_text: Callable[[str], None],
    ) -> StoryOutput:
        """Raises TryAgainError before the first text, and an EngineError otherwise."""
        try:
            call = call_for(self._request, dialogue)
        except ValueError as error:
            raise RequestRefusedError(str(error)) from None
        endpoint: Any = client.completions if dialogue.style == "completions" else client.chat.completions
        try:
            async with asyncio.timeout(first_token_s) as silence:
                stream = await endpoint.create(**call)
                on_start()
                async with stream:
                    return await self._follow(aiter(stream), silence, next_token_s, on_text)
        except TimeoutError:
            seconds = next_token_s if self._pieces else first_token_s
            raise self._failed(f"the server sent nothing for {seconds:.0f} s") from None
        except openai.APIStatusError as error:
            raise self._from_status(error) from None
        except openai.APITimeoutError:
            raise self._failed("the server did not take the connection in time") from None
        except openai.APIConnectionError as error:
            raise self._failed(f"the connection to the server failed: {_cause(error)}") from None
        except openai.APIError as error:
            raise self._failed(f"the server reported: {_one_line(error.message)}") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise self._failed(f"the server sent what is no event of a completion: {_one_line(error)}") from None

    def output(self, reason: FinishReason) -> StoryOutput:
        """What has arrived so far, as an answer."""
        now = time.monotonic()
        text, reason = self._finisher.finish(reason)
        details = getattr(self._usage, "prompt_tokens_details", None)
        return StoryOutput(
            request_id=self._request.request_id,
            text=text,
            finish_reason=reason,
            model_version=self._version,
            seed=self._request.sampling.seed,
            prompt_tokens=getattr(self._usage, "prompt_tokens", None) or 0,
            cached_tokens=getattr(details, "cached_tokens", None) or 0,
            new_tokens=getattr(self._usage, "completion_tokens", None) or self._pieces,
            prefill_s=(self._first_text or now) - self._began,
            decode_s=now - self._first_text if self._first_text else 0.0,
        )

    async def _follow(
        self, chunks: AsyncIterator[Any], silence: asyncio.Timeout, next_token_s: float, on_text: Callable[[str], None]
    ) -> StoryOutput:
        loop = asyncio.get_running_loop()
        reason: Literal["", "end", "length"] = ""
        async for chunk in chunks:
            self._usage = getattr(chunk, "usage", None) or self._usage
            for choice in _choices(chunk):
                text = _text(choice)
                if text:
                    self._first_text = self._first_text or time.monotonic()
                    self._pieces += 1
                if shown := self._finisher.feed(text):
                    on_text(shown)
                if choice.finish_reason is not None:
                    reason = "length" if choice.finish_reason == "length" else "end"
            if self._finisher.stop_reason is not None:
                return self.output("end")
            if self._pieces:  # before that, what comes is an empty head or a sign of life during prefill
                silence.reschedule(loop.time() + next_token_s)
        if not reason:
            raise self._failed("the server broke off")
        return self.output(reason)

    def _failed(self, reason: str) -> Exception:
        return WorkerDiedError(reason) if self._pieces else TryAgainError(reason)

    def _from_status(self, error: openai.APIStatusError) -> Exception:
        said = _one_line(error.message)
        if error.status_code in _REFUSALS:
            return RequestRefusedError(f"the server refused the request: {said}")
        if error.status_code in (401, 403):
            return EngineUnavailableError(f"the server refused the key ({error.status_code})")
        if error.status_code == 404:
            return EngineUnavailableError(f"the server has no such model or address (404): {said}")
        if error.status_code in _BUSY or error.status_code >= 500:
            return TryAgainError(f"the server answered {error.status_code}: {said}", _retry_after_s(error))
        return EngineUnavailableError(f"the server answered {error.status_code}: {said}")


def as_engine_error(error: openai.OpenAIError) -> EngineError:
    """For the question whether the server is there at all."""
    if isinstance(error, openai.APIStatusError):
        if error.status_code in (401, 403):
            return EngineUnavailableError(f"the server refused the key ({error.status_code})")
        return EngineUnavailableError(f"the server answered {error.status_code}: {_one_line(error.message)}")
    return EngineUnavailableError(f"the server can't be reached: {_cause(error)}")


def _choices(chunk: Any) -> list[Any]:
    choices = chunk.choices
    if not isinstance(choices, list):
        raise TypeError("an event without choices")
    return choices


def _text(choice: Any) -> str:
    text = choice.delta.content if hasattr(choice, "delta") else choice.text
    if text is not None and not isinstance(text, str):
        raise TypeError("a piece of text that is none")
    return text or ""


def _retry_after_s(error: openai.APIStatusError) -> float | None:
    try:
        return max(0.0, float(error.response.headers["retry-after"]))
    except (KeyError, ValueError):  # absent, or a date: our own backoff does
        return None


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return _one_line(error) or type(error).__name__


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
