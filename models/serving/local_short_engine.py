"""The small models in a process of their own on this machine, whatever engine writes the stories. Knows no model."""

from collections.abc import Mapping

from models.serving.batched_short_engine import LIMITS, BatchedShortEngine
from models.serving.micro_batch import BatchLimits
from models.serving.short_process import IDLE_S, ShortProcess
from models.serving.short_wire import ShortConfig
from models.serving.supervisor import SupervisionPolicy


class LocalShortEngine(BatchedShortEngine):
    """No process runs before the first request, nor after `idle_s` without any. `environment` is what the process
    inherits; leave secrets out of it (None: it inherits everything)."""

    def __init__(
        self,
        config: ShortConfig,
        *,
        policy: SupervisionPolicy | None = None,
        environment: Mapping[str, str] | None = None,
        idle_s: float = IDLE_S,
        limits: Mapping[str, BatchLimits] = LIMITS,
    ) -> None:
        self._process = ShortProcess(config, policy, environment, idle_s)
        super().__init__(self._process, limits)

    async def reload(self, config: ShortConfig) -> None:
        """Answer with other weights from now on. What runs is answered by the former ones; what waits, and what comes
        meanwhile, is not lost. Checks nothing: a failure to load is each request's EngineUnavailableError."""
        await self._process.reload(config)
