"""The story tree: what grows, what is taken back, what is refused. Real files, no doubles."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store import OpenJob, Recipe, Store, Turn
from bot.store.errors import (
    NothingToUndoError,
    NotYoursError,
    StoryNotFoundError,
    TurnBusyError,
    TurnNotFoundError,
    TurnUndoneError,
    TurnWithoutTextError,
)
from bot.store.schema import stories, turns
from models.serving.requests import Sampling

MIA, OLE = 11, 22
SAMPLING = Sampling(seed=7, temperature=0.5, stop=("THE END",))
RECIPE = Recipe(model_version="tiny@1", seed=7, sampling=SAMPLING, prompt_tokens=5, new_tokens=3)


def asked(user_id: int = MIA, **changes: Any) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "guild_id": 1,
        "channel_id": 2,
        "sampling": SAMPLING,
        "application_id": 3,
        "interaction_token": "token",
        "locale": "en-GB",
    } | changes


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(tmp_path / "inkwell.db") as store:
        yield store


async def answer(store: Store, job: OpenJob, text: str) -> Turn:
    await store.write_result(job.job.id, text, RECIPE)
    return await store.finish_job(job.job.id, [100])


async def test_a_story_begins_with_its_prompt_an_open_turn_and_a_job(store: Store) -> None:
    begun = await store.begin_story(prompt="The lighthouse\nkeeper found", language="en", **asked())

    assert begun.story.title == "The lighthouse keeper found"
    assert (begun.story.guild_id, begun.story.channel_id, begun.story.language) == (1, 2, "en")
    assert begun.story.head_turn_id == begun.prompt_turn.id
    assert begun.story.author_key == begun.prompt_turn.author_key == begun.job.user_key == store.person_key(MIA)
    assert (begun.prompt_turn.kind, begun.prompt_turn.state) == ("prompt", "done")
    assert begun.prompt_turn.text == "The lighthouse\nkeeper found"
    assert (begun.turn.kind, begun.turn.state, begun.turn.parent_id) == ("continuation", "open", begun.prompt_turn.id)
    assert begun.turn.author_key is None
    assert (begun.job.kind, begun.job.state, begun.job.attempts) == ("start", "queued", 0)
    assert begun.job.sampling == SAMPLING
    assert len(f"story:continue:{begun.turn.id}") <= 100
    assert await store.story(begun.story.id) == begun.story
    assert await store.story_of_turn(begun.turn.id) == begun.story
    assert await store.turn(begun.turn.id) == begun.turn


async def test_a_long_prompt_gives_a_short_title_and_keeps_its_text(store: Store) -> None:
    begun = await store.begin_story(prompt="word " * 1_200, **asked(guild_id=None))
    assert len(begun.story.title) <= 80
    assert begun.prompt_turn.text == "word " * 1_200
    assert begun.story.guild_id is None


@pytest.mark.parametrize("prompt", ["", "  \n\t"])
async def test_a_blank_prompt_begins_no_story(store: Store, prompt: str) -> None:
    with pytest.raises(ValueError, match="begins with a text"):
        await store.begin_story(prompt=prompt, **asked())
    assert (await store.counts()).stories == 0


async def test_the_path_runs_from_the_root_and_a_limit_keeps_its_end(store: Store) -> None:
    begun = await store.begin_story(prompt="one", **asked())
    last = await answer(store, begun, " two")
    for text in (" three", " four"):
        last = await answer(store, await store.continue_story(last.id, **asked()), text)

    assert "".join(turn.text for turn in await store.story_path(last.id)) == "one two three four"
    assert [turn.text for turn in await store.story_path(last.id, limit=2)] == [" three", " four"]
    assert (await store.story(begun.story.id)).head_turn_id == last.id


async def test_own_words_stand_between_two_continuations_and_move_the_head_at_once(store: Store) -> None:
    begun = await store.begin_story(prompt="one", **asked())
    first = await answer(store, begun, " two")
    more = await store.continue_story(first.id, text=" Then Ole came.", **asked(OLE))

    assert (more.prompt_turn.kind, more.prompt_turn.text) == ("prompt", " Then Ole came.")
    assert more.prompt_turn.author_key == store.person_key(OLE)
    assert more.story.head_turn_id == more.prompt_turn.id
    await store.fail_job(more.job.id, "no engine")
    path = await store.story_path((await store.story(begun.story.id)).head_turn_id)
    assert [turn.text for turn in path] == ["one", " two", " Then Ole came."]


async def test_blank_own_words_add_no_turn(store: Store) -> None:
    first = await answer(store, await store.begin_story(prompt="one", **asked()), " two")
    more = await store.continue_story(first.id, text=" \n", **asked())
    assert more.prompt_turn.id == first.id


async def test_of_two_who_continue_at_once_one_is_served_and_the_other_told_where(store: Store) -> None:
    first = await answer(store, await store.begin_story(prompt="one", **asked()), " two")
    outcomes = await asyncio.gather(
        *(store.continue_story(first.id, **asked(user)) for user in (MIA, OLE)), return_exceptions=True
    )
    served = [outcome for outcome in outcomes if isinstance(outcome, OpenJob)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, TurnBusyError)]
    assert len(served) == len(refused) == 1
    assert refused[0].turn_id == served[0].turn.id


@pytest.mark.parametrize("text", [None, " Own words."])
async def test_a_turn_is_busy_also_while_own_words_on_it_are_being_continued(store: Store, text: str | None) -> None:
    first = await answer(store, await store.begin_story(prompt="one", **asked()), " two")
    running = await store.continue_story(first.id, text=" Then.", **asked())
    with pytest.raises(TurnBusyError) as busy:
        await store.continue_story(first.id, text=text, **asked(OLE))
    assert busy.value.turn_id == running.turn.id


async def test_an_open_turn_can_be_neither_continued_nor_retried_nor_undone(store: Store) -> None:
    begun = await store.begin_story(prompt="one", **asked())
    for attempt in (
        store.continue_story(begun.turn.id, **asked()),
        store.retry(begun.turn.id, **asked()),
        store.undo(begun.turn.id, MIA),
    ):
        with pytest.raises(TurnBusyError) as busy:
            await attempt
        assert busy.value.turn_id == begun.turn.id


async def test_mid_story_turns_can_be_continued_into_a_branch(store: Store) -> None:
    begun = await store.begin_story(prompt="one", **asked())
    first = await answer(store, begun, " two")
    await answer(store, await store.continue_story(first.id, **asked()), " three")
    branch = await answer(store, await store.continue_story(first.id, **asked(OLE)), " tre")

    assert [turn.text for turn in await store.story_path(branch.id)] == ["one", " two", " tre"]
    assert (await store.story(begun.story.id)).head_turn_id == branch.id


async def test_retry_keeps_the_alternatives_in_order(store: Store) -> None:
    begun = await store.begin_story(prompt="one", **asked())
    first = await answer(store, begun, " A")
    again = await store.retry(first.id, **asked())
    assert (again.job.kind, again.turn.parent_id) == ("retry", begun.prompt_turn.id)
    assert [turn.text for turn in await store.alternatives(again.turn.id)] == [" A"]
    second = await answer(store, again, " B")

    assert [turn.text for turn in await store.alternatives(first.id)] == [" A", " B"]
    assert await store.alternatives(second.id) == await store.alternatives(first.id)
    assert [turn.text for turn in await store.alternatives(begun.prompt_turn.id)] == ["one"]
    assert (await store.story(begun.story.id)).head_turn_id == second.id


async def test_a_failed_turn_can_be_retried_but_not_continued(store: Store) -> None:
    begun = await store.begin_story(prompt="one", **asked())
    await store.fail_job(begun.job.id, "the worker died")
    with pytest.raises(TurnWithoutTextError):
        await store.continue_story(begun.turn.id, **asked())
    again = await store.retry(begun.turn.id, **asked())
    assert (await answer(store, again, " two")).text == " two"


async def test_retry_of_a_prompt_continues_it(store: Store) -> None:
    begun = await store.begin_story(prompt="one", **asked())
    first = await answer(store, begun, " two")
    again = await store.retry(begun.prompt_turn.id, **asked())
    assert (again.turn.parent_id, again.job.kind) == (first.parent_id, "retry")


async def test_undo_moves_the_head_back_and_may_be_pressed_twice(store: Store) -> None:
    begun = await store.begin_story(prompt="one", **asked())
    first = await answer(store, begun, " two")
    second = await answer(store, await store.continue_story(first.id, **asked()), " three")

    undone = await store.undo(second.id, MIA)
    assert (undone.changed, undone.head, undone.turn.undone) == (True, first, True)
    assert undone.story.head_turn_id == first.id
    again = await store.undo(second.id, MIA)
    assert (again.changed, again.head, again.turn) == (False, first, undone.turn)
    assert (await store.undo(first.id, MIA)).head == begun.prompt_turn
    with pytest.raises(NothingToUndoError):
        await store.undo(begun.prompt_turn.id, MIA)


async def test_undo_of_a_mid_story_turn_takes_what_stands_on_it(store: Store) -> None:
    begun = await store.begin_story(prompt="one", **asked())
    first = await answer(store, begun, " two")
    more = await store.continue_story(first.id, text=" Own.", **asked())
    second = await answer(store, more, " three")

    undone = await store.undo(first.id, MIA)
    assert undone.head == begun.prompt_turn
    assert (await store.turn(second.id)).undone
    assert (await store.turn(more.prompt_turn.id)).undone
    for turn_id in (first.id, more.prompt_turn.id, second.id):
        with pytest.raises(TurnUndoneError) as refused:
            await store.continue_story(turn_id, **asked())
        assert refused.value.head_turn_id == begun.prompt_turn.id


async def test_undo_elsewhere_leaves_the_head(store: Store) -> None:
    first = await answer(store, await store.begin_story(prompt="one", **asked()), " A")
    second = await answer(store, await store.retry(first.id, **asked()), " B")
    assert (await store.undo(first.id, MIA)).head == second
    assert await store.alternatives(first.id) == (second,)


async def test_an_undone_turn_can_be_retried_while_the_turn_before_it_stands(store: Store) -> None:
    begun = await store.begin_story(prompt="one", **asked())
    first = await answer(store, begun, " two")
    second = await answer(store, await store.continue_story(first.id, **asked()), " three")
    await store.undo(second.id, MIA)
    third = await answer(store, await store.retry(second.id, **asked()), " drei")
    assert third.parent_id == first.id
    assert (await store.turn(second.id)).undone

    await store.undo(first.id, MIA)
    with pytest.raises(TurnUndoneError):
        await store.retry(third.id, **asked())


async def test_nothing_is_undone_under_words_that_are_being_written(store: Store) -> None:
    begun = await store.begin_story(prompt="one", **asked())
    first = await answer(store, begun, " two")
    running = await store.continue_story(first.id, text=" Own.", **asked())
    for turn_id in (first.id, running.prompt_turn.id):
        with pytest.raises(TurnBusyError) as busy:
            await store.undo(turn_id, MIA)
        assert busy.value.turn_id == running.turn.id
    assert not (await store.turn(first.id)).undone
    await store.cancel_job(running.job.id, " thr")
    assert (await store.undo(first.id, MIA)).head == begun.prompt_turn


async def test_undo_is_for_the_author_who_asked_and_moderators(store: Store) -> None:
    first = await answer(store, await store.begin_story(prompt="one", **asked(MIA)), " two")
    second = await answer(store, await store.continue_story(first.id, text=" Own.", **asked(OLE)), " three")
    with pytest.raises(NotYoursError):
        await store.undo(first.id, OLE)
    assert (await store.undo(second.id, OLE)).changed
    assert second.parent_id is not None
    assert (await store.undo(second.parent_id, OLE)).changed
    assert (await store.undo(first.id, 33, moderator=True)).changed


async def test_a_stopped_turn_with_text_goes_on_and_one_without_does_not(store: Store) -> None:
    begun = await store.begin_story(prompt="one", **asked())
    stopped = await store.cancel_job(begun.job.id, " tw", RECIPE)
    assert (stopped.state, stopped.text, stopped.recipe) == ("cancelled", " tw", RECIPE)
    assert (await store.story(begun.story.id)).head_turn_id == stopped.id
    more = await store.continue_story(stopped.id, **asked())
    empty = await store.cancel_job(more.job.id)
    assert (await store.story(begun.story.id)).head_turn_id == stopped.id
    with pytest.raises(TurnWithoutTextError):
        await store.continue_story(empty.id, **asked())


async def test_the_latest_story_of_a_channel_is_the_one_that_changed_last(store: Store) -> None:
    first = await store.begin_story(prompt="one", **asked(channel_id=5))
    second = await store.begin_story(prompt="two", **asked(channel_id=5))
    await store.begin_story(prompt="three", **asked(channel_id=6))
    latest = await store.latest_story(5)
    assert latest is not None
    assert latest.id == second.story.id
    await answer(store, first, " more")
    latest = await store.latest_story(5)
    assert latest is not None
    assert latest.id == first.story.id
    assert await store.latest_story(7) is None


@pytest.mark.parametrize("missing", ["", "nope", "0" * 16, "\ud800", "a\0b", "'; DROP TABLE turns; --"])
async def test_an_id_that_is_nobodys_is_not_found(store: Store, missing: str) -> None:
    with pytest.raises(StoryNotFoundError):
        await store.story(missing)
    for attempt in (
        store.turn(missing),
        store.story_of_turn(missing),
        store.story_path(missing),
        store.alternatives(missing),
        store.continue_story(missing, **asked()),
        store.retry(missing, **asked()),
        store.undo(missing, MIA),
    ):
        with pytest.raises(TurnNotFoundError):
            await attempt


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udfff", "\ufffd"),
        ("nul\0inside", "nul\ufffdinside"),
        ("\ud83d\ude00", "😀"),
        ("猫😀\u200d\u202e\x07\ufeff", "猫😀\u200d\u202e\x07\ufeff"),
    ],
)
async def test_any_string_can_be_stored(store: Store, text: str, stored: str) -> None:
    begun = await store.begin_story(prompt=text, title=text, **asked())
    assert begun.prompt_turn.text == begun.story.title == stored
    turn = await answer(store, begun, text)
    assert turn.text == (await store.turn(turn.id)).text == stored


async def test_the_schema_itself_refuses_a_broken_tree(store: Store) -> None:
    one = await store.begin_story(prompt="one", **asked())
    two = await store.begin_story(prompt="two", **asked())
    mine, other = turns.c.id == one.turn.id, two.prompt_turn.id
    for broken in (
        turns.update().where(mine).values(parent_id=other),  # a parent in another story
        turns.update().where(mine).values(parent_id=None),
        turns.update().where(mine).values(undone=True),
        turns.update().where(mine).values(text="early"),
        turns.update().where(mine).values(state="paused"),
        turns.update().where(mine).values(author_key="somebody"),
        turns.update().where(turns.c.id == one.prompt_turn.id).values(text=""),
        stories.update().where(stories.c.id == one.story.id).values(head_turn_id=other),
        stories.update().where(stories.c.id == one.story.id).values(head_turn_id="nowhere"),
    ):
        with pytest.raises(IntegrityError):
            await store._database.write(partial(AsyncConnection.execute, statement=broken))
    assert await store.turn(one.turn.id) == one.turn


async def test_deleting_a_story_takes_its_turns_and_jobs(store: Store) -> None:
    begun = await store.begin_story(prompt="one", **asked())
    kept = await store.begin_story(prompt="two", **asked())
    await store._database.write(
        lambda connection: connection.execute(stories.delete().where(stories.c.id == begun.story.id))
    )
    assert [job.story.id for job in await store.open_jobs()] == [kept.story.id]
    counts = await store.counts()
    assert (counts.stories, counts.turns, counts.jobs) == (1, 2, {"queued": 1})
