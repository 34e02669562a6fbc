"""Stories, turns, jobs, guild settings and small state.

Knows nothing but the schema of its day. There is no way down: the copy from before an upgrade is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    sqlite = op.get_context().dialect.name == "sqlite"
    head = sa.ForeignKeyConstraint(
        ["id", "head_turn_id"],
        ["turns.story_id", "turns.id"],
        name="fk_stories_head",
        deferrable=True,
        initially="DEFERRED",
    )
    op.create_table(
        "stories",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("guild_id", sa.BigInteger),
        sa.Column("channel_id", sa.BigInteger, nullable=False),
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("language", sa.String(16), nullable=False),
        sa.Column("head_turn_id", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stories"),
        # SQLite adds no constraint to a table that exists, but lets this one name a table that doesn't yet.
        *([head] if sqlite else []),
    )
    op.create_index("ix_stories_channel_id_updated_at", "stories", ["channel_id", "updated_at"])
    op.create_index("ix_stories_author_key", "stories", ["author_key"])

    op.create_table(
        "turns",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("story_id", sa.String(16), nullable=False),
        sa.Column("parent_id", sa.String(16)),
        sa.Column("author_key", sa.String(64)),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("undone", sa.Boolean, nullable=False),
        sa.Column("recipe", sa.JSON),
        sa.Column("channel_id", sa.BigInteger),
        sa.Column("message_ids", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_turns"),
        sa.UniqueConstraint("story_id", "id", name="uq_turns_story_id_id"),
        sa.ForeignKeyConstraint(["story_id"], ["stories.id"], name="fk_turns_story_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["story_id", "parent_id"],
            ["turns.story_id", "turns.id"],
            name="fk_turns_story_id_parent_id",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("kind IN ('prompt', 'continuation')", name=op.f("ck_turns_kind")),
        sa.CheckConstraint("state IN ('open', 'done', 'failed', 'cancelled')", name=op.f("ck_turns_state")),
        sa.CheckConstraint(
            "kind = 'prompt' OR (author_key IS NULL AND parent_id IS NOT NULL)", name=op.f("ck_turns_continuation")
        ),
        sa.CheckConstraint("kind = 'continuation' OR (state = 'done' AND text <> '')", name=op.f("ck_turns_prompt")),
        sa.CheckConstraint("(state = 'open') = (finished_at IS NULL)", name=op.f("ck_turns_finished")),
        sa.CheckConstraint("NOT (undone AND state = 'open')", name=op.f("ck_turns_undone")),
        sa.CheckConstraint("state NOT IN ('open', 'failed') OR text = ''", name=op.f("ck_turns_text")),
    )
    op.create_index("ix_turns_parent_id", "turns", ["parent_id"])
    op.create_index("ix_turns_author_key", "turns", ["author_key"])
    is_open, is_first = sa.text("state = 'open'"), sa.text("parent_id IS NULL")
    op.create_index(
        "one_open_turn_per_parent",
        "turns",
        ["parent_id"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_index(
        "one_first_turn_per_story",
        "turns",
        ["story_id"],
        unique=True,
        sqlite_where=is_first,
        postgresql_where=is_first,
    )
    if not sqlite:
        op.create_foreign_key(
            "fk_stories_head",
            "stories",
            "turns",
            ["id", "head_turn_id"],
            ["story_id", "id"],
            deferrable=True,
            initially="DEFERRED",
        )

    op.create_table(
        "jobs",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("turn_id", sa.String(16), nullable=False),
        sa.Column("state", sa.String(7), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("guild_id", sa.BigInteger),
        sa.Column("channel_id", sa.BigInteger, nullable=False),
        sa.Column("message_id", sa.BigInteger),
        sa.Column("application_id", sa.BigInteger, nullable=False),
        sa.Column("interaction_token", sa.String(512)),
        sa.Column("locale", sa.String(16), nullable=False),
        sa.Column("user_key", sa.String(64), nullable=False),
        sa.Column("sampling", sa.JSON, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("turn_id", name="uq_jobs_turn_id"),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_jobs_turn_id", ondelete="CASCADE"),
        sa.CheckConstraint("state IN ('queued', 'running', 'written', 'done', 'failed')", name=op.f("ck_jobs_state")),
        sa.CheckConstraint("kind IN ('start', 'continue', 'retry')", name=op.f("ck_jobs_kind")),
        sa.CheckConstraint("state NOT IN ('done', 'failed') OR interaction_token IS NULL", name=op.f("ck_jobs_token")),
    )
    op.create_index("ix_jobs_state_created_at", "jobs", ["state", "created_at"])
    has_token = sa.text("interaction_token IS NOT NULL")
    op.create_index("jobs_with_token", "jobs", ["created_at"], sqlite_where=has_token, postgresql_where=has_token)

    op.create_table(
        "guild_settings",
        sa.Column("guild_id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("guild_id", name="pk_guild_settings"),
    )
    op.create_table(
        "kv",
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_kv"),
    )
