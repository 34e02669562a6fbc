"""Drawings that people gave for portraits to learn from.

Knows nothing but the schema of its day. There is no way down: the copy from before an upgrade is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "given_pictures",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("png", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_given_pictures"),
        sa.UniqueConstraint("author_key", "digest", name="uq_given_pictures_author_key_digest"),
        sa.ForeignKeyConstraint(
            ["author_key", "level"],
            ["consents.author_key", "consents.level"],
            name="fk_given_pictures_author_key_level",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("level = 'training'", name=op.f("ck_given_pictures_level")),
        sa.CheckConstraint("length(png) BETWEEN 1 AND 4096", name=op.f("ck_given_pictures_png")),
    )
    op.create_index("ix_given_pictures_created_at", "given_pictures", ["created_at"])
