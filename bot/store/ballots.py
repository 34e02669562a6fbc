"""Blind votes in SQL: pairs of texts of a run, and who pressed what. Knows people only by their key; knows no button.

What is which is drawn when a pair is kept. A vote is what somebody pressed; that the order is told only of a closed
ballot is for whoever shows it.
"""

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store.errors import NotFoundError, StoreError
from bot.store.schema_training import ballot_votes, ballots, training_runs
from bot.store.steps import Steps
from models.serving.training import Family, Paired

Choice = Literal["a", "b", "same"]


class BallotGoneError(NotFoundError):
    """These texts are kept no more: their run is forgotten, or somebody whom a version learned from erased their
    words."""


class BallotClosedError(StoreError):
    """What is which was told, so no more votes are taken."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """Which pair: of which run and family, and its number from 1."""

    run_id: str
    family: Family
    number: int


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """A pair and the votes on it. `against` is the version whose the other text is, "" for what is shipped. Until it is
    closed only `prompt`, `a`, `b` and how many `voted` may be shown."""

    key: Key
    version: str
    against: str
    prompt: str
    candidate: str
    other: str
    candidate_first: bool
    open: bool
    votes: dict[Choice, int]

    @property
    def a(self) -> str:
        return self.candidate if self.candidate_first else self.other

    @property
    def b(self) -> str:
        return self.other if self.candidate_first else self.candidate

    @property
    def voted(self) -> int:
        return sum(self.votes.values())

    @property
    def for_candidate(self) -> int:
        return self.votes["a" if self.candidate_first else "b"]

    @property
    def for_other(self) -> int:
        return self.votes["b" if self.candidate_first else "a"]


class Ballots:
    """`user_id` is Discord's; errors as of `Store`."""

    def __init__(self, steps: Steps, person_key: Callable[[int], str]) -> None:
        self._steps, self._person_key = steps, person_key

    async def add(self, run_id: str, paired: Paired) -> None:
        """Keep a family's pairs, in place of any before. Of a run that has ended none are."""
        await self._steps.write(_add, run_id, paired)

    async def of_run(self, run_id: str) -> tuple[Ballot, ...]:
        """Family by family, in order."""
        return await self._steps.read(_ballots, ballots.c.run_id == run_id)

    async def of_runs(self, run_ids: Collection[str]) -> tuple[Ballot, ...]:
        """Of all these runs."""
        return await self._steps.read(_ballots, ballots.c.run_id.in_(sorted(run_ids)))

    async def ballot(self, key: Key) -> Ballot:
        """Raises BallotGoneError."""
        return await self._steps.read(_ballot, key)

    async def vote(self, key: Key, user_id: int, choice: Choice) -> Ballot:
        """Somebody's vote, in place of the one before. Raises BallotGoneError, BallotClosedError."""
        return await self._steps.write(_vote, key, self._person_key(user_id), choice)

    async def close(self, key: Key) -> Ballot:
        """No more votes; may be asked again. Raises BallotGoneError."""
        return await self._steps.write(_close, key)

    async def keep_only(self, versions: Collection[tuple[str, str]]) -> int:
        """Delete the texts, and all votes on them, of which not both were written by one of these versions (family,
        id) or by what is shipped; how many pairs went."""
        return await self._steps.write(_keep_only, frozenset(versions))


async def forget_person(connection: AsyncConnection, user_key: str) -> None:
    """Their votes, also on closed ballots."""
    await connection.execute(sa.delete(ballot_votes).where(ballot_votes.c.user_key == user_key))


def _is(table: sa.Table, key: Key) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.run_id == key.run_id, table.c.family == key.family, table.c.number == key.number)


async def _add(connection: AsyncConnection, run_id: str, paired: Paired, *, now: float) -> None:
    is_open = sa.select(training_runs.c.id).where(training_runs.c.id == run_id, training_runs.c.slot.is_not(None))
    if (await connection.execute(is_open)).first() is None:
        return
    await connection.execute(sa.delete(ballots).where(ballots.c.run_id == run_id, ballots.c.family == paired.family))
    for number, pair in enumerate(paired.pairs, start=1):
        await connection.execute(
            sa.insert(ballots).values(
                run_id=run_id,
                family=paired.family,
                number=number,
                version=paired.version,
                against=paired.against,
                prompt=pair.prompt,
                candidate=pair.candidate,
                other=pair.other,
                candidate_first=bool(secrets.randbits(1)),
            )
        )


async def _ballots(connection: AsyncConnection, which: sa.ColumnElement[bool]) -> tuple[Ballot, ...]:
    query = sa.select(ballots).where(which).order_by(ballots.c.run_id, ballots.c.family, ballots.c.number)
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    return tuple([await _of_row(connection, row) for row in rows])


async def _of_row(connection: AsyncConnection, row: dict[str, Any]) -> Ballot:
    key = Key(run_id=row.pop("run_id"), family=row.pop("family"), number=row.pop("number"))
    query = sa.select(ballot_votes.c.choice, sa.func.count()).where(_is(ballot_votes, key)).group_by("choice")
    votes: dict[Choice, int] = {"a": 0, "b": 0, "same": 0}
    votes |= {row[0]: row[1] for row in await connection.execute(query)}
    return Ballot(key=key, votes=votes, open=row.pop("closed_at") is None, **row)


async def _ballot(connection: AsyncConnection, key: Key) -> Ballot:
    found = await _ballots(connection, _is(ballots, key))
    if not found:
        raise BallotGoneError
    return found[0]


async def _vote(connection: AsyncConnection, key: Key, user_key: str, choice: Choice, *, now: float) -> Ballot:
    if not (await _ballot(connection, key)).open:
        raise BallotClosedError
    mine = sa.and_(_is(ballot_votes, key), ballot_votes.c.user_key == user_key)
    await connection.execute(sa.delete(ballot_votes).where(mine))
    await connection.execute(
        sa.insert(ballot_votes).values(
            run_id=key.run_id, family=key.family, number=key.number, user_key=user_key, choice=choice, created_at=now
        )
    )
    return await _ballot(connection, key)


async def _close(connection: AsyncConnection, key: Key, *, now: float) -> Ballot:
    still_open = sa.and_(_is(ballots, key), ballots.c.closed_at.is_(None))
    await connection.execute(sa.update(ballots).where(still_open).values(closed_at=now))
    return await _ballot(connection, key)


async def _keep_only(connection: AsyncConnection, versions: frozenset[tuple[str, str]], *, now: float) -> int:
    columns = (ballots.c.run_id, ballots.c.family, ballots.c.number, ballots.c.version, ballots.c.against)
    kept = (await connection.execute(sa.select(*columns))).all()
    gone = [
        Key(run_id=run_id, family=family, number=number)
        for run_id, family, number, version, against in kept
        if (family, version) not in versions or (against and (family, against) not in versions)
    ]
    for key in gone:
        await connection.execute(sa.delete(ballots).where(_is(ballots, key)))
    return len(gone)
