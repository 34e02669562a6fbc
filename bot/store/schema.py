"""The tables, and the promises that they keep by themselves. Knows no query and no driver.

A story is a tree of turns. What a member typed is a turn of kind 'prompt', what a model wrote one of kind
'continuation'; an open continuation is a place where words are being written, and its job says for whom. People stand
in it only as keyed hashes (`Store.person_key`).

Times are Unix seconds. States and their meaning:

| Turn | | Job | |
|---|---|---|---|
| open | being written, no text yet | queued | nobody began |
| done | its text is final | running | an engine has it |
| cancelled | stopped; its text is what there was | written | the text is safe, the message isn't final yet |
| failed | no text will come | done, failed | ended |
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from bot.store.text import storable, storable_json


class Prose(sa.types.TypeDecorator[str]):
    """Text made storable on its way in, so that no caller can forget it."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class Word(sa.types.TypeDecorator[str]):
    """A short string (an id, a key, a language tag), made storable in the same way: `Word(16)`."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class Document(sa.types.TypeDecorator[Any]):
    """JSON whose strings are made storable on their way in. None is SQL's NULL."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return storable_json(value)


TURN_KINDS = ("prompt", "continuation")
TURN_STATES = ("open", "done", "failed", "cancelled")
JOB_KINDS = ("start", "continue", "retry")
JOB_STATES = ("queued", "running", "written", "done", "failed")
OPEN_JOB_STATES = ("queued", "running", "written")
UNWRITTEN_JOB_STATES = ("queued", "running")
TAUGHT_SOURCES = ("file", "story")
TAUGHT_STATES = ("learning", "learned", "forgetting")

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


stories = sa.Table(
    "stories",
    metadata,
    sa.Column("id", Word(16), primary_key=True),
    sa.Column("guild_id", sa.BigInteger),  # NULL: in a direct message
    sa.Column("channel_id", sa.BigInteger, nullable=False),
    sa.Column("author_key", Word(64), nullable=False),
    sa.Column("title", Prose, nullable=False),
    sa.Column("language", Word(16), nullable=False),
    sa.Column("head_turn_id", Word(16), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    # Composite: the head is a turn of this very story. Deferred: story and first turn are born in one transaction.
    sa.ForeignKeyConstraint(
        ["id", "head_turn_id"],
        ["turns.story_id", "turns.id"],
        name="fk_stories_head",
        deferrable=True,
        initially="DEFERRED",
        use_alter=True,
    ),
    sa.Index(None, "channel_id", "updated_at"),
    sa.Index(None, "author_key"),
)

turns = sa.Table(
    "turns",
    metadata,
    sa.Column("id", Word(16), primary_key=True),
    sa.Column("story_id", sa.ForeignKey("stories.id", ondelete="CASCADE"), nullable=False),
    sa.Column("parent_id", Word(16)),  # NULL: the first turn
    sa.Column("author_key", Word(64)),  # NULL: a model wrote it
    sa.Column("kind", Word(12), nullable=False),
    sa.Column("text", Prose, nullable=False),
    sa.Column("state", Word(9), nullable=False),
    sa.Column("undone", sa.Boolean, nullable=False),
    sa.Column("recipe", Document),
    sa.Column("channel_id", sa.BigInteger),
    sa.Column("message_ids", Document, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("finished_at", sa.Double),
    sa.UniqueConstraint("story_id", "id"),
    sa.ForeignKeyConstraint(["story_id", "parent_id"], ["turns.story_id", "turns.id"], ondelete="CASCADE"),
    sa.CheckConstraint(_one_of("kind", TURN_KINDS), name="kind"),
    sa.CheckConstraint(_one_of("state", TURN_STATES), name="state"),
    sa.CheckConstraint("kind = 'prompt' OR (author_key IS NULL AND parent_id IS NOT NULL)", name="continuation"),
    sa.CheckConstraint("kind = 'continuation' OR (state = 'done' AND text <> '')", name="prompt"),
    sa.CheckConstraint("(state = 'open') = (finished_at IS NULL)", name="finished"),
    sa.CheckConstraint("NOT (undone AND state = 'open')", name="undone"),
    sa.CheckConstraint("state NOT IN ('open', 'failed') OR text = ''", name="text"),
    sa.Index(None, "parent_id"),
    sa.Index(None, "author_key"),
    # Two people who press Continue at once can't both be served, whatever the code believes.
    sa.Index(
        "one_open_turn_per_parent",
        "parent_id",
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    ),
    sa.Index(
        "one_first_turn_per_story",
        "story_id",
        unique=True,
        sqlite_where=sa.text("parent_id IS NULL"),
        postgresql_where=sa.text("parent_id IS NULL"),
    ),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", Word(16), primary_key=True),
    sa.Column("turn_id", sa.ForeignKey("turns.id", ondelete="CASCADE"), nullable=False, unique=True),
    sa.Column("state", Word(7), nullable=False),
    sa.Column("kind", Word(8), nullable=False),
    sa.Column("guild_id", sa.BigInteger),
    sa.Column("channel_id", sa.BigInteger, nullable=False),
    sa.Column("message_id", sa.BigInteger),
    sa.Column("application_id", sa.BigInteger, nullable=False),
    sa.Column("interaction_token", Word(512)),
    sa.Column("locale", Word(16), nullable=False),
    sa.Column("user_key", Word(64), nullable=False),
    sa.Column("sampling", Document, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("error", Prose),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.CheckConstraint(_one_of("state", JOB_STATES), name="state"),
    sa.CheckConstraint(_one_of("kind", JOB_KINDS), name="kind"),
    # A token lets its holder speak as the bot: it doesn't outlive its use.
    sa.CheckConstraint("state NOT IN ('done', 'failed') OR interaction_token IS NULL", name="token"),
    sa.Index(None, "state", "created_at"),
    sa.Index(
        "jobs_with_token",
        "created_at",
        sqlite_where=sa.text("interaction_token IS NOT NULL"),
        postgresql_where=sa.text("interaction_token IS NOT NULL"),
    ),
)

# What a server's voice was taught. A model can't unlearn one text: the others are kept to be learned again.
taught_texts = sa.Table(
    "taught_texts",
    metadata,
    sa.Column("id", Word(16), primary_key=True),
    sa.Column("guild_id", sa.BigInteger, nullable=False),
    sa.Column("author_key", Word(64), nullable=False),
    sa.Column("source", Word(5), nullable=False),
    sa.Column("title", Prose, nullable=False),
    sa.Column("text", Prose, nullable=False),
    sa.Column("characters", sa.Integer, nullable=False),
    sa.Column("state", Word(10), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.CheckConstraint(_one_of("source", TAUGHT_SOURCES), name="source"),
    sa.CheckConstraint(_one_of("state", TAUGHT_STATES), name="state"),
    sa.CheckConstraint("(state = 'forgetting') = (text = '')", name="text"),
    sa.Index(None, "guild_id"),
    sa.Index(None, "author_key"),
)

guild_settings = sa.Table(
    "guild_settings",
    metadata,
    sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("settings", Document, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)

# Small state of the bot itself, e.g. the hash of the slash commands that were last synced.
kv = sa.Table(
    "kv",
    metadata,
    sa.Column("key", Word(100), primary_key=True),
    sa.Column("value", Prose, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)
