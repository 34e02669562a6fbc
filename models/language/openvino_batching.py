"""OpenVINO GenAI's continuous batching, made to serve: one thread steps, each request has its mailbox, a place in the
KV cache before it begins, and a text that its neighbours don't change. Knows tokens, no text.

Numerics: activations stay unquantised 32-bit floats, and so does the KV cache. Then neighbours, the place where a
prompt is split and a cached beginning move a log-probability by some 1e-5 at most (measured, docs/engines.md), and a
text changes only at a near tie. The library's own defaults are nearly twice as fast at 16 stories and move it by 0.1:
equal seeds would part within ten words. A request begins only when the cache has room for all it may need, so that none
loses its place in the middle.

The library keeps Python's lock while it steps: other threads get their turn between two steps, and the loop gives the
readers of new tokens a moment there.
"""

import logging
import threading
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import count, takewhile
from math import ceil
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from models.language.token_stream import Tokens
from models.serving.quiet_runtimes import openvino, openvino_genai

log = logging.getLogger(__name__)

BLOCK_TOKENS: Final = 32  # the cache's unit on a CPU, and the grain in which equal beginnings are shared
BATCH_TOKENS: Final = 256  # in one step at most; longer prompts are split
_LISTEN_S: Final = 0.05  # how often a reader looks up while it waits for a token
_HEAR_S: Final = 0.02  # how long the loop waits for slow readers


@dataclass(frozen=True, kw_only=True)
class CacheLimits:
    """At most `slots` requests at once, `context` tokens each (prompt and continuation), `tokens` for all together."""

    slots: int
    context: int
    tokens: int

    @property
    def blocks(self) -> int:
        return ceil(max(self.tokens, self.context) / BLOCK_TOKENS) + 1


@dataclass(eq=False)
class _Job:
    handle: Any
    blocks: int
    cached: int
    mailbox: SimpleQueue[Tokens | Exception] = field(default_factory=SimpleQueue)


class Batching:
    """A model's loop in a thread of its own. Its methods may be called from any thread."""

    def __init__(self, path: Path, limits: CacheLimits, threads: int) -> None:
        """Raises RuntimeError with the library's reason."""
        self._genai = genai = openvino_genai()
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = limits.blocks
        scheduler.max_num_batched_tokens = BATCH_TOKENS
        scheduler.max_num_seqs = limits.slots
        scheduler.dynamic_split_fuse = True
        scheduler.enable_prefix_caching = True
        self._pipeline = genai.ContinuousBatchingPipeline(
            str(path),
            scheduler,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",
                "KV_CACHE_PRECISION": "f32",
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
                "INFERENCE_NUM_THREADS": threads,
                "sampler_num_threads": threads,
            },
        )
        self.tokenizer: Any = self._pipeline.get_tokenizer()
        self._limits = limits
        self._numbers = count()
        self._warm_up()
        self._recent = _Recent(limits.tokens)

        self._turn = threading.Condition()
        self._waiting: deque[object] = deque()  # who waits for a place, in the order of coming
        self._jobs: dict[int, _Job] = {}
        self._free = limits.blocks
        self._unheard = 0  # readers that have yet to deal with what the last step gave them
        self.steps = 0  # of the whole batch, so far
        self._closing = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="openvino", daemon=True)
        self._thread.start()

    def tokens_of(self, text: str) -> list[int]:
        """Token ids of `text`; control tokens written out in it are read as such."""
        if not text:
            return []
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=False).input_ids.data[0].tolist()
        return tokens

    def stream(self, prompt: list[int], config: Any) -> Generator[Tokens]:
        """New tokens of one request until it is finished; closing the iterator cancels it within one step.

        A stop token is yielded last. Raises ValueError for more tokens than the context, RuntimeError when the loop
        failed.
        """
        most = len(prompt) + config.max_new_tokens
        if most > self._limits.context:
            raise ValueError(
                f"{len(prompt)} tokens of prompt and {config.max_new_tokens} new ones are more than the context of "
                f"{self._limits.context} tokens"
            )
        blocks = ceil(most / BLOCK_TOKENS)
        ticket = object()
        with self._turn:
            self._waiting.append(ticket)
        job: _Job | None = None
        finished = False
        new: list[int] = []
        try:
            while (job := self._enter(ticket, prompt, blocks, config)) is None:
                yield Tokens(new=[])
            while not finished:
                try:
                    received = job.mailbox.get(timeout=_LISTEN_S)
                except Empty:
                    yield Tokens(new=[])
                    continue
                if isinstance(received, Exception):
                    raise RuntimeError(f"the generation loop died: {received}") from received
                finished = received.finished
                new += received.new
                yield received
                self._heard()
        finally:
            with self._turn:
                if job is None:
                    self._waiting.remove(ticket)
                    self._turn.notify_all()
                else:
                    self._recent.add([*prompt, *new[:-1]])
            if job is not None and not finished:
                job.handle.cancel()
                self._heard()

    def cache_usage(self) -> float:
        """The share of the KV cache that was held in the last step."""
        usage: float = self._pipeline.get_metrics().cache_usage / 100
        return usage

    def close(self) -> None:
        """End what runs, join the thread, free the memory."""
        with self._turn:
            self._closing = True
            for job in self._jobs.values():
                job.handle.cancel()
            self._turn.notify_all()
        self._thread.join()
        del self._pipeline

    def _enter(self, ticket: object, prompt: list[int], blocks: int, config: Any) -> _Job | None:
        """Wait a moment for the request's turn and for room in the cache; None when there is none yet."""

        def is_free() -> bool:
            return self._waiting[0] is ticket and len(self._jobs) < self._limits.slots and blocks <= self._free

        with self._turn:
            self._turn.wait_for(lambda: self._failure is not None or self._closing or is_free(), _LISTEN_S)
            if self._failure is not None or self._closing:
                raise RuntimeError(f"the generation loop takes no more requests: {self._failure or 'it was closed'}")
            if not is_free():
                return None
            number = next(self._numbers)
            handle = self._pipeline.add_request(number, self._tensor(prompt), config)
            job = _Job(handle, blocks, self._recent.shared_with(prompt))
            self._waiting.popleft()
            self._jobs[number] = job
            self._free -= blocks
            self._turn.notify_all()
            return job

    def _heard(self) -> None:
        with self._turn:
            self._unheard -= 1
            self._turn.notify_all()

    def _run(self) -> None:
        try:
            while True:
                with self._turn:
                    self._turn.wait_for(lambda: self._jobs or self._closing)
                    if not self._jobs:
                        return
                self._pipeline.step()
                self.steps += 1
                with self._turn:
                    self._deliver()
                    self._turn.wait_for(lambda: self._unheard <= 0, _HEAR_S)
        except Exception as error:
            log.exception("the generation loop died")
            with self._turn:
                self._failure = error
                for job in self._jobs.values():
                    job.mailbox.put(error)
                self._jobs.clear()
                self._turn.notify_all()

    def _deliver(self) -> None:
        """Put what the step made into the mailboxes; forget and free what has ended."""
        running = self._genai.GenerationStatus.RUNNING
        self._unheard = 0
        for number, job in list(self._jobs.items()):
            new: list[int] = []
            while job.handle.can_read():
                for output in job.handle.read().values():
                    new += output.generated_ids
            finished = job.handle.get_status() != running
            if new or finished:
                job.mailbox.put(Tokens(new=new, finished=finished, cached=job.cached))
                self._unheard += 1
            if finished:
                del self._jobs[number]
                self._free += job.blocks
        self._turn.notify_all()

    def _warm_up(self) -> None:
        """Let the library make its kernels, for a prompt and for single tokens: else the first story waits for them."""
        config = self._genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos = 3, True
        self._pipeline.add_request(next(self._numbers), self._tensor(self.tokens_of("once ") * BLOCK_TOKENS), config)
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()

    @staticmethod
    def _tensor(tokens: list[int]) -> Any:
        import numpy as np

        return openvino().Tensor(np.array([tokens], dtype=np.int64))


class _Recent:
    """What lately ran through a cache of `capacity` tokens, by which to tell how much of a prompt it still holds: the
    library doesn't say. A lower bound: of beginnings that several shared each counts in full against the capacity."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept: deque[list[int]] = deque()

    def add(self, tokens: list[int]) -> None:
        self._kept.append(tokens)
        held = sum(map(len, self._kept))
        while held > self._capacity:
            held -= len(self._kept.popleft())

    def shared_with(self, prompt: list[int]) -> int:
        """Tokens of `prompt` in whole blocks that were computed before; the last token never counts."""
        longest = 0
        for tokens in self._kept:
            pairs = zip(prompt[:-1], tokens, strict=False)
            longest = max(longest, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
        return longest // BLOCK_TOKENS * BLOCK_TOKENS
