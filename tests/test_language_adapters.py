"""Adapters: which one goes with a model, what is refused, and that both engines then write the same."""

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from models.language.adapter_merge import KEPT_S, merge, merged
from models.language.adapters import CONFIG, SHIPPED, WEIGHTS, Adapter, AdapterError, read_adapter, resolve_adapter
from models.language.convert import gguf_from_directory
from models.language.known_models import DEFAULT_SPEC, KNOWN_MODELS
from models.language.weight_files import sha256_of
from models.language.weights import LocalModel, resolve
from models.serving.model_loading import load_story_model
from models.serving.requests import Sampling, StoryRequest
from models.serving.wire import WorkerConfig
from tests.test_language_convert import STORIES, assert_same_greedy_text, complete, llama_cpp
from tests.tiny_adapter import tiny_adapter_in
from tests.tiny_model import TinyModel

SHIPPED_BYTES_MAX = 12_000_000
PROMPT = "The lamp in the lighthouse went out at nine, and the keeper"


@pytest.fixture(scope="module")
def adapter(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return read_adapter(tiny_adapter_in(tmp_path_factory.mktemp("adapter"), tiny_model.directory))


@pytest.fixture
def copy(adapter: Adapter, tmp_path: Path) -> Path:
    """An adapter's directory that the test may spoil."""
    return Path(shutil.copytree(adapter.path, tmp_path / "copy"))


def local(sha256: str, path: Path = Path("model.gguf")) -> LocalModel:
    return LocalModel(
        name="m", spec="m", path=path, format="gguf", sha256=sha256, size_bytes=1, licence="", context=None
    )


def peft_merged(tiny_model: TinyModel, adapter: Adapter, directory: Path) -> Path:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    network: Any = AutoModelForCausalLM.from_pretrained(tiny_model.directory)
    with pytest.warns(FutureWarning):  # peft's own, of transformers' names
        PeftModel.from_pretrained(network, str(adapter.path)).merge_and_unload().save_pretrained(directory)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tiny_model.directory / name, directory / name)
    return directory


def test_llama_cpp_and_peft_write_the_same_greedy_text_with_an_adapter(
    tiny_model: TinyModel, adapter: Adapter, tmp_path: Path
) -> None:
    gguf = merge(tiny_model.gguf, adapter, tmp_path / "merged.gguf")
    assert_same_greedy_text(peft_merged(tiny_model, adapter, tmp_path / "peft"), gguf, STORIES, 24)
    plain, adapted = (complete(llama_cpp(file), PROMPT, 24)["choices"][0]["text"] for file in (tiny_model.gguf, gguf))
    assert plain != adapted


def test_both_engines_load_the_adapter_and_name_it_in_their_version(
    tiny_model: TinyModel, adapter: Adapter, tmp_path: Path
) -> None:
    greedy = Sampling(max_new_tokens=12, temperature=0.0, repetition_penalty=1.0)
    asked = StoryRequest(request_id="r", story=PROMPT, sampling=greedy)
    texts: dict[tuple[str, str], str] = {}
    for engine in ("llama_cpp", "transformers"):
        for spec in ("none", str(adapter.path)):
            config = WorkerConfig(
                model=str(tiny_model.gguf),
                data_dir=str(tmp_path),
                adapter=spec,
                engine=engine,  # type: ignore[arg-type]
                device="cpu",
                threads=1,
                context_tokens=512,
            )
            model = load_story_model(config)
            texts[engine, spec] = model.generate(asked, lambda _: True).text
            assert model.version.endswith(f"+{adapter.version}") == (spec != "none")
            model.close()
    assert texts["llama_cpp", "none"] == texts["transformers", "none"]
    assert texts["llama_cpp", str(adapter.path)] == texts["transformers", str(adapter.path)]
    assert texts["llama_cpp", "none"] != texts["llama_cpp", str(adapter.path)]


def test_weights_are_merged_once_and_again_when_the_file_was_torn(
    tiny_model: TinyModel, adapter: Adapter, tmp_path: Path
) -> None:
    file = merged(tiny_model.gguf, adapter, tmp_path, "tiny@00000000")
    assert file.parent == tmp_path / "models"
    whole, written = sha256_of(file), file.stat().st_ino
    assert merged(tiny_model.gguf, adapter, tmp_path, "tiny@00000000") == file
    assert file.stat().st_ino == written
    file.write_bytes(file.read_bytes()[:-1_000])
    merged(tiny_model.gguf, adapter, tmp_path, "tiny@00000000")
    assert sha256_of(file) == whole


def test_a_new_adapter_gets_a_new_file_and_what_the_old_one_left_goes_when_nobody_asks_for_it(
    tiny_model: TinyModel, adapter: Adapter, tmp_path: Path
) -> None:
    version, newer = "tiny@00000000", dataclasses.replace(adapter, sha256="f" * 64)
    other_base = merged(tiny_model.gguf, adapter, tmp_path, "tiny@11111111")
    somebodys = tmp_path / "models" / "tiny-00000000-with-care.gguf"  # a name like ours, and no adapter in it
    shutil.copyfile(tiny_model.gguf, somebodys)
    torn = tmp_path / "models" / "tiny-00000000-with-torn-00000000.gguf"
    torn.write_bytes(tiny_model.gguf.read_bytes()[:100])
    old = merged(tiny_model.gguf, adapter, tmp_path, version)
    new = merged(tiny_model.gguf, newer, tmp_path, version)
    assert old != new
    assert old.exists()  # another worker may have asked for it a moment ago
    long_ago = time.time() - KEPT_S - 60
    for file in (old, other_base, somebodys, torn):
        os.utime(file, (long_ago, long_ago))
    in_use = llama_cpp(old)
    expected = complete(in_use, PROMPT, 12)["choices"][0]["text"]
    os.utime(new, (long_ago, long_ago))
    assert merged(tiny_model.gguf, newer, tmp_path, version) == new
    assert [file.exists() for file in (old, new, other_base, somebodys, torn)] == [False, True, True, True, True]
    assert time.time() - new.stat().st_mtime < 60  # it was asked for just now
    assert complete(in_use, PROMPT, 12)["choices"][0]["text"] == expected  # whoever has it open keeps it
    assert merged(tiny_model.gguf, adapter, tmp_path, version).exists()


def test_quantised_weights_are_merged_in_full_precision_and_the_others_copied(
    tiny_model: TinyModel, adapter: Adapter, tmp_path: Path
) -> None:
    import gguf
    import numpy as np

    base = gguf_from_directory(tiny_model.directory, tmp_path / "base.gguf", "q8_0")
    exact = gguf.GGUFReader(merge(tiny_model.gguf, adapter, tmp_path / "exact.gguf"))
    found = gguf.GGUFReader(merge(base, adapter, tmp_path / "merged.gguf"))
    originals = {tensor.name: tensor for tensor in gguf.GGUFReader(base).tensors}
    for tensor, wanted in zip(found.tensors, exact.tensors, strict=True):
        assert tensor.name == wanted.name
        if "attn_" in tensor.name or "ffn_" in tensor.name:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            assert np.abs(values - wanted.data).max() <= 2 * np.abs(wanted.data).max() / 127
        if "token_embd" in tensor.name or "norm" in tensor.name:
            assert tensor.tensor_type == originals[tensor.name].tensor_type
            assert np.array_equal(tensor.data, originals[tensor.name].data)


def test_an_adapter_goes_with_the_very_weights_that_it_was_made_for(adapter: Adapter) -> None:
    known = KNOWN_MODELS[DEFAULT_SPEC]
    found = resolve_adapter("default", local(known.sha256))
    assert found is not None
    assert found.path == SHIPPED / known.adapter
    assert resolve_adapter("default", local("0" * 64)) is None
    assert resolve_adapter("none", local(known.sha256)) is None
    assert resolve_adapter(str(adapter.path), local("0" * 64)) == adapter


def test_the_shipped_adapter_is_small_and_tells_its_base_licence_and_data() -> None:
    known = KNOWN_MODELS[DEFAULT_SPEC]
    folder = SHIPPED / known.adapter
    assert (folder / WEIGHTS).stat().st_size <= SHIPPED_BYTES_MAX
    assert json.loads((folder / CONFIG).read_text())["base_model_name_or_path"] == DEFAULT_SPEC
    card = (folder / "README.md").read_text()
    for told in (known.sha256, "Licence", "Seed", "bits per byte"):
        assert told.lower() in card.lower()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"peft_type": "IA3"}, "only LoRA"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"r": None}, "damaged"),
    ],
)
def test_an_adapter_that_not_every_engine_can_load_is_refused(copy: Path, change: dict[str, Any], words: str) -> None:
    config = json.loads((copy / CONFIG).read_text())
    (copy / CONFIG).write_text(json.dumps(config | change))
    with pytest.raises(AdapterError, match=words):
        read_adapter(copy)


def test_a_folder_without_an_adapter_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="is no adapter") as caught:
        resolve_adapter(str(tmp_path / "nowhere"), local("0" * 64))
    assert "\n" not in str(caught.value)


def test_an_adapter_of_another_model_is_refused(tiny_model: TinyModel, adapter: Adapter, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(adapter.weights)
    for change, words in (
        (lambda name, value: (name.replace("layers.1", "layers.7"), value), "doesn't have"),
        (lambda name, value: (name, value[:, :-1] if "lora_A" in name else value), "another shape"),
        (lambda name, value: (name, value[:-4] if "q_proj.lora_B" in name else value), "heads"),
    ):
        spoilt = tmp_path / "spoilt"
        shutil.rmtree(spoilt, ignore_errors=True)
        shutil.copytree(adapter.path, spoilt)
        save_file({name: value.copy() for name, value in (change(*each) for each in weights.items())}, spoilt / WEIGHTS)
        with pytest.raises(AdapterError, match=words):
            merge(tiny_model.gguf, dataclasses.replace(adapter, path=spoilt), tmp_path / "merged.gguf")
        assert not (tmp_path / "merged.gguf").exists()


def test_a_worker_says_in_a_sentence_that_an_adapter_is_damaged(
    tiny_model: TinyModel, copy: Path, tmp_path: Path
) -> None:
    whole = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    for engine in ("llama_cpp", "transformers"):
        config = WorkerConfig(
            model=str(tiny_model.gguf),
            data_dir=str(tmp_path),
            adapter=str(copy),
            engine=engine,  # type: ignore[arg-type]
            device="cpu",
            context_tokens=256,
        )
        with pytest.raises(AdapterError, match=r"copy") as caught:
            load_story_model(config)
        assert "\n" not in str(caught.value)


@pytest.mark.weights
@pytest.mark.timeout(300)
def test_the_default_model_tells_with_its_adapter_and_a_seed_the_same_story_in_a_crowd(
    default_weights: LocalModel, pytestconfig: pytest.Config
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    cache = pytestconfig.getoption("--weights-cache").expanduser()
    assert resolve(DEFAULT_SPEC, cache, fetch=False) == default_weights
    model = load_story_model(WorkerConfig(model=DEFAULT_SPEC, data_dir=str(cache), threads=2))
    assert "storyteller@" in model.version

    def tell(number: int) -> str:
        asked = StoryRequest(
            request_id=str(number), story=STORIES[number % 3], sampling=Sampling(max_new_tokens=40, seed=number)
        )
        return model.generate(asked, lambda _: True).text

    alone = [tell(number) for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(tell, range(4))) == alone
    model.close()
