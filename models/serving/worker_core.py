"""Runs up to `slots` generations of one story model in threads. Does not know who hosts it: a process, a test or the
Discord side's own threads give it requests and take its messages.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from models.language.story_model import StoryModel, StoryModelMissingError
from models.serving.requests import StoryOutput, StoryRequest
from models.serving.wire import Delta, Failed, Finished, JobMessage, Refused, RunStarted, WireError

log = logging.getLogger(__name__)

Send = Callable[[JobMessage], None]


class WorkerCore:
    """Every request given to `run` is answered through `send` by `RunStarted`, `Delta`* and one of `Finished`,
    `Refused`, `Failed`. `send` is called from the threads that generate, for one request always from the same."""

    def __init__(self, model: StoryModel, send: Send) -> None:
        self._model = model
        self._send = send
        self._cancelled: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(model.slots, thread_name_prefix="generate")

    @property
    def model_version(self) -> str:
        return self._model.version

    @property
    def slots(self) -> int:
        return self._model.slots

    @property
    def running(self) -> int:
        return len(self._cancelled)

    def run(self, request: StoryRequest) -> None:
        """Generate in a thread; more than `slots` wait for one."""
        cancelled = threading.Event()
        with self._lock:
            self._cancelled[request.request_id] = cancelled
        self._threads.submit(self._generate, request, cancelled)

    def cancel(self, request_id: str) -> None:
        """Stop within one token, or before the start. Unknown ids are ignored."""
        with self._lock:
            cancelled = self._cancelled.get(request_id)
        if cancelled is not None:
            cancelled.set()

    def close(self) -> None:
        """Cancel what runs, wait for its end, free the model."""
        with self._lock:
            running = list(self._cancelled.values())
        for cancelled in running:
            cancelled.set()
        self._threads.shutdown(wait=True)
        self._model.close()

    def _generate(self, request: StoryRequest, cancelled: threading.Event) -> None:
        answer: JobMessage
        try:
            answer = self._answer(request, cancelled)
        except StoryModelMissingError as error:
            answer = Refused(request_id=request.request_id, reason=str(error), missing=True)
        except ValueError as error:
            answer = Refused(request_id=request.request_id, reason=str(error))
        except BaseException as error:  # MemoryError and a library's own, too: the parent must hear of it
            log.exception("the model broke under request %s", request.request_id)
            answer = Failed(request_id=request.request_id, reason=f"{type(error).__name__}: {error}")
        with self._lock:
            del self._cancelled[request.request_id]
        try:
            self._send(answer)
        except WireError as error:
            self._send(Failed(request_id=request.request_id, reason=f"the answer could not be sent: {error}"))

    def _answer(self, request: StoryRequest, cancelled: threading.Event) -> Finished | Failed:
        broken: list[WireError] = []

        def emit(text: str) -> bool:
            if text and not cancelled.is_set():
                try:
                    self._send(Delta(request_id=request.request_id, text=text))
                except WireError as error:
                    broken.append(error)
                    return False
            return not cancelled.is_set()

        if cancelled.is_set():
            return Finished(output=cancelled_output(request, self._model.version))
        self._send(RunStarted(request_id=request.request_id))
        output = self._model.generate(request, emit)
        if broken:
            return Failed(request_id=request.request_id, reason=f"a piece of text could not be sent: {broken[0]}")
        return Finished(output=output)


def cancelled_output(request: StoryRequest, model_version: str, text: str = "") -> StoryOutput:
    """The output of a request that was cancelled where no model could count its tokens."""
    return StoryOutput(
        request_id=request.request_id,
        text=text,
        finish_reason="cancelled",
        model_version=model_version,
        seed=request.sampling.seed,
        prompt_tokens=0,
        new_tokens=0,
    )
