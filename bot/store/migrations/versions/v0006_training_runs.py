"""Runs of training, whose words an open one was given, and when the next begins.

Knows nothing but the schema of its day. There is no way down: the copy from before an upgrade is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "training_runs",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("slot", sa.Integer),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("trigger", sa.String(8), nullable=False),
        sa.Column("user_key", sa.String(64)),
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("channel_id", sa.BigInteger, nullable=False),
        sa.Column("message_id", sa.BigInteger),
        sa.Column("locale", sa.String(16), nullable=False),
        sa.Column("families", sa.JSON, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("stage", sa.String(12), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("counted", sa.JSON),
        sa.Column("judged", sa.JSON, nullable=False),
        sa.Column("skipped", sa.JSON, nullable=False),
        sa.Column("curves", sa.JSON, nullable=False),
        sa.Column("decisions", sa.JSON, nullable=False),
        sa.Column("authors", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("resumes", sa.Integer, nullable=False),
        sa.Column("snapshot_key", sa.String(64), nullable=False),
        sa.Column("reported", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("began_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_training_runs"),
        sa.UniqueConstraint("slot", name="uq_training_runs_slot"),
        sa.CheckConstraint("slot = 1", name=op.f("ck_training_runs_slot")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'ended', 'failed', 'cancelled')", name=op.f("ck_training_runs_state")
        ),
        sa.CheckConstraint("trigger IN ('manual', 'schedule')", name=op.f("ck_training_runs_trigger")),
        sa.CheckConstraint("(slot IS NULL) = (state NOT IN ('queued', 'running'))", name=op.f("ck_training_runs_open")),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (state IN ('queued', 'running'))", name=op.f("ck_training_runs_ended")
        ),
        sa.CheckConstraint("slot IS NOT NULL OR snapshot_key = ''", name=op.f("ck_training_runs_snapshot_key")),
    )
    op.create_index("ix_training_runs_created_at", "training_runs", ["created_at"])

    op.create_table(
        "training_run_authors",
        sa.Column("run_id", sa.String(16), nullable=False),
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "author_key", name="pk_training_run_authors"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["training_runs.id"], name="fk_training_run_authors_run_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["author_key", "level"],
            ["consents.author_key", "consents.level"],
            name="fk_training_run_authors_author_key_level",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("level = 'training'", name=op.f("ck_training_run_authors_level")),
    )
    op.create_index("ix_training_run_authors_author_key_level", "training_run_authors", ["author_key", "level"])

    op.create_table(
        "training_schedule",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("hour", sa.Integer, nullable=False),
        sa.Column("weekday", sa.Integer),
        sa.Column("families", sa.JSON, nullable=False),
        sa.Column("user_key", sa.String(64)),
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("channel_id", sa.BigInteger, nullable=False),
        sa.Column("locale", sa.String(16), nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_training_schedule"),
        sa.CheckConstraint("id = 1", name=op.f("ck_training_schedule_one")),
        sa.CheckConstraint("hour BETWEEN 0 AND 23", name=op.f("ck_training_schedule_hour")),
        sa.CheckConstraint("weekday BETWEEN 0 AND 6", name=op.f("ck_training_schedule_weekday")),
    )
