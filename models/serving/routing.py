"""Which of a worker's models writes a story for which nobody chose one: the main model, unless the story is Chinese and
the main model is known not to write Chinese. Knows no Discord; loads no model.
"""

import importlib.util
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from models.language.catalogue import of_spec
from models.language.voices import TOKENS, find_voice
from models.serving.requests import DEFAULT_MODEL
from models.weights import GPT_GGUF

HOUSE: Final = "house"
GPT: Final = "gpt"
CHINESE_WRITERS: Final = (HOUSE, GPT)  # the better one first

_HAN: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_KANA: Final = "\u3041-\u30ff\uff66-\uff9f"
_WORD: Final = re.compile(f"[{_HAN}]|[{_KANA}]|[^\\W\\d_{_HAN}{_KANA}]+")
_IS_HAN: Final = re.compile(f"[{_HAN}]")
_IS_KANA: Final = re.compile(f"[{_KANA}]")


def is_mainly_chinese(story: str) -> bool:
    """Whether more than half of the words are Chinese, where a Chinese character counts as a word, and it is not
    Japanese (kana between the characters)."""
    words = _WORD.findall(story)
    han = sum(bool(_IS_HAN.match(word)) for word in words)
    kana = sum(bool(_IS_KANA.match(word)) for word in words)
    return 2 * han > len(words) and 10 * kana < han


def writer_of(story: str, *, main_languages: Sequence[str] | None, others: Collection[str]) -> str:
    """The name of the model that writes `story`: DEFAULT_MODEL, or one of `others` (those that could write now) for a
    Chinese story that the main model can't write. `main_languages` None: unknown, and its operator's choice counts."""
    if main_languages is None or "zh" in main_languages or not is_mainly_chinese(story):
        return DEFAULT_MODEL
    return next((name for name in CHINESE_WRITERS if name in others), DEFAULT_MODEL)


def languages_of(spec: str) -> tuple[str, ...] | None:
    """What the model that STORY_MODEL=`spec` names writes, as ISO 639-1 codes; None for one that we don't know."""
    row = of_spec(spec)
    return row.languages if row else None


def chinese_writers_here(data_dir: Path, guild: str) -> frozenset[str]:
    """Those of `CHINESE_WRITERS` that could answer this guild now. Looks at a few files and imports nothing."""
    here = {GPT} if GPT_GGUF.is_file() else set()
    torch = all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))
    if torch and find_voice(data_dir, guild, TOKENS) is not None:
        here.add(HOUSE)
    return frozenset(here)
