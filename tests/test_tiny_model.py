"""The tests' own small model is a real one: both engines load it."""

import json

from models.language.convert import split_name
from tests.tiny_model import TinyModel


def test_llama_cpp_continues_with_the_tiny_model(tiny_model: TinyModel) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(tiny_model.gguf)
    params.n_ctx, params.n_parallel, params.warmup = 512, 1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    answers: list[str] = []
    ask = {"prompt": "She put it in her pocket and lit", "n_predict": 4, "temperature": 0}
    server.handle_completions(json.dumps(ask), answers.append)
    assert json.loads(answers[0])["choices"][0]["text"].startswith(" the lamp")


def test_the_tiny_model_stays_under_a_megabyte(tiny_model: TinyModel) -> None:
    assert sum(file.stat().st_size for file in tiny_model.directory.iterdir()) < 1_000_000
    assert tiny_model.gguf.stat().st_size < 1_000_000


def test_the_tiny_model_cuts_text_as_the_default_model_does(tiny_model: TinyModel) -> None:
    tokenizer = json.loads((tiny_model.directory / "tokenizer.json").read_text("utf-8"))
    assert split_name(tokenizer["pre_tokenizer"]) == "smollm"
