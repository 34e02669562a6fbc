"""`inkwell models list|pull|use` as an operator types it, and what it leaves in `.env` and DATA_DIR."""

import json
import stat
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bot import settings
from bot.__main__ import app
from bot.env_file import EnvFileError, _with, set_in_env_file
from bot.licences import needs_acceptance
from models.language.catalogue import CATALOGUE, Hardware, UnknownModelNameError, misfit, named, of_spec
from models.language.known_models import DEFAULT_SPEC, GEMMA_SPEC, KNOWN_MODELS
from models.language.weights import is_local
from models.serving.machine import memory_bytes

GB = 1_000_000_000


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, code: int = 0, typed: str = "") -> str:
    result = CliRunner().invoke(app, ["models", *arguments], input=typed)
    assert result.exit_code == code, result.output
    return result.output


def chosen() -> str | None:
    return dotenv_values(".env").get("STORY_MODEL")


def test_the_list_shows_every_model_with_its_licence_and_marks_the_chosen_one() -> None:
    shown = run("list")
    for row in CATALOGUE:
        assert row.name in shown
        assert row.licence.name.split()[0] in shown
    (line,) = [line for line in shown.splitlines() if "smollm2-135m-instruct" in line and "MB" in line]
    assert "chosen" in line
    assert "on disk" not in line
    assert "reaches no Hugging Face hub" in " ".join(shown.split())


def test_the_list_says_when_the_main_model_is_none_of_them() -> None:
    Path(".env").write_text("STORY_MODEL=./mine.gguf\n")
    shown = run("list")
    assert "STORY_MODEL is ./mine.gguf, which is none of these." in shown
    assert "chosen" not in shown


def test_use_writes_the_setting_and_keeps_everything_else_of_the_file() -> None:
    before = "# mine\nDATA_DIR=elsewhere\n\nSTORY_MODEL=./old.gguf  # the old one\n\n# end\nLOG_LEVEL=debug\n"
    Path(".env").write_text(before)
    Path(".env").chmod(0o640)
    told = run("use", "qwen2.5-0.5b-instruct")
    assert "Apache-2.0" in told
    after = Path(".env").read_text()
    assert after == before.replace("./old.gguf", "Qwen/Qwen2.5-0.5B-Instruct")
    assert stat.S_IMODE(Path(".env").stat().st_mode) == 0o640
    assert settings.load().story_model == "Qwen/Qwen2.5-0.5B-Instruct"


def test_use_makes_a_private_file_where_there_is_none() -> None:
    told = run("use", "smollm2-135m-instruct")
    assert chosen() == DEFAULT_SPEC
    assert stat.S_IMODE(Path(".env").stat().st_mode) == 0o600
    assert "not fetched yet" in told


def test_use_says_when_the_environment_counts_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORY_MODEL", "./mine.gguf")
    assert "environment has a STORY_MODEL" in run("use", "smollm2-135m-instruct")


def test_a_restricted_licence_is_shown_and_a_no_changes_nothing() -> None:
    for typed in ("n\n", ""):  # said, or nobody there
        told = run("use", "gemma3-270m", code=1, typed=typed)
        assert "https://ai.google.dev/gemma/terms" in told
        assert "--accept-licence" in told
    assert not Path(".env").exists()
    assert not Path("data").exists()


@pytest.mark.parametrize(("arguments", "typed"), [(("--accept-licence",), ""), ((), "y\n")])
def test_a_yes_is_kept_and_not_asked_for_again(arguments: tuple[str, ...], typed: str) -> None:
    run("use", "gemma3-270m", *arguments, typed=typed)
    assert chosen() == GEMMA_SPEC
    kept = json.loads(Path("data/accepted-licences.json").read_text())
    assert kept["Gemma Terms of Use"]["model"] == "gemma3-270m"
    assert "do you accept" not in run("use", "gemma3-270m")
    assert not needs_acceptance(named("gemma3-270m").licence, Path("data"))
    assert needs_acceptance(named("gemma3-270m").licence, Path("other"))


def test_a_damaged_record_of_acceptances_asks_again() -> None:
    Path("data").mkdir()
    Path("data/accepted-licences.json").write_text("{")
    assert "do you accept" in run("use", "gemma3-270m", code=1)


def test_no_other_way_fetches_what_nobody_accepted() -> None:
    result = CliRunner().invoke(app, ["pull", GEMMA_SPEC])
    assert result.exit_code == 1
    assert "inkwell models use gemma3-270m" in result.output
    assert "nothing to fetch" in run("pull", "gpt")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("gema", "did you mean gemma3-270m?"), ("qwen", "or qwen2.5-7b-instruct?"), ("###", "there are gpt, smollm2")],
)
def test_an_unknown_name_gets_the_nearest_one(name: str, hint: str) -> None:
    for action in ("use", "pull"):
        assert hint in run(action, name, code=1)
    with pytest.raises(UnknownModelNameError):
        named("")


def test_what_can_not_be_the_main_model_is_refused_in_a_sentence() -> None:
    assert "/story model:gpt" in run("use", "gpt", code=1)
    Path(".env").write_text("STORY_ENGINE=llama_cpp\n")
    assert "set STORY_ENGINE=auto" in run("use", "qwen2.5-7b-instruct", code=1)
    Path(".env").write_text("STORY_ENGINE=openai\nSTORY_BASE_URL=http://127.0.0.1:1/v1\nSTORY_MODEL=llama3.2\n")
    assert "model of a server" in run("use", "smollm2-135m-instruct", code=1)
    assert chosen() == "llama3.2"


def test_the_table_is_whole_and_agrees_with_the_models_that_are_known_by_heart() -> None:
    assert len({row.name for row in CATALOGUE}) == len(CATALOGUE)
    for row in CATALOGUE:
        assert named(row.name) is row
        if row.spec:
            assert of_spec(row.spec) is row
            assert not is_local(row.spec)
    for known in KNOWN_MODELS.values():
        row = of_spec(known.spec)
        assert row is not None
        assert (row.languages, row.licence.name) == (known.languages, known.licence)
        assert abs(row.download_bytes - known.download_bytes) < 1_000_000


def test_a_model_suits_where_its_memory_is() -> None:
    big, small = named("qwen2.5-7b-instruct"), named("smollm2-135m-instruct")
    assert misfit(small, Hardware(memory_bytes=GB)) == ""
    assert misfit(small, Hardware(memory_bytes=GB // 5)) == "wants 0.4 GB of memory"
    assert misfit(big, Hardware(memory_bytes=64 * GB)) == "wants a GPU with 20.0 GB"
    assert misfit(big, Hardware(memory_bytes=64 * GB, gpu_memory_bytes=24 * GB)) == ""


def test_memory_is_what_the_container_grants(tmp_path: Path) -> None:
    installed = memory_bytes(tmp_path)
    assert installed > 0
    for bound, expected in (("max", installed), ("1048576", 1_048_576), (str(2**62), installed)):
        (tmp_path / "memory.max").write_text(f"{bound}\n")
        assert memory_bytes(tmp_path) == expected


LINES = st.one_of(
    st.sampled_from(["", "# a comment", "LOG_LEVEL=debug", "DB_KEY='a b # c'", 'X="two\nlines"', "export DATA_DIR=d"]),
    st.from_regex(r"STORY_MODEL ?= ?[a-z./]{0,8}( +# [a-z ]{0,9})?", fullmatch=True),
)


@given(lines=st.lists(LINES), end=st.sampled_from(["\n", "\r\n"]), closed=st.booleans())
def test_whatever_stands_in_the_file_one_setting_changes_and_the_others_stay(
    lines: list[str], end: str, closed: bool
) -> None:
    before = end.join(lines) + (end if closed and lines else "")
    after = _with(before, "STORY_MODEL", "org/new")
    values = [line.partition(" #")[0].rstrip() for line in after.splitlines() if line.startswith("STORY_MODEL")]
    assert values
    assert set(values) == {"STORY_MODEL=org/new"}

    def others(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("STORY_MODEL")]

    assert others(after) == others(before)
    assert _with(after, "STORY_MODEL", "org/new") == after


def test_a_link_stays_a_link_and_a_file_that_can_not_be_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("A=1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    set_in_env_file(tmp_path / "link", "B", "2")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "A=1\nB=2\n"
    (tmp_path / "latin").write_bytes(b"A=\xe9\n")
    with pytest.raises(EnvFileError, match="UTF-8"):
        set_in_env_file(tmp_path / "latin", "B", "2")
    with pytest.raises(EnvFileError, match="can't be changed"):
        set_in_env_file(tmp_path / "nowhere" / ".env", "B", "2")
    with pytest.raises(ValueError, match="quotes"):
        set_in_env_file(tmp_path / "real", "B", "two words")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latin", "link", "real"]
