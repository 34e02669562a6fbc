"""Texts of a run's candidate and of what answered before it, and people's blind votes on them.

Knows nothing but the schema of its day. There is no way down: the copy from before an upgrade is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ballots",
        sa.Column("run_id", sa.String(16), nullable=False),
        sa.Column("family", sa.String(12), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("against", sa.String(64), nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("candidate", sa.Text, nullable=False),
        sa.Column("other", sa.Text, nullable=False),
        sa.Column("candidate_first", sa.Boolean, nullable=False),
        sa.Column("closed_at", sa.Double),
        sa.PrimaryKeyConstraint("run_id", "family", "number", name="pk_ballots"),
        sa.ForeignKeyConstraint(["run_id"], ["training_runs.id"], name="fk_ballots_run_id", ondelete="CASCADE"),
        sa.CheckConstraint("number BETWEEN 1 AND 9", name=op.f("ck_ballots_number")),
    )
    op.create_table(
        "ballot_votes",
        sa.Column("run_id", sa.String(16), nullable=False),
        sa.Column("family", sa.String(12), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("user_key", sa.String(64), nullable=False),
        sa.Column("choice", sa.String(4), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "family", "number", "user_key", name="pk_ballot_votes"),
        sa.ForeignKeyConstraint(
            ["run_id", "family", "number"],
            ["ballots.run_id", "ballots.family", "ballots.number"],
            name="fk_ballot_votes_run_id_family_number",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("choice IN ('a', 'b', 'same')", name=op.f("ck_ballot_votes_choice")),
    )
    op.create_index("ix_ballot_votes_user_key", "ballot_votes", ["user_key"])
