"""Training the storyteller: what its windows hold, where its loss lies, and that a killed run goes on as if it had not
been killed."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.language.adapters import read_adapter
from models.language.chat_template import CHATML
from models.language.continuation import ASK, SYSTEM, build_prompt
from models.serving.requests import Sampling, StoryRequest
from models.training.story_windows import Tales, is_prose, modern, told_to_you
from tests.tiny_model import TinyModel

ROOT = Path(__file__).parents[1]
STEPS = 6


def tale(seed: int, paragraphs: int = 60) -> str:
    """A text of sentences that no two paragraphs share."""
    draw = random.Random(seed)
    people, places = ("the keeper", "her father", "a boy", "the captain"), ("the stairs", "the beach", "the old lamp")
    deeds = ("walked slowly past", "looked for a long time at", "counted the stones beside", "would not speak of")

    def sentence() -> str:
        told = f"{draw.choice(people)} {draw.choice(deeds)} {draw.choice(places)} and thought of {draw.choice(places)}."
        return told.capitalize()

    return "\n\n".join(" ".join(sentence() for _ in range(5)) for _ in range(paragraphs))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for split, seed in (("train", 1), ("dev", 2), ("test", 3)):
        (folder / split / "en").mkdir(parents=True)
        (folder / split / "en" / "en-novels--Burnett_Test.txt").write_text(tale(seed))
    return folder


@pytest.fixture(scope="module")
def encode(tiny_model: TinyModel) -> Callable[[str], list[int]]:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_model.directory)
    return lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]


def command(model: Path, corpus: Path, out: Path) -> list[str]:
    options = ["--model", str(model), "--corpus", str(corpus), "--out", str(out), "--steps", str(STEPS)]
    sizes = ["--batch", "1", "--length", "400", "--threads", "1", "--rate", "0.003"]
    return [sys.executable, "-m", "models.training.storyteller", "train", *options, *sizes, "--fp32"]


def losses(out: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


def test_a_window_is_the_prompt_that_is_served_and_what_follows_it(
    corpus: Path, encode: Callable[[str], list[int]]
) -> None:
    text = (corpus / "train" / "en" / "en-novels--Burnett_Test.txt").read_text()
    tales = Tales.read(corpus / "train" / "en")
    for number in range(40):
        window = tales.window(f"7/{number}", 400, encode, CHATML)
        assert len(window.tokens) == 400
        assert 0 < window.prompt <= 300
        assert window.tokens == tales.window(f"7/{number}", 400, encode, CHATML).tokens
        assert encode(window.text)[: 400 - window.prompt] == window.tokens[window.prompt :]
        place = text.index(window.text[:120])
        before = text[max(0, place - 5_000) : place].rstrip()
        head = encode(CHATML.head(SYSTEM, ASK))
        assert window.tokens[: len(head) - 1] == head[:-1]
        # What stands last before the passage in the tale stands last in the prompt.
        assert window.tokens[window.prompt - 3 : window.prompt] == encode(before[-400:])[-3:]


def test_a_whole_story_s_prompt_is_exactly_build_prompt_s(corpus: Path, encode: Callable[[str], list[int]]) -> None:
    text = (corpus / "train" / "en" / "en-novels--Burnett_Test.txt").read_text()
    tales = Tales.read(corpus / "train" / "en")
    exact = 0
    for number in range(30):
        window = tales.window(f"8/{number}", 400, encode, CHATML)
        place = text.index(window.text[:120])
        for start in [0, *(at + 2 for at in range(place) if text[at : at + 2] == "\n\n")]:
            request = StoryRequest(
                request_id="r", story=text[start:place] or " ", sampling=Sampling(max_new_tokens=160)
            )
            if len(text[start:place]) > 1_200 or not text[start:place].strip():
                continue
            prompt = build_prompt(request, lambda part: len(encode(part)), 2_048, CHATML)
            exact += encode(prompt) == window.tokens[: window.prompt]
    assert exact >= 25, "all but the stories that were cropped on purpose"


def test_titles_that_no_weight_names_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "unknown--title.txt").write_text(tale(4))
    with pytest.raises(FileNotFoundError, match="no title that is read"):
        Tales.read(tmp_path)
    assert Tales.read(tmp_path, None)


def test_headings_notes_verse_and_archaic_speech_are_no_prose() -> None:
    assert is_prose(tale(5, 2))
    for spoilt in (
        "CHAPTER IX\n\n" + tale(5, 1),
        tale(5, 1) + " [3]",
        "\n".join(["O rose,", "thou art sick", "and pale"] * 9),
        tale(5, 1) + " Thou hast thy will, and thee I leave, for thou art he.",
    ):
        assert not is_prose(spoilt)


def test_spelling_becomes_what_people_type() -> None:
    assert modern("He was _very_ tired--or so--he said -- and - slept.") == "He was very tired—or so—he said—and—slept."


def test_a_first_person_tale_is_told_to_you() -> None:
    told = told_to_you(
        'I was alone. When I looked up I saw my coat beside me. "I am here," said the boy. I\'d never '
        "been so tired; was I to go myself?"
    )
    assert told == (
        'You were alone. When you looked up you saw your coat beside you. "I am here," said the boy. '
        "You'd never been so tired; were you to go yourself?"
    )


@pytest.mark.parametrize(
    "passage",
    [
        "She was alone and walked on.",
        "I rose and I went and I sat and was gone, I think.",
        "I went, I saw, I came, and I tell you, reader, I wept.",
    ],
)
def test_what_a_rule_would_spoil_stays_as_it_is(passage: str) -> None:
    assert told_to_you(passage) is None


def test_the_loss_is_on_the_passage_behind_the_prompt_only(
    corpus: Path, tiny_model: TinyModel, encode: Callable[[str], list[int]]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from models.training.storyteller import losses, with_adapter

    window = Tales.read(corpus / "train" / "en").window("1", 400, encode, CHATML)
    network = with_adapter(AutoModelForCausalLM.from_pretrained(tiny_model.directory), rank=2, alpha=4)
    with torch.inference_mode():
        found = losses(network, [window], bf16=False)
        logits = network(input_ids=torch.tensor([window.tokens])).logits[0].log_softmax(-1)
    wanted = [-float(logits[at - 1, window.tokens[at]]) for at in range(window.prompt, 400)]
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=1e-4, atol=1e-4)


@pytest.mark.timeout(400)  # torch is imported three times, which takes long on a busy machine
def test_a_killed_run_goes_on_with_the_same_losses_and_learns(
    tiny_model: TinyModel, corpus: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    environment = os.environ | {"TRANSFORMERS_VERBOSITY": "error"}
    subprocess.run(command(tiny_model.directory, corpus, whole), cwd=ROOT, env=environment, check=True, timeout=130)
    every_step = [*command(tiny_model.directory, corpus, killed), "--checkpoint-seconds", "0"]
    with subprocess.Popen(every_step, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("step 4:"))
        process.send_signal(signal.SIGKILL)
    subprocess.run(every_step, cwd=ROOT, env=environment, check=True, timeout=130)
    assert [step for step, _ in losses(whole)] == list(range(1, STEPS + 1))
    assert losses(killed) == losses(whole)
    held_out = [json.loads(line) for line in (whole / "losses.jsonl").read_text().splitlines() if "dev" in line]
    assert held_out[-1]["dev"] < losses(whole)[0][1]
    assert read_adapter(killed / "best").sha256 == read_adapter(whole / "best").sha256
    assert str(tmp_path) not in (killed / "best" / "adapter_config.json").read_text()


def test_the_report_measures_tales_and_what_is_no_tale_with_and_without_the_adapter(
    tiny_model: TinyModel, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from models.training import storyteller_report
    from tests.tiny_adapter import tiny_adapter_in

    adapter, plain = tiny_adapter_in(tmp_path, tiny_model.directory), tmp_path / "plain.txt"
    plain.write_text("Connect the cable to port 4 and restart the server; then check the log for errors. " * 40)
    options = ["--adapter", str(adapter), "--corpus", str(corpus), "--plain", str(plain), "--windows", "2", "--fp32"]
    with pytest.warns(FutureWarning):  # peft's own, of transformers' names
        storyteller_report.main(["--model", str(tiny_model.directory), "--threads", "1", *options])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["what"] for row in found] == ["en-novels--Burnett_Test", "plain.txt"]
    for row in found:
        assert row["bytes"] > 100
        assert 0.5 < row["without"] != row["with_it"]


def test_blind_pairs_say_nothing_of_what_is_what_but_the_key_does() -> None:
    from models.training.blind_pairs import shuffled

    stories = {str(number): f"story {number}" for number in range(40)}
    seeds = {name: int(name) for name in stories}
    pairs, key = shuffled(stories, seeds, ["plain"] * 40, ["adapted"] * 40, order=3)
    assert {"a", "b"} == set(key.values())
    for pair in pairs:
        assert {"a": pair.a, "b": pair.b}[key[pair.id]] == "adapted"
        assert {pair.a, pair.b} == {"plain", "adapted"}
    assert shuffled(stories, seeds, ["plain"] * 40, ["adapted"] * 40, order=3)[1] == key
