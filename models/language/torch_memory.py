"""How much memory a batching loop may take, and the largest KV cache that fits into it. Knows no request."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from models.language.continuous_batching import BatchLimits

_SLACK_BYTES: Final = 48 * 2**20  # allocators round up, and threads take their stacks
_MIB: Final = 2**20


def available_bytes(where: torch.device, *, gpu_memory: float, memory_bytes: int | None) -> int | None:
    """What is left for cache and computation, now that the weights are loaded; None where nothing bounds it.

    On a GPU `gpu_memory` is the share of it that this process may take; torch is held to that from now on. On a CPU
    `memory_bytes` is the bound on private memory that the process was started with.
    """
    if where.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(gpu_memory, where)
        free, total = torch.cuda.mem_get_info(where)
        return min(free, int(total * gpu_memory) - torch.cuda.memory_reserved(where))
    if memory_bytes is None:
        return None
    data_pages = int(Path("/proc/self/statm").read_text().split()[5])  # what RLIMIT_DATA counts
    return memory_bytes - data_pages * os.sysconf("SC_PAGESIZE") - _SLACK_BYTES


def fitted(limits: BatchLimits, config: Any, available: int | None, itemsize: int) -> BatchLimits:
    """`limits` with as large a cache as `available` bytes hold beside the tensors of one step. `config` is the
    network's, `itemsize` that of its numbers. Raises MemoryError, in a sentence, where not even one story fits."""
    if available is None:
        return limits
    page, step = limits.page_tokens, limits.batch_tokens
    wanted = limits.pages * page
    heads = config.num_attention_heads
    pairs = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    # A cached token: its keys and values in every layer; its copies while one layer reads the cache; its column of the
    # attention mask, which has a row for each token of the step.
    per_token = itemsize * (2 * config.num_hidden_layers * pairs * width + (2 * heads + pairs) * width + step) + 8
    # A token of the step: hidden states, projections and, at worst, its row of scores over the vocabulary.
    once = step * (itemsize * (4 * config.hidden_size + 3 * heads * width + step) + 4 * config.vocab_size)
    room = (available - once) // per_token // page * page
    needed = -(-limits.context // page) * page
    if room < min(needed, wanted):
        missing = once + min(needed, wanted) * per_token - max(0, available)
        raise MemoryError(
            f"beside the weights there is no room for one story of {limits.context} tokens: it takes "
            f"{missing / _MIB:.0f} MiB more; raise the memory bound, or lower the context"
        )
    return replace(limits, cache_tokens=min(room, wanted))
