"""How a model is asked to go on inside a story: what the prompt says and which part of the story fits. Knows no engine.

The story is laid into the model's own turn, unfinished, so the model's most likely next step is the next word of the
story and not an answer about it. The prompt is a pure function of the story's beginning up to a coarse cut: a story
that grew at its end gives a prompt that begins with the old prompt, which is what a KV cache can reuse.
"""

import re
from collections.abc import Callable
from typing import Final

from models.language.chat_template import CHATML, ChatTemplate, clean, recognise
from models.language.finisher import Finisher, FinishReason
from models.serving.requests import StoryRequest

__all__ = ["ChatTemplate", "FinishReason", "Finisher", "build_prompt", "clean", "recognise"]

SYSTEM: Final = (
    "You are a novelist. You write only the story itself, in the voice, language, person and tense it began in."
)
ASK: Final = "Write a story."
ASK_ZH: Final = "写一个故事。"
SEAM: Final = "\n\n…\n\n"  # between the opening and what follows the cut
MIN_STORY_TOKENS: Final = 32  # with less of the story in sight a continuation is noise: refuse
_OPENING_SHARE: Final = 8  # the kept opening takes at most one eighth of the room
_MARGIN: Final = 8  # tokens: texts tokenised apart may need a few more when joined

_PARAGRAPH: Final = re.compile(r"\n\s*\n\s*|\n\s*")
_SENTENCE: Final = re.compile(r"[.!?…][\"'”’)\]]*\s+|[。！？…][”’」』）]*")
_WORD: Final = re.compile(r"\s+|(?<=[\u3040-\u30ff\u3400-\u9fff])(?=[\u3040-\u30ff\u3400-\u9fff])")
_CJK: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


def build_prompt(
    request: StoryRequest, count_tokens: Callable[[str], int], context: int, template: ChatTemplate = CHATML
) -> str:
    """The prompt that makes a model continue `request.story`; with `max_new_tokens` it fits `context` tokens.

    Raises ValueError when the story is blank or when `max_new_tokens` and the direction leave no room for the story.
    """
    story = clean(request.story, template)
    if not story.strip():
        raise ValueError("the story has no text")
    direction = clean(request.direction, template).strip()
    head = template.head(*_instructions(story, direction))
    room = context - request.sampling.max_new_tokens - count_tokens(head) - _MARGIN
    if room < MIN_STORY_TOKENS:
        raise ValueError(
            f"{request.sampling.max_new_tokens} new tokens and the direction leave no room for the story in a context "
            f"of {context} tokens"
        )
    # A trailing space would force the model to begin with a rare token; one line end is kept as the author's wish.
    body = story.rstrip() + ("\n" if "\n" in story[len(story.rstrip()) :] else "")
    return head + _fit(body, count_tokens, room)


def _instructions(story: str, direction: str) -> tuple[str, str]:
    ask = ASK_ZH if is_chinese(story) else ASK
    return SYSTEM, f"{ask}\n{direction}" if direction else ask


def is_chinese(text: str) -> bool:
    """Whether the last 400 characters are mostly written in CJK characters."""
    tail = text[-400:]
    return 2 * len(_CJK.findall(tail)) > len(re.findall(r"\w", tail))


def _fit(story: str, count_tokens: Callable[[str], int], room: int) -> str:
    """The whole story, or its opening and as much of its end as `room` tokens hold.

    The cut lies on a grid that depends only on the story's beginning and the size of the window: while the story grows
    the cut stays, and then jumps by about a quarter of the window.
    """
    if count_tokens(story) <= room:
        return story
    opening = _opening(story, count_tokens, room // _OPENING_SHARE)
    room -= count_tokens(opening + SEAM) if opening else 0
    low, high = 0, len(story)  # story[high:] fits, story[low:] does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if count_tokens(story[middle:]) <= room else (middle, high)
    step = 1 << max(0, ((len(story) - high) // 4).bit_length() - 1)
    cut = -(-high // step) * step
    if cut >= len(story):
        cut = high
    cut = _boundary(story, cut, min(len(story), cut + max(step, 16)))
    tail = story[cut:]
    if not tail.strip():
        tail = story[high:]
    return opening + SEAM + tail.lstrip() if opening else tail.lstrip()


def _opening(story: str, count_tokens: Callable[[str], int], room: int) -> str:
    """The first paragraph, or its first sentences, in at most `room` tokens; empty when not even one sentence fits."""
    paragraph = _PARAGRAPH.split(story.lstrip()[: 12 * room], maxsplit=1)[0]
    if count_tokens(paragraph) <= room:
        return paragraph.strip()
    best = ""
    for end in _SENTENCE.finditer(paragraph):
        sentences = paragraph[: end.end()].strip()
        if count_tokens(sentences) > room:
            break
        best = sentences
    return best


def _boundary(text: str, start: int, end: int) -> int:
    """The first position at or after `start` where a paragraph begins or, failing that before `end`, a sentence, a
    word; `start` when there is none (one very long word)."""
    for pattern in (_PARAGRAPH, _SENTENCE, _WORD):
        found = pattern.search(text, max(0, start - 1), end)
        if found and found.end() < len(text):
            return found.end()
    return start
