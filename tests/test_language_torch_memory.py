"""What bounds the torch engine's memory: the cache that fits, in numbers and in a real worker under a real limit."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from models.language.continuous_batching import BatchLimits
from models.language.torch_memory import available_bytes, fitted
from models.serving.engine import EngineUnavailableError
from models.serving.local_engine import LocalEngine
from models.serving.wire import WorkerConfig
from tests.serving_reader import Leaks, ask, served
from tests.tiny_model import TinyModel

MIB = 2**20
STORY = "The lamp in the lighthouse went out at nine, and the keeper climbed the stairs. "
# SmolLM2-135M: 22.5 KiB of cache a token in bf16.
SMOLLM2 = SimpleNamespace(
    num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, hidden_size=576, vocab_size=49_152
)
LIMITS = BatchLimits(slots=16, context=2_048)


def test_a_cache_that_fits_is_left_as_it_was_asked_for() -> None:
    assert fitted(LIMITS, SMOLLM2, None, 2) == LIMITS
    assert fitted(LIMITS, SMOLLM2, 4_000 * MIB, 2).pages == LIMITS.pages


def test_a_cache_that_does_not_fit_becomes_smaller_but_holds_a_story() -> None:
    tight = fitted(LIMITS, SMOLLM2, 300 * MIB, 2)
    assert tight.cache_tokens is not None
    assert LIMITS.context <= tight.cache_tokens < LIMITS.slots * LIMITS.context
    assert tight.cache_tokens % LIMITS.page_tokens == 0
    assert tight.cache_tokens * 22.5 * 1024 < 300 * MIB
    assert fitted(LIMITS, SMOLLM2, 600 * MIB, 2).pages > tight.pages
    assert fitted(LIMITS, SMOLLM2, 300 * MIB, 4).pages < tight.pages, "wider numbers take more"


@pytest.mark.parametrize("available", [-(10**9), 0, 60 * MIB])
def test_no_room_for_one_story_is_a_sentence_with_the_missing_amount(available: int) -> None:
    with pytest.raises(MemoryError, match=r"no room for one story of 2048 tokens: it takes \d+ MiB more"):
        fitted(LIMITS, SMOLLM2, available, 2)


def test_on_a_cpu_only_a_configured_bound_counts() -> None:
    cpu = torch.device("cpu")
    assert available_bytes(cpu, gpu_memory=0.5, memory_bytes=None) is None
    left = available_bytes(cpu, gpu_memory=0.5, memory_bytes=64 * 1024 * MIB)
    assert left is not None
    assert 0 < left < 64 * 1024 * MIB


def config(model: TinyModel, data_dir: Path, memory_mib: int) -> WorkerConfig:
    return WorkerConfig(
        model=str(model.directory),
        data_dir=str(data_dir),
        engine="transformers",
        device="cpu",
        threads=1,
        slots=4,
        context_tokens=1024,
        niceness=0,
        max_memory_bytes=memory_mib * MIB,
    )


@pytest.mark.parametrize("blas_threads", ["1", "2"])  # with one, OpenBLAS once looked for memory for ever
async def test_a_torch_worker_serves_within_its_bound_and_says_when_it_is_too_low(
    tiny_model: TinyModel, tmp_path: Path, blas_threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", blas_threads)
    leaks = Leaks()
    engine, too_low = (LocalEngine([config(tiny_model, tmp_path, memory)]) for memory in (1_500, 300))
    started, refused = await asyncio.gather(engine.start(), too_low.start(), return_exceptions=True)
    assert started is None
    assert (await served(engine, ask("r", STORY))).text
    assert (await engine.health()).workers[0].resident_bytes < 1_500 * MIB
    await engine.close()
    assert isinstance(refused, EngineUnavailableError)
    assert "\n" not in str(refused)
    assert "limited to 300 MiB" in str(refused)
    await leaks.none_remain()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu_torch_is_held_to_its_share() -> None:
    gpu = torch.device("cuda:0")
    total = torch.cuda.get_device_properties(gpu).total_memory
    left = available_bytes(gpu, gpu_memory=0.1, memory_bytes=None)
    assert left is not None
    assert left <= total * 0.1
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(int(total * 0.2), dtype=torch.uint8, device=gpu)
    torch.cuda.set_per_process_memory_fraction(1.0, gpu)
