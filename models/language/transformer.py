"""The story model in torch, through transformers' continuous batching: on a GPU, and for models without a GGUF file.
Knows no queue, no Discord and no prompt craft.
"""

import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from models.language.adapters import Adapter, AdapterError
from models.language.continuation import Finisher, build_prompt, recognise
from models.language.continuous_batching import Batching, BatchLimits, OutOfMemoryError
from models.language.open_calls import OpenCalls
from models.language.story_model import Emit
from models.language.token_stream import StoryFinisher, tell
from models.language.torch_memory import available_bytes, fitted
from models.language.weight_fetch import full_disk_as_a_sentence, require_free
from models.language.weight_files import WeightsCorruptError, inspect, sha256_of
from models.serving.requests import StoryOutput, StoryRequest

__all__ = ["BatchLimits", "OutOfMemoryError", "TransformersModel"]

log = logging.getLogger(__name__)

PromptBuilder = Callable[[StoryRequest, Callable[[str], int], int], str]

# Tokens with which model families end a turn or a text, beside the one that the model's configuration names.
_ENDS: Final = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "</s>")
_UNPACKED_BYTES: Final = 5  # of a directory in bf16 for each byte of a GGUF, which has at least 3 bits a weight


class TransformersModel:
    """A causal language model and its batching loop."""

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        data_dir: Path,
        version: str,
        limits: BatchLimits | None = None,
        device: str = "",
        threads: int | None = None,
        gpu_memory: float = 0.9,
        memory_bytes: int | None = None,
        prompt: PromptBuilder | None = None,
        finisher: Callable[[StoryRequest], StoryFinisher] | None = None,
        adapter: Adapter | None = None,
    ) -> Self:
        """Load a directory in Hugging Face layout, or a GGUF file, which is unpacked once into `data_dir`/models.

        `device` is "cpu", "cuda:1" and the like, empty for the best there is; weights are fp32 on a CPU and bf16
        elsewhere. `adapter` is added to them. `gpu_memory` (a share of the GPU) and `memory_bytes` (of the process, on
        a CPU) bound the memory: the KV cache becomes smaller than `limits` ask for where it has to. `prompt` and
        `finisher` replace continuation's. Raises WeightsError for files that can't be used, MemoryError or
        torch.OutOfMemoryError where they don't fit.
        """
        contents = inspect(path)
        if threads:
            torch.set_num_threads(threads)
        directory = unpacked(path, data_dir, version) if contents.format == "gguf" else path
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        started = time.perf_counter()
        try:
            tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
            network: Any = AutoModelForCausalLM.from_pretrained(
                directory,
                dtype=torch.float32 if where.type == "cpu" else torch.bfloat16,
                attn_implementation="sdpa",
                local_files_only=True,
            )
            network = network.to(where)
            if adapter is not None:
                network, version = _with(adapter, network), f"{version}+{adapter.version}"
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise WeightsCorruptError(
                f"transformers can't load {directory} ({reason}): fetch the model again."
            ) from error
        limits = limits or BatchLimits()
        available = available_bytes(where, gpu_memory=gpu_memory, memory_bytes=memory_bytes)
        limits = fitted(limits, network.config, available, network.dtype.itemsize)
        log.info(
            "loaded %s on %s in %.1f s, with a cache of %d tokens",
            version,
            where,
            time.perf_counter() - started,
            limits.pages * limits.page_tokens,
        )
        return cls(network, tokenizer, limits, version=version, prompt=prompt, finisher=finisher)

    def __init__(
        self,
        network: PreTrainedModel,
        tokenizer: Any,
        limits: BatchLimits,
        *,
        version: str,
        prompt: PromptBuilder | None = None,
        finisher: Callable[[StoryRequest], StoryFinisher] | None = None,
    ) -> None:
        self._tokenizer, self._version, self._slots = tokenizer, version, limits.slots
        window = getattr(network.config, "max_position_embeddings", None) or limits.context
        self._context = min(limits.context, window, limits.pages * limits.page_tokens)
        template = recognise(tokenizer.chat_template, version).with_markers(tuple(tokenizer.all_special_tokens))
        self._prompt: PromptBuilder = prompt or (
            lambda request, count_tokens, context: build_prompt(request, count_tokens, context, template)
        )
        self._finisher = finisher or (lambda request: Finisher(request.story, stop=request.sampling.stop))
        self._stops = _stops_of(network, tokenizer)
        self._batching = Batching(network, limits)
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

    def held_pages(self) -> dict[str, int]:
        """Pages of the KV cache that each running request holds."""
        return self._batching.held_pages()

    def count_tokens(self, text: str) -> int:
        """How many tokens the model reads `text` as; control tokens written out in it count as one."""
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        """Continue the story; see `StoryModel.generate`. `emit` is also called with "" to ask whether to go on: for
        every token whose text is held back, and while a long prompt is read. Raises OutOfMemoryError (a ValueError) for
        a request that memory doesn't suffice for; the others go on."""
        with self._calls.entered():
            return self._generate(request, emit)

    def _generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        started = time.perf_counter()
        prompt = self._tokens_of(self._prompt(request, self.count_tokens, self._context))
        wanted = request.sampling.max_new_tokens
        if len(prompt) + wanted > self._context:
            raise ValueError(
                f"{len(prompt)} tokens of prompt and {wanted} new ones are more than the context of "
                f"{self._context} tokens"
            )
        return tell(
            request,
            emit,
            self._batching.stream(request.request_id, prompt, request.sampling, self._stops),
            finisher=self._finisher(request),
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

    def _tokens_of(self, prompt: str) -> list[int]:
        tokens: list[int] = self._tokenizer(prompt)["input_ids"]
        begin = self._tokenizer.bos_token_id
        if begin is not None and tokens[:2] == [begin, begin]:  # written out in the template and added once more
            return tokens[1:]
        return tokens

    def _decode(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


def _with(adapter: Adapter, network: Any) -> Any:
    """`network` with the adapter in its weights: no slower than without. Raises AdapterError."""
    from peft import PeftModel
    from safetensors import SafetensorError

    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # peft's own, of transformers' names
            return PeftModel.from_pretrained(network, str(adapter.path)).merge_and_unload()
    except SafetensorError as error:
        raise AdapterError(f"{adapter.weights} is damaged ({error}): copy the adapter again.") from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise AdapterError(f"{adapter.path} was made for another model: set STORY_ADAPTER=none.") from error


def unpacked(path: Path, data_dir: Path, version: str) -> Path:
    """The directory that the GGUF file `path` was unpacked into; unpacks it, in a process of its own, the first time.

    Raises WeightsError.
    """
    name, _, digest = version.partition("@")
    target = data_dir.absolute() / "models" / f"{name}-{digest or sha256_of(path)[:8]}-unpacked"
    if target.exists():
        inspect(target)
        return target
    with full_disk_as_a_sentence(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        require_free(target.parent, _UNPACKED_BYTES * path.stat().st_size)
    log.info("unpacking %s for torch (once)", path)
    command = [sys.executable, "-m", "models.language.convert", "to-directory", str(path.absolute()), str(target)]
    root = Path(__file__).parents[2]  # where `models` is found, whatever the working directory
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1].rstrip(".")
        raise WeightsCorruptError(f"{path} can't be unpacked for torch ({reason}): use another model, or llama.cpp.")
    return target


def _stops_of(network: PreTrainedModel, tokenizer: Any) -> list[int]:
    """Token ids that end a continuation."""
    configured = getattr(network.generation_config, "eos_token_id", None)
    stops = set(configured if isinstance(configured, list) else [configured])
    vocabulary = tokenizer.get_vocab()
    stops |= {vocabulary.get(text) for text in _ENDS}
    return sorted(stop for stop in stops if stop is not None)
