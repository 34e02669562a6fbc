"""From settings to the engine that answers: worker processes on this machine, or a server. Knows no Discord and no
model.
"""

import asyncio
import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from bot.champions import NONE, Champions
from bot.settings import Settings, worker_environment
from models.serving.dispatcher import Dispatcher
from models.serving.engine import EngineUnavailableError
from models.serving.fair_queue import QueueLimits
from models.serving.local_engine import supervised_workers
from models.serving.local_short_engine import LocalShortEngine
from models.serving.machine import gpu_count, physical_cores
from models.serving.replica import Replica
from models.serving.short_wire import ShortConfig
from models.serving.wire import WorkerConfig

if TYPE_CHECKING:
    from models.serving.openai_engine import RemoteServer

MIB = 2**20
REMOTE_SLOTS = 4  # requests that a server is sent at once


async def engine_of(settings: Settings, champions: Champions = NONE) -> Dispatcher:
    """The engine that the settings ask for, not started yet."""
    limits = QueueLimits(total=settings.queue_max, per_user=settings.queue_per_user, per_guild=settings.queue_per_guild)
    return Dispatcher(await replicas_of(settings, champions), limits=limits)


async def replicas_of(settings: Settings, champions: Champions = NONE) -> Sequence[Replica]:
    """The places where stories are written as the settings ask for, not started yet."""
    if settings.remote:
        from models.serving.openai_engine import RemoteReplica  # its library costs half a second: only where it is used

        return [RemoteReplica(remote_server(settings))]
    environment = worker_environment()
    gpus = await asyncio.to_thread(usable_gpus, settings, environment)
    return supervised_workers(worker_configs(settings, gpus, champions), environment=environment)


def short_engine_of(settings: Settings, champions: Champions = NONE, *, trial: bool = False) -> LocalShortEngine:
    """The engine of moods, portraits and verses: on this machine, wherever the stories are written. In a `trial`
    nothing stands in for a champion that can't be loaded."""
    cores = str(physical_cores())  # a library would count the machine's, whatever the container grants
    config = short_config(settings, champions)
    if trial:
        config = msgspec.structs.replace(config, options=config.options | {"trial": "yes"})
    return LocalShortEngine(config, environment={"OMP_NUM_THREADS": cores} | worker_environment())


def short_config(settings: Settings, champions: Champions = NONE) -> ShortConfig:
    """What the process of moods and portraits is to load."""
    named = {"mood_model": settings.mood_model} if settings.mood_model else {}
    return ShortConfig(
        data_dir=str(settings.data_dir.absolute()),
        options=named | champions.short_options,
        max_memory_bytes=settings.short_memory_mb * MIB or None,
        log_level="DEBUG" if settings.log_level == "debug" else "INFO",
    )


def usable_gpus(settings: Settings, environment: Mapping[str, str]) -> int:
    """GPUs that the story model would run on."""
    if settings.story_engine not in ("auto", "transformers") or importlib.util.find_spec("torch") is None:
        return 0
    return gpu_count(environment)


def worker_configs(settings: Settings, gpus: int, champions: Champions = NONE) -> list[WorkerConfig]:
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
            adapter=str(champions.adapter or settings.story_adapter),
            champions=champions.named,
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
