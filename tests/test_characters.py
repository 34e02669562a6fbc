"""Names in a story, found by counting: what is found, what is passed over, and what it is known to get wrong."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.characters import MAX_NAME_CHARS, MAX_NAMES, constant, named_in, spelling_in

STORIES: dict[str, tuple[str, set[str]]] = {
    "speech, mid-sentence, possessive": (
        'The keeper, Mara Lind, found a letter. "Who wrote this?" asked Tom. Mara did not answer. '
        "Elara's heart pounded. Biscuit barked, and then Biscuit slept.",
        {"Mara Lind", "Tom", "Elara", "Biscuit"},
    ),
    "titles": (
        "They met Captain Hook and old Mr. Fox. Aunt May poured the tea.",
        {"Captain Hook", "Mr. Fox", "Aunt May"},
    ),
    "accents and apostrophes": ("Then Émile kissed Zoë, and O'Brien laughed.", {"Émile", "Zoë", "O'Brien"}),
    "places, things, days, words of the story": (
        "Once there was a fox in London. Rain fell. On Monday the Fox ran into the Forest. However, he ran. He SAW it.",
        set(),
    ),
    "no names": ("Once upon a time there was a fox. The fox was hungry. Grapes hung above. He jumped.", set()),
    "Chinese": (
        "从前有一个叫李明华的少年，他和小翠住在海边。李明华说：“我们走吧。”小翠笑了笑，没有回答。高兴的是，马上就要下雪了。"
        "李明华看着大海。欧阳锋道：“你们来了。”王老汉站在门口。",
        {"李明华", "小翠", "欧阳锋", "王老汉"},
    ),
    "Chinese of two characters": (
        "夜里，陈默回到了小镇。陈默忽然想起林晚。“林晚，”他轻声说，“我回来了。”林晚没有听见。老张喊他吃饭。"
        "于是他走进石头屋子，石头屋子里没有人。",
        {"陈默", "林晚", "老张"},
    ),
    "traditional": (
        "張無忌說道：「趙敏，你來了。」趙敏笑道：「是啊。」周圍的人都高興了，周圍很吵。",
        {"張無忌", "趙敏"},
    ),
    "both": ("“Mara,” 李明说，“走吧。” Then Mara went. 李明看着她。", {"Mara", "李明"}),
    "another language": ("Жила-была лиса. Лиса пошла в лес.", set()),
    "nothing": ("", set()),
}  # fmt: skip


@pytest.mark.parametrize(("text", "names"), STORIES.values(), ids=STORIES)
def test_the_people_of_a_story_are_found(text: str, names: set[str]) -> None:
    assert set(named_in(text)) == names


def test_who_is_named_more_stands_first() -> None:
    text = "Then Mara met Tom. " + "So Mara sang to him. " * 5
    assert named_in(text) == ("Mara", "Tom")


def test_a_river_that_is_named_often_is_taken_for_a_person() -> None:
    """A known limit: counting can't tell them apart."""
    assert named_in("He loved Thornwater, and they feared Thornwater.") == ("Thornwater",)


def test_a_name_is_found_as_the_story_spells_it() -> None:
    text = "The keeper Mara  Lind slept. 李明华说。 It was O'Brien."
    assert spelling_in("mara lind", text) == "Mara Lind"
    assert spelling_in("keep", text) is None
    assert spelling_in("李明", text) == "李明"
    assert spelling_in("o'brien", text) == "O'Brien"
    for nothing in ("", " ", "Tom", "(", "[a-z]"):
        assert spelling_in(nothing, text) is None


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Mara Lind", "Mara"),
        ("Mara", "Mara"),
        ("Captain Hook", "Captain Hook"),
        ("Mr. Fox", "Mr. Fox"),
        ("Van Helsing", "Van Helsing"),
        ("the old miller", "the old miller"),
        ("李明华", "李明华"),
    ],
)
def test_a_face_hangs_on_what_stays_of_a_name_while_its_story_grows(name: str, part: str) -> None:
    assert constant(name) == part


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=200))
def test_any_text_gives_bounded_names(text: str) -> None:
    names = named_in(text)
    assert len(names) <= MAX_NAMES
    assert all(0 < len(name) <= MAX_NAME_CHARS for name in names)


def test_a_long_story_is_read_in_a_moment() -> None:
    text = (STORIES["speech, mid-sentence, possessive"][0] + STORIES["Chinese"][0]) * 400
    began = time.process_time()
    assert named_in(text)
    assert time.process_time() - began < 3.0


def test_ever_so_many_names_are_counted_in_bounded_time() -> None:
    names = ["王" + chr(0x5E00 + n % 2000) + chr(0x6E00 + n // 2) for n in range(6_000)]
    began = time.process_time()
    named_in("，".join(names * 2))
    assert time.process_time() - began < 10.0  # measured 1.4
