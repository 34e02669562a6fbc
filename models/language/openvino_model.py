"""The story model on an x86-64 CPU, many stories at once: OpenVINO GenAI's continuous batching over a GGUF file. Knows
no queue, no Discord and no prompt craft (that is continuation's).
"""

import importlib.util
import logging
import platform
import time
from pathlib import Path
from typing import Any, Final, Self

from models.language.continuation import Finisher, build_prompt, recognise
from models.language.gguf_header import GgufHeader, read_header
from models.language.open_calls import OpenCalls
from models.language.openvino_batching import Batching, CacheLimits
from models.language.story_model import Emit
from models.language.token_stream import tell
from models.language.weight_files import NotAModelError, WeightsCorruptError, inspect, sha256_of
from models.serving.machine import physical_cores
from models.serving.quiet_runtimes import openvino_genai
from models.serving.requests import Sampling, StoryOutput, StoryRequest

log = logging.getLogger(__name__)

DEFAULT_SLOTS: Final = 16
DEFAULT_CONTEXT: Final = 2_048
CACHE_TOKENS: Final = 8_192  # for all requests together; SmolLM2-135M takes 45 KiB a token, allocated as it fills

# What this engine was measured and tested with; anything else is llama.cpp's unless an operator names this one.
_ARCHITECTURES: Final = ("llama",)
# llama.cpp's numbers for general.file_type. Not Q4_1 (3), the default model's: as this library reads it, it takes 5%
# more bits per byte than the same weights in torch (docs/engines.md).
_FILE_TYPES: Final = {1: "F16", 7: "Q8_0"}
_BYTE_LEVEL: Final = "gpt2"  # the tokenizers whose tokens are plain bytes

# Marks with which model families end a turn or a text, beside the one that the file names.
_ENDS: Final = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "</s>")


class UnsupportedByOpenVinoError(NotAModelError):
    """A sound GGUF file that OpenVINO GenAI doesn't read: llama.cpp may."""


def is_for_openvino(path: Path) -> bool:
    """Whether this machine has the library and the GGUF file at `path` is of a kind that it was proven with."""
    if platform.machine().lower() not in ("x86_64", "amd64") or importlib.util.find_spec("openvino_genai") is None:
        return False
    metadata = read_header(path).metadata
    return (
        metadata.get("general.architecture") in _ARCHITECTURES
        and metadata.get("general.file_type") in _FILE_TYPES
        and metadata.get("tokenizer.ggml.model") == _BYTE_LEVEL
    )


class OpenVinoModel:
    """One pipeline whose batch is put together anew at every step.

    The same seed, sampling and prompt give the same text on one machine and one build of the library, whatever else is
    in the batch and however much of the prompt is in the KV cache, but for near ties (see openvino_batching). Between
    engines it doesn't: here temperature comes before top-p, and the repetition penalty looks back over the whole
    prompt.
    """

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        threads: int | None = None,
        slots: int = DEFAULT_SLOTS,
        context: int = DEFAULT_CONTEXT,
        cache_tokens: int = CACHE_TOKENS,
        version: str | None = None,
    ) -> Self:
        """Load the GGUF file at `path`. `threads` is the number of physical cores when None; `version` is made from
        the file's name and sha256 when None. A request that finds the cache of `cache_tokens` taken waits.

        Raises WeightsError for a file that is missing, cut off or no language model (UnsupportedByOpenVinoError where
        llama.cpp may be able to read it), and RuntimeError where the library itself can't be loaded.
        """
        if inspect(path).format != "gguf":
            raise NotAModelError(f"{path} is no GGUF file: OpenVINO loads no other here.")
        header = read_header(path)  # of a file cut off the library would read beyond the end, and die
        if header.metadata.get("general.type", "model") != "model" or "tokenizer.ggml.model" not in header.metadata:
            raise NotAModelError(f"{path} holds no language model (an adapter, or a part of one?).")
        if header.metadata["tokenizer.ggml.model"] != _BYTE_LEVEL:
            raise UnsupportedByOpenVinoError(f"{path} has a tokenizer that isn't of bytes: use llama_cpp.")
        try:
            genai = openvino_genai()
        except ImportError as error:
            raise RuntimeError(f"OpenVINO can't be loaded: {error} (pip install openvino-genai)") from error

        limits = CacheLimits(slots=slots, context=min(context, header.context or context), tokens=cache_tokens)
        started = time.perf_counter()
        try:
            batching = Batching(path, limits, threads or physical_cores())
        except RuntimeError as error:
            if "nsupported" in str(error):
                reason = str(error).strip().splitlines()[-1]
                raise UnsupportedByOpenVinoError(f"OpenVINO doesn't read {path} ({reason}): use llama_cpp.") from error
            raise WeightsCorruptError(
                f"OpenVINO can't load {path} ({str(error).strip().splitlines()[-1]}): fetch the model again."
            ) from error
        log.info(
            "loaded %s in %.2f s: %d slots of %d tokens, OpenVINO GenAI %s",
            *(path, time.perf_counter() - started, slots, limits.context, genai.get_version()),
        )
        name = path.name.removesuffix(".gguf").lower().replace(".", "-")
        return cls(batching, header, limits, version or f"{name}@{sha256_of(path)[:8]}")

    def __init__(self, batching: Batching, header: GgufHeader, limits: CacheLimits, version: str) -> None:
        self._batching, self._limits, self._version = batching, limits, version
        template, name = header.metadata.get("tokenizer.chat_template"), str(header.metadata.get("general.name", ""))
        family = recognise(str(template) if template else None, f"{name} {version}")
        self._template = family.with_markers(header.control_tokens)
        vocabulary: dict[bytes, int] = batching.tokenizer.get_vocab()
        self._bytes = {token: text for text, token in vocabulary.items()}
        ends = {vocabulary.get(end.encode()) for end in _ENDS if end in header.control_tokens}
        ends.add(_token(header, "eos"))
        self._stops = frozenset(token for token in ends if token is not None)
        self._begin = _token(header, "bos") if header.metadata.get("tokenizer.ggml.add_bos_token") is True else None
        self._calls = OpenCalls()

    @property
    def version(self) -> str:
        """Name and content of the weights, e.g. "smollm2-135m-instruct-q4_1@3b1f09d2"."""
        return self._version

    @property
    def slots(self) -> int:
        """How many calls of `generate` may run at the same time."""
        return self._limits.slots

    @property
    def context(self) -> int:
        """Tokens of prompt and continuation together that one request may take."""
        return self._limits.context

    def cache_usage(self) -> float:
        """The share of the KV cache, 0 to 1, that running requests hold."""
        return self._batching.cache_usage()

    def count_tokens(self, text: str) -> int:
        """How many tokens the model reads `text` as; control tokens written out in it count as one."""
        return len(self._tokens_of(text))

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        """Continue the story; see `StoryModel.generate`. `emit` is also called with "" to ask whether to go on: for
        every token whose text is held back, and while a place is waited for or a long prompt is read."""
        with self._calls.entered():
            return self._generate(request, emit)

    def _generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        started = time.perf_counter()
        prompt = self._tokens_of(build_prompt(request, self.count_tokens, self.context, self._template))
        if self._begin is not None and prompt[:1] != [self._begin]:
            prompt.insert(0, self._begin)
        return tell(
            request,
            emit,
            self._batching.stream(prompt, generation_config(request.sampling, self._stops)),
            finisher=Finisher(request.story, stop=request.sampling.stop),
            decode=self._decode,
            stops=self._stops,
            started=started,
            prompt_tokens=len(prompt),
            version=self._version,
        )

    def close(self) -> None:
        """Free memory and threads, once the running calls have ended. A second call does nothing."""
        if self._calls.close():
            self._batching.close()

    def _tokens_of(self, text: str) -> list[int]:
        return self._batching.tokens_of(text)

    def _decode(self, tokens: list[int]) -> str:
        return b"".join(self._bytes.get(token, b"") for token in tokens).decode("utf-8", "replace")


def generation_config(sampling: Sampling, stops: frozenset[int]) -> Any:
    """The library's words for `sampling`. Stop sequences are the Finisher's work."""
    config = openvino_genai().GenerationConfig()
    config.max_new_tokens = sampling.max_new_tokens
    if stops:
        config.set_eos_token_id(min(stops))
        config.stop_token_ids = set(stops)
    config.repetition_penalty = sampling.repetition_penalty
    config.rng_seed = sampling.seed
    # The library refuses settings that leave one token to draw from as settings for drawing.
    if sampling.temperature == 0 or sampling.min_p >= 1 or sampling.top_k == 1:
        return config
    config.do_sample = True
    config.temperature = sampling.temperature
    config.top_p = sampling.top_p
    if sampling.top_k:
        config.top_k = sampling.top_k
    # min-p compares with the likeliest token, here at the given temperature: this keeps what it keeps at temperature 1.
    config.min_p = min(sampling.min_p ** (1 / sampling.temperature), 1 - 1e-6) if sampling.min_p else 0.0
    return config


def _token(header: GgufHeader, name: str) -> int | None:
    value = header.metadata.get(f"tokenizer.ggml.{name}_token_id")
    return value if isinstance(value, int) else None
