"""The story tree's path as the text a model continues, and typed text made safe to keep. Knows no Discord, no model."""

import unicodedata
from collections.abc import Iterable
from typing import Protocol

from models.serving.requests import MAX_STORY_CHARS

MAX_PROMPT_CHARS = 6_000  # Discord: a slash command's string option
MAX_QUOTE_CHARS = 900  # of the prompt, shown above the answer; the whole prompt stays in the story
# Characters that only reorder or hide what is shown. ZWJ and ZWNJ stay: emoji, Persian and Hindi need them.
_INVISIBLE = frozenset("\u00ad\u180e\u200b\u200e\u200f\u2060\ufeff") | {
    chr(code) for span in ((0x202A, 0x202F), (0x2061, 0x2070), (0xFFF9, 0xFFFC)) for code in range(*span)
}


class EmptyPromptError(ValueError):
    """Nothing visible was written. The writer can write something."""


class StoryPart(Protocol):
    """A turn of the story tree."""

    @property
    def kind(self) -> str: ...
    @property
    def text(self) -> str: ...


def clean(text: str) -> str:
    """Typed text, safe to store, show and send to a model: NFC, no control, bidi or invisible characters, no lone
    surrogates, at most two empty lines, no white space around. Raises EmptyPromptError when nothing visible is left.
    """
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    kept = "".join("\ufffd" if unicodedata.category(char) == "Cs" else char for char in text if _is_kept(char))
    lines = [line.rstrip() for line in kept.split("\n")]
    result: list[str] = []
    for line in lines:
        if line or not (len(result) >= 2 and not result[-1] and not result[-2]):
            result.append(line)
    cleaned = "\n".join(result).strip()[:MAX_STORY_CHARS]
    if not any(unicodedata.category(char)[0] in "LNPS" for char in cleaned):
        raise EmptyPromptError
    return cleaned


def _is_kept(char: str) -> bool:
    return char in "\n\t" or not (char in _INVISIBLE or unicodedata.category(char) == "Cc")


def story_text(path: Iterable[StoryPart]) -> str:
    """The text so far, oldest first. A continuation brings its own leading white space; a writer's new passage after
    one is a paragraph of its own."""
    text = ""
    for part in path:
        if part.kind == "prompt" and text:
            text = text.rstrip() + "\n\n"
        text += part.text
    return text[-MAX_STORY_CHARS:]


def quote(prompt: str) -> str:
    """The prompt as a Markdown quote above its answer, cut at a word when it is long."""
    shown = prompt
    if len(prompt) > MAX_QUOTE_CHARS:
        shown = prompt[:MAX_QUOTE_CHARS]
        shown = (shown.rsplit(None, 1)[0] if " " in shown[-80:] else shown) + " …"
    return "\n".join(f"> {line}" if line else ">" for line in shown.split("\n")) + "\n\n"


def ending(text: str, chars: int = 160) -> str:
    """The last words of a text, for "the story now ends with …"."""
    tail = " ".join(text[-chars * 2 :].split())
    if len(tail) <= chars:
        return tail
    tail = tail[-chars:]
    return "… " + (tail.split(" ", 1)[1] if " " in tail[:40] else tail)
