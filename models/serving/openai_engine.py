"""The engine over an OpenAI-compatible server (vLLM, llama.cpp, Ollama, TGI, `transformers serve`). Knows no model: the
server has it.
"""

import asyncio
import logging
import random
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

import openai
from openai.types import Model

from models.serving.dispatcher import Dispatcher
from models.serving.engine import EngineError, EngineUnavailableError, ModelMissingError
from models.serving.fair_queue import QueueLimits
from models.serving.remote_prompt import Dialect, Dialogue
from models.serving.remote_stream import RemoteStream, TryAgainError, as_engine_error
from models.serving.replica import Listener
from models.serving.requests import DEFAULT_MODEL, StoryOutput, StoryRequest, WorkerHealth
from models.serving.wire import Delta, Finished, JobMessage, RunStarted

log = logging.getLogger(__name__)

_DIALECTS: dict[str, Dialect] = {"llamacpp": "llama_cpp", "vllm": "vllm"}  # by what they list as owner of a model


@dataclass(frozen=True, kw_only=True)
class RemoteServer:
    """Where the server is, how it is asked, and how patient we are.

    `slots` requests run there at once, the rest waits here, fairly. A call that fails before its first text with 408,
    409, 425, 429, 5xx, a broken connection or a timeout is tried `tries` times in all; the nth pause is
    `backoff_s * 2**(n-1)`, less up to half of it by chance, or what the server asks for if that is longer, but never
    over `max_pause_s`. After `failures_to_open` failed requests in a row the server counts as down and is asked every
    `probe_s` whether it is back.
    """

    base_url: str
    dialogue: Dialogue
    api_key: str = field(default="", repr=False)
    slots: int = 8
    connect_s: float = 5.0
    first_token_s: float = 90.0
    next_token_s: float = 30.0
    tries: int = 4
    backoff_s: float = 0.5
    max_pause_s: float = 20.0
    failures_to_open: int = 3
    probe_s: float = 15.0


class OpenAIEngine(Dispatcher):
    """Several servers share the load."""

    def __init__(self, *servers: RemoteServer, limits: QueueLimits | None = None) -> None:
        super().__init__([RemoteReplica(server) for server in servers], limits=limits)


class RemoteReplica:
    """A Replica on the other side of HTTP."""

    def __init__(self, server: RemoteServer) -> None:
        self._server = server
        self._dialogue = server.dialogue
        self._listener: Listener | None = None
        self._client: openai.AsyncOpenAI | None = None
        self._tasks: dict[str, asyncio.Task[StoryOutput]] = {}
        self._streams: dict[str, RemoteStream] = {}
        self._probing: asyncio.Task[None] | None = None
        self._failures_in_a_row = 0
        self._ready_since = 0.0
        self._closing = False
        self.failure = "not started"
        address = urlsplit(server.base_url)  # which may hold a password: only the host is shown
        self.model_version = f"{server.dialogue.model}@{address.hostname}{f':{address.port}' if address.port else ''}"

    @property
    def slots(self) -> int:
        return self._server.slots

    @property
    def accepting(self) -> bool:
        return not self.failure and not self._closing

    async def start(self, listener: Listener) -> None:
        """Ask the server for its models: so a wrong address or key is known now."""
        self._listener = listener
        self._client = openai.AsyncOpenAI(
            base_url=self._server.base_url,
            api_key=self._server.api_key or "none",  # servers without keys take any; an empty one is no header
            max_retries=0,
            timeout=openai.Timeout(None, connect=self._server.connect_s),
        )
        try:
            await self._ask_for_models()
        except EngineUnavailableError as error:
            self.failure = str(error)
            await self.close()
            raise
        self.failure, self._ready_since = "", time.monotonic()

    def run(self, request: StoryRequest) -> None:
        task = asyncio.create_task(self._answer(request), name=f"remote {request.request_id}")
        self._tasks[request.request_id] = task
        task.add_done_callback(partial(self._ended, request))

    def cancel(self, request_id: str) -> None:
        if request_id in self._tasks:
            self._tasks[request_id].cancel()  # which closes the connection, and so ends the computation there

    def health(self) -> WorkerHealth:
        state: Literal["ready", "failed"] = "failed" if self.failure else "ready"
        return WorkerHealth(
            state=state,
            model_version=self.model_version,
            slots=self.slots,
            running=len(self._tasks),
            uptime_s=time.monotonic() - self._ready_since if self.accepting else 0.0,
            error=self.failure,
        )

    async def close(self) -> None:
        self._closing = True
        tasks: list[asyncio.Task[StoryOutput] | asyncio.Task[None]] = list(self._tasks.values())
        if self._probing is not None:
            tasks.append(self._probing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def _answer(self, request: StoryRequest) -> StoryOutput:
        """Try until text comes. Raises EngineError."""
        assert self._client is not None
        if request.model != DEFAULT_MODEL:
            raise ModelMissingError(f"{self.model_version} is the only model here, not {request.model!r}")
        started = False

        def on_start() -> None:
            nonlocal started
            if not started:  # a second Started would say that text is taken back
                self._tell(RunStarted(request_id=request.request_id))
            started = True

        for attempt in range(self._server.tries):
            stream = self._streams[request.request_id] = RemoteStream(request, self.model_version)
            try:
                return await stream.read(
                    self._client,
                    self._dialogue,
                    first_token_s=self._server.first_token_s,
                    next_token_s=self._server.next_token_s,
                    on_start=on_start,
                    on_text=lambda text: self._tell(Delta(request_id=request.request_id, text=text)),
                )
            except TryAgainError as error:
                reason = self._without_key(str(error))
                if attempt + 1 == self._server.tries:
                    break
                pause = self._pause_s(attempt, error.pause_s)
                log.warning("%s; trying again in %.1f s (%s)", reason, pause, self.model_version)
                await asyncio.sleep(pause)
        raise EngineUnavailableError(f"{reason} ({self._server.tries} tries)")

    def _pause_s(self, attempt: int, asked_s: float | None) -> float:
        own = self._server.backoff_s * 2.0**attempt * random.uniform(0.5, 1.0)
        return min(self._server.max_pause_s, max(own, asked_s or 0.0))

    def _ended(self, request: StoryRequest, task: asyncio.Task[StoryOutput]) -> None:
        del self._tasks[request.request_id]
        stream = self._streams.pop(request.request_id, None) or RemoteStream(request, self.model_version)
        error = None if task.cancelled() else task.exception()
        if self._closing or self._listener is None:
            return
        if task.cancelled():
            self._tell(Finished(output=stream.output("cancelled")))
        elif error is None:
            self._failures_in_a_row = 0
            self._tell(Finished(output=task.result()))
        elif isinstance(error, EngineError):
            kind = type(error)
            self._listener.gave_up(self, request.request_id, kind(self._without_key(str(error))))
            if isinstance(error, EngineUnavailableError):
                self._count_failure(str(error))
        else:
            log.error("request %s failed unexpectedly", request.request_id, exc_info=error)
            self._listener.gave_up(
                self, request.request_id, EngineUnavailableError(f"an unexpected {type(error).__name__}, see the log")
            )

    def _count_failure(self, reason: str) -> None:
        self._failures_in_a_row += 1
        if self._failures_in_a_row < self._server.failures_to_open or self.failure or self._listener is None:
            return
        self.failure = self._without_key(reason)
        log.error("%s counts as down: %s", self.model_version, self.failure)
        self._probing = asyncio.create_task(self._probe(), name="probe server")
        self._listener.changed(self)

    async def _probe(self) -> None:
        while self.failure:
            await asyncio.sleep(self._server.probe_s)
            try:
                await self._ask_for_models()
            except EngineUnavailableError as error:
                self.failure = str(error)
            else:
                self.failure, self._failures_in_a_row, self._ready_since = "", 0, time.monotonic()
        log.info("%s is back", self.model_version)
        if self._listener is not None:
            self._listener.changed(self)

    async def _ask_for_models(self) -> None:
        assert self._client is not None
        try:
            async with asyncio.timeout(self._server.first_token_s):
                models = {model.id: model for model in (await self._client.models.list()).data}
        except openai.OpenAIError as error:
            if isinstance(error, openai.NotFoundError):
                return  # not every compatible server lists its models
            if isinstance(error, openai.InternalServerError) and self._server.dialogue.dialect == "transformers":
                return  # it lists the hub's cache, and stumbles where there is none
            raise EngineUnavailableError(self._without_key(str(as_engine_error(error)))) from None
        except TimeoutError:
            raise EngineUnavailableError(
                f"the server took the connection and did not answer within {self._server.first_token_s:.0f} s"
            ) from None
        except (ValueError, TypeError, AttributeError):
            raise EngineUnavailableError("what answers there is no OpenAI-compatible server") from None
        name = self._dialogue.model
        if name not in models:
            log.warning("the server does not list %s; it lists %s", name, ", ".join(list(models)[:10]))
        self._learn(models.get(name) or next(iter(models.values()), None))

    def _learn(self, listed: Model | None) -> None:
        """What the server tells of itself beside its models."""
        dialogue = self._server.dialogue
        window = getattr(listed, "max_model_len", None)  # vLLM's
        if isinstance(window, int) and 0 < window < dialogue.context_tokens:
            log.info("the server's window is %d tokens", window)
            dialogue = replace(dialogue, context_tokens=window)
        if dialogue.dialect == "auto":
            owner = str(getattr(listed, "owned_by", ""))
            dialogue = replace(dialogue, dialect=_DIALECTS.get(owner, "openai"))
        self._dialogue = dialogue

    def _tell(self, message: JobMessage) -> None:
        if self._listener is not None and not self._closing:
            self._listener.heard(self, message)

    def _without_key(self, text: str) -> str:
        """Some servers repeat the key that they refuse."""
        return text.replace(self._server.api_key, "…") if self._server.api_key else text
