"""Receipts of verses, beside those of portraits and morphs.

Knows nothing but the schema of its day. There is no way down: the copy from before an upgrade is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # SQLite can't change a check: the table is built anew. Faces of stories refer to it by name and stay as they are.
    # It is spelt out, so that the SQL can be printed without a database to look at.
    without_check = sa.Table(
        "portrait_receipts",
        sa.MetaData(),
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("recipe", sa.JSON, nullable=False),
        sa.Column("model_version", sa.String(100), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_portrait_receipts"),
        sa.Index("ix_portrait_receipts_author_key_created_at", "author_key", "created_at"),
    )
    with op.batch_alter_table("portrait_receipts", recreate="always", copy_from=without_check) as batch:
        batch.create_check_constraint(op.f("ck_portrait_receipts_kind"), "kind IN ('portrait', 'morph', 'verse')")
