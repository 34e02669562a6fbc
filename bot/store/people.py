"""What one person decided about their own words, and all that is kept of them, in SQL: consent, corrections, export,
erasure. Knows people only by their key.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store import erasure, sharing
from bot.store.ids import new_id
from bot.store.schema import (
    consents,
    jobs,
    mood_corrections,
    mood_optouts,
    portrait_receipts,
    stories,
    story_characters,
    taught_texts,
    turns,
)
from bot.store.schema_sharing import given_pictures, shared_turns, story_choices
from bot.store.schema_training import ballot_votes
from bot.store.sharing import Consent, ConsentLevel
from bot.store.steps import Steps

MAX_CORRECTIONS = 2_000  # of one person: nobody is to teach the model alone


class ConsentMissingError(Exception):
    """This person does not let their words train a model. Nothing was kept."""


class TooManyCorrectionsError(Exception):
    """This person has corrected as much as one person may."""


class TakenBack(Struct, frozen=True, kw_only=True):
    """What was deleted because a level no longer covers it: corrections, marks of turns that might train, drawings."""

    corrections: int
    turns: int
    given: int = 0


class Correction(Struct, frozen=True, kw_only=True):
    """A text of somebody's own, the mood that was `answered`, and the `label` that they say is right."""

    text: str
    answered: str
    label: str
    method: str
    model_version: str
    language: str
    created_at: float = 0.0


class Kept(Struct, frozen=True, kw_only=True):
    """All that is kept of one person. `turns` are their own words in stories, `taught` texts that they taught a
    server's voice, `requests` what they asked for, `pictures` receipts that reproduce their pictures, `faces` the
    characters to whom they gave one, `shared` the turns of theirs that may train, `choices` what they decided for
    single stories, `given` drawings that portraits may learn from, `votes` what they pressed in blind votes; each a row
    with its columns."""

    consent: Consent | None
    opted_out_since: float | None
    stories: list[dict[str, Any]]
    turns: list[dict[str, Any]]
    requests: list[dict[str, Any]]
    taught: list[dict[str, Any]]
    corrections: list[Correction]
    pictures: list[dict[str, Any]]
    faces: list[dict[str, Any]]
    shared: list[dict[str, Any]]
    choices: list[dict[str, Any]]
    given: list[dict[str, Any]] = []
    votes: list[dict[str, Any]] = []


class People:
    """`user_id` is Discord's; errors as of `Store`."""

    def __init__(self, steps: Steps, person_key: Callable[[int], str]) -> None:
        self._steps, self._person_key = steps, person_key
        self.erasures = 0  # since the start: whoever remembers something of a text reads it again when this grows

    async def consent(self, user_id: int) -> Consent | None:
        """None: never asked, which means private."""
        return await self._steps.read(sharing.consent_of, self._person_key(user_id))

    async def set_consent(self, user_id: int, level: ConsentLevel, *, wording: int) -> TakenBack:
        """From now on. Any level but training takes back all that was shared, also what was for single stories."""
        return await self._steps.write(_set_consent, self._person_key(user_id), level, wording)

    async def note_asked(self, user_id: int) -> bool:
        """They are being asked now: private as long as they say nothing. False when they were asked before."""
        return await self._steps.write(_note_asked, self._person_key(user_id))

    async def forget_asked(self, user_id: int) -> None:
        """They could not be asked after all."""
        await self._steps.write(_forget_asked, self._person_key(user_id))

    async def correct(self, user_id: int, correction: Correction) -> None:
        """Keep a correction (`created_at` is now). Raises ConsentMissingError, TooManyCorrectionsError."""
        await self._steps.write(_correct, self._person_key(user_id), correction)

    async def forget_corrections_before(self, when: float) -> int:
        """Delete older corrections; how many."""
        return await self._steps.write(_forget_corrections_before, when)

    async def kept_of(self, user_id: int) -> Kept:
        return await self._steps.read(_kept_of, self._person_key(user_id))

    async def erase(self, user_id: int) -> erasure.Erased:
        """Remove all of it but an opt-out, which is a wish and no text. Raises TurnBusyError."""
        erased = await self._steps.write(erasure.erase, self._person_key(user_id))
        self.erasures += 1
        return erased


async def _set_consent(
    connection: AsyncConnection, author_key: str, level: ConsentLevel, wording: int, *, now: float
) -> TakenBack:
    mine = mood_corrections.c.author_key == author_key
    drawn = given_pictures.c.author_key == author_key
    corrections, turns_before = await _count(connection, mine), await sharing.count_of(connection, author_key)
    drawings = await _count(connection, drawn)
    await sharing.set_level(connection, author_key, level, wording=wording, now=now)
    taken = TakenBack(
        corrections=corrections - await _count(connection, mine),
        turns=turns_before - await sharing.count_of(connection, author_key),
        given=drawings - await _count(connection, drawn),
    )
    if taken.corrections or taken.turns or taken.given:
        await sharing.note_withdrawal(connection, author_key, now=now)
    return taken


async def _note_asked(connection: AsyncConnection, author_key: str, *, now: float) -> bool:
    if await sharing.consent_of(connection, author_key) is not None:
        return False
    await connection.execute(sa.insert(consents).values(author_key=author_key, level="private", since=now, wording=0))
    return True


async def _forget_asked(connection: AsyncConnection, author_key: str, *, now: float) -> None:
    unanswered = sa.and_(consents.c.level == "private", consents.c.wording == 0)
    await connection.execute(sa.delete(consents).where(consents.c.author_key == author_key, unanswered))


async def _correct(connection: AsyncConnection, author_key: str, correction: Correction, *, now: float) -> None:
    held = await sharing.consent_of(connection, author_key)
    if held is None or held.level != "training":
        raise ConsentMissingError
    if await _count(connection, mood_corrections.c.author_key == author_key) >= MAX_CORRECTIONS:
        raise TooManyCorrectionsError
    await connection.execute(
        sa.delete(mood_corrections).where(
            mood_corrections.c.author_key == author_key, mood_corrections.c.text == correction.text
        )
    )
    await connection.execute(
        sa.insert(mood_corrections).values(
            id=new_id(),
            author_key=author_key,
            level="training",
            text=correction.text,
            answered=correction.answered,
            label=correction.label,
            method=correction.method,
            model_version=correction.model_version,
            language=correction.language,
            created_at=now,
        )
    )


async def _count(connection: AsyncConnection, which: sa.ColumnElement[bool]) -> int:
    query = sa.select(sa.func.count()).where(which)
    return int((await connection.execute(query)).scalar_one())


async def _forget_corrections_before(connection: AsyncConnection, when: float, *, now: float) -> int:
    return (await connection.execute(sa.delete(mood_corrections).where(mood_corrections.c.created_at < when))).rowcount


async def _kept_of(connection: AsyncConnection, author_key: str) -> Kept:
    async def rows(query: sa.Select[Any]) -> list[dict[str, Any]]:
        return [dict(row) for row in (await connection.execute(query)).mappings()]

    opted_out = sa.select(mood_optouts.c.since).where(mood_optouts.c.author_key == author_key)
    corrections = (
        sa.select(*(mood_corrections.c[name] for name in Correction.__struct_fields__))
        .where(mood_corrections.c.author_key == author_key)
        .order_by(mood_corrections.c.id)
    )
    return Kept(
        consent=await sharing.consent_of(connection, author_key),
        opted_out_since=(await connection.execute(opted_out)).scalar(),
        stories=await rows(
            sa.select(stories.c.id, stories.c.title, stories.c.guild_id, stories.c.channel_id, stories.c.created_at)
            .where(stories.c.author_key == author_key)
            .order_by(stories.c.id)
        ),
        turns=await rows(
            sa.select(
                turns.c.id, turns.c.story_id, stories.c.guild_id, stories.c.channel_id, turns.c.text, turns.c.undone,
                turns.c.created_at,
            )
            .join(stories, stories.c.id == turns.c.story_id)
            .where(turns.c.author_key == author_key)
            .order_by(turns.c.id)
        ),
        requests=await rows(
            sa.select(jobs.c.kind, jobs.c.state, jobs.c.turn_id, jobs.c.guild_id, jobs.c.channel_id, jobs.c.created_at)
            .where(jobs.c.user_key == author_key)
            .order_by(jobs.c.id)
        ),
        taught=await rows(
            sa.select(
                taught_texts.c.id, taught_texts.c.guild_id, taught_texts.c.source, taught_texts.c.title,
                taught_texts.c.text, taught_texts.c.created_at,
            )
            .where(taught_texts.c.author_key == author_key, taught_texts.c.state != "forgetting")
            .order_by(taught_texts.c.id)
        ),
        corrections=[Correction(**row) for row in await rows(corrections)],
        pictures=await rows(
            sa.select(
                portrait_receipts.c.code, portrait_receipts.c.kind, portrait_receipts.c.recipe,
                portrait_receipts.c.model_version, portrait_receipts.c.created_at,
            )
            .where(portrait_receipts.c.author_key == author_key)
            .order_by(portrait_receipts.c.created_at, portrait_receipts.c.code)
        ),
        faces=await rows(
            sa.select(
                story_characters.c.story_id, story_characters.c.name, story_characters.c.code,
                story_characters.c.created_at,
            )
            .where(story_characters.c.author_key == author_key)
            .order_by(story_characters.c.created_at, story_characters.c.name_key)
        ),
        shared=await rows(
            sa.select(shared_turns.c.turn_id, shared_turns.c.story_id, shared_turns.c.since)
            .where(shared_turns.c.author_key == author_key)
            .order_by(shared_turns.c.turn_id)
        ),
        choices=await rows(
            sa.select(
                story_choices.c.story_id, story_choices.c.level, story_choices.c.own, story_choices.c.since,
                story_choices.c.wording,
            )
            .where(story_choices.c.author_key == author_key)
            .order_by(story_choices.c.story_id)
        ),
        given=await rows(
            sa.select(given_pictures.c.id, given_pictures.c.png, given_pictures.c.created_at)
            .where(given_pictures.c.author_key == author_key)
            .order_by(given_pictures.c.id)
        ),
        votes=await rows(
            sa.select(
                ballot_votes.c.run_id, ballot_votes.c.family, ballot_votes.c.number, ballot_votes.c.choice,
                ballot_votes.c.created_at,
            )
            .where(ballot_votes.c.user_key == author_key)
            .order_by(ballot_votes.c.created_at, ballot_votes.c.run_id, ballot_votes.c.family, ballot_votes.c.number)
        ),
    )  # fmt: skip
