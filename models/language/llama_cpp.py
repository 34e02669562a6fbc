"""The story model on a CPU: llama.cpp in this process, through the xllamacpp wheel. Knows no queue, no Discord and no
prompt craft (that is continuation's).
"""

import http.client
import json
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from models.language.continuation import Finisher, FinishReason, build_prompt, recognise
from models.language.gguf_header import GgufHeader, read_header
from models.language.open_calls import OpenCalls
from models.language.story_model import Emit
from models.language.weight_files import NotAModelError, WeightsCorruptError, check_language_model, inspect, sha256_of
from models.serving.machine import physical_cores
from models.serving.requests import StoryOutput, StoryRequest

_Complete = Callable[[dict[str, Any], Callable[[Any], bool]], object]  # xllamacpp's Server.handle_completions

log = logging.getLogger(__name__)

DEFAULT_SLOTS: Final = 4
DEFAULT_CONTEXT: Final = 2_048  # tokens a slot; the KV cache of SmolLM2-135M takes 22.5 KiB a token
BATCH: Final = 128  # tokens of a prompt between two looks at whether the request was cancelled
PROMPT_CACHE_MIB: Final = 64  # 5,400 tokens of SmolLM2-135M: a dozen stories between two turns of their writers
PENALTY_WINDOW: Final = 256  # tokens that the repetition penalty looks back over
_SOCKET: Final = "llama.sock"
RANDOM_SEED: Final = 2**32 - 1  # llama.cpp draws a seed of its own for this one


class LlamaCppModel:
    """One llama.cpp server with `slots` parallel sequences of `context` tokens each.

    The same seed, sampling and prompt give the same text, to the bit, whatever runs in the other slots and however much
    of the prompt is still in the KV cache, on one machine and one build of llama.cpp. That rests on a KV cache of 8-bit
    integers: with 16-bit floats llama.cpp takes another kernel for one token than for many, the logits differ by some
    hundredths and a sampled text parts from its twin within ten words.
    """

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        threads: int | None = None,
        slots: int = DEFAULT_SLOTS,
        context: int = DEFAULT_CONTEXT,
        prompt_cache_mib: int = PROMPT_CACHE_MIB,
        version: str | None = None,
    ) -> Self:
        """Load the GGUF file at `path`. `threads` is the number of physical cores when None; `version` is made from
        the file's name and sha256 when None. `prompt_cache_mib` of memory keep stories that lost their slot to others,
        so that continuing them needs no prefill of what was read before.

        Raises WeightsError for a file that is missing, cut off or no language model, and RuntimeError where llama.cpp
        itself can't be loaded.
        """
        if inspect(path).format != "gguf":
            raise NotAModelError(f"{path} is no GGUF file: llama.cpp loads no other.")
        check_language_model(path)
        header = read_header(path)
        context = min(context, header.context or context)
        # OpenMP's threads would spin while they wait for each other: with anything else running on the machine that is
        # 5 to 10 times slower. libgomp reads this once, when it is loaded.
        os.putenv("OMP_WAIT_POLICY", "passive")
        try:
            import xllamacpp
        except ImportError as error:
            hint = "on Debian and Ubuntu: apt install libgomp1"
            raise RuntimeError(f"llama.cpp can't be loaded: {error} ({hint})") from error

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_parallel = slots
        params.n_ctx = slots * context
        params.n_batch = params.n_ubatch = max(BATCH, slots)
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads or physical_cores()
        params.n_gpu_layers = 0
        if _head_width(header) % 32 == 0:  # the block of Q8_0
            params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_Q8_0
            params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.cache_ram_mib = prompt_cache_mib
        params.warmup = params.fit_params = params.ui = params.endpoint_slots = False
        params.verbosity = 4 if log.isEnabledFor(logging.DEBUG) else 1
        directory = Path(tempfile.mkdtemp(prefix="inkwell-"))  # mode 0700: no other user reaches the socket in it
        params.hostnames = [str(directory / _SOCKET)]
        started = time.perf_counter()
        try:
            server = xllamacpp.Server(params)
        except RuntimeError as error:
            shutil.rmtree(directory, ignore_errors=True)
            raise WeightsCorruptError(
                f"llama.cpp can't load {path} (its reason is in the lines above): fetch the model again."
            ) from error
        _wait_for_the_loop(server)
        log.info("loaded %s in %.2f s: %d slots of %d tokens", path, time.perf_counter() - started, slots, context)
        return cls(server, header, directory, slots, context, version or f"{_name_of(path)}@{sha256_of(path)[:8]}")

    def __init__(
        self, server: Any, header: GgufHeader, directory: Path, slots: int, context: int, version: str
    ) -> None:
        self._server: Any = server
        self._directory = directory
        self._slots, self._context, self._version = slots, context, version
        template, name = header.metadata.get("tokenizer.chat_template"), str(header.metadata.get("general.name", ""))
        family = recognise(str(template) if template else None, f"{name} {version}")
        self._template = family.with_markers(header.control_tokens)
        self._calls = OpenCalls()

    @property
    def version(self) -> str:
        """Name and content of the weights, e.g. "smollm2-135m-instruct-q4_1@3b1f09d2"."""
        return self._version

    @property
    def slots(self) -> int:
        """How many calls of `generate` may run at the same time."""
        return self._slots

    @property
    def context(self) -> int:
        """Tokens of prompt and continuation together that one request may take."""
        return self._context

    def count_tokens(self, text: str) -> int:
        """How many tokens the model reads `text` as; control tokens written out in it count as one."""
        body = json.dumps({"content": text, "add_special": False, "parse_special": True})
        connection = _UnixConnection(self._directory / _SOCKET)
        try:
            connection.request("POST", "/tokenize", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return len(answer["tokens"])

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        """Continue the story; see `StoryModel.generate`. `emit` is also called with "" to ask whether to go on: for
        every token whose text is held back, and between the batches of a long prompt."""
        with self._calls.entered():
            return self._generate(request, emit)

    def _generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        prompt = build_prompt(request, self.count_tokens, self._context, self._template)
        generation = Generation(request, emit)
        generation.ask(
            self._server.handle_completions,
            prompt,
            max_new_tokens=request.sampling.max_new_tokens,
            seed=request.sampling.seed,
        )
        return generation.output(self._version)

    def close(self) -> None:
        """Free memory and threads, once the running calls have ended. A second call does nothing."""
        self._calls.close()
        self._server = None  # the last reference: its destructor joins the threads
        shutil.rmtree(self._directory, ignore_errors=True)


def _wait_for_the_loop(server: Any) -> None:
    """A server that is let go before its loop has begun waits for that loop for ever."""
    server.handle_completions(
        {"prompt": "\n", "n_predict": 0, "stream": True, "cache_prompt": False}, lambda chunk: False
    )


class Generation:
    """One request while llama.cpp works on it. Most need one completion; where the window is short, several in turn.
    `text` is all that the model wrote so far."""

    def __init__(self, request: StoryRequest, emit: Emit) -> None:
        self._request, self._emit = request, emit
        self._finisher = Finisher(request.story, stop=request.sampling.stop)
        self._cancelled = False
        self._failure: BaseException | None = None
        self._reason = ""
        self._timings: list[dict[str, float]] = []  # the newest of each completion
        self.text = ""

    @property
    def goes_on(self) -> bool:
        """Whether the last completion ended only because it had all its tokens."""
        return not self._cancelled and self._finisher.stop_reason is None and self._reason in ("", "length")

    @property
    def new_tokens(self) -> int:
        return sum(int(each.get("predicted_n", 0)) for each in self._timings)

    def ask(self, complete: _Complete, prompt: str, *, max_new_tokens: int, seed: int) -> None:
        """Have `prompt` completed, within this request's sampling. Raises ValueError for a prompt that llama.cpp
        refuses, RuntimeError for its other failures, and what `emit` raised."""
        sampling = self._request.sampling
        self._timings.append({})
        complete(
            {
                "prompt": prompt,
                "n_predict": max_new_tokens,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k,
                "min_p": sampling.min_p,
                "repeat_penalty": sampling.repetition_penalty,
                "repeat_last_n": PENALTY_WINDOW,
                "seed": seed if seed != RANDOM_SEED else RANDOM_SEED - 1,
                "stream": True,
                "cache_prompt": True,
                "timings_per_token": True,
                "return_progress": True,
            },
            self._read,
        )
        if self._failure is not None:
            raise self._failure

    def output(self, version: str) -> StoryOutput:
        """What came of it. The prompt is counted where it was first read."""
        first = self._timings[0]
        reason: FinishReason = "cancelled" if self._cancelled else "length" if self._reason == "length" else "end"
        text, finish_reason = self._finisher.finish(reason)
        return StoryOutput(
            request_id=self._request.request_id,
            text=text,
            finish_reason=finish_reason,
            model_version=version,
            seed=self._request.sampling.seed,
            prompt_tokens=int(first.get("cache_n", 0) + first.get("prompt_n", 0)),
            cached_tokens=int(first.get("cache_n", 0)),
            new_tokens=self.new_tokens,
            prefill_s=sum(each.get("prompt_ms", 0.0) for each in self._timings) / 1_000,
            decode_s=sum(each.get("predicted_ms", 0.0) for each in self._timings) / 1_000,
        )

    def _read(self, chunk: Any) -> bool:
        """Take one event of llama.cpp's stream; True stops the generation. Must not raise: C++ calls it."""
        try:
            return self._take(chunk)
        except BaseException as error:
            self._failure = error
            return True

    def _take(self, chunk: dict[str, Any]) -> bool:
        if "error" in chunk:
            error = chunk["error"]
            kind = ValueError if error.get("code") == 400 else RuntimeError
            raise kind(f"llama.cpp: {error.get('message', error)}")
        self._timings[-1] = chunk.get("timings") or self._timings[-1]
        for choice in chunk.get("choices", ()):
            self._reason = choice.get("finish_reason") or self._reason
            self.text += choice.get("text", "")
            text = self._finisher.feed(choice.get("text", ""))
            if not self._emit(text):
                self._cancelled = True
                return True
        return self._finisher.stop_reason is not None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _name_of(path: Path) -> str:
    """A version's name from its file: "SmolLM2-135M-Instruct.Q4_1.gguf" -> "smollm2-135m-instruct-q4_1"."""
    return path.name.removesuffix(".gguf").lower().replace(".", "-")


def _head_width(header: GgufHeader) -> int:
    """Numbers in one attention head's key; 1 where the file does not tell."""
    kind, metadata = header.architecture, header.metadata
    width = metadata.get(f"{kind}.attention.key_length")
    embedding, heads = metadata.get(f"{kind}.embedding_length"), metadata.get(f"{kind}.attention.head_count")
    if width is None and isinstance(embedding, int) and isinstance(heads, int) and heads:
        width = embedding // heads
    return width if isinstance(width, int) else 1
