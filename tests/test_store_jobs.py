"""The life of a job, guild settings and small state. Real files, no doubles."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.store import OpenJob, Recipe, Setting, Store
from bot.store.errors import JobNotFoundError, JobStateError
from bot.store.records import INTERACTION_TOKEN_S
from bot.store.schema import guild_settings, jobs
from models.serving.requests import Sampling, StoryOutput

RECIPE = Recipe(model_version="tiny@1", seed=7, sampling=Sampling(seed=7))


class Clock:
    """Unix seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with Store.open(tmp_path / "inkwell.db", clock=clock) as store:
        yield store


async def begin(store: Store, **changes: Any) -> OpenJob:
    asked: dict[str, Any] = {
        "user_id": 1,
        "guild_id": None,
        "channel_id": 2,
        "sampling": Sampling(seed=5),
        "application_id": 3,
        "interaction_token": "secret-token",
        "locale": "zh-CN",
    }
    return await store.begin_story(prompt="one", **asked | changes)


async def test_a_job_goes_from_queued_to_done_and_forgets_its_token(store: Store, clock: Clock) -> None:
    begun = await begin(store)
    assert await store.open_job_of_turn(begun.turn.id) == begun
    assert await store.open_jobs() == (begun,)
    clock.now += 1
    running = await store.start_job(begun.job.id)
    assert (running.state, running.attempts, running.interaction_token) == ("running", 1, "secret-token")
    await store.attach_message(begun.job.id, 20, 200)
    assert (await store.start_job(begun.job.id)).attempts == 2  # a worker died, another one gets it

    clock.now += 1
    turn = await store.write_result(begun.job.id, " two", RECIPE)
    assert (turn.state, turn.text, turn.recipe, turn.finished_at) == ("done", " two", RECIPE, clock.now)
    (written,) = await store.open_jobs()
    assert (written.job.state, written.job.channel_id, written.job.message_id) == ("written", 20, 200)
    assert written.turn == turn
    assert written.prompt_turn == begun.prompt_turn

    shown = await store.finish_job(begun.job.id, [200, 201])
    assert (shown.channel_id, shown.message_ids) == (20, (200, 201))
    assert await store.finish_job(begun.job.id, [200, 201]) == shown
    done = await store.job(begun.job.id)
    assert (done.state, done.interaction_token, done.locale) == ("done", None, "zh-CN")
    assert await store.open_jobs() == ()
    assert await store.open_job_of_turn(begun.turn.id) is None


async def test_a_failed_job_leaves_the_prompt_and_says_why(store: Store) -> None:
    begun = await begin(store)
    job = await store.fail_job(begun.job.id, "out of memory " * 100)
    assert (job.state, job.interaction_token) == ("failed", None)
    assert job.error is not None
    assert job.error.startswith("out of memory")
    assert len(job.error) == 500
    turn = await store.turn(begun.turn.id)
    assert (turn.state, turn.text) == ("failed", "")
    assert (await store.story(begun.story.id)).head_turn_id == begun.prompt_turn.id


async def test_a_text_that_could_not_be_shown_is_kept(store: Store) -> None:
    begun = await begin(store)
    turn = await store.write_result(begun.job.id, " two", RECIPE)
    await store.fail_job(begun.job.id, "the channel is gone")
    assert await store.turn(begun.turn.id) == turn
    assert (await store.story(begun.story.id)).head_turn_id == turn.id


async def test_of_stop_and_the_result_the_first_wins(store: Store) -> None:
    stopped = await begin(store)
    await store.cancel_job(stopped.job.id, " tw")
    with pytest.raises(JobStateError) as late:
        await store.write_result(stopped.job.id, " two", RECIPE)
    assert late.value.state == "written"
    assert (await store.turn(stopped.turn.id)).text == " tw"

    finished = await begin(store)
    await store.write_result(finished.job.id, " two", RECIPE)
    with pytest.raises(JobStateError):
        await store.cancel_job(finished.job.id, " tw")
    assert (await store.turn(finished.turn.id)).state == "done"


async def test_an_ended_job_takes_no_step_but_finish_again(store: Store) -> None:
    done, failed = await begin(store), await begin(store)
    await store.write_result(done.job.id, " two", RECIPE)
    await store.finish_job(done.job.id, [1])
    await store.fail_job(failed.job.id, "no")
    for job_id, state in ((done.job.id, "done"), (failed.job.id, "failed")):
        for attempt in (
            store.start_job(job_id),
            store.attach_message(job_id, 1, 1),
            store.write_result(job_id, "x", RECIPE),
            store.cancel_job(job_id),
            store.fail_job(job_id, "again"),
        ):
            with pytest.raises(JobStateError) as refused:
                await attempt
            assert refused.value.state == state
    with pytest.raises(JobStateError):
        await store.finish_job(failed.job.id, [1])


async def test_a_job_is_not_finished_before_its_text_is_written(store: Store) -> None:
    begun = await begin(store)
    with pytest.raises(JobStateError) as early:
        await store.finish_job(begun.job.id, [1])
    assert early.value.state == "queued"


async def test_an_unknown_job_is_not_found(store: Store) -> None:
    for attempt in (
        store.job("nope"),
        store.start_job("nope"),
        store.attach_message("nope", 1, 1),
        store.write_result("nope", "x", RECIPE),
        store.cancel_job("nope"),
        store.finish_job("nope", []),
        store.fail_job("nope", "x"),
    ):
        with pytest.raises(JobNotFoundError):
            await attempt
    assert await store.open_job_of_turn("nope") is None


async def test_open_jobs_come_oldest_first(store: Store, clock: Clock) -> None:
    first = await begin(store)
    clock.now -= 60  # the clock was set back: ids still ascend, and the older time is the older job
    second = await begin(store)
    clock.now += 120
    third = await begin(store)
    assert [job.job.id for job in await store.open_jobs()] == [second.job.id, first.job.id, third.job.id]
    assert first.job.id < second.job.id < third.job.id


async def stored_tokens(store: Store) -> list[str | None]:
    rows = await store._database.read(lambda connection: connection.execute(jobs.select().order_by(jobs.c.id)))
    return [row.interaction_token for row in rows]


async def test_a_token_is_neither_given_out_nor_kept_after_fifteen_minutes(store: Store, clock: Clock) -> None:
    begun = await begin(store)
    clock.now += INTERACTION_TOKEN_S - 1
    assert (await store.job(begun.job.id)).interaction_token == "secret-token"
    clock.now += 1
    assert (await store.job(begun.job.id)).interaction_token is None
    (open_job,) = await store.open_jobs()
    assert open_job.job.interaction_token is None
    assert await stored_tokens(store) == ["secret-token"]
    await begin(store)
    assert await stored_tokens(store) == [None, "secret-token"]


async def test_a_start_forgets_tokens_that_expired_while_inkwell_was_down(tmp_path: Path, clock: Clock) -> None:
    async with Store.open(tmp_path / "inkwell.db", clock=clock) as store:
        await begin(store)
    clock.now += INTERACTION_TOKEN_S
    async with Store.open(tmp_path / "inkwell.db", clock=clock) as store:
        assert await stored_tokens(store) == [None]


async def test_neither_repr_nor_error_shows_a_token_or_text(store: Store) -> None:
    begun = await begin(store)
    assert "secret-token" not in repr(begun)
    with pytest.raises(Exception, match="CHECK") as refused:
        await store._database.write(
            lambda connection: connection.execute(jobs.update().values(state="done", error="whispered words"))
        )
    assert "whispered" not in str(refused.value)


async def test_the_recipe_of_an_answer_is_kept_whole(store: Store) -> None:
    begun = await begin(store)
    output = StoryOutput(
        request_id=begun.job.id,
        text=" two",
        finish_reason="stop",
        model_version="smollm2@3b1f",
        seed=5,
        prompt_tokens=40,
        new_tokens=2,
        prefill_s=0.25,
        decode_s=0.5,
    )
    turn = await store.write_result(begun.job.id, output.text, Recipe.of(output, begun.job.sampling))
    assert turn.recipe == Recipe(
        model_version="smollm2@3b1f",
        seed=5,
        sampling=Sampling(seed=5),
        finish_reason="stop",
        prompt_tokens=40,
        new_tokens=2,
        prefill_s=0.25,
        decode_s=0.5,
    )


async def test_a_job_of_another_version_with_an_unknown_sampling_field_still_opens(store: Store) -> None:
    await begin(store)
    foreign = {"seed": 9, "mirostat": 2}
    await store._database.write(lambda connection: connection.execute(jobs.update().values(sampling=foreign)))
    (open_job,) = await store.open_jobs()
    assert open_job.job.sampling == Sampling(seed=9)


async def test_counts_say_what_is_there(store: Store) -> None:
    empty = await store.counts()
    assert (empty.stories, empty.turns, empty.jobs) == (0, 0, {})
    assert empty.file_bytes > 0
    await begin(store)
    failed = await begin(store)
    await store.fail_job(failed.job.id, "no")
    counts = await store.counts()
    assert (counts.stories, counts.turns, counts.jobs) == (2, 4, {"queued": 1, "failed": 1})


QUOTA = Setting(key="quota", kind=int, default=5)
CHANNELS = Setting[tuple[int, ...]](key="channels", kind=tuple[int, ...], default=())


async def test_guild_settings_have_defaults_and_are_kept_apart(store: Store) -> None:
    assert await store.guild_setting(1, QUOTA) == 5
    await store.set_guild_setting(1, QUOTA, 9)
    await store.set_guild_setting(1, CHANNELS, (2**63 - 1, 7))
    await store.set_guild_setting(2, QUOTA, 3)
    assert await store.guild_setting(1, QUOTA) == 9
    assert await store.guild_setting(1, CHANNELS) == (2**63 - 1, 7)
    assert await store.guild_setting(2, QUOTA) == 3
    await store.set_guild_setting(1, QUOTA, None)
    assert await store.guild_setting(1, QUOTA) == 5
    assert await store.guild_setting(1, CHANNELS) == (2**63 - 1, 7)


async def test_a_setting_of_a_new_version_starts_from_its_default_and_keeps_the_old_value(store: Store) -> None:
    newer = Setting(key="quota", kind=str, default="five", version=2)
    await store.set_guild_setting(1, QUOTA, 9)
    assert await store.guild_setting(1, newer) == "five"
    await store.set_guild_setting(1, newer, "ten")
    assert await store.guild_setting(1, newer) == "ten"
    assert await store.guild_setting(1, QUOTA) == 9


async def test_a_setting_of_the_wrong_kind_is_refused_and_a_stored_one_ignored(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(msgspec.ValidationError):
        await store.set_guild_setting(1, QUOTA, "many")  # type: ignore[misc]
    await store._database.write(
        lambda connection: connection.execute(
            guild_settings.insert().values(guild_id=1, settings={"quota@1": "many"}, updated_at=0)
        )
    )
    assert await store.guild_setting(1, QUOTA) == 5
    assert "quota@1" in caplog.text


async def test_small_state_is_set_replaced_and_removed(store: Store) -> None:
    assert await store.get_value("commands") is None
    await store.set_value("commands", "hash 1")
    await store.set_value("commands", "hash \0\ud800")
    assert await store.get_value("commands") == "hash \ufffd\ufffd"
    await store.set_value("commands", None)
    assert await store.get_value("commands") is None
