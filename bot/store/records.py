"""Rows into frozen data and back. Knows the columns; decides nothing."""

from typing import Any

import msgspec
import sqlalchemy as sa

from bot.store.rows import Job, OpenJob, Recipe, Story, Turn
from bot.store.schema import jobs, stories, turns
from models.serving.requests import DEFAULT_MODEL, Sampling

INTERACTION_TOKEN_S = 15 * 60  # Discord accepts follow-ups for this long

_SAMPLING_FIELDS = frozenset(Sampling.__struct_fields__)
_MODEL, _ROUTED = "model", "routed"


def story_of(row: sa.RowMapping) -> Story:
    """The story in a row of `stories`."""
    return Story(**{column.name: row[column] for column in stories.columns})


def turn_of(row: sa.RowMapping, table: sa.FromClause = turns) -> Turn:
    """The turn in a row of `turns`, or of an alias of it."""
    values: dict[str, Any] = {column.name: row[column] for column in table.columns}
    recipe = values["recipe"]
    return Turn(
        **values
        | {
            "message_ids": tuple(values["message_ids"]),
            "recipe": None if recipe is None else msgspec.convert(recipe | _sampling(recipe), Recipe),
        }
    )


def job_of(row: sa.RowMapping, *, now: float) -> Job:
    """The job in a row of `jobs`. A token that Discord no longer takes is left out."""
    values: dict[str, Any] = {column.name: row[column] for column in jobs.columns}
    if row[jobs.c.created_at] + INTERACTION_TOKEN_S <= now:
        values["interaction_token"] = None
    document = values["sampling"]
    return Job(
        **values
        | {
            "sampling": msgspec.convert(_sampling(values)["sampling"], Sampling),
            "model": document.get(_MODEL, DEFAULT_MODEL),
            "routed": document.get(_ROUTED, False),
        }
    )


_parent = turns.alias("parent")

OPEN_JOBS = (
    sa.select(stories, turns, jobs, _parent)
    .select_from(jobs)
    .join(turns, turns.c.id == jobs.c.turn_id)
    .join(stories, stories.c.id == turns.c.story_id)
    .join(_parent, _parent.c.id == turns.c.parent_id)
)


def open_job_of(row: sa.RowMapping, *, now: float) -> OpenJob:
    """The job in a row of `OPEN_JOBS`, with its story and turns."""
    return OpenJob(story=story_of(row), prompt_turn=turn_of(row, _parent), turn=turn_of(row), job=job_of(row, now=now))


def recipe_document(recipe: Recipe | None) -> dict[str, Any] | None:
    """What stands in `turns.recipe`."""
    return None if recipe is None else msgspec.to_builtins(recipe)


def sampling_document(sampling: Sampling, model: str, *, routed: bool) -> dict[str, Any]:
    """What stands in `jobs.sampling`: how the words are to be drawn, from which model, and whether nobody chose it."""
    return {**msgspec.to_builtins(sampling), _MODEL: model, **({_ROUTED: True} if routed else {})}


def _sampling(document: dict[str, Any]) -> dict[str, Any]:
    """Its sampling without fields that only another version of Inkwell knows."""
    return {"sampling": {name: value for name, value in document["sampling"].items() if name in _SAMPLING_FIELDS}}
