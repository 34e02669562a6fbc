"""`inkwell lm …` as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from models.cli import lm

ROOT = Path(__file__).parents[1]
TEXT = "I am a big fan of deep learning. The fox is a fan of deep water. 狐狸说：我爱深夜的故事。" * 5


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(lm, [*arguments], env={"COLUMNS": "120"})
    assert result.exit_code == code, result.output
    return result.output


def test_a_model_is_trained_inspected_scored_and_sampled(tmp_path: Path) -> None:
    text, model = tmp_path / "text.txt", str(tmp_path / "model")
    text.write_text(TEXT, encoding="utf-8")
    assert "different" in run("train", "ngram", str(text), "--out", model, "--order", "5")
    shown = run("inspect", "I am a big fan of deep lear", "--model", model)
    assert "'n'" in shown
    assert "█" in shown
    assert "'lear'" in shown
    found = json.loads(run("inspect", "I am a big fan of deep lear", "--model", model, "--json"))
    assert found["following"][0][0] == "n"
    assert "bits per character" in run("score", str(text), "--model", model)
    one = run("sample", "The fox", "--model", model, "--seed", "4", "--length", "50")
    assert one.startswith("The fox")
    assert one == run("sample", "The fox", "--model", model, "--seed", "4", "--length", "50")
    fitted = str(tmp_path / "fitted")
    run("train", "ngram", str(text), "--out", fitted, "--order", "5", "--dev", str(text))
    assert run("score", str(text), "--model", fitted) < run(
        "score", str(text), "--model", model
    )  # it saw the very text
    pictures = [tmp_path / "bits.png", tmp_path / "all.png"]
    compare = ["compare", str(text), "--model", model, "--model", fitted]
    assert "| model |" in run(*compare, "--chart", str(pictures[0]))
    shown = run(
        *compare, "--prompt", "The fox", "--prompt", "I am", "--learned", str(text), "--chart", str(pictures[1])
    )
    assert "self-BLEU" in shown
    unlearned = run(*compare, "--prompt", "The fox", "--chart", str(pictures[1].with_name("unlearned.png")))
    assert unlearned.count("| – |") == 2  # nobody looked for copies: that is not 0
    assert shown.count("| model |") == shown.count("| fitted |") == 2
    assert 0 < pictures[0].stat().st_size < pictures[1].stat().st_size
    judged = json.loads(run(*compare, "--prompt", "The fox", "--learned", str(text), "--json"))["writings"]
    assert [each["family"] for each in judged] == ["model", "fitted"]
    assert all(each["copied"] in TEXT and len(each["copied"]) == each["longest_copy"] > 0 for each in judged)


def test_wrong_input_gets_a_sentence_and_not_a_traceback(tmp_path: Path) -> None:
    binary = tmp_path / "picture.png"
    binary.write_bytes(b"\x89PNG\xff\xfe\x00")
    assert "isn't UTF-8" in " ".join(run("train", "ngram", str(binary), "--out", str(tmp_path / "m"), code=2).split())
    binary.write_text("text", encoding="utf-8")
    assert "neither" in run("score", str(binary), "--model", str(tmp_path), code=2)


def test_the_shipped_gpt_and_a_taught_voice_write_and_are_compared(tmp_path: Path) -> None:
    text, data = tmp_path / "text.txt", tmp_path / "data"
    text.write_text(TEXT, encoding="utf-8")
    assert "n-gram and house voice" in run("teach", str(text), "--data-dir", str(data))
    voice = str(data / "voices" / "house")
    for model in ("gpt", voice):
        assert run("sample", "The fox", "--model", model, "--length", "8", "--seed", "1").startswith("The fox")
    found = json.loads(run("compare", str(text), "-m", "gpt", "-m", voice, "--json"))
    gpt, house = (each["bits_per_byte"] for each in found["predictions"])
    assert house < gpt  # it has read this very text
    assert "is gone" in run("forget", "house", "--data-dir", str(data))
    assert not (data / "voices" / "house").exists()
    assert "no voice" in run("forget", "house", "--data-dir", str(data), code=2)
    assert "a voice's name" in run("forget", "../voices", "--data-dir", str(data), code=2)


def test_inkwell_lm_is_a_process_of_its_own_and_hands_on_its_status(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from bot.__main__ import main; main()"

    def inkwell(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, "lm", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)

    assert inkwell("train", "ngram", "text.txt", "-o", "data/voices/house/characters").returncode == 0
    shown = inkwell("inspect", "I am a big fan of deep lear")
    assert shown.returncode == 0, shown.stderr
    assert "'n'" in shown.stdout
    failed = inkwell("inspect", "x", "-m", "gpt")
    assert failed.returncode == 2
    assert "no n-gram model" in failed.stderr
