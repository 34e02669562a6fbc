"""The life of a job in SQL: opened with its turn, begun, written, ended. Each function is one step of somebody's
transaction. Knows no Discord and no model.

An open turn and its unwritten job are born together and leave that state together; a text is committed before anybody
shows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store import sharing, tree
from bot.store.errors import JobNotFoundError, JobStateError, TurnBusyError, TurnUndoneError
from bot.store.ids import new_id
from bot.store.records import (
    INTERACTION_TOKEN_S,
    OPEN_JOBS,
    job_of,
    open_job_of,
    recipe_document,
    sampling_document,
)
from bot.store.rows import Job, JobKind, JobState, OpenJob, Recipe, Turn, TurnState
from bot.store.schema import OPEN_JOB_STATES, UNWRITTEN_JOB_STATES, jobs, stories, turns
from models.serving.requests import Sampling

MAX_ERROR_CHARS = 500  # what an operator reads of a failure; the rest is in the log


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who asked, where, and how the words are to be drawn: the part of a job that its interaction brings."""

    user_key: str
    guild_id: int | None
    channel_id: int
    application_id: int
    interaction_token: str | None = field(repr=False)
    locale: str
    sampling: Sampling
    model: str
    routed: bool


async def begin_story(
    connection: AsyncConnection, asked: Asked, *, prompt: str, title: str, language: str, share: bool, now: float
) -> OpenJob:
    """A story, its first turn, the open turn that continues it and the job, all or none. `share`: words may train
    here, where their author agreed."""
    story_id, prompt_id = new_id(), new_id()
    await connection.execute(
        sa.insert(stories).values(
            id=story_id,
            guild_id=asked.guild_id,
            channel_id=asked.channel_id,
            author_key=asked.user_key,
            title=title,
            language=language,
            head_turn_id=prompt_id,
            created_at=now,
            updated_at=now,
        )
    )
    await tree.add_turn(
        connection,
        turn_id=prompt_id,
        story_id=story_id,
        parent_id=None,
        kind="prompt",
        author_key=asked.user_key,
        text=prompt,
        now=now,
    )
    if share:
        await sharing.share_new(connection, turn_id=prompt_id, story_id=story_id, author_key=asked.user_key, now=now)
    return await _open(connection, asked, kind="start", story_id=story_id, parent_id=prompt_id, now=now)


async def continue_story(
    connection: AsyncConnection, asked: Asked, turn_id: str, *, text: str | None, share: bool, now: float
) -> OpenJob:
    """An open turn under `turn_id`, with the member's own words between the two where there are any. Those move the
    head at once: they are part of the story whatever becomes of the continuation. `share` as of `begin_story`."""
    story = await tree.story_of_turn(connection, turn_id, lock=True)
    parent = await tree.turn(connection, turn_id)
    await tree.require_continuable(connection, parent, story.head_turn_id)
    if text is not None and text.strip():
        parent_id = new_id()
        await tree.add_turn(
            connection,
            turn_id=parent_id,
            story_id=story.id,
            parent_id=turn_id,
            kind="prompt",
            author_key=asked.user_key,
            text=text,
            now=now,
        )
        if share:
            await sharing.share_new(
                connection, turn_id=parent_id, story_id=story.id, author_key=asked.user_key, now=now
            )
        await tree.move_head(connection, story.id, parent_id, now)
    else:
        parent_id = turn_id
    return await _open(connection, asked, kind="continue", story_id=story.id, parent_id=parent_id, now=now)


async def retry(connection: AsyncConnection, asked: Asked, turn_id: str, *, now: float) -> OpenJob:
    """An open sibling of `turn_id`, also of one that failed or was undone; of a prompt, an open child."""
    story = await tree.story_of_turn(connection, turn_id, lock=True)
    target = await tree.turn(connection, turn_id)
    if target.state == "open":
        raise TurnBusyError(turn_id)
    parent = target
    if target.kind == "continuation" and target.parent_id is not None:
        parent = await tree.turn(connection, target.parent_id)
    if parent.undone:
        raise TurnUndoneError(turn_id, story.head_turn_id)
    await tree.require_continuable(connection, parent, story.head_turn_id)
    return await _open(connection, asked, kind="retry", story_id=story.id, parent_id=parent.id, now=now)


async def start(connection: AsyncConnection, job_id: str, *, now: float) -> Job:
    """An engine gets the job (again, after a crash): count the attempt."""
    await _require(connection, job_id, UNWRITTEN_JOB_STATES)
    await _update(connection, job_id, state="running", attempts=jobs.c.attempts + 1, updated_at=now)
    return await job(connection, job_id, now=now)


async def attach_message(
    connection: AsyncConnection, job_id: str, *, channel_id: int, message_id: int, now: float
) -> None:
    """Where the answer is being shown, so that the next start can go on there."""
    await _require(connection, job_id, OPEN_JOB_STATES)
    await _update(connection, job_id, channel_id=channel_id, message_id=message_id, updated_at=now)


async def write(
    connection: AsyncConnection, job_id: str, *, state: TurnState, text: str, recipe: Recipe | None, now: float
) -> Turn:
    """The text is final ('done') or was stopped ('cancelled'): turn, job and head change together. A turn without a
    word doesn't become the head."""
    held = await _require(connection, job_id, UNWRITTEN_JOB_STATES)
    story = await tree.story_of_turn(connection, held[jobs.c.turn_id], lock=True)
    await connection.execute(
        sa.update(turns)
        .where(turns.c.id == held[jobs.c.turn_id])
        .values(state=state, text=text, recipe=recipe_document(recipe), finished_at=now)
    )
    await _update(connection, job_id, state="written", updated_at=now)
    if text:
        await tree.move_head(connection, story.id, held[jobs.c.turn_id], now)
    return await tree.turn(connection, held[jobs.c.turn_id])


async def finish(
    connection: AsyncConnection, job_id: str, *, channel_id: int | None, message_ids: tuple[int, ...], now: float
) -> Turn:
    """The final messages stand in Discord. Asking twice changes nothing but the messages."""
    held = await _require(connection, job_id, ("written", "done"))
    await connection.execute(
        sa.update(turns)
        .where(turns.c.id == held[jobs.c.turn_id])
        .values(channel_id=held[jobs.c.channel_id] if channel_id is None else channel_id, message_ids=list(message_ids))
    )
    await _update(connection, job_id, state="done", interaction_token=None, updated_at=now)
    return await tree.turn(connection, held[jobs.c.turn_id])


async def fail(connection: AsyncConnection, job_id: str, *, error: str, now: float) -> Job:
    """No text will come; or, of a written job, it couldn't be shown: then the text stays."""
    held = await _require(connection, job_id, OPEN_JOB_STATES)
    if held[jobs.c.state] in UNWRITTEN_JOB_STATES:
        await connection.execute(
            sa.update(turns).where(turns.c.id == held[jobs.c.turn_id]).values(state="failed", finished_at=now)
        )
    await _update(
        connection, job_id, state="failed", error=error[:MAX_ERROR_CHARS], interaction_token=None, updated_at=now
    )
    return await job(connection, job_id, now=now)


async def job(connection: AsyncConnection, job_id: str, *, now: float) -> Job:
    """Raises JobNotFoundError."""
    row = (await connection.execute(sa.select(jobs).where(jobs.c.id == job_id))).mappings().first()
    if row is None:
        raise JobNotFoundError(job_id)
    return job_of(row, now=now)


async def open_jobs(connection: AsyncConnection, *, now: float) -> tuple[OpenJob, ...]:
    """Every job that somebody still waits for, oldest first."""
    query = OPEN_JOBS.where(jobs.c.state.in_(OPEN_JOB_STATES)).order_by(jobs.c.created_at, jobs.c.id)
    return tuple(open_job_of(row, now=now) for row in (await connection.execute(query)).mappings())


async def open_job_of_turn(connection: AsyncConnection, turn_id: str, *, now: float) -> OpenJob | None:
    """The open job that writes this turn, for Stop; None when it ended or never was."""
    query = OPEN_JOBS.where(jobs.c.turn_id == turn_id, jobs.c.state.in_(OPEN_JOB_STATES))
    row = (await connection.execute(query)).mappings().first()
    return None if row is None else open_job_of(row, now=now)


async def count(connection: AsyncConnection) -> Mapping[JobState, int]:
    """How many jobs stand in each state that occurs."""
    query = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
    return {row[0]: row[1] for row in await connection.execute(query)}


async def forget_tokens(connection: AsyncConnection, *, now: float) -> None:
    """Clear the tokens that Discord no longer takes."""
    await connection.execute(
        sa.update(jobs)
        .where(jobs.c.interaction_token.is_not(None), jobs.c.created_at <= now - INTERACTION_TOKEN_S)
        .values(interaction_token=None)
    )


async def _open(
    connection: AsyncConnection, asked: Asked, *, kind: JobKind, story_id: str, parent_id: str, now: float
) -> OpenJob:
    await forget_tokens(connection, now=now)  # wherever jobs come in, old ones lose theirs
    turn_id = new_id()
    await tree.add_turn(
        connection, turn_id=turn_id, story_id=story_id, parent_id=parent_id, kind="continuation", now=now
    )
    await connection.execute(
        sa.insert(jobs).values(
            id=new_id(),
            turn_id=turn_id,
            state="queued",
            kind=kind,
            guild_id=asked.guild_id,
            channel_id=asked.channel_id,
            application_id=asked.application_id,
            interaction_token=asked.interaction_token,
            locale=asked.locale,
            user_key=asked.user_key,
            sampling=sampling_document(asked.sampling, asked.model, routed=asked.routed),
            attempts=0,
            created_at=now,
            updated_at=now,
        )
    )
    row = (await connection.execute(OPEN_JOBS.where(jobs.c.turn_id == turn_id))).mappings().one()
    return open_job_of(row, now=now)


async def _require(connection: AsyncConnection, job_id: str, states: tuple[str, ...]) -> sa.RowMapping:
    query = sa.select(jobs).where(jobs.c.id == job_id).with_for_update()
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        raise JobNotFoundError(job_id)
    if row[jobs.c.state] not in states:
        raise JobStateError(job_id, row[jobs.c.state])
    return row


async def _update(connection: AsyncConnection, job_id: str, **values: Any) -> None:
    await connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(**values))
