"""Models from a Hugging Face hub, against a small hub on loopback."""

import subprocess
import sys
from pathlib import Path

import pytest

from models.language.weights import ChecksumMismatchError, FetchFailedError, NotAModelError, resolve, verify
from tests.served_files import hub
from tests.tiny_model import TinyModel

REPO = "inkwell/tiny-llama"


def files_of(model: TinyModel) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in model.directory.iterdir()} | {"README.md": b"not a model file"}


def test_a_hub_model_is_downloaded_once_and_whole(tiny_model: TinyModel, tmp_path: Path) -> None:
    with hub(REPO, files_of(tiny_model)) as server:
        model = resolve(REPO, tmp_path, fetch=True, hub_endpoint=server.address)
    assert model.format == "safetensors"
    assert model.context == 1024
    assert model.licence == "apache-2.0"
    assert model.name == "inkwell--tiny-llama"
    assert (model.path / "model.safetensors").read_bytes() == (tiny_model.directory / "model.safetensors").read_bytes()
    assert not (model.path / "README.md").exists()
    assert verify(model) == model.sha256
    # The hub is gone: what is here is enough.
    assert resolve(REPO, tmp_path, fetch=False) == model


def test_a_gguf_file_of_a_hub_model_is_taken_alone(tiny_model: TinyModel, tmp_path: Path) -> None:
    files = files_of(tiny_model) | {"tiny.gguf": tiny_model.gguf.read_bytes()}
    with hub(REPO, files) as server:
        model = resolve(f"{REPO}/tiny.gguf", tmp_path, fetch=True, hub_endpoint=server.address)
    assert (model.format, model.path.name) == ("gguf", "tiny.gguf")
    assert not (model.path.parent / "model.safetensors").exists()


def test_a_download_killed_halfway_leaves_no_model_and_is_taken_up_again(tiny_model: TinyModel, tmp_path: Path) -> None:
    with hub(REPO, files_of(tiny_model)) as server:
        weights = next(path for path in server.files if path.endswith("model.safetensors"))
        server.stalling.add(weights)
        command = [sys.executable, "-m", "models.language.weights", "pull", REPO, f"--data-dir={tmp_path}"]
        process = subprocess.Popen([*command, f"--hub-endpoint={server.address}"], stderr=subprocess.DEVNULL)
        assert server.halfway.wait(60)
        process.kill()
        process.wait()
        assert not (tmp_path / "models" / "inkwell--tiny-llama").exists()
        server.go_on.set()
        model = resolve(REPO, tmp_path, fetch=True, hub_endpoint=server.address)
    assert verify(model) == model.sha256
    assert [entry.name for entry in (tmp_path / "models").iterdir() if entry.name.endswith(".part")] == []


def test_a_file_with_another_sum_than_the_hub_announced_is_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    files = files_of(tiny_model)
    with hub(REPO, files) as server:
        path = next(path for path in server.files if path.endswith("model.safetensors"))
        changed = bytearray(server.files[path])
        changed[-1] ^= 1
        server.files[path] = bytes(changed)
        with pytest.raises(ChecksumMismatchError) as refused:
            resolve(REPO, tmp_path, fetch=True, hub_endpoint=server.address)
    assert refused.value.expected in str(refused.value)
    assert refused.value.actual in str(refused.value)
    assert not (tmp_path / "models" / ".inkwell--tiny-llama.part").exists()
    assert not (tmp_path / "models" / "inkwell--tiny-llama").exists()


def test_an_unreachable_hub_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FetchFailedError, match=r"^The hub at http://127\.0\.0\.1:9 can't be reached \(.*\): check"):
        resolve(REPO, tmp_path, fetch=True, hub_endpoint="http://127.0.0.1:9")


def test_an_unknown_hub_model_is_one_sentence(tiny_model: TinyModel, tmp_path: Path) -> None:
    with hub(REPO, files_of(tiny_model)) as server:
        server.errors_of["/api/models/inkwell/other"] = "RepoNotFound"
        with pytest.raises(FetchFailedError, match="knows no model inkwell/other: check its name"):
            resolve("inkwell/other", tmp_path, fetch=True, hub_endpoint=server.address)


def test_a_hub_model_without_safetensors_is_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    files = {name: content for name, content in files_of(tiny_model).items() if not name.endswith("safetensors")}
    with hub(REPO, files) as server, pytest.raises(FetchFailedError, match="holds no safetensors or GGUF weights"):
        resolve(REPO, tmp_path, fetch=True, hub_endpoint=server.address)


def test_a_hub_model_without_a_tokenizer_is_no_model(tiny_model: TinyModel, tmp_path: Path) -> None:
    files = {name: content for name, content in files_of(tiny_model).items() if not name.startswith("tokenizer")}
    with hub(REPO, files) as server, pytest.raises(NotAModelError, match="holds no tokenizer"):
        resolve(REPO, tmp_path, fetch=True, hub_endpoint=server.address)
    assert not (tmp_path / "models" / "inkwell--tiny-llama").exists()
