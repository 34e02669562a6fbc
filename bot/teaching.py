"""Teaches a server's voice, and makes it forget, in a process of its own. Knows the store and how to start that
process; knows no Discord and no model.

One voice is taught at a time. Where a teaching was cut short, the next start learns that voice again from the store.
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from bot.settings import worker_environment
from bot.store import Store, TaughtText
from bot.store.errors import StoreError
from bot.store.rows import TaughtSource
from models.serving.teaching import Heard, Learned, Refused, Told

log = logging.getLogger(__name__)

# Ours is the code, wherever Inkwell was started.
PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from models.training.teach_process import main; sys.exit(main())"
)
PATIENCE_S: Final = 600.0  # a server's most in both voices, on a slow machine

Hear = Callable[[], Awaitable[None]]


class TeachingFailedError(Exception):
    """The process ended without an answer; the voice is what it was before, or will be after the next start. The log
    has the cause."""


class NotYourStoryError(Exception):
    """Somebody else wrote a part of this story. Its writers decide about their own words."""


class NoStoryError(Exception):
    """There is no story in the channel. Begin one."""


class NoStoryOfYoursError(Exception):
    """None of the caller's stories in this server has that title or id. Somebody else's may."""


class NoVoicesError(Exception):
    """The stories are written on a server elsewhere, which loads no voice of ours."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A text that was learned. `house` tells whether the house voice learned it, too; `known` is how many characters
    the voice knows now."""

    text: TaughtText
    known: int
    house: bool


async def _unheard() -> None: ...


class Teacher:
    """Keeps voices and the store's texts in step."""

    def __init__(self, store: Store, data_dir: Path, program: str = PROGRAM) -> None:
        self._store, self._data_dir, self._program = store, data_dir, program
        self._alone = asyncio.Lock()

    async def teach(
        self, *, guild_id: int, user_id: int, source: TaughtSource, title: str, text: str, heard: Hear = _unheard
    ) -> Lesson:
        """Keep a text and let the server's voice learn it; `heard` is awaited once the n-gram model has. Raises
        TaughtTooMuchError, TeachingFailedError."""
        async with self._alone:
            anew = guild_id in await self._store.unsettled_voices()
            kept = await self._store.add_taught_text(
                guild_id=guild_id, user_id=user_id, source=source, title=title, text=text
            )
            forgotten = await self._store.forgetting_texts(guild_id)  # before the words: somebody may erase meanwhile
            try:
                texts = await self._store.words_to_learn(guild_id) if anew else (text,)
                learned = await self._learn(guild_id, texts, anew=anew, heard=heard)
            except (TeachingFailedError, OSError) as error:
                await self._store.begin_forgetting(guild_id, kept.id)
                await self._relearn_or_leave(guild_id)
                raise TeachingFailedError(str(error)) from error
            await self._store.settle_voice(guild_id, forgotten if anew else ())
        return Lesson(text=kept, known=learned.characters, house=learned.mixture)

    async def forget(self, guild_id: int, text_id: str) -> Lesson:
        """Drop a text and let the voice learn those that are left. Raises TaughtTextNotFoundError, TeachingFailedError
        (the text is gone; the voice follows at the next teaching or start)."""
        async with self._alone:
            text = await self._store.begin_forgetting(guild_id, text_id)
            learned = await self._relearn(guild_id)
        return Lesson(text=text, known=learned.characters, house=learned.mixture)

    async def settle(self) -> None:
        """Learn again each voice whose teaching or forgetting was cut short."""
        for guild_id in await self._store.unsettled_voices():
            async with self._alone:
                if guild_id in await self._store.unsettled_voices():
                    await self._relearn_or_leave(guild_id)

    async def _relearn(self, guild_id: int) -> Learned:
        forgotten = await self._store.forgetting_texts(guild_id)
        learned = await self._learn(guild_id, await self._store.words_to_learn(guild_id), anew=True)
        await self._store.settle_voice(guild_id, forgotten)
        return learned

    async def _relearn_or_leave(self, guild_id: int) -> None:
        """What can't be mended now stays unsettled in the store, for the next start."""
        try:
            await self._relearn(guild_id)
        except (TeachingFailedError, OSError, StoreError) as error:
            log.warning("the voice of server %d could not be learned again: %s", guild_id, error)

    async def _learn(self, guild_id: int, texts: Sequence[str], *, anew: bool, heard: Hear = _unheard) -> Learned:
        root = str(Path(__file__).parents[1])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", self._program, root, str(self._data_dir.absolute()), str(guild_id)),
            *(["--anew"] if anew else []),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=worker_environment(),
            start_new_session=True,  # Ctrl-C is for us: it would end as a failure what the next start can mend
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await _answer(process, msgspec.json.encode(texts), heard)
        except TimeoutError:
            raise TeachingFailedError(f"it took longer than {PATIENCE_S:.0f} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()


async def _answer(process: asyncio.subprocess.Process, texts: bytes, heard: Hear) -> Learned:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended early: its status says so below
        process.stdin.write(texts)
        await process.stdin.drain()
    process.stdin.close()
    async for line in process.stdout:
        match msgspec.json.decode(line, type=Told):
            case Heard():
                await heard()
            case Learned() as learned:
                await process.wait()
                return learned
            case Refused(reason=reason):
                raise TeachingFailedError(reason)
    raise TeachingFailedError(f"the teaching process ended with status {await process.wait()}")
