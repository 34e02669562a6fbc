"""The story tree under every order of commands that hypothesis finds: the promises of `bot.store.tree` hold."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from bot.store import OpenJob, Recipe, Store
from bot.store.errors import JobStateError, NothingToUndoError, TurnBusyError, TurnUndoneError, TurnWithoutTextError
from bot.store.schema import jobs, stories, turns
from models.serving.requests import Sampling

T = TypeVar("T")

MIA = 11
ASKED: dict[str, Any] = {
    "user_id": MIA,
    "guild_id": 1,
    "channel_id": 2,
    "sampling": Sampling(),
    "application_id": 3,
    "interaction_token": "token",
    "locale": "en-GB",
}
RECIPE = Recipe(model_version="tiny@1", seed=0, sampling=Sampling())
TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)


class StoryTree(RuleBasedStateMachine):
    """Two stories in one store, driven by any mix of commands; a model of plain dictionaries says what must come."""

    turn_ids = Bundle("turn_ids")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp(prefix="inkwell-tree-"))
        self.opened = Store.open(self.directory / "inkwell.db")
        self.store = self.wait(self.opened.__aenter__())
        self.texts: dict[str, str] = {}  # turn id -> what its path must read
        self.undone: set[str] = set()

    def wait(self, awaitable: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await awaitable

        return self.runner.run(awaited())

    def teardown(self) -> None:
        self.wait(self.opened.__aexit__(None, None, None))
        self.runner.close()
        shutil.rmtree(self.directory)

    def opened_by(self, job: OpenJob, own_text: str = "") -> Any:
        before = self.texts.get(job.prompt_turn.parent_id or "", "")
        self.texts.setdefault(job.prompt_turn.id, before + job.prompt_turn.text)
        assert job.turn.state == "open"
        assert job.turn.parent_id == job.prompt_turn.id
        return multiple(job.prompt_turn.id, job.turn.id)

    @initialize(target=turn_ids)
    def begin(self) -> Any:
        """One story that is three turns long, and one whose first continuation is still being written."""
        first = self.wait(self.store.begin_story(prompt="A", **ASKED))
        second = self.wait(self.store.begin_story(prompt="B", **ASKED))
        self.opened_by(first)
        self.opened_by(second)
        self.end_job(first.turn.id, "a", "write", True)
        more = self.wait(self.store.continue_story(first.turn.id, **ASKED))
        self.opened_by(more)
        self.end_job(more.turn.id, "aa", "write", False)
        return multiple(first.prompt_turn.id, first.turn.id, more.turn.id, second.turn.id)

    @rule(target=turn_ids, turn_id=turn_ids, text=st.none() | TEXTS)
    def continue_story(self, turn_id: str, text: str | None) -> Any:
        try:
            job = self.wait(self.store.continue_story(turn_id, text=text, **ASKED))
        except TurnUndoneError:
            assert turn_id in self.undone
            return multiple()
        except (TurnBusyError, TurnWithoutTextError):
            return multiple()
        assert turn_id not in self.undone
        return self.opened_by(job)

    @rule(target=turn_ids, turn_id=turn_ids)
    def retry(self, turn_id: str) -> Any:
        with contextlib.suppress(TurnBusyError, TurnUndoneError, TurnWithoutTextError):
            return self.opened_by(self.wait(self.store.retry(turn_id, **ASKED)))
        return multiple()

    @rule(turn_id=turn_ids)
    def undo(self, turn_id: str) -> None:
        try:
            undone = self.wait(self.store.undo(turn_id, MIA))
        except (TurnBusyError, NothingToUndoError):
            assert turn_id not in self.undone
            return
        assert undone.changed == (turn_id not in self.undone)
        again = self.wait(self.store.undo(turn_id, MIA))
        assert (again.changed, again.head, again.story) == (False, undone.head, undone.story)
        self.undone |= {row["id"] for row in self.rows(turns) if row["undone"]}
        assert turn_id in self.undone

    @rule(
        turn_id=turn_ids,
        text=st.just("") | TEXTS,
        end=st.sampled_from(["write", "cancel", "fail"]),
        finish=st.booleans(),
    )
    def end_some_job(self, turn_id: str, text: str, end: str, finish: bool) -> None:
        self.end_job(turn_id, text, end, finish)

    def end_job(self, turn_id: str, text: str, end: str, finish: bool) -> None:
        job = self.wait(self.store.open_job_of_turn(turn_id))
        if job is None:
            return
        step: Any = {
            "write": lambda: self.store.write_result(job.job.id, text, RECIPE),
            "cancel": lambda: self.store.cancel_job(job.job.id, text),
            "fail": lambda: self.store.fail_job(job.job.id, "because"),
        }[end]
        try:
            self.wait(step())
        except JobStateError:
            assert job.job.state == "written"
            assert end != "fail"
        else:
            if job.job.state != "written":
                written = self.wait(self.store.turn(turn_id))
                assert job.turn.parent_id is not None
                self.texts[turn_id] = self.texts[job.turn.parent_id] + written.text
        if finish:
            with contextlib.suppress(JobStateError):
                self.wait(self.store.finish_job(job.job.id, [1, 2]))

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        async def select() -> list[dict[str, Any]]:
            result = await self.store._database.read(lambda connection: connection.execute(sa.select(table)))
            return [dict(row) for row in result.mappings()]

        return self.wait(select())

    @invariant()
    def the_tree_holds(self) -> None:
        by_id = {row["id"]: row for row in self.rows(turns)}
        for story in self.rows(stories):
            head = by_id[story["head_turn_id"]]
            assert head["text"]
            assert not head["undone"]
            assert head["story_id"] == story["id"]
        for turn in by_id.values():
            parent = by_id.get(turn["parent_id"])
            assert (parent is None) == (turn["parent_id"] is None)
            if parent is not None and parent["undone"]:
                assert turn["undone"]
            if turn["state"] == "open":
                assert parent is not None
                assert not parent["undone"]
        open_parents = [turn["parent_id"] for turn in by_id.values() if turn["state"] == "open"]
        assert len(open_parents) == len(set(open_parents))
        assert {turn["id"] for turn in by_id.values() if turn["undone"]} == self.undone

    @invariant()
    def jobs_and_turns_agree(self) -> None:
        states = {row["id"]: row["state"] for row in self.rows(turns)}
        of_turn = {row["turn_id"]: row for row in self.rows(jobs)}
        assert set(of_turn) == {row["id"] for row in self.rows(turns) if row["kind"] == "continuation"}
        for turn_id, job in of_turn.items():
            assert (states[turn_id] == "open") == (job["state"] in ("queued", "running"))
            if job["state"] in ("written", "done"):
                assert states[turn_id] in ("done", "cancelled")
            if job["state"] in ("done", "failed"):
                assert job["interaction_token"] is None

    @invariant()
    def every_path_reads_as_it_was_written(self) -> None:
        for turn_id, text in self.texts.items():
            path = self.wait(self.store.story_path(turn_id))
            assert "".join(turn.text for turn in path) == text
            assert path[0].parent_id is None
            assert len({turn.id for turn in path}) == len(path)


TestStoryTree = StoryTree.TestCase
TestStoryTree.settings = settings(
    max_examples=12,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
