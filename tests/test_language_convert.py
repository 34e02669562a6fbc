"""GGUF and directories say the same: the same tokens, the same greedy text."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from models.language.convert import UnsupportedModelError, directory_from_gguf, gguf_from_directory, main, split_name
from models.language.weight_files import inspect
from tests.tiny_model import TinyModel

TEXTS = (
    "The lamp in the lighthouse went out at nine.",
    "In 1984 there were 12,000 of them — wasn't there?\n\n\t“Yes,” she said.",
    "灯塔的灯在九点熄灭了。 Ω≈ç√ 🐉🏴",
    "  leading and   many    spaces \r\n and <|im_start|> marks <|im_end|>",
)
STORIES = (
    "The lamp in the lighthouse went out at nine, and the keeper",
    "She put it in her pocket and lit",
    "On the beach a boy was waiting with",
    "大海在她脚下又黑又响。",
)


def llama_cpp(gguf: Path) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_ctx, params.n_parallel, params.warmup = 512, 1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
    params.verbosity = 1
    return xllamacpp.Server(params)


def complete(server: Any, prompt: str | list[int], count: int) -> dict[str, Any]:
    answers: list[str] = []
    ask = {"prompt": prompt, "n_predict": count, "temperature": 0, "cache_prompt": False, "return_tokens": True}
    ask["logprobs"] = 1
    server.handle_completions(json.dumps(ask), answers.append)
    answer: dict[str, Any] = json.loads(answers[0])
    assert "choices" in answer, answer
    return answer


def greedy_tokens(directory: Path, prompt: str, count: int) -> tuple[list[int], list[float], str]:
    """Tokens, how far each was ahead of the second best (in logits), and their text, from torch in fp32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(2)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),  # a prompt's end marks are also the padding token, and would be hidden
        max_new_tokens=count,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
    )
    tokens = out.sequences[0, ids.shape[1] :].tolist()
    leads = [float(best[0] - best[1]) for best in (scores[0].topk(2).values for scores in out.scores)]
    return tokens, leads, tokenizer.decode(tokens)


def assert_same_greedy_text(directory: Path, gguf: Path, prompts: tuple[str, ...], count: int) -> None:
    """The first `count` greedy tokens agree, but where torch's best two tokens are closer than 0.01 logits: there the
    engines' different order of fp32 sums (and llama.cpp's 16-bit KV cache, which moves a logit by some thousandths)
    may choose either, and what follows is another text."""
    from transformers import AutoTokenizer

    server, tokenizer = llama_cpp(gguf), AutoTokenizer.from_pretrained(directory)
    compared = 0
    for prompt in prompts:
        tokens, leads, text = greedy_tokens(directory, prompt, count)
        sure = next((place for place, lead in enumerate(leads) if lead < 0.01), len(tokens))
        theirs = complete(server, prompt, count)["choices"][0]
        expected = tokenizer.decode(tokens[:sure], skip_special_tokens=True).rstrip("\ufffd")
        assert theirs["text"].startswith(expected), f"{prompt!r}: {theirs['text']!r} is not {text!r}"
        compared += sure
    assert compared >= 0.75 * count * len(prompts), "too many near ties: this compared next to nothing"


def test_llama_cpp_and_torch_write_the_same_greedy_text_of_a_tiny_model(tiny_model: TinyModel) -> None:
    assert_same_greedy_text(tiny_model.directory, tiny_model.gguf, STORIES, 32)


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_smaller_kinds_still_tell_the_same_story(tiny_model: TinyModel, tmp_path: Path, kind: Any) -> None:
    gguf = gguf_from_directory(tiny_model.directory, tmp_path / f"tiny.{kind}.gguf", kind)
    assert gguf.stat().st_size < tiny_model.gguf.stat().st_size
    answer = complete(llama_cpp(gguf), STORIES[1], 12)
    assert answer["choices"][0]["text"].startswith(" the lamp. A ship")


def test_a_gguf_becomes_the_directory_it_came_from(tiny_model: TinyModel, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    directory = directory_from_gguf(tiny_model.gguf, tmp_path / "unpacked", "f32")
    before = load_file(tiny_model.directory / "model.safetensors")
    after = load_file(directory / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    ours, theirs = (AutoTokenizer.from_pretrained(place) for place in (tiny_model.directory, directory))
    assert theirs.chat_template == ours.chat_template
    assert [theirs(text)["input_ids"] for text in TEXTS] == [ours(text)["input_ids"] for text in TEXTS]
    assert inspect(directory).format == "safetensors"


def test_llama_cpp_reads_every_text_as_the_same_tokens(tiny_model: TinyModel) -> None:
    from transformers import AutoTokenizer

    tokenizer, server = AutoTokenizer.from_pretrained(tiny_model.directory), llama_cpp(tiny_model.gguf)
    for text in TEXTS:
        assert complete(server, text, 1)["usage"]["prompt_tokens"] == len(tokenizer(text)["input_ids"]), text


def test_a_conversion_that_fails_leaves_nothing(tiny_model: TinyModel, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model.directory, broken)
    config = json.loads((broken / "config.json").read_text())
    tokenizer = json.loads((broken / "tokenizer.json").read_text())
    for changes, feature in (
        ({"architectures": ["MistralForCausalLM"]}, "MistralForCausalLM"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "llama3"),
        ({"attention_bias": True}, "attention_bias"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantised"),
    ):
        (broken / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(UnsupportedModelError, match=feature):
            gguf_from_directory(broken, tmp_path / "out.gguf")
    (broken / "config.json").write_text(json.dumps(config))
    (broken / "tokenizer.json").write_text(json.dumps({**tokenizer, "pre_tokenizer": {"type": "Whitespace"}}))
    with pytest.raises(UnsupportedModelError, match="Whitespace"):
        gguf_from_directory(broken, tmp_path / "out.gguf")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["broken"]


def test_only_known_ways_to_cut_text_have_a_name() -> None:
    digits = {"type": "Digits", "individual_digits": True}
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    assert split_name(bytes_) == "gpt-2"
    assert split_name({"type": "Sequence", "pretokenizers": [digits, bytes_]}) == "smollm"
    for unknown in (None, {**bytes_, "add_prefix_space": True}, {**bytes_, "use_regex": False}):
        with pytest.raises(UnsupportedModelError):
            split_name(unknown)


def test_rows_of_the_embedding_without_a_token_are_padding(tiny_model: TinyModel, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    padded = tmp_path / "padded"
    shutil.copytree(tiny_model.directory, padded)
    config = json.loads((padded / "config.json").read_text())
    (padded / "config.json").write_text(json.dumps({**config, "vocab_size": config["vocab_size"] + 64}))
    tensors = load_file(padded / "model.safetensors")
    embedding = tensors["model.embed_tokens.weight"]
    tensors["model.embed_tokens.weight"] = torch.cat([embedding, torch.zeros(64, embedding.shape[1])])
    save_file(tensors, padded / "model.safetensors", metadata={"format": "pt"})
    server = llama_cpp(gguf_from_directory(padded, tmp_path / "padded.gguf"))
    assert complete(server, STORIES[1], 12)["choices"][0]["text"].startswith(" the lamp. A ship")


def test_the_command_line_converts_both_ways(tiny_model: TinyModel, tmp_path: Path) -> None:
    assert main(["to-gguf", str(tiny_model.directory), str(tmp_path / "tiny.gguf"), "--kind", "q8_0"]) == 0
    assert inspect(tmp_path / "tiny.gguf").format == "gguf"
    assert main(["to-gguf", str(tmp_path / "absent"), str(tmp_path / "other.gguf")]) == 1


@pytest.mark.weights
def test_llama_cpp_and_torch_write_the_same_greedy_text_of_the_default_model(
    default_unpacked: Path, tmp_path: Path
) -> None:
    gguf = gguf_from_directory(default_unpacked, tmp_path / "smollm2.f32.gguf")
    prompts = (
        "The lighthouse keeper found a letter under the door. It was",
        "Once, in a town with 12 bridges, a baker named Ada decided to",
        "<|im_start|>user\nWrite a story.<|im_end|>\n<|im_start|>assistant\nThe snow had fallen since Tuesday, and",
        "“Don't open it,” he whispered. But she",
    )
    try:
        assert_same_greedy_text(default_unpacked, gguf, prompts, 32)
    finally:
        gguf.unlink()  # 540 MB, and pytest keeps what is here for three runs
