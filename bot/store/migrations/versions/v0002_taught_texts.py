"""Texts that a server's voice was taught.

Knows nothing but the schema of its day. There is no way down: the copy from before an upgrade is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "taught_texts",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("source", sa.String(5), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("characters", sa.Integer, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_taught_texts"),
        sa.CheckConstraint("source IN ('file', 'story')", name=op.f("ck_taught_texts_source")),
        sa.CheckConstraint("state IN ('learning', 'learned', 'forgetting')", name=op.f("ck_taught_texts_state")),
        sa.CheckConstraint("(state = 'forgetting') = (text = '')", name=op.f("ck_taught_texts_text")),
    )
    op.create_index("ix_taught_texts_guild_id", "taught_texts", ["guild_id"])
    op.create_index("ix_taught_texts_author_key", "taught_texts", ["author_key"])
