"""transformers' own continuous batching, made to serve: each request has its mailbox and its own sampling, and where
memory runs out the steps become smaller. Knows tokens, no text.

The paged KV cache, the scheduler and the loop are the library's (transformers 5.23); what is overridden here is named
at each method. Numerics: the requests of a batch share matrix products, whose sums a BLAS may order by the number of
rows. In fp32 that moves a logit by about 1e-6, so a neighbour changes a text only at a near tie; in bf16 (GPU) near
ties are common, and equal seeds promise equal texts only in equal batches.
"""

import logging
import threading
from collections.abc import Generator
from dataclasses import dataclass
from math import ceil
from queue import Empty, SimpleQueue
from typing import Any, Final

import torch
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching import ContinuousBatchingManager, RequestState, RequestStatus
from transformers.generation.continuous_batching.continuous_api import OutputRouter
from transformers.generation.continuous_batching.requests import GenerationOutput

from models.language.seeded_sampling import Ask, SeededSampler
from models.language.token_stream import Tokens
from models.serving.requests import Sampling

log = logging.getLogger(__name__)

_LISTEN_S: Final = 0.05  # how often a reader looks up while it waits for a token
_SMALL_STEP: Final = 16  # tokens; fewer save no memory that counts
_CALM_STEPS: Final = 64  # steps without a lack of memory, after which larger ones are tried again
_MOST_CALM_STEPS: Final = 4_096


class OutOfMemoryError(ValueError):
    """This request needed more memory than there is. The others went on."""


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """What bounds the memory: at most `slots` requests at once, `context` tokens each (prompt and continuation),
    `batch_tokens` in one forward pass (longer prompts are split), and `cache_tokens` in the KV cache for all together.

    Fewer `cache_tokens` than slots * context are safe: when the cache is full the newest request loses its place and
    is computed anew later, with the same text.
    """

    slots: int = 4
    context: int = 2_048
    batch_tokens: int = 256
    cache_tokens: int | None = None
    page_tokens: int = 32  # the cache's unit, and the grain in which equal beginnings are shared

    @property
    def pages(self) -> int:
        return ceil((self.cache_tokens or self.slots * self.context) / self.page_tokens)


class Batching:
    """A model's loop in a thread of its own. Its methods may be called from any thread."""

    def __init__(self, model: PreTrainedModel, limits: BatchLimits) -> None:
        """Allocates the cache. Raises MemoryError or torch.OutOfMemoryError when it doesn't fit."""
        if not log.isEnabledFor(logging.DEBUG):
            logging.getLogger("ContinuousBatchingLogger").setLevel(logging.WARNING)  # it tells of every start and stop
        self._manager = _Manager(model, limits)
        self._manager.warmup()  # only makes the cache: there are no graphs to capture
        self._manager.start()

    def stream(self, request_id: str, prompt: list[int], sampling: Sampling, stops: list[int]) -> Generator[Tokens]:
        """New tokens of one request until it is finished; closing the iterator cancels it within one token.

        A token in `stops` ends it and is yielded last. Raises OutOfMemoryError, and RuntimeError when the loop failed.
        """
        mailbox = self._manager.mailboxes.open(request_id)
        ask, finished = Ask(sampling), False
        try:
            accepted = self._manager.add_request(
                prompt,
                request_id=request_id,
                max_new_tokens=sampling.max_new_tokens,
                streaming=True,
                eos_token_id=stops or -1,
                ask=ask,
            )
            if accepted is None:
                raise RuntimeError(f"the generation loop takes no more requests: {self._manager.failure}")
            seen = 0
            while not finished:
                output = self._receive(mailbox)
                if output is None:
                    yield Tokens(new=[])
                    continue
                finished = output.is_finished()
                new, seen = output.generated_tokens[seen:], len(output.generated_tokens)
                yield Tokens(new=new, finished=finished, cached=ask.cached or 0)
        finally:
            self._manager.mailboxes.close(request_id)
            if not finished:
                self._manager.cancel_request(request_id)

    def _receive(self, mailbox: "SimpleQueue[GenerationOutput | Exception]") -> GenerationOutput | None:
        try:
            output = mailbox.get(timeout=_LISTEN_S)
            while not mailbox.empty():  # a reader that lagged: each output holds all tokens so far
                output = mailbox.get_nowait()
        except Empty:
            if not self._manager.is_running():
                raise RuntimeError(f"the generation loop died: {self._manager.failure}") from None
            return None
        if isinstance(output, Exception):
            raise output
        if output.status == RequestStatus.FAILED:
            raise RuntimeError(f"the generation loop failed: {output.error}")
        return output

    def held_pages(self) -> dict[str, int]:
        """Cache pages held by each request that is in the cache now."""
        processor = self._manager.batch_processor
        tables = [] if processor is None else [each.block_table for each in processor.cache.cache_allocators.values()]
        return {request: len(pages) for table in tables for request, pages in [*table.items()] if pages}

    def close(self) -> None:
        """End what runs, join the thread, free the cache."""
        self._manager.stop(block=True, hard_stop=True)
        self._manager.destroy()


class _Mailboxes(OutputRouter):
    """Delivers each output to its request's reader. The library's router would put all into one queue."""

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[str, SimpleQueue[GenerationOutput | Exception]] = {}
        self._guard = threading.Lock()

    def open(self, request_id: str) -> "SimpleQueue[GenerationOutput | Exception]":
        with self._guard:
            if request_id in self._open:
                raise ValueError(f"the request {request_id} is already running")
            mailbox: SimpleQueue[GenerationOutput | Exception] = SimpleQueue()
            self._open[request_id] = mailbox
            return mailbox

    def close(self, request_id: str) -> None:
        with self._guard:
            self._open.pop(request_id, None)

    def put(self, request_id: str, output: GenerationOutput | Exception) -> None:
        with self._guard:
            mailbox = self._open.get(request_id)
        if mailbox is not None:  # else it was cancelled
            mailbox.put(output)

    def deliver(self, output: GenerationOutput) -> None:
        self.put(output.request_id, output)

    def deliver_batch(self, outputs: list[GenerationOutput]) -> None:
        for output in outputs:
            self.deliver(output)


class _Manager(ContinuousBatchingManager):
    """The library's manager with our sampler and mailboxes, surviving a lack of memory."""

    def __init__(self, model: PreTrainedModel, limits: BatchLimits) -> None:
        super().__init__(
            model,  # type: ignore[arg-type]  # the library's own protocol class is narrower than its models
            GenerationConfig(do_sample=False, max_new_tokens=limits.context, eos_token_id=-1),  # type: ignore[no-untyped-call]
            ContinuousBatchingConfig(
                page_size=limits.page_tokens,
                num_blocks=limits.pages,
                max_batch_tokens=limits.batch_tokens,
                max_requests_per_batch=limits.slots,
                max_blocks_per_request=0,
                max_memory_percent=1.0,  # the limits above decide; this only refuses what can't fit at all
                safety_margin=0.0,
                # SeededSampler needs one batch after the other. Flash attention would be looked for on the hub.
                use_async_batching=False,
                use_cuda_graph=False,
                auto_switch_to_flash=False,
            ),
        )
        self.sampler = SeededSampler()
        self.logit_processor = self.sampler
        self.mailboxes = _Mailboxes()
        self.output_router = self.mailboxes

        self._most_tokens = self._tokens = limits.batch_tokens  # of one step; fewer after memory ran out
        self._calm_steps, self._patience, self._grown = 0, _CALM_STEPS, False

    @property
    def failure(self) -> str:
        return str(self.background_thread_status.fatal_error or "it was stopped")

    def _generation_loop_body(self, batch_processor: Any, bootstrapping: bool) -> bool:
        """One step of the library's loop, which would end for good when memory runs out."""
        batch_processor.max_batch_tokens = self._tokens
        try:
            going_on = super()._generation_loop_body(batch_processor, bootstrapping)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_lack_of_memory(error) or not batch_processor.scheduler.active_requests:
                raise
            self._take_smaller_steps(batch_processor, error)
        else:
            self._take_larger_steps()
            return going_on
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def _take_smaller_steps(self, batch_processor: Any, error: BaseException) -> None:
        """Begin all requests anew, from the tokens they have, in steps half as large. When the step was small and of
        one request alone, that is the one that doesn't fit, and it ends."""
        scheduler = batch_processor.scheduler
        active: list[RequestState] = list(scheduler.active_requests.values())
        step = self.sampler.step
        tokens = sum(step.values()) or self._tokens
        victim = None
        if len(step) > 1 or tokens > _SMALL_STEP:
            self._tokens = max(1, min(self._tokens, tokens) // 2)
        else:
            victim = max(active, key=lambda state: (state.request_id in step, state.current_len()))
            self._tokens = self._most_tokens  # what made it too large goes
        if self._grown:  # too early
            self._patience = min(2 * self._patience, _MOST_CALM_STEPS)
        self._calm_steps, self._grown = 0, False
        log.warning(
            "out of memory in a step of %d tokens: %s",
            tokens,
            f"ending request {victim.request_id}" if victim else f"going on in steps of {self._tokens}",
        )
        for state in active:
            scheduler.finish_request(state.request_id)  # frees its pages
        for state in active:
            if state is not victim:
                scheduler.add_waiting_request(state.create_equivalent_initial_request())
        if victim is not None:
            self._end_for_lack_of_memory(victim, error)

    def _take_larger_steps(self) -> None:
        """Twice as many tokens after a while without trouble; the while grows with each time that it was too early."""
        self._calm_steps += 1
        if self._tokens < self._most_tokens and self._calm_steps >= self._patience:
            self._tokens, self._calm_steps, self._grown = min(self._most_tokens, 2 * self._tokens), 0, True

    def _end_for_lack_of_memory(self, victim: RequestState, error: BaseException) -> None:
        tokens = len(victim.initial_tokens)
        self.mailboxes.put(
            victim.request_id,
            OutOfMemoryError(f"there is not enough memory to continue a prompt of {tokens} tokens ({error})"),
        )


def _is_lack_of_memory(error: BaseException) -> bool:
    # On a CPU torch raises a plain RuntimeError from its allocator.
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)
