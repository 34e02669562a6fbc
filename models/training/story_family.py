"""Shows the pretrained story model to `evaluate` as a family: with the adapter of a candidate, of a champion, or
without any. Knows how it is asked, not how it is judged.

Bits are those of torch, in the prompt that is served; texts are written by the engine that will serve them.
"""

import copy
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import torch
from peft import PeftModel
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import DynamicCache

from models.language.adapters import Adapter
from models.language.chat_template import ChatTemplate, clean, recognise
from models.language.continuation import ASK, ASK_ZH, SYSTEM, is_chinese
from models.language.story_model import StoryModel
from models.serving.requests import Sampling, StoryRequest
from models.training.adapter_run import begin_with
from models.training.arithmetic import bf16_is_native
from models.training.passage_windows import served_prompt_text
from models.training.storyteller import with_adapter

WINDOW_TOKENS: Final = 768  # of text that are read at once; most passages are shorter
_MAX_NEW_TOKENS: Final = 512


class ScoredModel:
    """One network in memory under changing adapters. Not thread-safe."""

    def __init__(self, directory: Path, *, rank: int) -> None:
        """`rank` is that of the largest adapter that will be put on."""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        template = recognise(self.tokenizer.chat_template, directory.name)
        self.template: ChatTemplate = template.with_markers(tuple(self.tokenizer.all_special_tokens))
        dtype = torch.bfloat16 if bf16_is_native(self.device) else torch.float32
        frozen = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, local_files_only=True)
        self.network: PeftModel = with_adapter(frozen, rank=max(rank, 1), alpha=max(rank, 1))
        self.network.to(self.device).eval()
        self._worn: Adapter | None = None  # a fresh adapter is none: its B is zero
        self._read: dict[str, tuple[Any, torch.Tensor]] = {}

    def wear(self, adapter: Adapter | None) -> None:
        """Raises ValueError for an adapter of another model."""
        if adapter == self._worn:
            return
        if adapter is None:
            for name, weight in self.network.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.zeros_(weight)
        else:
            begin_with(self.network, adapter)
        self._worn = adapter
        self._read.clear()

    def encode(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens

    def bits(self, text: str) -> tuple[float, int]:
        """Of every token of `text` behind the instructions with which a story is served, and their number. Raises
        ValueError for a blank text."""
        ask = ASK_ZH if is_chinese(text) else ASK
        return self._bits(self.template.head(SYSTEM, ask), "", clean(text, self.template))

    def bits_after(self, context: str, text: str) -> tuple[float, int]:
        """Of every token of `text`, and of the white space before it, behind the prompt that asks to go on with
        `context`."""
        story = clean(context, self.template)
        if not story.strip():
            return self.bits(text)
        told = story.rstrip()
        prompt = served_prompt_text(told, WINDOW_TOKENS // 2, self.encode, self.template)
        return self._bits("", prompt, story[len(told) :] + clean(text, self.template))

    @torch.inference_mode()
    def _bits(self, head: str, prompt: str, text: str) -> tuple[float, int]:
        """Beyond the window each half of it is predicted from the half before."""
        tokens = self.encode(text)
        if not text.strip():
            raise ValueError("an empty text has no score")
        nats, done = 0.0, 0
        while done < len(tokens):
            begin = 0 if done == 0 else done - WINDOW_TOKENS // 2
            row = tokens[begin : begin + WINDOW_TOKENS]
            nats += float(self._nats(head or prompt, row, keep=bool(head))[done - begin :].double().sum())
            done = begin + len(row)
        return nats / math.log(2), len(tokens)

    def _nats(self, before: str, row: list[int], *, keep: bool) -> torch.Tensor:
        """(tokens,) of `row` behind `before`. What is asked for many texts is computed once for an adapter: `keep`."""
        causal: Any = self.network.get_base_model()
        if before not in self._read:
            tokens = torch.tensor([self.encode(before) or [self._first()]], device=self.device)
            found = causal(input_ids=tokens, past_key_values=DynamicCache(), logits_to_keep=1)
            if keep:
                self._read[before] = found.past_key_values, found.logits[0].float()
            cache, logits = found.past_key_values, found.logits[0].float()
        else:
            cache, logits = self._read[before]
        tokens = torch.tensor([row], device=self.device)
        if len(row) > 1:
            cache = copy.deepcopy(cache) if keep else cache
            rest = causal(input_ids=tokens[:, :-1], past_key_values=cache).logits[0].float()
            logits = torch.cat([logits, rest])
        return functional.cross_entropy(logits, tokens[0], reduction="none")

    def _first(self) -> int:
        """What a base model's text begins with."""
        start = self.tokenizer.bos_token_id
        return int(self.tokenizer.eos_token_id if start is None else start)


class StoryFamily:
    """The story model with one adapter. `writer` makes the engine that writes, when it is first asked to."""

    def __init__(
        self,
        scored: ScoredModel,
        adapter: Adapter | None,
        writer: Callable[[], StoryModel],
        *,
        cancelled: Callable[[], bool],
    ) -> None:
        self._scored, self._adapter, self._make, self._cancelled = scored, adapter, writer, cancelled
        self._writer: StoryModel | None = None

    def bits(self, text: str) -> tuple[float, int]:
        self._scored.wear(self._adapter)
        return self._scored.bits(text)

    def bits_after(self, context: str, text: str) -> tuple[float, int]:
        self._scored.wear(self._adapter)
        return self._scored.bits_after(context, text)

    def continue_(self, prompt: str, *, characters: int, seed: int) -> str:
        return self.continue_all([prompt], characters=characters, seed=seed)[0]

    def continue_all(self, prompts: Sequence[str], *, characters: int, seed: int) -> list[str]:
        """As many at once as the engine has slots."""
        if self._writer is None:
            self._writer = self._make()
        writer = self._writer

        def write(number: int) -> str:
            a_token = 1 if is_chinese(prompts[number]) else 4
            sampling = Sampling(
                max_new_tokens=min(_MAX_NEW_TOKENS, max(16, characters // a_token)), seed=(seed + number) % 2**32
            )
            request = StoryRequest(request_id=f"judge-{number}", story=prompts[number], sampling=sampling)
            return writer.generate(request, self._go_on).text[:characters]

        with ThreadPoolExecutor(writer.slots) as threads:
            return list(threads.map(write, range(len(prompts))))

    def _go_on(self, _text: str) -> bool:
        return not self._cancelled()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
