"""Cuts what people wrote into what a story model learns from: the prompt that is served, and the passage behind it.
Knows no network and no snapshot.

As in `story_windows` the prompt is made by `continuation.build_prompt`, and a window is drawn by its number and the
seed alone, so a run that was killed sees the same windows again. What models wrote is in prompts only: windows end
where a person's passage ends.
"""

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from models.language.chat_template import ChatTemplate, clean
from models.language.continuation import ASK, SYSTEM, build_prompt
from models.serving.requests import Sampling, StoryRequest

Encode = Callable[[str], list[int]]

MIN_OPENING_CHARS: Final = 60  # of a passage with nothing before it go into the prompt: some story must be there
MIN_TOKENS: Final = 8  # a window with fewer to learn is not worth its prompt
_AT_ONCE: Final = 0.5  # of the windows begin where their passage begins; the others somewhere in its first half
_PROMPT_SHARE: Final = 0.45  # of a window's tokens, at most
_MIN_PROMPT_TOKENS: Final = 48  # of story, beside the instructions
_CHARS_A_TOKEN: Final = 4  # about; Chinese has one, and its windows just cover less

_BOUNDARY: Final = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|[。！？…][”’」』）]*|\n+")
_WORD: Final = re.compile(r"\s+")


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A passage to learn, and the story before it, "" where it begins one."""

    context: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Window:
    """`tokens` of prompt and passage, at most as many as were asked for; the loss is on `tokens[prompt:]`."""

    tokens: list[int]
    prompt: int


class Lessons:
    """Passages in an endless order: every part of every passage once an epoch, each epoch in another order and cut in
    other places."""

    def __init__(self, lessons: Iterable[Lesson], *, seed: int) -> None:
        """Raises ValueError when there is none."""
        self._seed = seed
        self._lessons = [lesson for lesson in lessons if lesson.text.strip()]
        if not self._lessons:
            raise ValueError("there is no passage to learn")
        self._size = self._parts = 0
        self._order: list[tuple[int, int, int]] = []  # of one epoch: a lesson's number, a part's, and how many it has
        self._epoch = -1

    def __len__(self) -> int:
        return len(self._lessons)

    @property
    def characters(self) -> int:
        return sum(len(lesson.text) for lesson in self._lessons)

    def window(self, number: int, length: int, encode: Encode, template: ChatTemplate) -> Window | None:
        """The `number`th window, at most `length` tokens; None for a passage that has too little to learn."""
        size = _CHARS_A_TOKEN * int(length * (1 - _PROMPT_SHARE))
        if size != self._size:
            self._size, self._epoch = size, -1
            self._parts = sum(_parts(lesson, size) for lesson in self._lessons)
        epoch, index = divmod(number, self._parts)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = [
                (at, part, count)
                for at, lesson in enumerate(self._lessons)
                for count in (_parts(lesson, size),)
                for part in range(count)
            ]
            random.Random(f"{self._seed}/{epoch}").shuffle(self._order)
        at, part, count = self._order[index]
        draw = random.Random(f"{self._seed}/{number}")
        return _window(self._lessons[at], part / count, 1 / count, draw, length, encode, template)


def _parts(lesson: Lesson, size: int) -> int:
    return -(-len(lesson.text) // size)


def _window(
    lesson: Lesson,
    begin: float,
    share: float,
    draw: random.Random,
    length: int,
    encode: Encode,
    template: ChatTemplate,
) -> Window | None:
    context, text = clean(lesson.context, template), clean(lesson.text, template)
    at = int(begin * len(text))
    if begin or draw.random() >= _AT_ONCE or not context.strip():
        at = _cut(text, at + int(draw.random() * share * len(text) / 2))
    if not context.strip():
        at = max(at, _cut(text, min(MIN_OPENING_CHARS, len(text) // 2)))
    story = context + text[:at]
    if not story.strip():
        return None
    # The white space between the story and what follows is the model's to write, as it is when a story is served.
    rest = story[len(story.rstrip()) :] + text[at:]
    prompt = served_prompt(story.rstrip(), int(_PROMPT_SHARE * length), encode, template)
    room = length - len(prompt)
    passage = encode(rest[: 3 * _CHARS_A_TOKEN * max(room, 1)])[: max(room, 0)]
    if len(passage) < MIN_TOKENS:
        return None
    return Window(tokens=prompt + passage, prompt=len(prompt))


def _cut(text: str, at: int) -> int:
    """Where a sentence ends near `at`, else a word; `at` where neither does."""
    for pattern in (_BOUNDARY, _WORD):
        found = pattern.search(text, at, at + 120)
        if found and found.end() < len(text):
            return found.end()
    return at


def served_prompt(story: str, room: int, encode: Encode, template: ChatTemplate) -> list[int]:
    """Tokens of the prompt that asks for the continuation of `story`, about `room` of them at most (never too few for
    instructions and a few sentences)."""
    return encode(served_prompt_text(story, room, encode, template))


def served_prompt_text(story: str, room: int, encode: Encode, template: ChatTemplate) -> str:
    """The same as text."""
    head = len(encode(template.head(SYSTEM, ASK)))
    request = StoryRequest(request_id="window", story=story, sampling=Sampling(max_new_tokens=1))
    context = max(room, head + _MIN_PROMPT_TOKENS) + 9  # what `build_prompt` keeps for the seam and a token
    return build_prompt(request, lambda part: len(encode(part)), context, template)


def padded(windows: Sequence[Window]) -> tuple[list[list[int]], list[list[bool]]]:
    """Rows of equal length, filled up on the right with token 0, which nothing before it sees; and which tokens count
    for the loss."""
    longest = max(len(window.tokens) for window in windows)
    rows = [window.tokens + [0] * (longest - len(window.tokens)) for window in windows]
    counts = [[window.prompt <= at < len(window.tokens) for at in range(longest)] for window in windows]
    return rows, counts
