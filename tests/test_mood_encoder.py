"""Tuning the encoder of moods: going on from one that was exported, and what the command says of two beginnings."""

import json
from pathlib import Path

import numpy as np
import torch
from torch.distributions import Bernoulli, kl_divergence
from typer.testing import CliRunner

from models.mood_cli import mood
from models.sentiment.encoder_weights import load
from models.training.mood_corpus import Row
from models.training.mood_encoder import Recipe, consistency_loss, train
from models.training.mood_export import export
from tests.small_moods import random_encoder, write_small_moods


def rows() -> list[Row]:
    said = [("I love this a lot", "positive"), ("I hate this a lot", "negative"), ("we meet at nine", "neutral")]
    return [
        Row(text=f"{text} {n}", label=label, classes=3, language="en", source="semeval", group=str(n), part=part)
        for n in range(20)
        for text, label in said
        for part in ("train", "calibration")
    ]  # type: ignore[arg-type]


def tuned(tmp_path: Path, rate: float, frozen_layers: int = 1, consistency: float = 0.0, kept: float = 0.4) -> Path:
    start = write_small_moods(tmp_path / "start")
    recipe = Recipe(
        steps=40,
        frozen_layers=frozen_layers,
        rate=rate,
        head_rate=rate,
        shares={"semeval": 30},
        weight_decay=0.0,
        consistency=consistency,
        kept=kept,
        bf16=False,
    )
    train(recipe, rows(), start, tmp_path / "run")
    (tmp_path / "exported").mkdir()
    export(tmp_path / "run", tmp_path / "exported")
    return tmp_path / "exported"


def test_an_encoder_that_was_tuned_at_no_rate_is_exported_as_it_came(tmp_path: Path) -> None:
    found, before = load(tuned(tmp_path, 0.0) / "encoder.safetensors"), random_encoder()
    assert found.shape == before.shape
    for name, matrix in before.matrices.items():
        assert np.abs(found.matrices[name].values.astype(int) - matrix.values).max() <= 1
        assert np.allclose(found.matrices[name].floats(), matrix.floats(), atol=1e-3)
    for name, vector in before.vectors.items():
        assert np.allclose(found.vectors[name], vector)


def test_tuning_on_changes_the_top_learns_and_keeps_vocabulary_and_lower_layers(tmp_path: Path) -> None:
    exported, before = tuned(tmp_path, 0.01), random_encoder()
    found = load(exported / "encoder.safetensors")
    assert np.allclose(found.matrices["layers.0.qkv"].floats(), before.matrices["layers.0.qkv"].floats(), atol=1e-3)
    assert not np.allclose(found.matrices["layers.1.qkv"].floats(), before.matrices["layers.1.qkv"].floats(), atol=1e-2)
    assert json.loads((exported / "tokenizer.json").read_text()) == json.loads(
        (tmp_path / "start" / "tokenizer.json").read_text()
    )
    log = [json.loads(line) for line in (tmp_path / "run" / "log.txt").read_text().splitlines()]
    assert log[-1]["loss"] < log[0]["loss"]
    assert log[-1]["semeval"] > 0.9


def test_where_no_layer_is_frozen_the_embeddings_learn_too(tmp_path: Path) -> None:
    found, before = load(tuned(tmp_path, 0.01, frozen_layers=0) / "encoder.safetensors"), random_encoder()
    assert not np.allclose(found.matrices["word"].floats(), before.matrices["word"].floats(), atol=1e-2)


def test_consistency_is_the_mean_divergence_of_two_passes_in_both_directions() -> None:
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.randn(5, 2, 2, generator=generator) for _ in range(2))
    languages = torch.tensor([0, 1, 1, 0, 1])
    own = [Bernoulli(logits=logits[torch.arange(5), languages]) for logits in (first, second)]
    expected = (kl_divergence(own[0], own[1]) + kl_divergence(own[1], own[0])).mean() / 2
    assert torch.isclose(consistency_loss(first, second, languages), expected)
    assert consistency_loss(first, first, languages) == 0


def test_two_passes_of_each_row_learn_too(tmp_path: Path) -> None:
    tuned(tmp_path, 0.01, consistency=1.0)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.txt").read_text().splitlines()]
    assert log[-1]["loss"] < log[0]["loss"]
    assert log[-1]["semeval"] > 0.9


def test_a_part_of_the_encoder_that_it_began_with_is_kept(tmp_path: Path) -> None:
    before = random_encoder().matrices["layers.1.up"].floats()
    whole, mixed, none = (
        load(tuned(tmp_path / str(kept), 0.01, kept=kept) / "encoder.safetensors").matrices["layers.1.up"].floats()
        for kept in (0.0, 0.4, 1.0)
    )
    assert np.allclose(none, before, atol=1e-3)
    assert np.allclose(mixed, 0.6 * whole + 0.4 * before, atol=2e-2)
    assert not np.allclose(mixed, whole, atol=2e-2)


def test_two_beginnings_are_refused(tmp_path: Path) -> None:
    options = ["--corpora", str(tmp_path), "--out", str(tmp_path / "out"), "--e5", "a.bin", "--from", str(tmp_path)]
    found = CliRunner().invoke(mood, ["train", *options])
    assert found.exit_code == 2
    assert "two beginnings" in found.output
