"""Text from tokens: whole code points, nothing lost."""

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
def test_broken_bytes_are_given_out_as_the_decoder_replaces_them(data: bytes) -> None:
    reader = TokenText(lambda tokens: bytes(tokens).decode("utf-8", "replace"))
    assert reader.add(list(data)) + reader.rest() == data.decode("utf-8", "replace")


def test_what_is_whole_is_not_held_back() -> None:
    reader = TokenText(lambda tokens: bytes(tokens).decode("utf-8", "replace"))
    assert reader.add([0xE7, 0xE7, 0xE7]) == "\ufffd\ufffd"
    assert reader.add(list("灯 lamp".encode()[1:])) == "灯 lamp"
    assert reader.add(list("灯".encode()[:2])) == ""
    assert reader.rest() == "\ufffd"
