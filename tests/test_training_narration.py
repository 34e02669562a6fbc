"""By whom and in which tense a passage is told, and windows that keep both."""

import random
from pathlib import Path

import pytest

from models.language.chat_template import CHATML
from models.training.narration import Narration, narration, steady
from models.training.story_windows import Tales

PAST = "She was tired and had no lamp; the door stood open, and nobody said a word to her."
FIRST = "I was tired and had no lamp; my door stood open, and nobody said a word to me."
PRESENT = "She is tired and has no lamp; the door stands open, and nobody says a word to her."


@pytest.mark.parametrize(
    ("passage", "person", "tense"),
    [
        (PAST, "third", "past"),
        (FIRST, "first", "past"),
        (PRESENT, "third", "present"),
        ("You are late again, and your coat is wet.", "second", "present"),
        ("The red house by the sea.", "third", None),
        ("She was here and is here.", "third", None),
        ('"I am here and I am glad," she said, and went to the window, for it was late.', "third", "past"),
        ("“I am here and I am glad,” he said, and it was so.", "third", "past"),
        ("I’m glad; it’s late.", "first", "present"),
        ("", "third", None),
    ],
)
def test_person_and_tense_are_guessed_outside_of_quotes(passage: str, person: str, tense: str | None) -> None:
    assert narration(passage) == Narration(person=person, tense=tense)  # type: ignore[arg-type]


def test_another_person_or_tense_is_not_steady_and_an_unknown_tense_is_no_change() -> None:
    past, first, present = narration(PAST), narration(FIRST), narration(PRESENT)
    assert steady(past, past)
    assert steady(past, Narration(person="third", tense=None))
    assert not steady(past, first)
    assert not steady(past, present)


def test_kept_windows_go_on_as_they_were_told_and_have_more_of_what_is_rare(tmp_path: Path) -> None:
    draw = random.Random(1)
    words = ["Mary", "Tom", "the grey cat", "the old miller"]
    told = [
        " ".join(sentence.replace("nobody", draw.choice(words)) for _ in range(6))
        for sentence in draw.choices([PAST, FIRST], [0.8, 0.2], k=400)
    ]
    (tmp_path / "one.txt").write_text("\n\n".join(told))
    tales = Tales.read(tmp_path, None)

    def drawn(kept: bool) -> list[tuple[str, str]]:
        windows = [
            tales.window(str(n), 700, lambda text: list(text.encode()), CHATML, second_person=0.0, kept=kept)
            for n in range(60)
        ]
        texts = [(bytes(w.tokens[: w.prompt])[-300:].decode(), w.text[:400]) for w in windows]
        return [(narration(before).person, narration(after).person) for before, after in texts]

    assert any(before != after for before, after in drawn(False))
    kept = drawn(True)
    assert sum(after == "first" for _, after in kept) > sum(after == "first" for _, after in drawn(False))
    assert sum(before == after for before, after in kept) >= 50
