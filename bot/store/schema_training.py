"""More tables: runs of training, whose words an open one was given, when the next begins, and blind votes on what came
of them. Knows no query.
"""

import sqlalchemy as sa

from bot.store.schema import Document, Prose, Word, metadata, one_of

TRAINING_TRIGGERS = ("manual", "schedule")
TRAINING_STATES = ("queued", "running", "ended", "failed", "cancelled")
BALLOT_CHOICES = ("a", "b", "same")

# Runs of training, newest last; the history of the older ones is bounded. Where an open run's snapshot lies sealed on
# disk, its only key stands here: a run that has ended has none, so that nobody can open what may be left of it.
training_runs = sa.Table(
    "training_runs",
    metadata,
    sa.Column("id", Word(16), primary_key=True),
    sa.Column("slot", sa.Integer, unique=True),  # 1 while it is open: two runs at once can't be
    sa.Column("state", Word(9), nullable=False),
    sa.Column("trigger", Word(8), nullable=False),
    sa.Column("user_key", Word(64)),  # NULL: nobody, or somebody who erased themselves
    sa.Column("guild_id", sa.BigInteger, nullable=False),
    sa.Column("channel_id", sa.BigInteger, nullable=False),
    sa.Column("message_id", sa.BigInteger),  # NULL: none yet; 0: there can be none
    sa.Column("locale", Word(16), nullable=False),
    sa.Column("families", Document, nullable=False),
    sa.Column("options", Document, nullable=False),
    sa.Column("stage", Word(12), nullable=False),
    sa.Column("reason", Word(16), nullable=False),
    sa.Column("detail", Prose, nullable=False),
    sa.Column("counted", Document),
    sa.Column("judged", Document, nullable=False),
    sa.Column("skipped", Document, nullable=False),
    sa.Column("curves", Document, nullable=False),
    sa.Column("decisions", Document, nullable=False),
    sa.Column("authors", sa.Integer, nullable=False),  # whose words it was given; while it is open they stand below
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("resumes", sa.Integer, nullable=False),
    sa.Column("snapshot_key", Word(64), nullable=False),
    sa.Column("reported", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("began_at", sa.Double),
    sa.Column("ended_at", sa.Double),
    sa.CheckConstraint("slot = 1", name="slot"),
    sa.CheckConstraint(one_of("state", TRAINING_STATES), name="state"),
    sa.CheckConstraint(one_of("trigger", TRAINING_TRIGGERS), name="trigger"),
    sa.CheckConstraint("(slot IS NULL) = (state NOT IN ('queued', 'running'))", name="open"),
    sa.CheckConstraint("(ended_at IS NULL) = (state IN ('queued', 'running'))", name="ended"),
    sa.CheckConstraint("slot IS NOT NULL OR snapshot_key = ''", name="snapshot_key"),
    sa.Index(None, "created_at"),
)

# Whose words an open run learns from. The rows refer to a consent to training and go with it: a run that has fewer of
# them than `authors` was given words that it may no longer learn from.
training_run_authors = sa.Table(
    "training_run_authors",
    metadata,
    sa.Column("run_id", sa.ForeignKey("training_runs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("author_key", Word(64), nullable=False),
    sa.Column("level", Word(8), nullable=False),
    sa.PrimaryKeyConstraint("run_id", "author_key"),
    sa.ForeignKeyConstraint(["author_key", "level"], ["consents.author_key", "consents.level"], ondelete="CASCADE"),
    sa.CheckConstraint("level = 'training'", name="level"),
    sa.Index(None, "author_key", "level"),
)

# When runs begin by themselves. `due_at` is the time for which the last one was begun.
training_schedule = sa.Table(
    "training_schedule",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("hour", sa.Integer, nullable=False),
    sa.Column("weekday", sa.Integer),  # 0: Monday; NULL: every day
    sa.Column("families", Document, nullable=False),
    sa.Column("user_key", Word(64)),
    sa.Column("guild_id", sa.BigInteger, nullable=False),
    sa.Column("channel_id", sa.BigInteger, nullable=False),
    sa.Column("locale", Word(16), nullable=False),
    sa.Column("due_at", sa.Double, nullable=False),
    sa.CheckConstraint("id = 1", name="one"),
    sa.CheckConstraint("hour BETWEEN 0 AND 23", name="hour"),
    sa.CheckConstraint("weekday BETWEEN 0 AND 6", name="weekday"),
)

# Texts that a run's candidate, and what answered before it, wrote with the same beginning: put to a blind vote. They
# go with their run, and once a version that wrote one of them may know erased words.
ballots = sa.Table(
    "ballots",
    metadata,
    sa.Column("run_id", sa.ForeignKey("training_runs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("family", Word(12), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),  # from 1
    sa.Column("version", Word(64), nullable=False),
    sa.Column("against", Word(64), nullable=False),  # "": what is shipped
    sa.Column("prompt", Prose, nullable=False),
    sa.Column("candidate", Prose, nullable=False),
    sa.Column("other", Prose, nullable=False),
    # Drawn, not computed: from a run's id anybody could compute what is which.
    sa.Column("candidate_first", sa.Boolean, nullable=False),
    sa.Column("closed_at", sa.Double),  # NULL: votes are taken, and nobody is told what is which
    sa.PrimaryKeyConstraint("run_id", "family", "number"),
    sa.CheckConstraint("number BETWEEN 1 AND 9", name="number"),
)

# One person's vote on one of them: what they pressed, which tells nothing of what they preferred until it is closed.
ballot_votes = sa.Table(
    "ballot_votes",
    metadata,
    sa.Column("run_id", Word(16), nullable=False),
    sa.Column("family", Word(12), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("user_key", Word(64), nullable=False),
    sa.Column("choice", Word(4), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "family", "number", "user_key"),
    sa.ForeignKeyConstraint(
        ["run_id", "family", "number"], ["ballots.run_id", "ballots.family", "ballots.number"], ondelete="CASCADE"
    ),
    sa.CheckConstraint(one_of("choice", BALLOT_CHOICES), name="choice"),
    sa.Index(None, "user_key"),
)
