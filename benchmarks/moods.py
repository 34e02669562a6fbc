"""How fast the trained moods are, against VADER and a transformers pipeline with the same weights, in one run on
one core. Prints ratios of messages per CPU-second, and the quality that goes with the first pair.

    python -m benchmarks.moods [FILE]

FILE is a TSV with the columns text and label, such as tweeteval_sentiment.tsv of `inkwell mood sets`; without one the
chat lines of the tests, half of which are Chinese, that VADER does not read.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded

import numpy as np
from sklearn.metrics import recall_score

from models.sentiment.encoder import load_encoder
from models.sentiment.encoder_weights import EncoderWeights, load
from models.sentiment.moods import Moods
from models.training.mood_sets import read_set
from models.weights import MOODS_FOLDER

CHAT_LINES = Path(__file__).parents[1] / "tests" / "fixtures" / "chat_moods.tsv"
ROUNDS = 3
_ENCODER_MESSAGES = 192


def per_cpu_second(run: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    """The best of a few rounds: what disturbs a round only slows it."""
    run(texts[:16])
    best = 0.0
    for _ in range(ROUNDS):
        began = time.process_time()
        run(texts)
        best = max(best, len(texts) / (time.process_time() - began))
    return best


def fast_tier(texts: list[str], labels: list[int], moods: Moods) -> dict[str, float]:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    vader = SentimentIntensityAnalyzer()
    scores = [vader.polarity_scores(text)["compound"] for text in texts]
    said = [0 if score <= -0.05 else 2 if score >= 0.05 else 1 for score in scores]  # the borders that it recommends
    found = [np.argmax(mood.probabilities) for mood in moods.read(texts, "linear")]
    ours = per_cpu_second(lambda some: moods.read(some, "linear", explain=False), texts)  # as channels are sampled
    explained = per_cpu_second(lambda some: moods.read(some, "linear"), texts)
    theirs = per_cpu_second(lambda some: [vader.polarity_scores(text) for text in some], texts)
    return {
        "linear messages per CPU-second": round(ours),
        "linear with the words that decided": round(explained),
        "VADER messages per CPU-second": round(theirs),
        "ratio": round(ours / theirs, 2),
        "linear macro-recall": round(float(recall_score(labels, found, average="macro")), 3),
        "VADER macro-recall": round(float(recall_score(labels, said, average="macro")), 3),
    }


def encoder_tier(texts: list[str], moods: Moods) -> dict[str, float | str]:
    import torch

    torch.set_num_threads(1)
    texts = texts[:_ENCODER_MESSAGES]
    pipeline = bert_pipeline(load(MOODS_FOLDER / "encoder.safetensors"))
    ours = per_cpu_second(lambda some: moods.read(some, "encoder"), texts)
    one = per_cpu_second(lambda some: [moods.read([text], "encoder") for text in some], texts)
    theirs = per_cpu_second(lambda some: [pipeline(text) for text in some], texts)
    return {
        "encoder computes by": load_encoder(MOODS_FOLDER).runtime,
        "encoder batched, messages per CPU-second": round(ours, 1),
        "encoder one by one": round(one, 1),
        "transformers pipeline at batch 1": round(theirs, 1),
        "ratio batched": round(ours / theirs, 2),
        "ratio one by one": round(one / theirs, 2),
    }


def bert_pipeline(weights: EncoderWeights) -> Callable[[str], object]:
    """transformers' text-classification pipeline over a BERT with these weights (another head, the same time)."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, pipeline

    shape = weights.shape
    config = BertConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, intermediate_size=shape.feed_forward, layer_norm_eps=shape.epsilon,
        max_position_embeddings=shape.positions, num_labels=3, type_vocab_size=1, pad_token_id=1,
    )  # fmt: skip
    model = BertForSequenceClassification(config).eval()
    state = model.state_dict()
    matrix = {name: torch.from_numpy(found.floats()) for name, found in weights.matrices.items()}
    vector = {name: torch.from_numpy(found) for name, found in weights.vectors.items()}
    state["bert.embeddings.word_embeddings.weight"] = matrix["word"]
    state["bert.embeddings.position_embeddings.weight"] = matrix["position"]
    state["bert.embeddings.token_type_embeddings.weight"] = torch.zeros(1, shape.hidden)
    for kind in ("weight", "bias"):
        state[f"bert.embeddings.LayerNorm.{kind}"] = vector[f"embedding_norm.{kind}"]
    names = {
        "out": "attention.output.dense", "up": "intermediate.dense", "down": "output.dense",
        "attention_norm": "attention.output.LayerNorm", "norm": "output.LayerNorm",
    }  # fmt: skip
    for n in range(shape.layers):
        ours, theirs = f"layers.{n}", f"bert.encoder.layer.{n}"
        for source, kind in ((matrix[f"{ours}.qkv"], "weight"), (vector[f"{ours}.qkv.bias"], "bias")):
            for name, part in zip(("query", "key", "value"), source.chunk(3), strict=True):
                state[f"{theirs}.attention.self.{name}.{kind}"] = part
        for name, full in names.items():
            state[f"{theirs}.{full}.bias"] = vector[f"{ours}.{name}.bias"]
            state[f"{theirs}.{full}.weight"] = (
                vector[f"{ours}.{name}.weight"] if "norm" in name else matrix[f"{ours}.{name}"]
            )
    model.load_state_dict(state)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.json").write_bytes((MOODS_FOLDER / "tokenizer.json").read_bytes())
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=f"{folder}/tokenizer.json", pad_token="<pad>", unk_token="<unk>", model_max_length=512,
            model_input_names=["input_ids", "attention_mask"],
        )  # fmt: skip
    run = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    return lambda text: run(text, truncation=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=CHAT_LINES)
    parser.add_argument("--weights", type=Path, default=MOODS_FOLDER)
    given = parser.parse_args()
    rows = read_set(given.file)
    moods = Moods(given.weights)
    print(json.dumps(fast_tier(rows.texts, rows.labels, moods) | encoder_tier(rows.texts, moods), indent=1))


if __name__ == "__main__":
    main()
