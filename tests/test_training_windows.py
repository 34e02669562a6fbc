"""What a story model learns from in a training run: prompts as they are served, and a loss on people's words alone."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.language.chat_template import CHATML
from models.language.continuation import ASK, SYSTEM, build_prompt
from models.serving.requests import Sampling, StoryRequest
from models.training.passage_windows import MIN_TOKENS, Lesson, Lessons, padded, served_prompt
from tests.made_up_style import made_up_records
from tests.tiny_model import TinyModel

LENGTH = 400  # the tests' tokenizer needs more of them for a word than a real one

Encode = Callable[[str], list[int]]


def bytes_of(text: str) -> list[int]:
    """A tokenizer that loses nothing and knows no words."""
    return list(text.encode())


@pytest.fixture(scope="module")
def encode(tiny_model: TinyModel) -> Encode:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_model.directory)
    return lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]


def style() -> list[Lesson]:
    """The stories of the made-up style, each passage behind what stands before it; every second was written by a
    model."""
    found, before, story = [], "", ""
    for number, record in enumerate(made_up_records()):
        if record.story != story:
            before, story = "", record.story
        if number % 2 == 0:
            found.append(Lesson(context=before, text=record.text))
        before += record.text + "\n\n"
    return found


def told(tokens: list[int]) -> str:
    return bytes(tokens).decode()


def test_a_window_is_the_prompt_that_is_served_and_the_passage_behind_it() -> None:
    lessons = style()
    windows = Lessons(lessons, seed=3)
    head = CHATML.head(SYSTEM, ASK)
    exact = 0
    for number in range(60):
        window = windows.window(number, 4_000, bytes_of, CHATML)
        assert window is not None
        assert window == Lessons(lessons, seed=3).window(number, 4_000, bytes_of, CHATML)
        prompt, passage = told(window.tokens[: window.prompt]), told(window.tokens[window.prompt :])
        assert prompt.startswith(head)
        whole = next(each for each in lessons if each.text.endswith(passage.strip()))
        story = (whole.context + whole.text).removesuffix(passage)
        request = StoryRequest(request_id="r", story=story, sampling=Sampling(max_new_tokens=160))
        exact += build_prompt(request, lambda part: len(part.encode()), 8_000, CHATML) == prompt
    assert exact >= 50, "all but the stories that are too long for a prompt"


def test_the_loss_is_never_on_words_before_the_passage(encode: Encode) -> None:
    for number in range(40):
        lesson = style()[5]
        window = Lessons([lesson], seed=number).window(number, LENGTH, encode, CHATML)
        assert window is not None
        behind = window.tokens[window.prompt :]
        own = encode("\n\n" + lesson.text)
        # Whatever has a loss is a run of tokens of the passage itself, but for the cut at its beginning.
        assert "".join(map(chr, behind[3:-1])) in "".join(map(chr, own)) or len(behind) < 8


def test_every_part_of_every_passage_is_learned_once_an_epoch() -> None:
    long = Lesson(context="", text=" ".join(f"word{number}" for number in range(600)))
    windows = Lessons([long, Lesson(context="Before. ", text="A short passage that has enough to learn.")], seed=1)
    assert windows.window(0, 256, bytes_of, CHATML) is not None
    order = windows._order
    learned = [windows.window(number, 256, bytes_of, CHATML) for number in range(len(order))]
    assert windows._order == order
    assert len({(at, part) for at, part, _ in order}) == len(order) == len(learned) > 5
    assert {at for at, _, _ in order} == {0, 1}


def test_the_next_epoch_has_another_order() -> None:
    windows = Lessons(style(), seed=1)
    windows.window(0, 256, bytes_of, CHATML)
    first = list(windows._order)
    windows.window(len(first), 256, bytes_of, CHATML)
    assert windows._order != first
    assert sorted(windows._order) == sorted(first)


def test_a_story_s_beginning_is_learned_from_its_first_words_on(encode: Encode) -> None:
    opening = Lesson(
        context="", text="The wexel do come down at the sixth bell. The lumnet do sigh and go out. So it be."
    )
    window = Lessons([opening], seed=1).window(0, LENGTH, encode, CHATML)
    assert window is not None
    assert window.prompt > len(encode(CHATML.head(SYSTEM, ASK)))
    assert len(window.tokens) - window.prompt >= MIN_TOKENS


def test_turn_marks_that_somebody_typed_are_no_turn_marks(encode: Encode) -> None:
    lesson = Lesson(
        context="A tale. ", text="She said <|im_end|> and <|im_start|>user and then they all went home again."
    )
    window = Lessons([lesson], seed=1).window(0, LENGTH, encode, CHATML)
    assert window is not None
    marks = {encode(mark)[0] for mark in ("<|im_end|>", "<|im_start|>")}
    assert not marks & set(window.tokens[window.prompt :])


def test_without_a_passage_there_is_nothing_to_learn() -> None:
    with pytest.raises(ValueError, match="no passage"):
        Lessons([Lesson(context="Words of a model.", text=" \n ")], seed=1)


@settings(max_examples=150, deadline=None)
@given(
    context=st.text(max_size=800),
    text=st.text(min_size=1, max_size=800),
    number=st.integers(0, 50),
    length=st.integers(64, 1_500),
)
def test_no_text_makes_a_window_longer_than_asked_for(context: str, text: str, number: int, length: int) -> None:
    try:
        windows = Lessons([Lesson(context=context, text=text)], seed=1)
    except ValueError:
        return
    window = windows.window(number, length, bytes_of, CHATML)
    if window is not None:
        assert len(window.tokens) <= length
        assert window.prompt <= len(window.tokens) - MIN_TOKENS


def test_a_prompt_takes_about_the_room_it_is_given(encode: Encode) -> None:
    story = " ".join(record.text for record in made_up_records()[:15])
    head = len(encode(CHATML.head(SYSTEM, ASK)))
    for room in (head + 60, head + 200, head + 600):
        assert head < len(served_prompt(story, room, encode, CHATML)) <= room + 1


def test_rows_of_a_batch_are_filled_up_where_nothing_counts() -> None:
    windows = Lessons(style(), seed=1)
    found = [window for number in range(3) if (window := windows.window(number, 700, bytes_of, CHATML))]
    rows, counts = padded(found)
    assert len({len(row) for row in rows}) == 1
    for window, row, counted in zip(found, rows, counts, strict=True):
        assert [token for token, counts_ in zip(row, counted, strict=True) if counts_] == window.tokens[window.prompt :]
