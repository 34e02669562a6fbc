"""Takes a persisted job to a finished turn in front of its readers. Knows no command and no model.

The order is the promise: the turn and the job are in the store before the model is asked; the text is in the store
before it is shown as final; the job ends when it was shown. Killed between any two steps, the next start finds an open
job and goes on from what is written.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import discord

from bot.buttons import story_buttons
from bot.locales import Say, mark, speaker
from bot.sentences import sentence
from bot.store import OpenJob, Recipe, Store, Turn
from bot.store.errors import JobStateError
from bot.stories import quote, story_text
from bot.streaming import LiveMessage, MessageGoneError
from models.serving.engine import Engine, EngineClosedError, EngineError
from models.serving.requests import Queued, Started, StoryOutput, StoryRequest, TextDelta

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3  # a job that three starts could not finish is reported instead of tried again

_WAITING = mark("*Number {position} in the queue{wait}*")
_WAIT = mark(", about {seconds} s")
THINKING = mark("*Dipping the pen…*")
_AGAIN = mark("*My pen broke; I begin again…*")
_STOPPED = mark("*Stopped before the first word.*")
_SILENT = mark("*I found nothing to add. Press Retry, or write a little more.*")
_GAVE_UP = mark("*I tried this {count} times and was interrupted each time. Press Retry to try once more.*")
_ROUTED = {
    "gpt": mark(
        "The main model doesn't write Chinese, so the small GPT wrote this. `model:` in /story chooses another."
    ),
    "house": mark(
        "The main model doesn't write Chinese, so the house voice wrote this. `model:` in /story chooses another."
    ),
}


@dataclass
class _Writing:
    """A turn that is being written: the engine's request, and the text so far."""

    request_id: str
    text: str = ""


class Scribe:
    """Writes jobs, several at once, and stops them."""

    def __init__(self, store: Store, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._store, self._engine, self._clock = store, engine, clock
        self._writing: dict[str, _Writing] = {}  # by turn id
        self._tasks: set[asyncio.Task[object]] = set()
        self._closing = False

    @property
    def closing(self) -> bool:
        return self._closing

    @property
    def writing(self) -> int:
        return len(self._writing)

    async def stop(self, turn_id: str) -> bool:
        """Cancel the writing of a turn; False when nothing is being written there."""
        writing = self._writing.get(turn_id)
        if writing is None:
            return False
        await self._engine.cancel(writing.request_id)
        return True

    async def close(self, grace_s: float) -> None:
        """Take no more work, let what runs finish, leave what is left for the next start."""
        self._closing = True
        await self._engine.close(grace_s)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)

    async def write(self, job: OpenJob, live: LiveMessage, patience_s: float) -> None:
        """Stream the answer of `job` into `live`. Every failure ends as a sentence in `live`, and in the store. After
        `patience_s` nothing can be shown there any more: then the writing stops."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        say = speaker(job.job.locale)
        head = quote(job.prompt_turn.text) if job.prompt_turn.kind == "prompt" else ""
        try:
            await self._write(job, live, self._clock() + patience_s, head, say)
        except MessageGoneError:
            log.info("job %s: its message was deleted", job.job.id)
            await self._end_unseen(job)
        except discord.HTTPException as error:
            # The text is in the store; the next start shows it in the channel.
            log.warning("job %s: Discord refused the finished text: %s", job.job.id, error)
        except Exception as error:  # the reader gets a sentence, the log the cause; the job stays for the next start
            await self._report(live, sentence(error, say))
        finally:
            self._writing.pop(job.turn.id, None)
            self._tasks.discard(task)
            await live.abandon()

    async def _write(self, job: OpenJob, live: LiveMessage, deadline: float, head: str, say: Say) -> None:
        if job.job.state == "written":  # killed after the text was kept and before it was shown
            await self._show(job, job.turn, live, head, say)
            return
        if job.job.attempts >= MAX_ATTEMPTS:
            await self._store.fail_job(job.job.id, error=f"interrupted {job.job.attempts} times")
            words = say(_GAVE_UP).format(count=job.job.attempts)
            await self._show_without_text(job, live, head, words, say)
            return
        try:
            output = await self._generate(job, live, deadline, head, say)
        except EngineClosedError as error:
            log.info("job %s waits for the next start", job.job.id)
            writing = self._writing.get(job.turn.id)
            # What stands there stays readable; the next start writes it again from the same seed, and goes on.
            shown = f"{_shown(head, writing.text)}\n-# " if writing is not None and writing.text.strip() else head
            await live.finish(shown + sentence(error, say), None)
            return
        except EngineError as error:
            await self._store.fail_job(job.job.id, error=f"{type(error).__name__}: {error}")
            await self._show_without_text(job, live, head, sentence(error, say), say)
            return
        recipe = Recipe.of(output, job.job.sampling, job.job.model)
        if output.finish_reason == "cancelled":
            turn = await self._store.cancel_job(job.job.id, output.text, recipe)
        else:
            turn = await self._store.write_result(job.job.id, output.text, recipe)
        await self._show(job, turn, live, head, say)

    async def _report(self, live: LiveMessage, words: str) -> None:
        """What was streamed stays readable, with the reason below why there is no more."""
        try:
            await live.finish(f"{live.text}\n-# {words}", None)
        except (MessageGoneError, discord.HTTPException) as error:
            log.warning("a failure could not be shown: %s", error)

    async def _end_unseen(self, job: OpenJob) -> None:
        """Nobody can read the answer any more; a text that was written stays in the tree."""
        with contextlib.suppress(JobStateError):  # it has ended already
            await self._store.fail_job(job.job.id, error="its message was deleted")

    async def _generate(self, job: OpenJob, live: LiveMessage, deadline: float, head: str, say: Say) -> StoryOutput:
        path = await self._store.story_path(job.prompt_turn.id)
        request = StoryRequest(
            request_id=job.job.id,
            story=story_text(path),
            sampling=job.job.sampling,
            user=job.job.user_key,
            guild=str(job.job.guild_id or job.job.channel_id),
            model=job.job.model,
            deadline=deadline,
        )
        await self._engine.submit(request)
        writing = self._writing[job.turn.id] = _Writing(request.request_id)
        events = self._engine.stream(request.request_id)
        async with contextlib.aclosing(events):  # type: ignore[type-var]
            async for event in events:
                match event:
                    case Queued(position=position, wait_s=wait_s):
                        wait = say(_WAIT).format(seconds=max(1, round(wait_s))) if wait_s else ""
                        live.show(head + say(_WAITING).format(position=position, wait=wait))
                    case Started(attempt=attempt):
                        await self._store.start_job(job.job.id)
                        writing.text = ""
                        live.show(head + say(THINKING if attempt == 1 else _AGAIN))
                    case TextDelta(text=more):
                        writing.text += more
                        live.show(_shown(head, writing.text))
                    case StoryOutput():
                        return event
                if live.gone:
                    raise MessageGoneError
        raise EngineClosedError("the stream ended without an output")

    async def _show(self, job: OpenJob, turn: Turn, live: LiveMessage, head: str, say: Say) -> None:
        """The text is safe: show it for good, and end the job."""
        if turn.text.strip():
            ids = await live.finish(_shown(head, turn.text) + _note(job, say), story_buttons(turn.id, say))
        else:
            words = _STOPPED if turn.state == "cancelled" else _SILENT
            ids = await self._show_without_text(job, live, head, say(words), say)
        await self._store.finish_job(job.job.id, ids)

    async def _show_without_text(
        self, job: OpenJob, live: LiveMessage, head: str, words: str, say: Say
    ) -> tuple[int, ...]:
        """Say why nothing came. A retry that failed gives the text back that it was to replace."""
        before = None
        if job.job.kind == "retry":
            written = await self._store.alternatives(job.turn.id)
            before = written[-1] if written else None
        if before is None:
            return await live.finish(head + words, story_buttons(job.turn.id, say, failed=True))
        return await live.finish(f"{_shown(head, before.text)}\n-# {words}", story_buttons(before.id, say))


def _note(job: OpenJob, say: Say) -> str:
    """Below the first answer of a model that nobody chose."""
    words = _ROUTED.get(job.job.model) if job.job.routed else None
    return f"\n-# {say(words)}" if words else ""


def _shown(head: str, text: str) -> str:
    """What readers see: the prompt as a quote, then the text, without the white space that joins the two."""
    return head + text.lstrip()
