"""From a worker's configuration to a loaded story model. Knows which file hosts which library and imports only the one
that is asked for; knows nothing of processes and requests.
"""

import importlib
import importlib.util
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from models.language.story_model import StoryModel
from models.serving.machine import memory_bytes, unbounded_memory
from models.serving.wire import WorkerConfig

if TYPE_CHECKING:
    from models.language.adapters import Adapter
    from models.language.weights import LocalModel

log = logging.getLogger(__name__)

_ROOMY_BYTES: Final = 4 * 2**30  # OpenVINO takes up to 0.85 GiB for the default model, llama.cpp 0.33


def load_story_model(config: WorkerConfig, factory: str = "") -> StoryModel:
    """Block until the model answers. Fetches nothing: the weights must be under `config.data_dir` already. Raises what
    the loader raises; ImportError, AttributeError or ValueError for a `factory` that is not "module:callable"."""
    if factory:
        module, _, name = factory.partition(":")
        if not name:
            raise ValueError(f"{factory!r} is not module:callable")
        make = cast("Callable[[WorkerConfig], StoryModel]", getattr(importlib.import_module(module), name))
        return make(config)
    from models.language.adapters import resolve_adapter
    from models.language.weights import resolve

    weights = resolve(config.model, Path(config.data_dir), fetch=False)
    adapter = resolve_adapter(config.adapter, weights)
    if config.engine == "transformers" or (config.engine == "auto" and _is_for_torch(config, weights.format)):
        return _transformers_model(config, weights, adapter)
    from models.language.adapter_merge import merged

    path, version = weights.path, weights.version
    if adapter is not None and weights.format == "gguf":
        path = merged(path, adapter, Path(config.data_dir), version)
        version = f"{version}+{adapter.version}"
    if config.engine in ("auto", "openvino") and (model := _openvino_model(config, path, version)) is not None:
        return model
    from models.language.llama_cpp import DEFAULT_SLOTS, LlamaCppModel

    return LlamaCppModel.load(
        path,
        threads=config.threads or None,
        slots=config.slots or DEFAULT_SLOTS,
        context=config.context_tokens,
        version=version,
    )


def _openvino_model(config: WorkerConfig, path: Path, version: str) -> StoryModel | None:
    """None where nobody asked for OpenVINO and it isn't proven on this machine or this file, or would take more memory
    than such a machine can spare (docs/engines.md)."""
    from models.language.openvino_model import (
        DEFAULT_SLOTS,
        OpenVinoModel,
        is_for_openvino,
    )
    from models.language.weight_files import WeightsError

    asked = config.engine == "openvino"
    if not asked and (memory_bytes() < _ROOMY_BYTES or not is_for_openvino(path)):
        return None
    try:
        return OpenVinoModel.load(
            path,
            threads=config.threads or None,
            slots=config.slots or DEFAULT_SLOTS,
            context=config.context_tokens,
            version=version,
        )
    except (WeightsError, RuntimeError) as error:  # llama.cpp's own error is the better one, should it fail as well
        if asked:
            raise
        log.warning("taking llama.cpp instead of OpenVINO: %s", error)
        return None


def _is_for_torch(config: WorkerConfig, weights_format: str) -> bool:
    """llama.cpp reads no safetensors, and our wheel of it computes on the CPU only."""
    if weights_format == "safetensors" or config.device not in ("", "cpu"):
        return True
    # Importing torch costs seconds and 200 MB: only where there is a driver that it could use.
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    if config.device == "cpu" or not driver or importlib.util.find_spec("torch") is None:
        return False
    with unbounded_memory():
        import torch

    return torch.cuda.is_available()


def _transformers_model(config: WorkerConfig, weights: "LocalModel", adapter: "Adapter | None") -> StoryModel:
    try:
        with unbounded_memory():
            from models.language.transformer import BatchLimits, TransformersModel
    except ImportError as error:
        raise RuntimeError(
            f"this model needs torch and transformers ({error}): install them with pip install 'inkwell[torch]'"
        ) from error
    return TransformersModel.load(
        weights.path,
        data_dir=Path(config.data_dir),
        version=weights.version,
        limits=BatchLimits(slots=config.slots or BatchLimits.slots, context=config.context_tokens),
        device=config.device,
        threads=config.threads or None,
        adapter=adapter,
        gpu_memory=config.gpu_memory,
        memory_bytes=config.max_memory_bytes,
    )
