"""The small GPT, its training run, the mixture and the evaluation, at the smallest sizes that still learn."""

import itertools
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.language.dictionary import END_OF_TEXT, train_bpe, train_characters
from models.language.gpt import GPT, Shape, build
from models.language.mixture import HouseVoice
from models.language.ngram import NGram
from models.training import checkpoint
from models.training.averaging import average
from models.training.evaluate import TrainingText, bleu, distinct, loops, predict, self_bleu, write
from models.training.families import NGramFamily, TokenFamily
from models.training.language_charts import draw_comparison, draw_curve
from models.training.pretrain import Recipe, Run, batch_at, cosine, encode_titles, read_log

torch.set_num_threads(1)  # two threads of a tiny network on a busy machine wait for each other most of the time

TEXT = "The fox said: I love the deep night. The wolf said: I love the deep sea. 狐狸说：我爱深夜的故事。\n" * 40
SHAPE = Shape(vocabulary=300, hidden=32, layers=2, heads=2, feed_forward=64, context=32)
RECIPE = Recipe(shape=SHAPE, steps=12, batch=4, warm_up=2, checkpoint_every=4, evaluate_every=6, bf16=False)


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe([TEXT], 300)


@pytest.fixture(scope="module")
def tokens(tokenizer):
    return np.array([0, *tokenizer.encode(TEXT).ids], dtype=np.uint16)


@pytest.fixture(scope="module")
def gpt(tokenizer, tokens, tmp_path_factory) -> GPT:
    run = Run(replace(RECIPE, steps=60), tokens, tokenizer, tmp_path_factory.mktemp("run"))
    for _ in run.steps():
        pass
    return run.gpt()


@pytest.mark.parametrize("text", ["naïve 狐狸 😀\n\n  two  spaces", "", "\x00\U0010ffff", TEXT])
def test_byte_level_bpe_gives_any_text_back(tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.token_to_id(END_OF_TEXT) == 0


def test_the_character_tokenizer_has_one_symbol_a_character_and_one_for_the_unknown() -> None:
    characters = train_characters([TEXT])
    assert len(characters.encode(TEXT[:80]).ids) == 80
    assert characters.decode(characters.encode(TEXT[:80]).ids) == TEXT[:80]
    assert characters.encode("☃").ids == [1]


def test_a_killed_run_that_is_resumed_has_the_same_loss_curve(tmp_path: Path, tokenizer, tokens) -> None:
    whole = Run(RECIPE, tokens, tokenizer, tmp_path / "whole")
    expected = [(step.step, step.loss) for step in whole.steps()]
    first = Run(RECIPE, tokens, tokenizer, tmp_path / "cut")
    for step in first.steps():
        if step.step == 6:  # two steps behind the last checkpoint: they are lost
            break
    resumed = Run(RECIPE, tokens, tokenizer, tmp_path / "cut")
    assert resumed.position.step == 4
    assert [(step.step, step.loss) for step in resumed.steps()] == expected[4:]
    assert read_log(tmp_path / "cut")[0] == expected
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    names = {path.suffix for path in (tmp_path / "cut").rglob("*") if path.is_file()}
    assert names <= {".safetensors", ".json", ".jsonl"}
    assert len(list((tmp_path / "cut" / "checkpoints").iterdir())) == checkpoint.KEPT


_ENDLESS = """
import sys, numpy as np, torch
from pathlib import Path
from tokenizers import Tokenizer
from models.training.pretrain import Recipe, Run
from models.language.gpt import Shape
torch.set_num_threads(1)
folder = Path(sys.argv[1])
shape = Shape(vocabulary=300, hidden=32, layers=2, heads=2, feed_forward=64, context=32)
recipe = Recipe(shape=shape, steps=30, batch=4, warm_up=2, checkpoint_every=4, bf16=False)
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
for step in Run(recipe, np.load(folder / "tokens.npy"), tokenizer, folder).steps():
    print(step.step, flush=True)
    if step.step == 18:
        sys.stdin.read()  # until the parent kills it
"""


def test_a_process_killed_by_the_system_goes_on_with_the_same_loss_curve(tmp_path: Path, tokenizer, tokens) -> None:
    recipe = replace(RECIPE, steps=30)
    expected = [(step.step, step.loss) for step in Run(recipe, tokens, tokenizer, tmp_path / "whole").steps()]
    folder = tmp_path / "cut"
    folder.mkdir()
    np.save(folder / "tokens.npy", tokens)
    tokenizer.save(str(folder / "tokenizer.json"))
    command = [sys.executable, "-c", _ENDLESS, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [int(line) for line in itertools.islice(process.stdout, 18)] == list(range(1, 19))
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    resumed = Run(recipe, tokens, tokenizer, folder)
    assert resumed.position.step == 16
    assert [(step.step, step.loss) for step in resumed.steps()] == expected[16:]
    assert read_log(folder)[0] == expected


def test_a_run_goes_on_from_shipped_weights_and_keeps_them_where_it_only_loses(
    tmp_path: Path, tokenizer, tokens, gpt: GPT
) -> None:
    gpt.save(tmp_path / "shipped", dtype=torch.float32)
    before = GPT.load(tmp_path / "shipped").score(TEXT).bits
    further = Run(RECIPE, tokens, tokenizer, tmp_path / "further", GPT.load(tmp_path / "shipped"))
    assert further.gpt().score(TEXT).bits == before
    for _ in further.steps(lambda model: model.score(TEXT).bits):
        pass
    assert further.gpt().score(TEXT).bits < before

    worse = Run(replace(RECIPE, matrix_rate=5.0, embedding_rate=5.0, patience=0), tokens, tokenizer,
                tmp_path / "worse", GPT.load(tmp_path / "shipped"))  # fmt: skip
    for _ in worse.steps(lambda model: model.score(TEXT).bits):
        pass
    assert worse.position.best_step == 0
    assert GPT.load(tmp_path / "worse" / "best").score(TEXT).bits == before

    other = replace(RECIPE, shape=replace(SHAPE, hidden=64))
    with pytest.raises(ValueError, match="another shape"):
        Run(other, tokens, tokenizer, tmp_path / "other", GPT.load(tmp_path / "shipped"))


def test_the_average_of_two_networks_lies_between_them(gpt: GPT, tokenizer, tmp_path: Path) -> None:
    gpt.save(tmp_path / "one", dtype=torch.float32)
    fresh = GPT(build(SHAPE, seed=5), tokenizer)
    assert average(GPT.load(tmp_path / "one"), fresh, 0.0).score(TEXT).bits == gpt.score(TEXT).bits
    assert average(GPT.load(tmp_path / "one"), fresh, 1.0).score(TEXT).bits == pytest.approx(fresh.score(TEXT).bits)
    name, weight = next(iter(gpt.model.named_parameters()))
    middle = dict(average(GPT.load(tmp_path / "one"), fresh, 0.25).model.named_parameters())[name]
    assert torch.allclose(middle, 0.75 * weight + 0.25 * dict(fresh.model.named_parameters())[name], atol=1e-6)
    with pytest.raises(ValueError, match="shapes"):
        average(gpt, GPT(build(replace(SHAPE, hidden=64), seed=1), tokenizer), 0.5)


def test_the_schedule_ends_at_its_deadline_even_if_the_steps_do_not(tmp_path: Path, tokenizer, tokens) -> None:
    run = Run(replace(RECIPE, steps=10**6), tokens, tokenizer, tmp_path)
    run.recipe = replace(run.recipe, deadline=run.position.began + 3)
    rates = [float(step.rate) for step in run.steps()]
    assert 0 < len(rates) < 10**5
    assert run.position.progress > 0.5


def test_training_stops_early_when_the_development_set_no_longer_gains(tmp_path: Path, tokenizer, tokens) -> None:
    values = iter([3.0, 2.0] + [2.5] * 100)
    run = Run(replace(RECIPE, steps=1_000, evaluate_every=2, patience=3), tokens, tokenizer, tmp_path)
    for _ in run.steps(lambda model: next(values)):
        pass
    assert run.position.step == 10
    assert (run.position.best, run.position.best_step) == (2.0, 4)
    draw_curve(*read_log(tmp_path), tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_an_epoch_reads_every_window_once_and_the_rate_falls_to_its_floor() -> None:
    tokens = np.arange(1_000, dtype=np.uint16)
    seen = [batch_at(tokens, step, batch=3, context=10, seed=1)[0][:, 0].tolist() for step in range(32)]
    flat = [each for row in seen for each in row]
    assert len(set(flat)) == len(flat) == 96
    assert cosine(0, 0.1) == 1
    assert cosine(1, 0.1) == cosine(5, 0.1) == pytest.approx(0.1)
    inputs, targets = batch_at(tokens, 3, batch=3, context=10, seed=1)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_titles_are_read_as_often_as_asked(tmp_path: Path, tokenizer) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "one.txt").write_text("The fox said.", encoding="utf-8")
    (tmp_path / "en" / "two.txt").write_text("The wolf said.", encoding="utf-8")
    text = tokenizer.decode(
        encode_titles(tmp_path, tokenizer, {"two": 2.0}, seed=1).tolist(), skip_special_tokens=False
    )
    assert text.split(END_OF_TEXT)[1:] == ["The fox said.", "The wolf said.", "The wolf said."]


def test_windows_predict_every_token_once_and_as_one_long_window_would(gpt: GPT) -> None:
    ids = gpt.encode(TEXT)[:30]
    at_once = gpt.token_log_probabilities(ids)
    one_by_one = []
    for i in range(len(ids)):
        with torch.inference_mode():
            logits = gpt.model(input_ids=torch.tensor([[gpt.start, *ids[:i]]])).logits[0, -1]
        one_by_one.append(float(logits.log_softmax(-1)[ids[i]]))
    assert at_once.tolist() == pytest.approx(one_by_one, abs=1e-4)
    long = gpt.encode(TEXT)[:200]
    assert torch.isfinite(gpt.token_log_probabilities(long, stride=7)).all()
    assert gpt.token_log_probabilities(long)[:30].tolist() == pytest.approx(at_once.tolist(), abs=1e-4)


def test_the_gpt_learns_saves_in_half_precision_and_writes_the_same_for_the_same_seed(gpt: GPT, tmp_path: Path) -> None:
    untrained = GPT(build(SHAPE, seed=1), gpt.tokenizer)
    assert gpt.score(TEXT[:400]).bits < 0.7 * untrained.score(TEXT[:400]).bits
    gpt.save(tmp_path)
    loaded = GPT.load(tmp_path)
    assert loaded.score(TEXT[:400]).bits == pytest.approx(gpt.score(TEXT[:400]).bits, rel=0.01)
    one = gpt.sample("The fox", max_new_tokens=60, seed=3)  # longer than the window
    assert one == gpt.sample("The fox", max_new_tokens=60, seed=3)
    assert one != gpt.sample("The fox", max_new_tokens=60, seed=4)
    greedy = gpt.sample("The fox", max_new_tokens=8, temperature=0)
    assert greedy == gpt.sample("The fox", max_new_tokens=8, top_k=1, seed=9)
    assert greedy == gpt.sample("The fox", max_new_tokens=8, top_p=1e-6, seed=9)


def test_the_mixture_is_a_distribution_and_hears_the_communitys_text(gpt: GPT) -> None:
    community = "Zorblax the grocer polished his nine brass umbrellas. " * 12
    ngram = NGram(order=4, unit="token", tokens=300)
    ngram.add_symbols(gpt.encode(community))
    voice = HouseVoice(gpt, [ngram], learns=True)
    voice.fit([community[:300], TEXT[:300]])
    assert voice.weights.sum(1) == pytest.approx(np.ones(len(voice.weights)))
    assert voice.score(community).bits < 0.5 * gpt.score(community).bits
    history = gpt.encode("Zorblax the grocer")
    with torch.inference_mode():
        own = gpt.model(input_ids=torch.tensor([[0, *history]])).logits[0, -1].double().softmax(-1).numpy()
    mixed = voice._distribution([ngram, voice.learner()], history, own)
    assert mixed.sum() == pytest.approx(1, abs=1e-6)
    sampled = voice.sample("Zorblax the", max_new_tokens=20, seed=2)
    assert "brass" in sampled or "grocer" in sampled
    assert sampled == voice.sample("Zorblax the", max_new_tokens=20, seed=2)


def test_the_mixtures_score_is_the_product_of_its_distributions(gpt: GPT, tmp_path: Path) -> None:
    ngram = NGram(order=3, unit="token", tokens=300)
    ngram.add_symbols(gpt.encode(TEXT[:500]))
    voice = HouseVoice(gpt, [ngram])
    voice.fit([TEXT[:300]])
    ids = gpt.encode("The wolf said: deep")
    bits = 0.0
    for i, each in enumerate(ids):
        with torch.inference_mode():
            own = gpt.model(input_ids=torch.tensor([[0, *ids[:i]]])).logits[0, -1].double().softmax(-1).numpy()
        bits -= math.log2(voice._distribution([ngram], ids[:i], own)[each])
    assert voice.score("The wolf said: deep").bits == pytest.approx(bits, rel=1e-4)
    voice.save(tmp_path)
    again = HouseVoice(gpt, [ngram])
    again.load_weights(tmp_path)
    assert again.score("The wolf").bits == voice.score("The wolf").bits


def test_measures_of_writing_know_loops_copies_and_sameness() -> None:
    assert loops(["abcdefgh " * 3 + "x" * 973]) > 1.9
    assert loops(["every word here differs from all the others"]) == 0
    assert distinct(["a b a b"], 1) == 0.5
    assert distinct(["我爱我"], 2) == 1
    same, other = (
        ["the", "cat", "sat", "on", "the", "mat", "today"],
        ["one", "two", "three", "four", "five", "six", "seven"],
    )
    assert bleu(same, [same]) == pytest.approx(1)
    assert bleu(same, [other]) == 0
    assert self_bleu(["the cat sat on the mat"] * 2) > self_bleu(["the cat sat on the mat", "the dog ran to my bed"])
    training = TrainingText("In the beginning 狐狸 was a word, and the word was long. " * 3)
    assert training.longest_copy("xx 狐狸 was a word, but") == " 狐狸 was a word, "
    assert training.longest_copy("ZZ") == ""


def test_every_family_is_judged_on_the_same_texts(gpt: GPT, tmp_path: Path) -> None:
    ngram = NGram(order=4)
    ngram.add(TEXT)
    families = {"ngram": NGramFamily(ngram), "gpt": TokenFamily(gpt)}
    found = [row for name, each in families.items() for row in predict(name, each, {"fox": TEXT[:200]})]
    assert [row.family for row in found] == ["ngram", "gpt"]
    assert all(0 < row.bits_per_byte < row.bits_per_character < 8 for row in found)
    draw_comparison(found, tmp_path / "compare.png")
    assert (tmp_path / "compare.png").stat().st_size > 1_000
    judged, texts = write("ngram", families["ngram"], ["The fox", "狐狸"], TrainingText(TEXT), characters=80)
    assert judged.longest_copy > 10
    assert len(texts) == 2
