"""Consents, corrections of moods, and the counts of sampled channels.

Knows nothing but the schema of its day. There is no way down: the copy from before an upgrade is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("wording", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("author_key", name="pk_consents"),
        sa.UniqueConstraint("author_key", "level", name="uq_consents_author_key_level"),
        sa.CheckConstraint("level IN ('private', 'library', 'training')", name=op.f("ck_consents_level")),
    )
    op.create_table(
        "mood_corrections",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("answered", sa.String(8), nullable=False),
        sa.Column("label", sa.String(8), nullable=False),
        sa.Column("method", sa.String(20), nullable=False),
        sa.Column("model_version", sa.String(200), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mood_corrections"),
        sa.ForeignKeyConstraint(
            ["author_key", "level"],
            ["consents.author_key", "consents.level"],
            name="fk_mood_corrections_author_key_level",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("level = 'training'", name=op.f("ck_mood_corrections_level")),
        sa.CheckConstraint(
            "answered IN ('negative', 'neutral', 'positive')", name=op.f("ck_mood_corrections_answered")
        ),
        sa.CheckConstraint("label IN ('negative', 'neutral', 'positive')", name=op.f("ck_mood_corrections_label")),
    )
    op.create_index("ix_mood_corrections_author_key", "mood_corrections", ["author_key"])
    op.create_index("ix_mood_corrections_created_at", "mood_corrections", ["created_at"])
    op.create_table(
        "mood_channels",
        sa.Column("channel_id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("alert_channel_id", sa.BigInteger),
        sa.Column("alerted", sa.Boolean, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("channel_id", name="pk_mood_channels"),
    )
    op.create_index("ix_mood_channels_guild_id", "mood_channels", ["guild_id"])
    op.create_table(
        "mood_counts",
        sa.Column("channel_id", sa.BigInteger, nullable=False),
        sa.Column("hour", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("hours", sa.Integer, nullable=False),
        sa.Column("negative", sa.Integer, nullable=False),
        sa.Column("neutral", sa.Integer, nullable=False),
        sa.Column("positive", sa.Integer, nullable=False),
        sa.Column("unsure", sa.Integer, nullable=False),
        sa.Column("skipped", sa.Integer, nullable=False),
        sa.Column("authors", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("channel_id", "hour", name="pk_mood_counts"),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["mood_channels.channel_id"], name="fk_mood_counts_channel_id", ondelete="CASCADE"
        ),
        sa.CheckConstraint("authors >= 5", name=op.f("ck_mood_counts_authors")),
        sa.CheckConstraint("hours BETWEEN 1 AND 24", name=op.f("ck_mood_counts_hours")),
    )
    op.create_index("ix_mood_counts_hour", "mood_counts", ["hour"])
    op.create_table(
        "mood_optouts",
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("author_key", name="pk_mood_optouts"),
    )
