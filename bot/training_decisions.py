"""What becomes of the candidates of a run: promoted at once where the operator chose that, else as somebody decides.
Knows the store and whoever makes a version answer; knows no model and no Discord.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from bot.settings import Settings
from bot.store import Store
from bot.store.training_runs import Decision, TrainingRun
from models.serving.training import Family, Judged
from models.training.registry import Promotion, Registry, RegistryError

log = logging.getLogger(__name__)

BY_ITSELF = "TRAIN_PROMOTE=auto"


class NotOfThisRunError(Exception):
    """The run has no version of this family that could be decided about."""


class NoPromoterError(Exception):
    """Nothing that could make a version answer runs here."""


class Answer(Protocol):
    """What was written; `why` it does not answer yet, "" where it does."""

    @property
    def promotion(self) -> Promotion: ...

    @property
    def why(self) -> str: ...


class Promoter(Protocol):
    """Makes a version answer (`bot.promotion`). Both methods raise RegistryError, OSError and what it adds to them."""

    registry: Registry

    async def promote(
        self, family: str, version_id: str, *, by: str, reason: str = "", force: bool = False
    ) -> Answer: ...

    async def rollback(self, family: str, *, by: str, reason: str = "", force: bool = False) -> Answer: ...


class Decisions:
    """`promoter` None: no version can be promoted here."""

    def __init__(self, store: Store, settings: Callable[[], Settings], promoter: Promoter | None = None) -> None:
        self._store, self._settings, self.promoter = store, settings, promoter

    async def after(self, run: TrainingRun) -> None:
        """A run has ended: with TRAIN_PROMOTE=auto what was accepted answers from now on."""
        if run.state != "ended" or self._settings().train_promote != "auto" or self.promoter is None:
            return
        for judged in run.judged:
            if judged.accepted:
                await self._decide_by_itself(run, judged)

    async def promote(self, run_id: str, family: Family, *, by: str) -> Answer:
        """Let the run's version of this family answer. Raises TrainingRunNotFoundError, NotOfThisRunError,
        NoPromoterError, and what the promoter raises."""
        judged = _judged(await self._store.training_runs.run(run_id), family)
        answer = await self._promoter().promote(family, judged.version, by=by)
        await self._note(run_id, judged, answers=True, why=answer.why)
        return answer

    async def keep(self, run_id: str) -> None:
        """What answers now goes on: of the run's versions that nobody decided about none is promoted. Raises
        TrainingRunNotFoundError."""
        run = await self._store.training_runs.run(run_id)
        for judged in undecided(run):
            await self._note(run_id, judged, answers=False)

    async def roll_back(self, run_id: str, family: Family, *, by: str) -> Answer:
        """Take back the promotion of the run's version. Raises as `promote`, and NotOfThisRunError where another
        version answers by now: taking that back is not what was asked."""
        judged = _judged(await self._store.training_runs.run(run_id), family)
        promoter = self._promoter()
        if promoter.registry.champion_id(family) != judged.version:
            raise NotOfThisRunError
        answer = await promoter.rollback(family, by=by)
        await self._note(run_id, judged, answers=False)
        return answer

    def _promoter(self) -> Promoter:
        if self.promoter is None:
            raise NoPromoterError
        return self.promoter

    async def _decide_by_itself(self, run: TrainingRun, judged: Judged) -> None:
        try:
            answer = await self._promoter().promote(judged.family, judged.version, by=BY_ITSELF)
        except (RegistryError, OSError) as error:
            await self._note(run.id, judged, answers=False, why=str(error))
        except Exception as error:  # of the promoter's own, with a sentence, or unknown; the next family may do better
            log.warning("%s %s was not promoted", judged.family, judged.version, exc_info=True)
            await self._note(run.id, judged, answers=False, why=str(error) or type(error).__name__)
        else:
            await self._note(run.id, judged, answers=True, why=answer.why)

    async def _note(self, run_id: str, judged: Judged, *, answers: bool, why: str = "") -> None:
        decision = Decision(family=judged.family, version=judged.version, answers=answers, error=why[:500])
        await self._store.training_runs.add_decision(run_id, decision)


def undecided(run: TrainingRun) -> tuple[Judged, ...]:
    """Accepted versions of a run that has ended, of which nobody has decided anything."""
    decided = {decision.family for decision in run.decisions}
    if run.open:
        return ()
    return tuple(judged for judged in run.judged if judged.accepted and judged.family not in decided)


def _judged(run: TrainingRun, family: Family) -> Judged:
    for judged in run.judged:
        if judged.family == family:
            return judged
    raise NotOfThisRunError
