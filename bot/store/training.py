"""What people let train, handed out for it: the store's side of a training run. Knows no model and no Discord object;
`Store.training` is the only one.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store import sharing
from bot.store.schema import MIN_AUTHORS, mood_corrections, stories, turns
from bot.store.schema_sharing import given_pictures, shared_turns
from bot.store.sharing import Choice, ConsentLevel, Withdrawal
from bot.store.steps import Steps
from models.serving.training import CorrectionRecord, PictureRecord, Record, TurnRecord

# Read in one transaction each: some MiB of texts or pictures at most, and few enough trips between threads.
STORIES, TURNS, TEXTS, CORRECTIONS, PICTURES = 1_000, 4_000, 1_000, 500, 500


class TrainingCounts(Struct, frozen=True, kw_only=True):
    """What may train, in numbers of at least as many people as were asked for; None where fewer stand behind them.
    `turns` are those whose authors agreed; a run leaves out those whose context has not."""

    authors: int | None
    stories: int | None
    turns: int | None
    characters: int | None
    correctors: int | None
    corrections: int | None
    givers: int | None
    pictures: int | None


class Training:
    """Errors as of `Store`. `user_id` is Discord's. `allowed`: words may train here at all (a setting of the operator);
    while False no turn is shared and nothing is handed out."""

    def __init__(self, steps: Steps, person_key: Callable[[int], str]) -> None:
        self._steps, self._person_key = steps, person_key
        self.allowed = True

    async def choose(self, user_id: int, story_id: str, level: ConsentLevel, *, wording: int) -> Choice:
        """Decide for one's own words in one story, those of before too. Raises StoryNotFoundError, also for a story in
        which they wrote nothing."""
        key = self._person_key(user_id)
        return await self._steps.write(sharing.choose, key, story_id, level, wording=wording, allowed=self.allowed)

    async def choice(self, user_id: int, story_id: str) -> Choice:
        """Raises StoryNotFoundError, also for a story in which they wrote nothing."""
        return await self._steps.read(sharing.choice_of, self._person_key(user_id), story_id)

    async def choices(self, user_id: int, limit: int = 200) -> tuple[Choice, ...]:
        """The stories in which somebody wrote, the one that changed last first."""
        return await self._steps.read(sharing.choices, self._person_key(user_id), sa.true(), limit)

    async def shared(self, user_id: int) -> int:
        """How many of somebody's turns may train."""
        return await self._steps.read(sharing.count_of, self._person_key(user_id))

    async def counts(self, at_least: int = MIN_AUTHORS) -> TrainingCounts:
        """For admins. A number of fewer than `at_least` people is left out: it would tell of persons."""
        return await self._steps.read(_counts, at_least)

    async def records(self) -> AsyncGenerator[Record, None]:
        """Everything that may train now, turns story by story and parents first, then corrections and
        drawings.

        A turn of a member is among them when they and all whose words stand before it agreed and nothing of it was
        undone; a model's parts are, where such a turn stands on them. Each step is a short transaction that sees what
        holds at its moment, so that writers never wait and who withdraws meanwhile is left out from then on. Memory
        grows only with the longest story (some 300 bytes a turn of it).
        """
        if not self.allowed:
            return
        after = ""
        while found := await self._steps.read(_stories_after, after):
            for together in _in_groups(found):
                async for record in self._of_stories(together):
                    yield record
            after = found[-1][0]
        last = ""
        while corrections := await self._steps.read(_corrections_after, last):
            for correction in corrections:
                yield correction
            last = corrections[-1].id
        last = ""
        while pictures := await self._steps.read(_pictures_after, last):
            for picture in pictures:
                yield picture
            last = pictures[-1].id

    async def _of_stories(self, story_ids: Sequence[str]) -> AsyncGenerator[TurnRecord, None]:
        handed_out: set[str] = set()
        lessons = await self._steps.read(_lessons, story_ids)
        for start in range(0, len(lessons), TEXTS):
            ids = lessons[start : start + TEXTS]
            records = await self._steps.read(_texts, ids)
            for turn_id in ids:
                record = records.get(turn_id)
                if record is None or not (record.parent is None or record.parent in handed_out):
                    continue  # withdrawn or undone since, or what it stands on was
                handed_out.add(turn_id)
                yield record

    # What has to end

    async def pending(self) -> tuple[Withdrawal, ...]:
        """Withdrawals of which runs and versions were not told yet."""
        return await self._steps.read(sharing.pending)

    async def settled(self, told: Withdrawal) -> None:
        """Everybody was told of this one."""
        await self._steps.write(sharing.settled, told)

    async def forget_before(self, when: float) -> int:
        """What was shared before that is shared no more (the story stays); how many turns."""
        return await self._steps.write(sharing.forget_before, when)

    async def here_now(self, guild_ids: frozenset[int], *, complete: bool) -> None:
        """Inkwell is in these servers; `complete`: in no others."""
        await self._steps.write(sharing.here_now, guild_ids, complete=complete)

    async def joined(self, guild_id: int) -> None:
        """Inkwell is in this server (again): what was shared there stays."""
        await self._steps.write(sharing.joined, guild_id)

    async def left(self, guild_id: int) -> None:
        """Inkwell left this server."""
        await self._steps.write(sharing.left, guild_id)

    async def member_joined(self, guild_id: int, user_id: int) -> None:
        await self._steps.write(sharing.member_joined, guild_id, self._person_key(user_id))

    async def member_left(self, guild_id: int, user_id: int) -> None:
        await self._steps.write(sharing.member_left, guild_id, self._person_key(user_id))

    async def end_departed(self, when: float) -> int:
        """Take back what was shared in servers that were left before `when`; how many turns."""
        return await self._steps.write(sharing.end_departed, when)


def _in_groups(found: Sequence[tuple[str, int]]) -> Iterator[tuple[str, ...]]:
    """Stories with about `TURNS` turns together; a longer one alone."""
    group: list[str] = []
    held = 0
    for story_id, count in found:
        if group and held + count > TURNS:
            yield tuple(group)
            group, held = [], 0
        group.append(story_id)
        held += count
    yield tuple(group)


async def _stories_after(connection: AsyncConnection, after: str) -> list[tuple[str, int]]:
    """The next stories in which anything is shared, with their numbers of turns."""
    ids = (
        sa.select(shared_turns.c.story_id)
        .where(shared_turns.c.story_id > after)
        .distinct()
        .order_by(shared_turns.c.story_id)
        .limit(STORIES)
    )
    query = (
        sa.select(turns.c.story_id, sa.func.count())
        .where(turns.c.story_id.in_(ids))
        .group_by(turns.c.story_id)
        .order_by(turns.c.story_id)
    )
    return [(story_id, count) for story_id, count in await connection.execute(query)]


async def _lessons(connection: AsyncConnection, story_ids: Sequence[str]) -> list[str]:
    """The turns to hand out, in their order: lessons and what they stand on."""
    query = (
        sa.select(turns.c.id, turns.c.parent_id, turns.c.kind, shared_turns.c.turn_id)
        .join(shared_turns, shared_turns.c.turn_id == turns.c.id, isouter=True)
        .where(
            turns.c.story_id.in_(story_ids),
            sa.not_(turns.c.undone),
            sa.or_(turns.c.kind == "continuation", shared_turns.c.turn_id.is_not(None)),
            turns.c.state.in_(("done", "cancelled")),
        )
        .order_by(turns.c.story_id, turns.c.id)
    )
    children: defaultdict[str | None, list[str]] = defaultdict(list)
    parents: dict[str, str | None] = {}
    lessons: list[str] = []
    for turn_id, parent_id, kind, _ in await connection.execute(query):
        children[parent_id].append(turn_id)
        parents[turn_id] = parent_id
        if kind == "prompt":
            lessons.append(turn_id)
    needed: set[str] = set()
    for turn_id in lessons:
        above: str | None = turn_id
        while above is not None and above in parents and above not in needed:
            needed.add(above)
            above = parents[above]
    ordered: list[str] = []
    waiting = children[None][::-1]
    while waiting:  # from each root on: what stands on a turn that was left out is never met
        turn_id = waiting.pop()
        if turn_id in needed:
            ordered.append(turn_id)
            waiting.extend(reversed(children.get(turn_id, ())))
    return ordered


async def _texts(connection: AsyncConnection, turn_ids: Sequence[str]) -> dict[str, TurnRecord]:
    """Those of the turns that may still be handed out, by id."""
    query = (
        sa.select(
            turns.c.id, turns.c.story_id, turns.c.parent_id, shared_turns.c.author_key, turns.c.text,
            stories.c.language, turns.c.created_at,
        )
        .join(stories, stories.c.id == turns.c.story_id)
        .join(shared_turns, shared_turns.c.turn_id == turns.c.id, isouter=True)
        .where(
            turns.c.id.in_(turn_ids),
            sa.not_(turns.c.undone),
            sa.or_(turns.c.kind == "continuation", shared_turns.c.turn_id.is_not(None)),
            turns.c.text != "",
        )
    )  # fmt: skip
    return {
        turn_id: TurnRecord(
            id=turn_id, story=story_id, parent=parent, author=author or "", text=text, language=language, at=at
        )
        for turn_id, story_id, parent, author, text, language, at in await connection.execute(query)
    }


async def _corrections_after(connection: AsyncConnection, last: str) -> list[CorrectionRecord]:
    query = (
        sa.select(
            mood_corrections.c.id, mood_corrections.c.author_key, mood_corrections.c.text, mood_corrections.c.label,
            mood_corrections.c.language, mood_corrections.c.created_at,
        )
        .where(mood_corrections.c.id > last)
        .order_by(mood_corrections.c.id)
        .limit(CORRECTIONS)
    )  # fmt: skip
    return [
        CorrectionRecord(id=id_, author=author, text=text, label=label, language=language, at=at)
        for id_, author, text, label, language, at in await connection.execute(query)
    ]


async def _pictures_after(connection: AsyncConnection, last: str) -> list[PictureRecord]:
    query = (
        sa.select(given_pictures.c.id, given_pictures.c.author_key, given_pictures.c.png, given_pictures.c.created_at)
        .where(given_pictures.c.id > last)
        .order_by(given_pictures.c.id)
        .limit(PICTURES)
    )
    return [
        PictureRecord(id=id_, author=author, png=png, at=at) for id_, author, png, at in await connection.execute(query)
    ]


async def _counts(connection: AsyncConnection, at_least: int) -> TrainingCounts:
    words = (
        sa.select(
            sa.func.count(shared_turns.c.author_key.distinct()),
            sa.func.count(shared_turns.c.story_id.distinct()),
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(sa.func.length(turns.c.text)), 0),
        )
        .join(turns, turns.c.id == shared_turns.c.turn_id)
        .where(sa.not_(turns.c.undone))
    )
    moods = sa.select(sa.func.count(mood_corrections.c.author_key.distinct()), sa.func.count())
    authors, in_stories, shared, characters = (await connection.execute(words)).one()
    correctors, corrections = (await connection.execute(moods)).one()
    drawings = sa.select(sa.func.count(given_pictures.c.author_key.distinct()), sa.func.count())
    givers, pictures = (await connection.execute(drawings)).one()
    enough, moods_enough, pictures_enough = authors >= at_least, correctors >= at_least, givers >= at_least
    return TrainingCounts(
        authors=authors if enough else None,
        stories=in_stories if enough else None,
        turns=shared if enough else None,
        characters=characters if enough else None,
        correctors=correctors if moods_enough else None,
        corrections=corrections if moods_enough else None,
        givers=givers if pictures_enough else None,
        pictures=pictures if pictures_enough else None,
    )
