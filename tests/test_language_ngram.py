"""The n-gram model against its definition, its reference and its own samples."""

import itertools
import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.language.counts import _ODD, _place_of_each
from models.language.discounts import _gradient, estimate
from models.language.ngram import NGram, draw

SENTENCE = "I am a big fan of deep learning. "
TEXT = (
    SENTENCE * 3 + "I am a big fan of deep water and of long learned letters. " + "狐狸说：我最喜欢深夜的故事。😀" * 3
)


def reference_kneser_ney(symbols: list[str], order: int, size: int):
    """Chen & Goodman's equations by dictionaries and loops; returns p(symbol, context)."""
    row = ["^"] * (order - 1) + symbols
    grams = [Counter(tuple(row[i - k + 1 : i + 1]) for i in range(order - 1, len(row))) for k in range(1, order + 1)]
    for k in range(order - 1, 0, -1):
        grams[k - 1] = Counter(gram[1:] for gram in grams[k])  # a gram one longer, counted once for each kind
    tables = []
    for counted in grams:
        followers = defaultdict(dict)
        for gram, count in counted.items():
            followers[gram[:-1]][gram[-1]] = count
        tables.append((estimate(np.array([sum(c == n for c in counted.values()) for n in (1, 2, 3, 4)])), followers))

    def probability(symbol: str, context: tuple[str, ...]) -> float:
        p = 1 / size
        for k, (discounts, followers) in enumerate(tables):
            counts = followers.get(context[len(context) - k :])
            if counts:
                taken = sum(discounts[min(c, 3)] for c in counts.values())
                own = counts.get(symbol, 0)
                p = (own - discounts[min(own, 3)] + taken * p) / sum(counts.values())
        return p

    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_kneser_ney_agrees_with_a_reference_that_follows_the_paper(order: int) -> None:
    model = NGram(order=order)
    model.add(TEXT)
    reference = reference_kneser_ney(list(TEXT), order, model.size)
    row = ["^"] * (order - 1) + list(TEXT)
    bits = -sum(math.log2(reference(row[i], tuple(row[i - order + 1 : i]))) for i in range(order - 1, len(row)))
    assert model.score(TEXT).bits == pytest.approx(bits, rel=1e-9)
    distribution = model.distribution(model.symbols(TEXT[:40]).tolist())
    context = tuple((["^"] * order + list(TEXT[:40]))[-(order - 1) :]) if order > 1 else ()
    for number, entry in enumerate(model.dictionary, 1):
        assert distribution[number] == pytest.approx(reference(entry, context), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(alphabet="ab c我😀é", min_size=1, max_size=60), min_size=1, max_size=4),
    context=st.text(alphabet="ab c我你z", max_size=12),
    order=st.integers(1, 10),
    smoothing=st.sampled_from(["kneser-ney", "witten-bell"]),
)
def test_probabilities_sum_to_one_at_every_context(texts: list[str], context: str, order: int, smoothing) -> None:
    model = NGram(order=order, smoothing=smoothing)
    for text in texts:
        model.add(text)
    distribution = model.distribution(model.symbols(context).tolist())
    assert distribution.min() >= 0
    assert distribution.sum() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("smoothing", ["kneser-ney", "witten-bell"])
def test_the_score_of_a_text_is_the_product_of_its_distributions(smoothing) -> None:
    model = NGram(order=4, smoothing=smoothing)
    model.add(TEXT)
    model.add(TEXT[50:90])
    unseen = "a deep fan 狐狸 of letters"
    symbols = model.symbols(unseen).tolist()
    bits = -sum(math.log2(model.distribution(symbols[:i])[each]) for i, each in enumerate(symbols))
    assert model.score(unseen).bits == pytest.approx(bits, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(
    learned=st.text(alphabet="ab c我", min_size=20, max_size=200),
    held_out=st.text(alphabet="ab c我z", min_size=1, max_size=60),
    order=st.integers(1, 6),
)
def test_fitted_discounts_never_predict_worse_and_leave_a_distribution(learned: str, held_out: str, order: int) -> None:
    model = NGram(order=order)
    model.add(learned)
    estimated = model.score(held_out).bits
    model.fit_discounts(held_out)
    assert model.score(held_out).bits <= estimated * 1.001  # estimates at their limits are moved inside by 1 %
    distribution = model.distribution(model.symbols(held_out[:5]).tolist())
    assert distribution.min() >= 0
    assert distribution.sum() == pytest.approx(1, abs=1e-9)
    model.add(held_out)  # more is learned, the discounts stay
    assert model.distribution(model.symbols(learned[:5]).tolist()).sum() == pytest.approx(1, abs=1e-9)


def test_fitted_discounts_help_with_another_text_and_are_saved(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    words = ["fox", "deep", "water", "letters", "狐狸", "night", "fan", "big"]
    learned, fitted_on, unseen = (" ".join(generator.choice(words, 400)) for _ in range(3))
    model = NGram(order=6)
    model.add(learned)
    estimated = model.score(unseen).bits
    model.fit_discounts(fitted_on)
    assert model.score(unseen).bits < 0.98 * estimated
    model.save(tmp_path)
    assert NGram.load(tmp_path).score(unseen).bits == model.score(unseen).bits
    with pytest.raises(ValueError, match="empty"):
        model.fit_discounts("")
    with pytest.raises(ValueError, match="Kneser-Ney"):
        NGram(smoothing="witten-bell").fit_discounts("text")


def test_the_slope_by_which_discounts_are_fitted_is_the_numeric_one() -> None:
    model = NGram(order=4)
    model.add(TEXT)
    symbols = model.symbols("a big fox of deep letters 狐狸夜")
    rows = list(model._lookups(symbols, symbols[:0]))
    counts, totals = np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])
    discounts = np.stack([each[1:] for each in model.discounts()])
    safe, kinds, seen = np.maximum(totals[..., 0], 1).astype(float), totals[..., 1:].astype(float), totals[..., 0] > 0
    rest = (counts, np.minimum(counts, 3), safe, kinds, seen, 1 / model.size)
    nats, slope = _gradient(discounts, *rest)
    assert nats / math.log(2) == pytest.approx(-np.log2(model._symbol_probabilities(symbols, symbols[:0])[0]).mean())
    for place in np.ndindex(discounts.shape):
        moved = discounts.copy()
        moved[place] += 1e-6
        assert (_gradient(moved, *rest)[0] - nats) / 1e-6 == pytest.approx(slope[place], abs=1e-4)


def test_adding_in_pieces_counts_what_adding_at_once_counts_apart_from_the_seam() -> None:
    pieces = [TEXT, "Once upon a time. " * 4, TEXT[::-1], SENTENCE]
    by_piece = NGram(order=5)
    for piece in pieces:
        by_piece.add(piece)
    reference: Counter[str] = Counter()
    for piece in pieces:
        reference.update(piece[i : i + 5] for i in range(len(piece) - 4))
    for gram, count in itertools.islice(reference.items(), 0, None, 7):
        following, counts = by_piece.counts.orders[4].continuations(by_piece._contexts(by_piece.symbols(gram[:4]))[4])
        found = dict(zip(following.tolist(), counts.tolist(), strict=True))
        assert found[int(by_piece.symbols(gram[4])[0])] == count


def test_adding_to_a_large_model_takes_time_in_proportion_to_the_addition() -> None:
    generator = np.random.default_rng(0)
    model = NGram(order=6)
    model.add("".join(generator.choice(list("abcdefgh "), 300_000)))
    before = sum(len(layer.keys) for order in model.counts.orders for layer in order.layers)
    model.add(SENTENCE * 3)
    newest = sum(len(order.layers[-1].keys) for order in model.counts.orders)
    assert newest < 1_000 < before  # what was written is the new layer alone; the old one is untouched


def test_the_articles_sentence_is_continued_as_learned_and_inspected() -> None:
    model = NGram(order=6)
    model.add(TEXT)
    found = model.inspect("I am a big fan of deep lear", top=3)
    assert found.following[0][0] == "n"
    assert found.following[0][1] > 0.8
    assert found.path[0].context == " lear"
    assert found.path[0].continuations == 1
    assert 0.99 < sum(step.weight for step in found.path) <= 1
    assert model.sample("I am a big fan of deep lear", max_symbols=5, temperature=0) == "ning."


def test_unknown_characters_have_probability_and_are_paid_for() -> None:
    model = NGram(order=3)
    model.add("abcabc")
    score = model.score("ab☃")
    assert score.unknown == 1
    assert 20 < score.bits < 40  # one of a million code points, and the surprise that it is unknown


def test_sampled_frequencies_agree_with_the_probabilities_by_chi_square() -> None:
    model = NGram(order=3)
    model.add(TEXT)
    context = model.symbols("a big fan o").tolist()
    expected = model.distribution(context)[1:]
    expected /= expected.sum()
    generator = np.random.default_rng(7)
    draws = np.bincount(
        [draw(expected, generator, temperature=1, top_k=0, top_p=1) for _ in range(20_000)], minlength=len(expected)
    )
    common = expected > 5 / 20_000
    observed = np.append(draws[common], draws[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum()) * 20_000
    statistic = float(((observed - wanted) ** 2 / np.maximum(wanted, 1e-9)).sum())
    freedom = len(wanted) - 1
    assert statistic < freedom + 4 * math.sqrt(2 * freedom) + 8  # far outside of chance


@pytest.mark.parametrize("unit", ["character", "word"])
def test_a_saved_model_is_the_same_and_can_be_added_to(tmp_path: Path, unit) -> None:
    model = NGram(order=4, unit=unit)
    model.add(TEXT)
    model.add(SENTENCE)
    model.save(tmp_path)
    loaded = NGram.load(tmp_path)
    assert loaded.score("a fan of letters 狐狸").bits == model.score("a fan of letters 狐狸").bits
    assert loaded.sample("I am", seed=3, max_symbols=40) == model.sample("I am", seed=3, max_symbols=40)
    model.add("new words")
    loaded.add("new words")
    assert loaded.score("new words again").bits == model.score("new words again").bits
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".npy", ".json")]


def test_the_same_seed_gives_the_same_text_and_filters_hold() -> None:
    model = NGram(order=4)
    model.add(TEXT)
    assert model.sample("I", seed=5, max_symbols=60) == model.sample("I", seed=5, max_symbols=60)
    assert model.sample("I", seed=5, max_symbols=60) != model.sample("I", seed=6, max_symbols=60)
    assert model.sample("I", seed=1, top_k=1, max_symbols=30) == model.sample("I", temperature=0, max_symbols=30)
    assert draw(np.array([0.5, 0.3, 0.2]), np.random.default_rng(1), temperature=1, top_k=0, top_p=0.4) == 0


def test_an_empty_model_and_wrong_orders_are_refused() -> None:
    with pytest.raises(ValueError, match="order"):
        NGram(order=11)
    with pytest.raises(ValueError, match="learned nothing"):
        NGram().sample("x")
    with pytest.raises(ValueError, match="empty"):
        NGram().score("")


@pytest.mark.parametrize("kinds", [1, 7, 50_000])
def test_every_distinct_key_is_found_once_also_where_hashes_collide(kinds: int) -> None:
    generator = np.random.default_rng(3)
    keys = generator.integers(0, kinds, 60_000).astype(np.uint64)
    for each in (keys, keys << np.uint64(40), keys[:1], (keys % np.uint64(2)) << np.uint64(63)):
        assert np.array_equal(np.sort(each[_place_of_each(each)]), np.unique(each))
    # the multiplier's inverse makes keys whose hashes we choose: equal in their upper bits, so that places alternate
    inverse = pow(int(_ODD), -1, 2**64)
    colliding = np.array([number * inverse % 2**64 for number in (0, 1, 0, 1, 2, 0)], dtype=np.uint64)
    assert np.array_equal(np.sort(colliding[_place_of_each(colliding)]), np.unique(colliding))
