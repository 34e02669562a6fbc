"""What somebody lets Inkwell learn from, and all that has to follow when they take it back: runs of training hear of
it, and model versions that learned from them are marked. Knows no Discord.

The store notes each withdrawal in the transaction that makes it. Whatever happens before everybody was told, `settle`
tells them later.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from msgspec import Struct

from bot.corrections import WORDING, Corrections
from bot.store import Store
from bot.store.erasure import Erased
from bot.store.errors import StoryNotFoundError
from bot.store.people import TakenBack
from bot.store.sharing import Choice, ConsentLevel
from models.training.registry import Registry, Version

log = logging.getLogger(__name__)


class NotYourWordsError(Exception):
    """The caller wrote in no story of that title or id. Somebody else may have."""


class Trace(Struct, frozen=True, kw_only=True):
    """A model version that learned from somebody. `live`: it answers now; `marked`: somebody whose words are in it had
    them erased, so that it may not be chosen (again)."""

    family: str
    version: str
    created_at: float
    live: bool
    marked: bool


class Consents:
    """`author_left` is awaited with the key of somebody who took words back, after the store has noted it."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        corrections: Corrections,
        *,
        author_left: Callable[[str], Awaitable[object]],
    ) -> None:
        self._store, self._registry, self._corrections = store, registry, corrections
        self._settling = asyncio.Lock()
        self.author_left = author_left

    async def set_level(self, user_id: int, level: ConsentLevel) -> TakenBack:
        """The general level from now on; what it no longer covers was deleted."""
        taken = await self._store.people.set_consent(user_id, level, wording=WORDING)
        if level != "training":
            self._corrections.forget(user_id)
        await self.settle()
        return taken

    async def choose(self, user_id: int, named: str, level: ConsentLevel) -> Choice:
        """Decide for one's words in a story, by its id or title. Raises NotYourWordsError."""
        found = await self.choice(user_id, named)
        try:
            chosen = await self._store.training.choose(user_id, found.story.id, level, wording=WORDING)
        except StoryNotFoundError as error:  # deleted meanwhile
            raise NotYourWordsError from error
        await self.settle()
        return chosen

    async def choice(self, user_id: int, named: str) -> Choice:
        """Raises NotYourWordsError."""
        wanted = named.strip().casefold()
        try:
            return await self._store.training.choice(user_id, wanted)
        except StoryNotFoundError as error:
            for choice in await self._store.training.choices(user_id):
                if choice.story.title.casefold() == wanted:
                    return choice
            raise NotYourWordsError from error

    async def erase(self, user_id: int) -> Erased:
        """Everything. Raises TurnBusyError, with nothing changed."""
        self._corrections.forget(user_id)
        erased = await self._store.people.erase(user_id)
        await self.settle()
        return erased

    async def trace(self, user_id: int) -> tuple[Trace, ...]:
        """The versions that learned from somebody, the newest first."""
        return await asyncio.to_thread(self._traced, self._store.person_key(user_id))

    async def settle(self) -> None:
        """Tell of every withdrawal of which not everybody was told. What fails is told again later; it never stands in
        the way of whoever withdrew."""
        async with self._settling:
            for told in await self._store.training.pending():
                try:
                    await self.author_left(told.author_key)
                    if told.erased:
                        # After the run has ended, or it could register one more version.
                        marked = await asyncio.to_thread(self._registry.mark_erased, told.author_key, told.at)
                        await self._store.ballots.keep_only(await asyncio.to_thread(unmarked, self._registry))
                        log.info("model versions that an erasure has marked: %d", len(marked))
                    await self._store.training.settled(told)
                except Exception:
                    log.exception("not everybody could be told of a withdrawal; it will be tried again")

    def _traced(self, author_key: str) -> tuple[Trace, ...]:
        return tuple(self._trace(version) for version in _newest_first(self._registry.learned_from(author_key)))

    def _trace(self, version: Version) -> Trace:
        return Trace(
            family=version.family,
            version=version.id,
            created_at=version.created_at,
            live=self._registry.champion_id(version.family) == version.id,
            marked=version.id in self._registry.marks(version.family),
        )


def unmarked(registry: Registry) -> frozenset[tuple[str, str]]:
    """Family and id of each version that is there and knows no erased words. Of a version that was removed nobody can
    tell any more whom it learned from: it is not among them. Blocks."""
    found = set[tuple[str, str]]()
    for family in registry.families():
        marks = registry.marks(family)
        found |= {(family, version.id) for version in registry.versions(family) if version.id not in marks}
    return frozenset(found)


def _newest_first(versions: list[Version]) -> list[Version]:
    return sorted(versions, key=lambda version: version.created_at, reverse=True)
