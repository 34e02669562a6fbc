"""MOOD_MODEL: a Hugging Face sequence classifier, a real one of a few weights, in place of the moods that ship."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from bot.engines import short_engine_of
from bot.settings import Settings
from models.serving.engine import ModelMissingError
from models.serving.short_requests import MoodRequest

WORDS = {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3}


def classifier(folder: Path, labels: tuple[str, ...]) -> Path:
    """One that sees in "good" the last of `labels` and in "bad" the first."""
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        id2label=dict(enumerate(labels)), num_labels=len(labels), pad_token_id=0,
    )  # fmt: skip
    network = BertForSequenceClassification(config)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(60):
        loss = network(torch.tensor([[2], [3]]), labels=torch.tensor([len(labels) - 1, 0])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    network.save_pretrained(folder)
    return folder


async def test_a_classifier_that_is_named_answers_in_place_of_what_ships(tmp_path: Path) -> None:
    named = classifier(tmp_path / "mine", ("negative", "neutral", "positive"))
    engine = short_engine_of(Settings(_env_file=None, data_dir=tmp_path, mood_model=str(named)))
    await engine.start()
    try:
        good, bad = await engine.ask(MoodRequest(text="good")), await engine.ask(MoodRequest(text="bad"))
        ruled = await engine.ask(MoodRequest(text="good", method="rules"))
    finally:
        await engine.close()
    assert (good.label, bad.label) == ("positive", "negative")
    assert good.model_version.startswith("mine@")
    assert abs(sum(good.probabilities) - 1) < 1e-5
    assert ruled.model_version.startswith("rules@")


async def test_a_classifier_of_something_else_is_refused_with_a_sentence(tmp_path: Path) -> None:
    named = classifier(tmp_path / "spam", ("ham", "spam"))
    engine = short_engine_of(Settings(_env_file=None, data_dir=tmp_path, mood_model=str(named)))
    await engine.start()
    try:
        with pytest.raises(ModelMissingError, match="spam"):
            await engine.ask(MoodRequest(text="good"))
    finally:
        await engine.close()
