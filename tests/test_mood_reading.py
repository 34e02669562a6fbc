"""What of a message the mood methods read."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sentiment import clean_text, emoji_valence, reading
from models.sentiment.emoji_valence import BRACKETS, EMOJI, EMOTICONS, find_faces
from models.sentiment.reading import clean, read
from models.serving.short_requests import MAX_MOOD_CHARS


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("<@123456> look https://example.org/a?b=c nice", "look nice"),
        ("see <#42> and </story prompt:99> at <t:1700000000:R>", "see and at"),
        ("<:PepeHappy:1234> <a:cat_cry:99>", "Pepe Happy cat cry"),
        ("run ```py\nbad = awful()\n``` and `terrible` please", "run and please"),
        ("> I hate it\nI don't", "I don't"),
        (">>> I hate it\nall of it", "I hate it all of it"),
        ("||the butler **did** it||", "the butler did it"),
        ("[the *best* one](https://example.org)", "the best one"),
        ("sob T_T __so__ sad", "sob T_T so sad"),
        ("Ｇｒｅａｔ 𝓼𝓽𝓸𝓻𝔂 &amp; plot", "Great story & plot"),
        ("don’t #blessed", "don't blessed"),
        ("转发@小明：好看//@小红:不好看", "转发 ：好看 不好看"),
        ("I <3 this", "I <3 this"),
        ("a@b.org wrote @everyone", "wrote"),
        ("zero\u200bwidth", "zerowidth"),
        ("it does n't work , it 's http broken", "it doesn't work , it's broken"),
    ],
)
def test_markup_links_and_quotes_go_and_words_stay(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize(
    ("raw", "language", "notes"),
    [
        ("", "none", ("empty",)),
        (" \n ", "none", ("empty",)),
        ("https://example.org", "none", ("no_words",)),
        ("`code`", "none", ("no_words",)),
        ("12:30", "none", ("no_words",)),
        ("?!", "none", ("no_words",)),
        ("😭😭", "none", ("emoji_only",)),
        ("(╥﹏╥)", "none", ("emoji_only",)),
        (":D", "none", ("emoji_only",)),
        ("nice", "en", ("one_word",)),
        ("不错", "zh", ("one_word",)),
        ("yyds", "zh", ("one_word",)),
        ("这个结局太好哭了", "zh", ()),
        ("這個結局太好哭了", "zh", ()),
        ("I love this 火锅", "en", ()),
        ("这个plot twist太绝了", "zh", ()),
        ("que buena historia, me encanta", "other", ("other_language",)),
        ("c'est vraiment très bien écrit", "other", ("other_language",)),
        ("すごく面白かったです", "other", ("other_language",)),
        ("정말 재미있어요", "other", ("other_language",)),
        ("очень хорошо", "other", ("other_language",)),
        ("oh great, another deadline", "en", ("irony",)),
        ("呵呵，真是谢谢你了", "zh", ("irony",)),
    ],
)
def test_language_and_notes_say_what_a_text_is(raw: str, language: str, notes: tuple[str, ...]) -> None:
    reading = read(raw)
    assert (reading.language, reading.notes) == (language, notes)


@pytest.mark.parametrize(
    ("text", "signs"),
    [
        ("nice :) xD 👍🏽", [":)", "xD", "👍"]),
        ("at 10:30, ratio 16:9, a:b, f(x) = g(x)", []),
        ("(just kidding) ok", []),
        ("好的(´▽`)ﾉ [doge]", ["(´▽`)ﾉ", "[doge]"]),
        ("（╯‵□′）╯︵┻━┻", ["（╯‵□′）╯", "┻━┻"]),
        ("🏳️‍🌈🇨🇳1️⃣", ["🏳‍🌈", "🇨🇳", "1⃣"]),
    ],
)
def test_faces_are_found_and_look_alikes_are_not(text: str, signs: list[str]) -> None:
    assert [face.sign for face in find_faces(text)] == signs


def test_every_listed_sign_is_found_with_its_own_value() -> None:
    for sign, valence in {**EMOJI, **EMOTICONS, **{f"[{word}]": value for word, value in BRACKETS.items()}}.items():
        assert [(face.sign, face.valence) for face in find_faces(f"好 {sign}")] == [(sign, valence)]


def test_signs_show_what_people_feel_not_what_the_sign_is_called() -> None:
    assert EMOJI["💀"] > 0 > EMOJI["🙃"]
    assert EMOJI["😂"] > 0 > EMOJI["😢"]
    assert all(-3 <= value <= 3 for value in (*EMOJI.values(), *EMOTICONS.values(), *BRACKETS.values()))
    assert len(EMOJI) >= 150


def test_evidence_can_be_shown_as_it_was_written() -> None:
    reading = read("這篇寫得真爛")
    at = reading.text.index("真烂")
    assert reading.written[at : at + 2] == "真爛"


@given(st.text())
def test_any_text_can_be_read(raw: str) -> None:
    reading = read(raw)
    assert len(reading.text) == len(reading.written)
    assert len(set(reading.notes)) == len(reading.notes)
    assert [face.start for face in reading.faces] == sorted(face.start for face in reading.faces)
    assert reading.wordless == ("empty" in reading.notes or "no_words" in reading.notes) or reading.language == "other"


@given(st.text(alphabet="<>`*_~|:@#()[]^T-=;aA你😂\u200d\ufe0f \n/."))
def test_markup_in_any_order_can_be_read(raw: str) -> None:
    assert read(raw) == read(raw)


@pytest.mark.parametrize(
    "piece", ["<", "`", "(", "[a](", "> ", "*", "||", "@a", "http://", "😂\u200d", "(^", "a ", "<:aa", "//@", "a@"]
)
def test_a_hostile_text_takes_no_more_than_its_length(piece: str) -> None:
    raw = (piece * MAX_MOOD_CHARS)[: MAX_MOOD_CHARS + 5]
    before = time.process_time()
    assert "cut" in read(raw).notes or read(raw).language == "none"
    assert time.process_time() - before < 2.0


def test_no_mark_of_irony_is_missed_because_a_text_looked_unlikely_to_hold_one() -> None:
    marks = (
        "yeah right", "sure, jan", "oh joy", "just what i needed", "how thoughtful of you", "thanks for nothing",
        "big surprise", "what a shocker", "such a surprise", "my favourite thing is how it freezes", "tell me about it",
        "good luck with that", "slow clap", "nice going", "genius move", "color me shocked", "no shit",
        "what could possibly go wrong", "I'm so glad the server died", "love that for us", "absolutely riveting stuff",
        "groundbreaking", "good job einstein", "Perfect, another bug", "awesome, there goes my evening", "helpful, not",
        "as if!", "so helpful /s", "very useful #sarcasm",
    )  # fmt: skip
    for text in marks:
        assert "irony" in read(text).notes, text


@settings(deadline=None)
@given(st.text(alphabet=":;=<>^_()/\\|.[]oOTuUwWxXdDpPzrqaAnv73c@+-', tTwW.hHps", max_size=16))
def test_no_quick_look_passes_over_what_the_slow_one_finds(text: str) -> None:
    if not emoji_valence._MAYBE_ASCII.search(text):
        assert not emoji_valence._ASCII_FINDER.search(text)
    if not reading._NAME_BEFORE_AT.search(text):
        assert not reading._EMAIL.search(text)
    assert not clean_text._URL.search(clean_text.clean(text))
