"""Words in stories that their authors let train, their choices for single stories, and who left.

Knows nothing but the schema of its day. There is no way down: the copy from before an upgrade is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("consents", sa.Column("general", sa.String(8)))
    op.create_index("one_author_per_turn", "turns", ["story_id", "id", "author_key"], unique=True)

    op.create_table(
        "story_choices",
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("story_id", sa.String(16), nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("own", sa.Boolean, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("wording", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("author_key", "story_id", name="pk_story_choices"),
        sa.UniqueConstraint("author_key", "story_id", "level", name="uq_story_choices_author_key_story_id_level"),
        sa.ForeignKeyConstraint(["story_id"], ["stories.id"], name="fk_story_choices_story_id", ondelete="CASCADE"),
        sa.CheckConstraint("level IN ('private', 'library', 'training')", name=op.f("ck_story_choices_level")),
    )
    op.create_index("ix_story_choices_story_id", "story_choices", ["story_id"])

    op.create_table(
        "shared_turns",
        sa.Column("turn_id", sa.String(16), nullable=False),
        sa.Column("story_id", sa.String(16), nullable=False),
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("turn_id", name="pk_shared_turns"),
        sa.ForeignKeyConstraint(
            ["story_id", "turn_id", "author_key"],
            ["turns.story_id", "turns.id", "turns.author_key"],
            name="fk_shared_turns_story_id_turn_id_author_key",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["author_key", "level"],
            ["consents.author_key", "consents.level"],
            name="fk_shared_turns_author_key_level",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["author_key", "story_id", "level"],
            ["story_choices.author_key", "story_choices.story_id", "story_choices.level"],
            name="fk_shared_turns_author_key_story_id_level",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("level = 'training'", name=op.f("ck_shared_turns_level")),
    )
    op.create_index("ix_shared_turns_story_id", "shared_turns", ["story_id"])
    op.create_index("ix_shared_turns_author_key_story_id", "shared_turns", ["author_key", "story_id"])
    op.create_index("ix_shared_turns_since", "shared_turns", ["since"])

    op.create_table(
        "withdrawals",
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("erased", sa.Boolean, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("author_key", name="pk_withdrawals"),
    )

    op.create_table(
        "servers",
        sa.Column("guild_id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("left_at", sa.Double),
        sa.PrimaryKeyConstraint("guild_id", name="pk_servers"),
    )
    op.create_table(
        "left_members",
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("author_key", sa.String(64), nullable=False),
        sa.Column("left_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "author_key", name="pk_left_members"),
    )
    op.create_index("ix_left_members_left_at", "left_members", ["left_at"])
