"""The default engine: a dispatcher in front of supervised worker processes on this machine, one for each configuration
(one in all on CPU, one for each GPU). Knows no model.
"""

from collections.abc import Mapping, Sequence

from models.serving.dispatcher import Dispatcher
from models.serving.fair_queue import QueueLimits
from models.serving.supervisor import SupervisedWorker, SupervisionPolicy
from models.serving.wire import Configure, WorkerConfig


class LocalEngine(Dispatcher):
    """`environment` is what the workers inherit; leave secrets out of it (None: they inherit everything). `factory`
    ("module:callable") makes the model in place of the configured one; only code names it."""

    def __init__(
        self,
        configs: Sequence[WorkerConfig],
        *,
        limits: QueueLimits | None = None,
        policy: SupervisionPolicy | None = None,
        environment: Mapping[str, str] | None = None,
        factory: str = "",
    ) -> None:
        self._policy, self._environment, self._factory = policy, environment, factory
        super().__init__(supervised_workers(configs, policy, environment, factory), limits=limits)

    async def reload(self, configs: Sequence[WorkerConfig]) -> None:
        """Answer with other models or adapters from now on; what streams is finished by the old ones. Both are in
        memory meanwhile. Raises EngineUnavailableError, and goes on as before, when the new ones can't be loaded."""
        await self.replace(supervised_workers(configs, self._policy, self._environment, self._factory))


def supervised_workers(
    configs: Sequence[WorkerConfig],
    policy: SupervisionPolicy | None = None,
    environment: Mapping[str, str] | None = None,
    factory: str = "",
) -> list[SupervisedWorker]:
    """One replica for each of `configs`; see LocalEngine."""
    return [SupervisedWorker(Configure(config=config, factory=factory), policy, environment) for config in configs]
