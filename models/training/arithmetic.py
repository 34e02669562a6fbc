"""Which arithmetic this machine does well. Knows no model."""

from pathlib import Path

import torch

_FLAGS = ("avx512_bf16", "amx_bf16", " bf16")  # Intel and AMD; the last one ARM's


def bf16_is_native(device: torch.device) -> bool:
    """Whether bf16 is faster than fp32 there. On a CPU without such instructions it is several times slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    try:
        return any(flag in Path("/proc/cpuinfo").read_text("utf-8") for flag in _FLAGS)
    except OSError:
        return False
