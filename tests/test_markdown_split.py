"""Long texts become messages: nothing lost, nothing broken."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.markdown_split import MESSAGE_LIMIT, split_message, split_pieces, utf16_length

LIMIT = 240
PROSE = st.text(
    alphabet=st.sampled_from("ab c.\n*_~|`>#-[]()<@1!。，故事👩\u200d🚀\ufe0fe\u0301 \n"), min_size=0, max_size=1500
)


@given(PROSE | st.text(max_size=1200))
@example("👩\u200d🚀" * 300)
@example("```py\n" + "x = 1\n" * 200 + "```")
@example("**" + "bold words " * 100 + "**")
@example("`" * 900)
@example("故事" * 600)
def test_nothing_is_lost_and_every_message_fits(text: str) -> None:
    pieces = split_pieces(text, LIMIT)
    assert "".join(piece.body for piece in pieces) == text
    for content in split_message(text, LIMIT):
        assert utf16_length(content) <= LIMIT
        assert content.strip()


@given(st.lists(st.text(alphabet="abcdefghijklmnopqrstuvwxyz'", min_size=1, max_size=12), min_size=50, max_size=400))
def test_words_stay_whole(words: list[str]) -> None:
    seen = " ".join(split_message(" ".join(words), LIMIT)).split()
    assert seen == words


@given(st.lists(st.sampled_from(["👩\u200d🚀", "🇨🇳", "e\u0301", "👍🏽", "字", "❤\ufe0f"]), min_size=80, max_size=400))
def test_characters_a_reader_sees_as_one_stay_whole(clusters: list[str]) -> None:
    text = "".join(clusters)
    starts, at = {0}, 0
    for cluster in clusters:
        at += len(cluster)
        starts.add(at)
    position = 0
    for piece in split_pieces(text, LIMIT):
        position += len(piece.body)
        assert position in starts


@pytest.mark.parametrize("marker", ["**", "*", "_", "__", "~~", "||", "***"])
def test_emphasis_is_closed_at_the_cut_and_opened_behind_it(marker: str) -> None:
    text = f"Before. {marker}{'many fine words ' * 40}end{marker} after."
    parts = split_message(text, LIMIT)
    assert len(parts) > 2
    for part in parts:
        assert part.count(marker) % 2 == 0, part
    assert all(part.startswith(marker) for part in parts[1:-1])


def test_a_code_fence_is_closed_and_reopened_with_its_language() -> None:
    parts = split_message("Look:\n```python\n" + "print('a long line of code')\n" * 40 + "```\nDone.", LIMIT)
    for part in parts:
        assert part.count("```") % 2 == 0, part
    assert all(part.startswith("```python\n") for part in parts[1:-1])
    assert "\n\n```" not in "".join(parts)


def test_lone_markers_are_left_alone() -> None:
    text = "5 * 3 is 15, a_b_ is a name, ``` is three ticks. " * 12
    assert "".join(piece.opening + piece.closing for piece in split_pieces("2 * 3 = 6. " * 60, LIMIT)) == ""
    assert "".join(piece.body for piece in split_pieces(text, LIMIT)) == text


def test_links_and_mentions_stay_whole_even_in_chinese() -> None:
    text = "他说" * 50 + "[一个很长的链接](https://example.org/a/b/c)" + "，然后<@123456789012345678>走了" * 20
    parts = split_message(text, LIMIT)
    assert len(re.findall(r"<@123456789012345678>", "\n".join(parts))) == 20
    assert "[一个很长的链接](https://example.org/a/b/c)" in "\n".join(parts)


def test_chinese_breaks_behind_its_punctuation() -> None:
    parts = split_message("灯塔看守人收到了一封信。他慢慢地拆开它，" * 40, LIMIT)
    assert all(part[-1] in "。" for part in parts[:-1])


def test_paragraphs_are_preferred_to_lines_and_lines_to_words() -> None:
    text = ("w" * 20 + " ") * 8 + "\n\n" + ("v" * 20 + "\n") * 8
    assert split_pieces(text, LIMIT)[0].body.endswith("\n\n")


def test_a_quote_goes_on_as_a_quote() -> None:
    parts = split_message("> " + "a quoted word " * 60, LIMIT)
    assert all(part.startswith("> ") for part in parts)


def test_a_text_of_exactly_the_limit_is_one_message_and_one_more_is_two() -> None:
    assert len(split_message("x" * MESSAGE_LIMIT)) == 1
    assert len(split_message("x " * (MESSAGE_LIMIT // 2) + "x")) == 2
    assert len(split_message("😀" * 1000)) == 1
    assert len(split_message("😀" * 1001)) == 2


def test_blank_text_is_no_message() -> None:
    assert split_message("") == []
    assert split_message("\n" * 5_000) == []
