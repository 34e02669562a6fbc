"""A decoder-only transformer of our own, trained from scratch. Knows no corpus and no training loop.

The network is transformers' Llama (rotary positions, RMSNorm, SwiGLU: Touvron et al. 2023) in a small shape, so that
saving, generation, LoRA and conversion are the library's; the tokenizer is one of `dictionary`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.cache_utils import DynamicCache
from transformers.utils import logging

from models.language.dictionary import END_OF_TEXT

WEIGHTS_FILE, TOKENIZER_FILE = "model.safetensors", "tokenizer.json"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The size of the network. `context` is the longest window in tokens that it is trained on."""

    vocabulary: int
    hidden: int = 256
    layers: int = 6
    heads: int = 4
    feed_forward: int = 768
    context: int = 256


def build(shape: Shape, *, seed: int) -> LlamaForCausalLM:
    """A new network with weights drawn from `seed`: N(0, 0.02²), the layers' outputs scaled down by sqrt(2 layers) as
    in GPT-2, input and output embedding tied."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=shape.context,
        initializer_range=0.02,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )  # attention is sdpa: transformers' default wherever torch has it
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                torch.nn.init.normal_(weight, std=0.02 / math.sqrt(2 * shape.layers))
    return model


@dataclass(frozen=True, kw_only=True)
class GPTScore:
    """How well a text was predicted: `bits` in all, over so many tokens, characters and UTF-8 bytes."""

    bits: float
    tokens: int
    characters: int
    bytes: int


class GPT:
    """A trained network with its tokenizer. Not thread-safe: `score` and `stream` use the one network."""

    def __init__(self, model: LlamaForCausalLM, tokenizer: Tokenizer) -> None:
        self.model = model
        self.model.train(False)
        self.tokenizer = tokenizer
        self.context = int(model.config.max_position_embeddings)
        start = tokenizer.token_to_id(END_OF_TEXT)
        if start is None:
            raise ValueError(f"the tokenizer lacks {END_OF_TEXT}")
        self.start: int = start

    @classmethod
    def load(cls, folder: Path) -> "GPT":
        """Read what `save` wrote. Raises OSError when a file is missing or broken. Computes in fp32 whatever the file
        holds: on a CPU without native half precision fp16 is slower and less exact."""
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it is over before a bar could be read
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
        return cls(model, Tokenizer.from_file(str(folder / TOKENIZER_FILE)))

    def save(self, folder: Path, *, dtype: torch.dtype = torch.float16) -> None:
        """Write config.json, model.safetensors in `dtype` and tokenizer.json. The network in memory stays as it is."""
        folder.mkdir(parents=True, exist_ok=True)
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        narrow = LlamaForCausalLM(self.model.config)
        nn.Module.to(narrow, dtype)  # transformers' own `to` hides its types
        narrow.load_state_dict({name: weight.to(dtype) for name, weight in self.model.state_dict().items()})
        narrow.save_pretrained(folder)
        self.tokenizer.save(str(folder / TOKENIZER_FILE))

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.model.parameters())

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def token_log_probabilities(self, ids: list[int], *, stride: int | None = None, batch: int = 8) -> Tensor:
        """(tokens,) natural log-probability of each token given those before it, the first given the start token.

        The text is read in windows of `context` tokens that step by `stride` (default half a window): every token is
        predicted once, from at least context - stride tokens where the text has them.
        """
        step = stride or self.context // 2
        if not 0 < step <= self.context:
            raise ValueError(f"stride must be in 1..{self.context}, not {step}")
        sequence = torch.tensor([self.start, *ids])
        count = len(ids)
        result = torch.empty(count)
        starts = [0, *range(step, max(count - self.context, 0) + step, step)] if count > self.context else [0]
        windows = [(begin, min(begin + self.context, count)) for begin in starts if begin < count]
        for first in range(0, len(windows), batch):
            group = windows[first : first + batch]
            width = max(end - begin for begin, end in group)
            rows = torch.zeros(len(group), width + 1, dtype=torch.long)  # padding on the right is never looked at
            for row, (begin, end) in zip(rows, group, strict=True):
                row[: end - begin + 1] = sequence[begin : end + 1]
            with torch.inference_mode():
                logits = self.model(input_ids=rows[:, :-1], use_cache=False).logits.float()
                found = functional.log_softmax(logits, -1).gather(-1, rows[:, 1:, None])[..., 0]
            for row, (begin, end) in zip(found, group, strict=True):
                fresh = 0 if begin == 0 else min(self.context - step, end - begin)  # predicted by the window before
                result[begin + fresh : end] = row[fresh : end - begin]
        return result

    def score(self, text: str, *, stride: int | None = None) -> GPTScore:
        """Bits of `text` under its canonical tokenisation: an upper bound on the model's true code length, which would
        sum over all ways to spell the text in tokens. Raises ValueError for an empty text."""
        ids = self.encode(text)
        if not ids:
            raise ValueError("an empty text has no score")
        bits = -float(self.token_log_probabilities(ids, stride=stride).double().sum()) / math.log(2)
        return GPTScore(bits=bits, tokens=len(ids), characters=len(text), bytes=len(text.encode()))

    def stream(
        self,
        prompt: str,
        *,
        max_new_tokens: int,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
    ) -> Iterator[int]:
        """Draw tokens one by one until the end of text or the limit. The same arguments give the same tokens."""
        generator = torch.Generator().manual_seed(seed)
        for logits, history in self.steps(self.encode(prompt), max_new_tokens):
            chosen = draw(
                logits, history, generator, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
                repetition_penalty=repetition_penalty,
            )  # fmt: skip
            if chosen == self.start:
                return
            history.append(chosen)
            yield chosen

    def steps(self, prompt: list[int], max_new_tokens: int) -> Iterator[tuple[Tensor, list[int]]]:
        """(vocabulary,) logits of the next token and the tokens so far, to which whoever asks appends one before
        asking again.

        The KV cache is used until the window is full; then the older half is forgotten and the newer half read again,
        so that positions stay among those that were trained.
        """
        history = [self.start, *prompt]
        pending = history[-(self.context // 2 + 1) :]
        cache, length = DynamicCache(), 0
        for _ in range(max_new_tokens):
            if length + len(pending) > self.context:
                pending, cache, length = history[-(self.context // 2) :], DynamicCache(), 0
            with torch.inference_mode():
                logits = self.model(
                    input_ids=torch.tensor([pending]), past_key_values=cache, use_cache=True, logits_to_keep=1
                ).logits[0, -1]
            length += len(pending)
            yield logits.float(), history
            pending = history[-1:]

    def sample(self, prompt: str, **options: float) -> str:
        """The text of `stream`: what follows `prompt`."""
        return self.tokenizer.decode(list(self.stream(prompt, **options)))  # type: ignore[arg-type]


_PENALTY_WINDOW = 128


def draw(
    logits: Tensor,
    history: list[int],
    generator: torch.Generator,
    *,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    repetition_penalty: float,
) -> int:
    """Choose one token from `logits` (vocabulary,): penalty (Keskar et al. 2019), temperature, top-k, top-p (Holtzman
    et al. 2020) and min-p, in the order of transformers' own processors."""
    if repetition_penalty != 1:
        recent = torch.tensor(sorted(set(history[-_PENALTY_WINDOW:])))
        seen = logits[recent]
        logits = logits.index_copy(
            0, recent, torch.where(seen > 0, seen / repetition_penalty, seen * repetition_penalty)
        )
    if temperature == 0:
        return int(logits.argmax())
    logits = logits / temperature
    if 0 < top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -math.inf)
    probabilities = logits.softmax(-1)
    if top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        outside = ordered.cumsum(0) - ordered >= top_p
        probabilities = probabilities.index_fill(0, order[outside], 0)
    if min_p > 0:
        probabilities = probabilities.masked_fill(probabilities < min_p * probabilities.max(), 0)
    return int(torch.multinomial(probabilities, 1, generator=generator))
