"""Receipts of portraits, and the faces of a story's characters.

Knows nothing but the schema of its day. There is no way down: the copy from before an upgrade is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "portrait_receipts",
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("recipe", sa.JSON, nullable=False),
        sa.Column("model_version", sa.String(100), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_portrait_receipts"),
        sa.CheckConstraint("kind IN ('portrait', 'morph')", name=op.f("ck_portrait_receipts_kind")),
    )
    op.create_index("ix_portrait_receipts_author_key_created_at", "portrait_receipts", ["author_key", "created_at"])

    op.create_table(
        "story_characters",
        sa.Column("story_id", sa.String(16), nullable=False),
        sa.Column("name_key", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("picture", sa.LargeBinary, nullable=False),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("story_id", "name_key", name="pk_story_characters"),
        sa.ForeignKeyConstraint(["story_id"], ["stories.id"], name="fk_story_characters_story_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["code"], ["portrait_receipts.code"], name="fk_story_characters_code", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_story_characters_code", "story_characters", ["code"])
    op.create_index("ix_story_characters_author_key", "story_characters", ["author_key"])
