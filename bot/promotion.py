"""Lets another version of a model answer, or the one before again: in the registry, and in what runs, with no restart
and no lost stream. Knows no Discord and no model.

Workers of stories are started beside those there are, and the registry is written when they can answer and before they
do; moods and portraits are tried in a process of their own first. So what can't be loaded is never promoted.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from bot.champions import NONE, STORY_FAMILIES, Champions, champions_of, warn_of, with_version
from bot.engines import replicas_of, short_config, short_engine_of, why_unavailable
from bot.settings import Settings
from models.serving.dispatcher import Dispatcher
from models.serving.engine import EngineClosedError, EngineError, EngineUnavailableError
from models.serving.local_short_engine import LocalShortEngine
from models.serving.short_requests import Method, MoodRequest, PortraitRequest, ShortRequest
from models.training.registry import SHIPPED, Promotion, Registry, RegistryError

log = logging.getLogger(__name__)

_TRIAL_S: Final = 120.0


class PromotionFailedError(Exception):
    """The version can't be loaded here, or nothing can now; nothing was changed. The message is one sentence."""


@dataclass(frozen=True, kw_only=True)
class Promoted:
    """What was written, and whether it changed what answers; if not, `why` is a sentence (other settings, a server)."""

    promotion: Promotion
    why: str = ""

    @property
    def answers(self) -> bool:
        return not self.why


class Configured(Protocol):
    """Whoever holds the settings that count now: the bot."""

    settings: Settings


class Promoter:
    """One change at a time of what answers. `champions` are those that it answers with now."""

    def __init__(
        self,
        bot: Configured,
        engine: Dispatcher,
        short: LocalShortEngine | None,
        registry: Registry,
        champions: Champions = NONE,
    ) -> None:
        self.registry, self.champions = registry, champions
        self._bot, self._engine, self._short = bot, engine, short
        self._alone = asyncio.Lock()

    async def promote(
        self, family: str, version_id: str, *, by: str, reason: str = "", force: bool = False
    ) -> Promoted:
        """Let a version answer from now on, or SHIPPED. Raises RegistryError as `Registry.promote` does, OSError,
        PromotionFailedError."""
        registry = self.registry
        async with self._alone:
            await asyncio.to_thread(registry.check, family, version_id, reason=reason, force=force)
            return await self._let_answer(
                family, version_id, lambda: registry.promote(family, version_id, by=by, reason=reason, force=force)
            )

    async def rollback(self, family: str, *, by: str, reason: str = "", force: bool = False) -> Promoted:
        """Let the champion before answer again. Raises RegistryError as `Registry.rollback` does, OSError,
        PromotionFailedError."""
        registry = self.registry

        def write() -> Promotion:
            return registry.rollback(family, by=by, reason=reason, force=force)

        async with self._alone:
            target = await asyncio.to_thread(registry.predecessor_id, family)
            if target is None:
                await asyncio.to_thread(write)  # raises the sentence for it
                raise PromotionFailedError("The registry changed meanwhile: try again.")
            await asyncio.to_thread(registry.check, family, target, reason=reason, force=force, gate=False)
            return await self._let_answer(family, target, write)

    async def take_settings(self, settings: Settings) -> None:
        """Write stories as `settings` say, with the champions that are for them. Raises EngineUnavailableError,
        EngineClosedError, and then nothing was changed."""
        async with self._alone:
            champions = await asyncio.to_thread(champions_of, self.registry, settings)
            await self._engine.replace(await replicas_of(settings, champions))
            self._bot.settings, self.champions = settings, champions
            warn_of(champions)

    async def do_without(self, error: Exception) -> bool:
        """After a first start that failed with `error`: have the engine take the story model as it is shipped. False
        where no champion can be to blame."""
        if "story" not in self.champions.folders:
            return False
        self.champions = self.champions.without("story", f"no worker could be started with it ({error})")
        warn_of(self.champions)
        self._engine.take_instead(await replicas_of(self._bot.settings, self.champions))
        return True

    async def _let_answer(self, family: str, version_id: str, write: Callable[[], Promotion]) -> Promoted:
        settings = self._bot.settings
        after = await asyncio.to_thread(with_version, self.champions, self.registry, settings, family, version_id)
        why = after.passed_over.get(family, "")
        if after.folders.get(family) == self.champions.folders.get(family):
            promotion = await asyncio.to_thread(write)
        elif family in STORY_FAMILIES:
            promotion = await self._replaced(settings, after, write)
        else:
            promotion = await self._tried(family, settings, after, write)
        self.champions = after
        with contextlib.suppress(OSError):  # it is tried again at the next promotion
            await asyncio.to_thread(self.registry.collect, family)
        return Promoted(promotion=promotion, why=why)

    async def _replaced(self, settings: Settings, after: Champions, write: Callable[[], Promotion]) -> Promotion:
        written: list[Promotion] = []

        async def commit() -> None:
            written.append(await asyncio.to_thread(write))

        try:
            await self._engine.replace(await replicas_of(settings, after), commit)
        except EngineUnavailableError as error:
            raise PromotionFailedError(_unchanged(why_unavailable(settings, error))) from error
        except EngineClosedError as error:
            raise PromotionFailedError("Inkwell is shutting down.") from error
        return written[0]

    async def _tried(
        self, family: str, settings: Settings, after: Champions, write: Callable[[], Promotion]
    ) -> Promotion:
        if self._short is None:
            return await asyncio.to_thread(write)
        if family in after.folders:  # the way back to what is shipped is never barred
            await _try(family, settings, after)
        promotion = await asyncio.to_thread(write)
        await self._short.reload(short_config(settings, after))
        return promotion


async def _try(family: str, settings: Settings, champions: Champions) -> None:
    """Ask the version once in a process of its own. Raises PromotionFailedError."""
    trial = short_engine_of(settings, champions, trial=True)
    await trial.start()
    try:
        async with asyncio.timeout(_TRIAL_S):
            for request in _probes(family, settings):
                await trial.ask(request)
    except EngineError as error:
        raise PromotionFailedError(_unchanged(f"The version can't answer: {error}")) from error
    except TimeoutError:
        raise PromotionFailedError(_unchanged(f"The version did not answer within {_TRIAL_S:.0f} s")) from None
    finally:
        await trial.close()


def _probes(family: str, settings: Settings) -> list[ShortRequest[object]]:
    if family == "portraits":
        return [PortraitRequest(seeds=("Ink",))]
    ours: Method = (
        "linear" if settings.mood_model else "default"
    )  # a classifier of the operator's answers in place of the rest
    return [MoodRequest(text="A good day.", method=ours), MoodRequest(text="A good day.", method="naive_bayes")]


def _unchanged(words: str) -> str:
    return f"{words.rstrip('.')}. Nothing was changed."


__all__ = ["SHIPPED", "Promoted", "Promoter", "PromotionFailedError", "RegistryError"]
