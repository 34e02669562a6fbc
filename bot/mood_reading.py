"""Asks the small models for moods on behalf of somebody who waits, and puts their failures into one kind. Knows no
Discord.
"""

import asyncio
from collections.abc import Sequence

from bot.store.text import storable
from models.serving.engine import (
    EngineClosedError,
    EngineError,
    EngineOverloadedError,
    ModelMissingError,
    RequestRefusedError,
)
from models.serving.short_engine import ShortEngine
from models.serving.short_requests import MAX_MOOD_CHARS, Method, Mood, MoodRequest

AT_ONCE = 32  # of one person's texts; the rest of the queue is for the others
PATIENCE_S = 120.0  # a model that is still loading takes its time


class MoodNotReadError(Exception):
    """No mood could be read. `reason` is "busy", "closing", "missing" (model not here), "refused" or "down"."""

    def __init__(self, reason: str, cause: object) -> None:
        super().__init__(f"{reason}: {cause}")
        self.reason = reason


async def read_mood(short: ShortEngine, text: str, method: Method = "default") -> Mood:
    """Raises MoodNotReadError."""
    request = MoodRequest(text=storable(text)[:MAX_MOOD_CHARS], method=method)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await short.ask(request)
    except EngineOverloadedError as error:
        raise MoodNotReadError("busy", error) from error
    except EngineClosedError as error:
        raise MoodNotReadError("closing", error) from error
    except ModelMissingError as error:
        raise MoodNotReadError("missing", error) from error
    except RequestRefusedError as error:
        raise MoodNotReadError("refused", error) from error
    except (EngineError, TimeoutError) as error:
        raise MoodNotReadError("down", error) from error


async def read_moods(short: ShortEngine, texts: Sequence[str], method: Method = "default") -> list[Mood]:
    """One mood for each text, in their order. Raises MoodNotReadError."""
    moods: list[Mood] = []
    for start in range(0, len(texts), AT_ONCE):
        moods += await asyncio.gather(*(read_mood(short, text, method) for text in texts[start : start + AT_ONCE]))
    return moods
