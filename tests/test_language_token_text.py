"""Text from tokens: whole code points, nothing lost."""

import codecs

from hypothesis import given
from hypothesis import strategies as st

from models.language.token_text import TokenText


@given(text=st.text(), cuts=st.lists(st.integers(1, 5), min_size=1))
def test_any_text_cut_into_any_tokens_comes_back_in_whole_code_points(text: str, cuts: list[int]) -> None:
    data, pieces = text.encode(), []
    while data:
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(data[:size])
        data = data[size:]
    reader = TokenText(lambda tokens: b"".join(pieces[token] for token in tokens).decode("utf-8", "replace"))
    given_out = [reader.add([token]) for token in range(len(pieces))]
    assert "".join(given_out) + reader.rest() == text
    if "\ufffd" not in text:
        assert "\ufffd" not in "".join(given_out)


@given(data=st.binary(max_size=40))
def test_broken_bytes_are_given_out_as_python_replaces_them(data: bytes) -> None:
    reader = TokenText(lambda tokens: bytes(tokens).decode("utf-8", "replace"))
    text = reader.add(list(data)) + reader.rest()
    # How many signs stand for a broken part may differ by where it was cut; all that was whole must be there.
    whole = codecs.decode(data, "utf-8", "replace")
    assert text.replace("\ufffd", "") == whole.replace("\ufffd", "")


def test_what_was_broken_is_not_held_back_for_long() -> None:
    reader = TokenText(lambda tokens: bytes(tokens).decode("utf-8", "replace"))
    assert reader.add([0xE7, 0xE7, 0xE7, 0xE7]) == "\ufffd"
    assert reader.add(list("灯 lamp".encode()[:-1])) + reader.rest() == "\ufffd\ufffd\ufffd灯 lam"
