"""What Inkwell remembers. Knows no Discord object and no model; the only place with SQL."""

from bot.store import errors
from bot.store.rows import (
    Counts,
    Job,
    OpenJob,
    Receipt,
    Recipe,
    Setting,
    Story,
    StoryCharacter,
    TaughtText,
    Turn,
    Undone,
)
from bot.store.store import Store

__all__ = [
    "Counts",
    "Job",
    "OpenJob",
    "Receipt",
    "Recipe",
    "Setting",
    "Store",
    "Story",
    "StoryCharacter",
    "TaughtText",
    "Turn",
    "Undone",
    "errors",
]
