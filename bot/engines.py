"""From settings to the engine that answers: worker processes on this machine, or a server. Knows no Discord and no
model.
"""

import asyncio
import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bot.settings import Settings, worker_environment
from models.serving.dispatcher import Dispatcher
from models.serving.engine import EngineUnavailableError
from models.serving.fair_queue import QueueLimits
from models.serving.local_engine import LocalEngine
from models.serving.machine import gpu_count, physical_cores
from models.serving.wire import WorkerConfig

if TYPE_CHECKING:
    from models.serving.openai_engine import RemoteServer

MIB = 2**20
REMOTE_SLOTS = 4  # requests that a server is sent at once


async def engine_of(settings: Settings) -> Dispatcher:
    """The engine that the settings ask for, not started yet."""
    limits = QueueLimits(total=settings.queue_max, per_user=settings.queue_per_user, per_guild=settings.queue_per_guild)
    if settings.remote:
        from models.serving.openai_engine import OpenAIEngine  # its library costs half a second: only where it is used

        return OpenAIEngine(remote_server(settings), limits=limits)
    environment = worker_environment()
    gpus = await asyncio.to_thread(usable_gpus, settings, environment)
    return LocalEngine(worker_configs(settings, gpus), limits=limits, environment=environment)


def usable_gpus(settings: Settings, environment: Mapping[str, str]) -> int:
    """GPUs that the story model would run on."""
    if settings.story_engine not in ("auto", "transformers") or importlib.util.find_spec("torch") is None:
        return 0
    return gpu_count(environment)


def worker_configs(settings: Settings, gpus: int) -> list[WorkerConfig]:
    """One for each worker: STORY_WORKERS of them, else one for each GPU, else one. They take turns on the GPUs, or
    share the cores."""
    assert settings.story_engine != "openai", "a server needs no worker"
    count = settings.story_workers or gpus or 1
    # A single one chooses by itself: that also works where torch turns out to be built without CUDA.
    devices = [f"cuda:{number % gpus}" if gpus and count > 1 else "" for number in range(count)]
    threads = settings.story_threads or (0 if count == 1 or gpus else max(1, physical_cores() // count))
    share = settings.story_gpu_memory / -(-count // gpus) if gpus else settings.story_gpu_memory
    return [
        WorkerConfig(
            engine=settings.story_engine,
            model=settings.story_model,
            adapter=settings.story_adapter,
            data_dir=str(settings.data_dir.absolute()),
            device=device,
            threads=threads,
            slots=settings.story_slots,
            context_tokens=settings.story_context,
            max_memory_bytes=settings.story_memory_mb * MIB or None,
            gpu_memory=share,
            log_level="DEBUG" if settings.log_level == "debug" else "INFO",
        )
        for device in devices
    ]


def remote_server(settings: Settings) -> "RemoteServer":
    """Where STORY_ENGINE=openai sends its requests."""
    from models.serving.openai_engine import RemoteServer
    from models.serving.remote_prompt import Dialogue

    key = settings.story_api_key
    return RemoteServer(
        base_url=settings.story_base_url,
        api_key=key.get_secret_value() if key is not None else "",
        slots=settings.story_slots or REMOTE_SLOTS,
        dialogue=Dialogue(
            model=settings.story_model,
            style=settings.story_prompt_style,
            dialect=settings.story_server,
            context_tokens=settings.story_context,
        ),
    )


def why_unavailable(settings: Settings, error: EngineUnavailableError) -> str:
    """One sentence for the operator, with the settings to look at."""
    if not settings.remote:
        return str(error)
    return (
        f"The story server at {settings.story_base_url} can't be used: {error}. See whether it runs, and check "
        "STORY_BASE_URL, STORY_MODEL and STORY_API_KEY."
    )
