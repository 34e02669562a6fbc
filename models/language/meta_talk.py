"""What models write that is not the story: small talk before it, essays about it, lists, labels. Knows only text."""

import re
from typing import Final

# Lower case. A first line that begins with one of these and ends with a colon is spoken to the user: it is skipped.
_SMALL_TALK: Final = (
    "sure", "certainly", "of course", "absolutely", "here is", "here's", "okay", "continuation:", "story:", "title:",
    "以下是", "当然", "好的", "续写：",
)  # fmt: skip
# Where a sentence begins outside quotes: the rest is about the story.
_ESSAY: Final = (
    "as an ai", "as a language model", "in conclusion", "in summary", "to summarize", "in this story,", "this story ",
    "the story ", "the moral of", "this tale ", "this narrative", "this passage", "i hope this", "i hope you enjoy",
    "let me know if", "would you like me to", "please let me know", "feel free to", "note:", "note that this",
    "word count", "to be continued", "the end.", "the end!", "the end\n", "the end*",
    "总之，", "综上所述", "作为一个ai", "作为ai", "作为人工智能", "希望你喜欢", "希望您喜欢", "全文完", "（完）",
    "未完待续", "这个故事告诉我们",
)  # fmt: skip
# Where a line begins.
_LINE: Final = (
    "#", "```", "**", "user:", "assistant:", "system:", "human:", "ai:", "writer:", "author:", "title:", "prompt:",
    "question:", "answer:", "moral:", "theme:", "themes:", "summary:", "analysis:", "continuation:", "story:", "genre:",
    "setting:", "characters:", "[your ", "[insert", "- ", "* ", "• ", "|", "http", "chapter ",
    "用户：", "助手：", "作者：", "标题：",
)  # fmt: skip
_NUMBERED: Final = re.compile(r"\d{1,2}[.)] ")
_NUMBERED_PART: Final = re.compile(r"\d{1,2}[.)]?$")
_SMALL_TALK_CHARS: Final = 160
_LONGEST: Final = max(map(len, (*_SMALL_TALK, *_ESSAY, *_LINE)))
_SENTENCE_START: Final = re.compile(r"(?:^|[\n。！？]|[.!?…][\"”’')]*[ \n])[ \n]*")
_DANGLING: Final = re.compile(r"(?:\s|\*\*\*|\* \* \*|---+|#+|[\"“「『(（*_](?<=\s.))+$")


class Habits:
    """The rules that hold for one story: what the story itself does (chapters, lists, headings) is no fault."""

    def __init__(self, story: str) -> None:
        lines = [line.strip().lower() for line in story.split("\n")]
        self._line = tuple(mark for mark in _LINE if not any(line.startswith(mark) for line in lines))
        self._numbered = not any(_NUMBERED.match(line) for line in lines)
        lowered = story.lower()
        self._essay = tuple(phrase for phrase in _ESSAY if phrase not in lowered)
        self._checked = 0  # sentence beginnings before this position are decided

    def cut(self, raw: str, start: int, *, final: bool) -> int | None:
        """Where in `raw` something begins that is not the story; None as long as there is nothing such."""
        for position, new_line in self._beginnings(raw, start):
            rest = raw[position : position + _LONGEST].lower()
            if final:
                rest += "\n"
            if rest.startswith(self._essay) or (new_line and self._is_line_mark(rest)):
                return position
        return None

    def undecided(self, raw: str, start: int) -> int:
        """From where `raw` could still turn out not to be the story, were more text to come."""
        for position, new_line in self._beginnings(raw, start):
            rest = raw[position : position + _LONGEST].lower()
            phrases = (*self._essay, *self._line) if new_line else self._essay
            if position + len(rest) == len(raw) and (
                any(phrase.startswith(rest) for phrase in phrases) or (new_line and _NUMBERED_PART.match(rest))
            ):
                return position
        return len(raw)

    def _is_line_mark(self, rest: str) -> bool:
        return rest.startswith(self._line) or (self._numbered and bool(_NUMBERED.match(rest)))

    def _beginnings(self, raw: str, start: int) -> list[tuple[int, bool]]:
        """Positions near the end of `raw` where a sentence begins, each with whether it begins a line."""
        near = max(start, len(raw) - _LONGEST - 8)
        found = []
        for match in _SENTENCE_START.finditer(raw, near):
            if match.start() == near and near > start and not match.group():
                continue
            found.append((match.end(), "\n" in match.group() or match.end() == start))
        return found


def skip_opening(raw: str, story_tail: str, *, final: bool) -> int | None:
    """Where the story's text begins in `raw`: behind white space, one line of small talk, and a repetition of the
    story's last sentence. None while more text could change the answer."""
    start = len(raw) - len(raw.lstrip())
    rest = raw[start:].lower()
    if not rest:
        return start if final else None
    if not final and any(phrase.startswith(rest) and phrase != rest for phrase in _SMALL_TALK):
        return None
    if rest.startswith(_SMALL_TALK):
        line = rest.split("\n", 1)[0]
        if len(line) == len(rest) and len(line) < _SMALL_TALK_CHARS and not final:
            return None
        if line.rstrip().endswith((":", "：")) and len(line) < _SMALL_TALK_CHARS:
            return _skip_space(raw, start + len(line), final=final)
    echo = _last_sentence(story_tail)
    if echo and (rest.startswith(echo) or (not final and echo.startswith(rest))):
        if len(rest) <= len(echo):
            return (len(raw) if rest == echo else start) if final else None
        return _skip_space(raw, start + len(echo), final=final)
    return start


def _skip_space(raw: str, position: int, *, final: bool) -> int | None:
    """The first character behind `position` that is no white space; None while there is none."""
    rest = raw[position:]
    start = position + len(rest) - len(rest.lstrip())
    return start if start < len(raw) or final else None


def _last_sentence(text: str) -> str:
    """The story's last sentence in lower case, when it is whole and long enough that saying it again is an echo."""
    stripped = text.rstrip().lower()
    parts = re.split(r"(?<=[.!?。！？])[\"”’」』]*\s*", stripped[:-2])
    last = stripped[len(stripped) - len(parts[-1]) - 2 :].lstrip() if parts else ""
    return last if len(last) >= 12 else ""


def without_dangling(raw: str, start: int, end: int) -> int:
    """`end` without a scene break, a heading mark or an opening quote that nothing follows."""
    found = _DANGLING.search(raw, start, end)
    return found.start() if found else end
