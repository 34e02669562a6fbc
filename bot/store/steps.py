"""One way for every part of the store to run a step as a transaction of its own. Knows no table."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from bot.store.sqlite import Database

T = TypeVar("T")


class Steps:
    """Runs coroutine functions whose first argument is a connection."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self.clock = database, clock

    async def write(self, step: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        """A write transaction; the step also gets `now`, in Unix seconds."""
        now = self.clock()
        return await self._database.write(lambda connection: step(connection, *arguments, now=now, **options))

    async def read(self, step: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        """One snapshot."""
        return await self._database.read(lambda connection: step(connection, *arguments, **options))
