"""What Inkwell remembers. Knows no Discord object and no model; the only place with SQL."""

from bot.store import errors
from bot.store.rows import Counts, Job, OpenJob, Recipe, Setting, Story, TaughtText, Turn, Undone
from bot.store.store import Store

__all__ = ["Counts", "Job", "OpenJob", "Recipe", "Setting", "Store", "Story", "TaughtText", "Turn", "Undone", "errors"]
