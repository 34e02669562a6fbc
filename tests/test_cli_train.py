"""`inkwell train` as an operator types it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.serving.training import TurnRecord
from models.train_cli import train
from models.training.registry import Registry
from models.training.text_records import MAX_PART_CHARS, UnreadableTextError, records_of
from tests.made_up_style import FOLDER
from tests.training_process import ROOT, left_by_runs


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(train, ["run", *arguments], env={"COLUMNS": "120"})
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_text_files_are_learned_judged_and_put_to_use(tmp_path: Path) -> None:
    ask = ["--text", str(FOLDER), "--family", "ngram", "--data-dir", str(tmp_path)]
    said = run(*ask)
    assert "passages: 60, authors: 3, characters: 20,004" in said
    assert "passed first" in said
    registry = Registry(tmp_path / "versions")
    (version,) = registry.versions("ngram")
    assert f"inkwell versions promote ngram {version.id}" in said
    assert registry.champion("ngram") is None
    assert left_by_runs(tmp_path) == [".lock"]


def test_what_the_gate_accepts_answers_where_that_was_asked_for(tmp_path: Path) -> None:
    said = run("--text", str(FOLDER), "--family", "ngram", "--data-dir", str(tmp_path), "--promote")
    champion = Registry(tmp_path / "versions").champion("ngram")
    assert champion is not None
    assert f"ngram: version {champion.id} is the champion now." in said


def test_ctrl_c_cancels_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "models.train_cli", "run", "--text", str(FOLDER), "--family", "ngram"]
    with subprocess.Popen(
        [*command, "--data-dir", str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        said = process.stdout.read()
        assert process.wait(timeout=60) == 1
    assert "The run was cancelled." in said
    assert left_by_runs(tmp_path) == [".lock"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--family", "portraits"], "learn from what members give"),
        (["--family", "poems"], "no family poems"),
    ],
)
def test_what_can_not_be_trained_is_refused_in_a_sentence(arguments: list[str], words: str, tmp_path: Path) -> None:
    said = run("--text", str(FOLDER), "--data-dir", str(tmp_path), *arguments, code=2)
    assert words in said.replace("│ ", "")


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    assert "no .txt file" in run("--text", str(tmp_path), code=2).replace("│ ", "")


def test_files_become_stories_and_folders_authors(tmp_path: Path) -> None:
    (tmp_path / "ada" / "old").mkdir(parents=True)
    (tmp_path / "ada" / "one.txt").write_text("# One\n\nA first part.\n\n# Two\n\nAnother story.", "utf-8")
    (tmp_path / "ada" / "old" / "three.txt").write_text("A third one by the same.", "utf-8-sig")
    (tmp_path / "bror.txt").write_text("灯塔的灯在九点熄灭了。", "utf-8")
    found = list(records_of(tmp_path))
    assert [record.text for record in found] == [
        "A third one by the same.", "A first part.", "Another story.", "灯塔的灯在九点熄灭了。",
    ]  # fmt: skip
    assert len({record.story for record in found}) == 4
    assert len({record.author for record in found}) == 2
    assert [record.language for record in found] == ["en", "en", "en", "zh"]
    assert all(record.parent is None for record in found)
    assert "ada" not in str(found)


def parts(text: str, folder: Path) -> list[TurnRecord]:
    (folder / "one.txt").write_text(text, "utf-8")
    return list(records_of(folder))


def test_short_paragraphs_are_joined_and_long_ones_divided_and_no_word_is_lost(tmp_path: Path) -> None:
    short = [f"Line {number} of a talk." for number in range(40)]
    long = " ".join(f"Sentence {number} of a very long paragraph." for number in range(200))
    found = parts("\r\n\r\n".join([*short, long]), tmp_path)
    assert max(len(record.text) for record in found) <= MAX_PART_CHARS
    assert " ".join(" ".join(record.text for record in found).split()) == " ".join([*short, long])
    assert [record.parent for record in found] == [None, *(record.id for record in found[:-1])]


def test_a_file_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_bytes("Stück für Stück".encode("latin-1"))
    with pytest.raises(UnreadableTextError, match=r"odd\.txt is no UTF-8"):
        list(records_of(tmp_path))
    assert "is no UTF-8 text" in run("--text", str(tmp_path), code=2).replace("│ ", "")


def test_inkwell_train_promotes_as_inkwell_versions_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bot", "train", "run", "--text", str(FOLDER), "--family", "ngram", "--promote"]
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    registry = Registry(tmp_path / "versions")
    (version,) = registry.versions("ngram")
    (promotion,) = registry.promotions("ngram")
    assert (promotion.version, promotion.reason) == (version.id, "inkwell train run --promote")
