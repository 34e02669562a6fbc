"""What a running Inkwell tells the command line while it does something for it: a sentence a line, and whether it came
about. Knows no socket and no errand.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

import msgspec
from msgspec import Struct

log = logging.getLogger(__name__)

_SIGN_OF_LIFE_S = 5.0


class Step(Struct, frozen=True, kw_only=True):
    """One sentence for the operator. `ended` in the last: whether it came about."""

    words: str
    ended: bool | None = None


Tell = Callable[[str], None]


class ErrandError(Exception):
    """Nothing was changed; the message is one sentence for the operator."""


class Errands:
    """One at a time. Each goes on when whoever asked for it has gone."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._doing: asyncio.Task[str] | None = None

    async def told(self, do: Callable[[Tell], Awaitable[str]]) -> AsyncGenerator[bytes, None]:
        """Steps as JSON, as `do` tells them from whatever thread; the last one is what it returned, or its ErrandError,
        and has `ended`."""
        if self._doing is not None and not self._doing.done():
            yield _encoded(f"Another {self._name} is under way: wait for it.", ended=False)
            return
        told: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(words: str) -> None:
            loop.call_soon_threadsafe(told.put_nowait, words)

        async def done() -> str:
            return await do(tell)

        doing = self._doing = asyncio.create_task(done(), name=self._name)
        began = time.monotonic()
        while not doing.done():
            hearing = asyncio.ensure_future(told.get())
            await asyncio.wait({hearing, doing}, timeout=_SIGN_OF_LIFE_S, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                yield _encoded(hearing.result())
            else:
                hearing.cancel()
                if not doing.done():
                    yield _encoded(f"… {time.monotonic() - began:.0f} s")
        while not told.empty():
            yield _encoded(told.get_nowait())
        try:
            yield _encoded(doing.result(), ended=True)
        except ErrandError as error:
            yield _encoded(str(error), ended=False)
        except asyncio.CancelledError:
            yield _encoded("Inkwell is shutting down.", ended=False)
        except Exception:
            log.exception("a %s met an error that it does not know", self._name)
            yield _encoded(f"The {self._name} failed; the log says where. The former model goes on.", ended=False)

    async def close(self) -> None:
        """One that is under way ends without a change."""
        if self._doing is not None:
            self._doing.cancel()
            await asyncio.gather(self._doing, return_exceptions=True)


def _encoded(words: str, ended: bool | None = None) -> bytes:
    return msgspec.json.encode(Step(words=words, ended=ended))
