"""More tables: what people let train of their stories and drawings, and what has to end because somebody left. Knows
no query.

A turn's text stands in `turns` alone. That it may train is a row here, and that row hangs on its author's consent
(`consents`) and on their choice for its story.
"""

import sqlalchemy as sa

from bot.store.schema import CONSENT_LEVELS, Word, metadata, one_of

# What somebody decided for one story, whatever their general level is. `own`: they said it for this story; else it
# follows from their level, for a story in which they wrote since.
story_choices = sa.Table(
    "story_choices",
    metadata,
    sa.Column("author_key", Word(64), nullable=False),
    sa.Column("story_id", sa.ForeignKey("stories.id", ondelete="CASCADE"), nullable=False),
    sa.Column("level", Word(8), nullable=False),
    sa.Column("own", sa.Boolean, nullable=False),
    sa.Column("since", sa.Double, nullable=False),
    sa.Column("wording", sa.Integer, nullable=False),
    sa.PrimaryKeyConstraint("author_key", "story_id"),
    sa.UniqueConstraint("author_key", "story_id", "level"),  # what a shared turn refers to
    sa.CheckConstraint(one_of("level", CONSENT_LEVELS), name="level"),
    sa.Index(None, "story_id"),
)

# Somebody's words in a story that may train. No text: a mark on their own turn, which can't be without their consent
# nor in a story that they keep apart, and goes with those and with the turn.
shared_turns = sa.Table(
    "shared_turns",
    metadata,
    sa.Column("turn_id", Word(16), primary_key=True),
    sa.Column("story_id", Word(16), nullable=False),
    sa.Column("author_key", Word(64), nullable=False),
    sa.Column("level", Word(8), nullable=False),
    sa.Column("since", sa.Double, nullable=False),
    sa.ForeignKeyConstraint(
        ["story_id", "turn_id", "author_key"],
        ["turns.story_id", "turns.id", "turns.author_key"],
        ondelete="CASCADE",
    ),
    sa.ForeignKeyConstraint(["author_key", "level"], ["consents.author_key", "consents.level"], ondelete="CASCADE"),
    sa.ForeignKeyConstraint(
        ["author_key", "story_id", "level"],
        ["story_choices.author_key", "story_choices.story_id", "story_choices.level"],
        ondelete="CASCADE",
    ),
    sa.CheckConstraint("level = 'training'", name="level"),
    sa.Index(None, "story_id"),
    sa.Index(None, "author_key", "story_id"),
    sa.Index(None, "since"),
)

# People who took words back, until training runs and model versions were told.
withdrawals = sa.Table(
    "withdrawals",
    metadata,
    sa.Column("author_key", Word(64), primary_key=True),
    sa.Column("erased", sa.Boolean, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)

# Servers in which Inkwell is, or was: what was shared there goes some time after it left.
servers = sa.Table(
    "servers",
    metadata,
    sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("left_at", sa.Double),  # NULL: it is there
)

# The same of single members, where Discord tells of them (the Server Members intent).
left_members = sa.Table(
    "left_members",
    metadata,
    sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("author_key", Word(64), primary_key=True),
    sa.Column("left_at", sa.Double, nullable=False),
    sa.Index(None, "left_at"),
)

# A drawing that its author gave for portraits to learn from: 16x16 pixels and nothing of the file it came in. The row
# hangs on a consent to training, as a corrected mood does.
given_pictures = sa.Table(
    "given_pictures",
    metadata,
    sa.Column("id", Word(16), primary_key=True),
    sa.Column("author_key", Word(64), nullable=False),
    sa.Column("level", Word(8), nullable=False),
    sa.Column("digest", Word(64), nullable=False),  # of the pixels: the same drawing is kept once
    sa.Column("png", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.UniqueConstraint("author_key", "digest"),
    sa.ForeignKeyConstraint(["author_key", "level"], ["consents.author_key", "consents.level"], ondelete="CASCADE"),
    sa.CheckConstraint("level = 'training'", name="level"),
    sa.CheckConstraint("length(png) BETWEEN 1 AND 4096", name="png"),
    sa.Index(None, "created_at"),
)
