"""The shipped GPT in llama.cpp: the same model as in torch, for stories longer than its window."""

import hashlib
import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from models.language.convert import gguf_from_directory, split_name
from models.language.gguf_header import read_header
from models.language.rolling_window import RollingLlamaCppModel
from models.weights import GPT_FOLDER, GPT_GGUF
from tests.serving_reader import ask

ENGLISH = (
    'Once upon a time there was a king who had three sons, and the youngest didn\'t fear anything. "Go," said he, '
    "\n\nand they went through the wood -- 3 days and 12 nights. "
)
CHINESE = (
    "从前有一个老人，住在山下的村子里，他有三个儿子。\n话说那日天色已晚，大儿子骑马出门，走了十里路，见前面有一座古庙，"
    "庙里灯火通明，只听得有人说道：“你且坐下，吃杯茶再去不迟。”他心中疑惑，便推门进去。"
)
TALE = ENGLISH + CHINESE
MAX_BYTES = 25_000_000


@pytest.fixture(scope="module")
def model():
    loaded = RollingLlamaCppModel.load(GPT_GGUF, threads=1, slots=2, context=read_header(GPT_GGUF).context)
    yield loaded
    loaded.close()


def test_the_shipped_weights_are_small_and_described() -> None:
    sizes = {path.name: path.stat().st_size for path in GPT_FOLDER.iterdir()}
    assert sum(sizes.values()) <= MAX_BYTES
    card = (GPT_FOLDER / "README.md").read_text(encoding="utf-8")
    digest = hashlib.sha256((GPT_FOLDER / "model.safetensors").read_bytes()).hexdigest()
    assert digest in card
    for word in ("public domain", "licence", "seed", "bits per character"):
        assert word in card.lower()


def test_the_gguf_file_is_what_the_safetensors_convert_to(tmp_path: Path) -> None:
    converted = gguf_from_directory(GPT_FOLDER, tmp_path / "gpt.gguf", "q8_0")
    assert converted.read_bytes() == GPT_GGUF.read_bytes()


def test_llama_cpp_cuts_text_into_the_tokens_of_the_tokenizer(model) -> None:
    tokenizer = Tokenizer.from_file(str(GPT_FOLDER / "tokenizer.json"))
    described = json.loads((GPT_FOLDER / "tokenizer.json").read_text(encoding="utf-8"))
    assert split_name(described["pre_tokenizer"]) == "gpt-4o"
    for text in (TALE, TALE.upper(), "naïve 😀 don't DON'T o'clock\n\n\n* * *\n"):
        assert model.count_tokens(text) == len(tokenizer.encode(text, add_special_tokens=False).ids)


def test_llama_cpp_and_torch_write_the_same_most_likely_words(model) -> None:
    import torch

    from models.language.gpt import GPT

    torch.set_num_threads(1)
    story = "Once upon a time there was a king who had"
    ours = model.generate(ask("r", story, temperature=0, repetition_penalty=1, max_new_tokens=6), lambda text: True)
    assert ours.text
    theirs = GPT.load(GPT_FOLDER).sample(story, max_new_tokens=6, temperature=0)
    assert theirs.startswith(ours.text)


@pytest.mark.parametrize("opening", [ENGLISH, CHINESE])
def test_a_story_longer_than_the_window_is_continued_by_more_than_the_window(model, opening: str) -> None:
    story = opening * 20
    assert model.count_tokens(story) > model.context
    texts = []
    for seed in (5, 5, 6):
        request = ask("r", story, seed=seed, temperature=1.0, repetition_penalty=1.15, max_new_tokens=600)
        output = model.generate(request, lambda text: True)
        texts.append(output.text)
        assert 0 < output.prompt_tokens <= model.context // 2 + 1
        if output.finish_reason == "length":
            assert output.new_tokens == 600
    assert texts[0] == texts[1] != texts[2]


def test_a_long_continuation_stops_within_one_token(model) -> None:
    pieces: list[str] = []

    def emit(text: str) -> bool:
        pieces.append(text)
        return len(pieces) < 200

    output = model.generate(ask("r", TALE, temperature=1.0, max_new_tokens=2_000), emit)
    assert output.finish_reason in ("cancelled", "loop", "stop", "end")
    assert output.new_tokens <= 201


def test_a_story_without_words_is_refused(model) -> None:
    with pytest.raises(ValueError, match="no text"):
        model.generate(ask("r", " \n\u200b"), lambda text: True)
