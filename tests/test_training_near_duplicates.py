"""Near-duplicates and repeated sentences: what meets, what does not, and that company changes nothing."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks import snapshot as benchmark
from models.training import near_duplicates
from models.training.near_duplicates import RUN, Sketches
from models.training.repeated_sentences import MIN_TEXTS, Sentences

TEXT = st.text("abcdefgh 狐狸说我。.!🦊\n𠀀Ä", max_size=60)


def prose(seed: object, words: int = 45) -> str:
    draw = random.Random(str(seed))
    return " ".join("".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 7))) for _ in range(words))


def han(seed: object, characters: int = 90) -> str:
    return "".join(
        random.Random(str(seed)).choices(
            "的一是了我不人在他有这上们来到时大地为子中你说生国年着就那和要她", k=characters
        )
    )


def originals(texts: list[str], *, batches: int = 1) -> list[int]:
    sketches = Sketches()
    for number in range(batches):
        sketches.add(texts[number * len(texts) // batches : (number + 1) * len(texts) // batches])
    everybody = np.arange(len(texts))
    return sketches.originals(everybody, everybody).tolist()


@pytest.mark.parametrize("write", [prose, han])
def test_a_few_changed_words_are_found_and_other_texts_are_not(write) -> None:
    texts = [write(seed) for seed in range(300)]
    changed = [text[:40] + "xy" + text[42:].replace("i", "i", 1) for text in texts]
    shouted = [f"  {text.upper()} !!!" for text in texts]
    found = originals([*texts, *changed, *shouted], batches=7)
    assert found[:300] == list(range(300))
    assert sum(each == number for number, each in enumerate(found[300:600])) >= 295
    assert found[600:] == list(range(300)), "case, spaces and marks are no difference"


def test_half_a_text_is_no_duplicate() -> None:
    texts = [prose(seed) for seed in range(200)]
    halves = [text[: len(text) // 2] + prose(("other", seed), 23) for seed, text in enumerate(texts)]
    found = originals([*texts, *halves])
    assert sum(each < 200 for each in found[200:]) <= 4


def test_the_original_is_the_lowest_rank_whatever_the_order_of_adding() -> None:
    texts = [prose(seed) for seed in range(50)]
    texts += [text + " then" for text in texts[:25]]
    order = list(range(75))
    random.Random(1).shuffle(order)
    sketches = Sketches()
    sketches.add([texts[place] for place in order])
    found = sketches.originals(np.arange(75), np.array(order))
    assert {order[place]: order[each] for place, each in enumerate(found.tolist())} == dict(
        enumerate([*range(50), *range(25)])
    )


@given(texts=st.lists(TEXT, max_size=6))
@settings(max_examples=80, deadline=None)
@example(["", "abcdefgh"])
@example(["ab", "", "cdefgh", ""])
@example(["abcd", "efgh"])
def test_company_changes_no_sketch(texts: list[str]) -> None:
    together, alone = Sketches(), Sketches()
    measures = together.add(texts)
    for number, text in enumerate(texts):
        letters = sum(map(str.isalnum, text))
        assert measures.letters[number] == letters
        single = alone.add([text])
        assert single.letters[0] == letters
        assert single.variety[0] == measures.variety[number]
    assert np.array_equal(together._bands[: len(texts)], alone._bands[: len(texts)])
    assert np.array_equal(together._bits[: len(texts)], alone._bits[: len(texts)])
    assert len(together) == len(alone) == len(texts)


def test_variety_is_about_one_in_prose_and_about_nothing_in_a_refrain() -> None:
    varied, refrain, long = Sketches().add([prose(1), "buy gold " * 40, prose(2, 2_000)]).variety.tolist()
    assert 0.85 < varied < 1.15
    assert refrain < 0.05
    assert 0.8 < long < 1.2
    assert Sketches().add(["a" * (RUN - 1)]).variety[0] == 0


def test_sketches_grow_beyond_their_first_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "_FIRST_CAPACITY", 16)
    sketches = Sketches()
    first = [prose(seed, 12) for seed in range(10)]
    sketches.add(first)
    for number in range(7):
        sketches.add([f"{number} {place} x" for place in range(9)])
    sketches.add(first)
    ends = np.array([*range(10), *range(len(sketches) - 10, len(sketches))])
    assert sketches.originals(ends, np.arange(20)).tolist() == [*range(10), *range(10)]


# --- sentences ------------------------------------------------------------------------------------------------------


def test_a_sentence_of_many_texts_is_taken_out_and_what_few_say_stays() -> None:
    sentences = Sentences()
    said, rare = "The owl keeps the seven brass keys.", "Nobody ever went to the tower again."
    texts = [f"{prose(seed)}. {said} {prose((seed, 1))}." for seed in range(MIN_TEXTS)]
    texts += [f"{prose((seed, 2))}! {rare * 9}" for seed in range(MIN_TEXTS - 1)]
    sentences.add(texts[:5])
    sentences.add(texts[5:])
    found, holders = sentences.repeated(np.arange(len(texts)))
    assert len(found) == 1
    assert holders.tolist() == list(range(MIN_TEXTS))
    assert sentences.without(texts[0], found) == f"{prose(0)}.  {prose((0, 1))}."
    assert sentences.without(f"THE OWL keeps the seven, brass keys!\n{rare}", found) == f" \n{rare}"
    assert sentences.repeated(np.arange(1, len(texts)))[0] == frozenset(), "only the texts that were chosen count"
    assert Sentences().repeated(np.zeros(0, dtype=np.int64))[0] == frozenset()


@given(texts=st.lists(TEXT, max_size=6))
@settings(max_examples=80, deadline=None)
@example(["", "。", ""])
def test_what_is_not_repeated_stays_letter_by_letter(texts: list[str]) -> None:
    sentences = Sentences()
    sentences.add(texts)
    for text in texts:
        assert sentences.without(text, frozenset()) == text
    found, holders = sentences.repeated(np.arange(len(texts)))
    assert not found
    assert not len(holders)


# --- the benchmark in short -----------------------------------------------------------------------------------------


def test_the_benchmark_in_short_drops_its_copies_and_its_junk(tmp_path: Path) -> None:
    path = tmp_path / "turns.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in benchmark.lines(600)))
    assert benchmark.copied(path, tmp_path).endswith("MiB on disk")
    told = benchmark.taken_snapshot(path, tmp_path)
    assert "kept 2" in told
    assert "repeated" in told
    assert next(benchmark.sketching(path)).startswith("MinHash with rensa (ours)")
