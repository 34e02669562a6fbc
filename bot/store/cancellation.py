"""Work that a cancelled caller may not leave half done. Knows nothing of what the work is."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T], running: set[asyncio.Task[Any]] | None = None) -> T:
    """Await `work`; when the caller is cancelled meanwhile, wait for its end all the same and be cancelled then.
    `running` holds its task until it ended (a caller cancelled twice no longer waits)."""
    task = asyncio.ensure_future(work)
    if running is not None:
        running.add(task)
        task.add_done_callback(running.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
