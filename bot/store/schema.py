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
CONSENT_LEVELS = ("private", "library", "training")
MOOD_LABELS = ("negative", "neutral", "positive")
MIN_AUTHORS = 5  # counts of fewer people are not kept: they would tell of persons
PORTRAIT_KINDS = ("portrait", "morph", "verse")

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def one_of(column: str, values: tuple[str, ...]) -> str:
    """The condition that a column holds one of these words."""
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
    sa.CheckConstraint(one_of("kind", TURN_KINDS), name="kind"),
    sa.CheckConstraint(one_of("state", TURN_STATES), name="state"),
    sa.CheckConstraint("kind = 'prompt' OR (author_key IS NULL AND parent_id IS NOT NULL)", name="continuation"),
    sa.CheckConstraint("kind = 'continuation' OR (state = 'done' AND text <> '')", name="prompt"),
    sa.CheckConstraint("(state = 'open') = (finished_at IS NULL)", name="finished"),
    sa.CheckConstraint("NOT (undone AND state = 'open')", name="undone"),
    sa.CheckConstraint("state NOT IN ('open', 'failed') OR text = ''", name="text"),
    sa.Index(None, "parent_id"),
    sa.Index(None, "author_key"),
    sa.Index("one_author_per_turn", "story_id", "id", "author_key", unique=True),  # what a shared turn refers to
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
    sa.CheckConstraint(one_of("state", JOB_STATES), name="state"),
    sa.CheckConstraint(one_of("kind", JOB_KINDS), name="kind"),
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
    sa.CheckConstraint(one_of("source", TAUGHT_SOURCES), name="source"),
    sa.CheckConstraint(one_of("state", TAUGHT_STATES), name="state"),
    sa.CheckConstraint("(state = 'forgetting') = (text = '')", name="text"),
    sa.Index(None, "guild_id"),
    sa.Index(None, "author_key"),
)

# What somebody allows with their own words. No row: private, and never asked. Where `level` is true only of stories
# that they chose, `general` is their level for everything else; NULL: the same.
consents = sa.Table(
    "consents",
    metadata,
    sa.Column("author_key", Word(64), primary_key=True),
    sa.Column("level", Word(8), nullable=False),
    sa.Column("since", sa.Double, nullable=False),
    sa.Column("wording", sa.Integer, nullable=False),  # the version of the words to which they agreed
    sa.Column("general", Word(8)),
    sa.UniqueConstraint("author_key", "level"),  # what a row that needs a level refers to
    sa.CheckConstraint(one_of("level", CONSENT_LEVELS), name="level"),
)

# A mood that its author corrected, to train on. The row refers to a consent at the level 'training': without one it
# can't be, it goes when that goes, and a consent with such rows can't be lowered in place.
mood_corrections = sa.Table(
    "mood_corrections",
    metadata,
    sa.Column("id", Word(16), primary_key=True),
    sa.Column("author_key", Word(64), nullable=False),
    sa.Column("level", Word(8), nullable=False),
    sa.Column("text", Prose, nullable=False),
    sa.Column("answered", Word(8), nullable=False),
    sa.Column("label", Word(8), nullable=False),
    sa.Column("method", Word(20), nullable=False),
    sa.Column("model_version", Word(200), nullable=False),
    sa.Column("language", Word(8), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.ForeignKeyConstraint(["author_key", "level"], ["consents.author_key", "consents.level"], ondelete="CASCADE"),
    sa.CheckConstraint("level = 'training'", name="level"),
    sa.CheckConstraint(one_of("answered", MOOD_LABELS), name="answered"),
    sa.CheckConstraint(one_of("label", MOOD_LABELS), name="label"),
    sa.Index(None, "author_key"),
    sa.Index(None, "created_at"),
)

# Channels whose mood an admin has sampled. What was counted there goes with the row.
mood_channels = sa.Table(
    "mood_channels",
    metadata,
    sa.Column("channel_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("guild_id", sa.BigInteger, nullable=False),
    sa.Column("alert_channel_id", sa.BigInteger),  # NULL: nobody is told of a sudden drop
    sa.Column("alerted", sa.Boolean, nullable=False),  # told of one that has not passed yet
    sa.Column("since", sa.Double, nullable=False),
    sa.Index(None, "guild_id"),
)

# Messages of each class, in `hours` hours from `hour` (Unix hours) on. Numbers only, and only of enough people.
mood_counts = sa.Table(
    "mood_counts",
    metadata,
    sa.Column("channel_id", sa.ForeignKey("mood_channels.channel_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("hours", sa.Integer, nullable=False),
    sa.Column("negative", sa.Integer, nullable=False),
    sa.Column("neutral", sa.Integer, nullable=False),
    sa.Column("positive", sa.Integer, nullable=False),
    sa.Column("unsure", sa.Integer, nullable=False),
    sa.Column("skipped", sa.Integer, nullable=False),  # came too fast to be read
    sa.Column("authors", sa.Integer, nullable=False),
    sa.CheckConstraint(f"authors >= {MIN_AUTHORS}", name="authors"),
    sa.CheckConstraint("hours BETWEEN 1 AND 24", name="hours"),
    sa.Index(None, "hour"),
)

# Members whose messages are not counted in any channel.
mood_optouts = sa.Table(
    "mood_optouts",
    metadata,
    sa.Column("author_key", Word(64), primary_key=True),
    sa.Column("since", sa.Double, nullable=False),
)

# What reproduces a picture or a verse. It holds the seed words that somebody typed, and no message.
portrait_receipts = sa.Table(
    "portrait_receipts",
    metadata,
    sa.Column("code", Word(16), primary_key=True),
    sa.Column("kind", Word(8), nullable=False),
    sa.Column("author_key", Word(64), nullable=False),
    sa.Column("recipe", Document, nullable=False),
    sa.Column("model_version", Word(100), nullable=False),
    sa.Column("digest", Word(64), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.CheckConstraint(one_of("kind", PORTRAIT_KINDS), name="kind"),
    sa.Index(None, "author_key", "created_at"),
)

# Faces of a story's characters. The picture is kept beside its receipt: a newer model would draw another face.
story_characters = sa.Table(
    "story_characters",
    metadata,
    sa.Column("story_id", sa.ForeignKey("stories.id", ondelete="CASCADE"), nullable=False),
    sa.Column("name_key", Word(64), nullable=False),
    sa.Column("name", Prose, nullable=False),
    sa.Column("code", sa.ForeignKey("portrait_receipts.code", ondelete="CASCADE"), nullable=False),
    sa.Column("author_key", Word(64), nullable=False),
    sa.Column("picture", sa.LargeBinary, nullable=False),
    sa.Column("attributes", Document, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.PrimaryKeyConstraint("story_id", "name_key"),
    sa.Index(None, "code"),
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
