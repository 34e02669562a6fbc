"""Any Hugging Face sequence classifier in place of our encoder, by configuration. Knows no calibration of it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.sentiment.answer import LABELS, SURE_FROM
from models.sentiment.reading import read
from models.sentiment.scorer import prepare
from models.serving.machine import unbounded_memory
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import Label, Method, Mood

_BATCH = 16
_NAMES: dict[str, Label] = {"neg": "negative", "neu": "neutral", "pos": "positive"}
_MIXED_NAMES = {"label_0": "negative", "label_1": "neutral", "label_2": "positive"}  # of cardiffnlp's older models
_STARS = {1: 0, 2: 0, 3: 1, 4: 2, 5: 2}  # "1 star" … "5 stars"


class TransformersClassifier:
    """`name` is a repository or a folder. Raises ShortModelMissingError where transformers or the model is missing, or
    its labels can't be read as negative, neutral, positive."""

    def __init__(self, model: str, name: Method = "default", *, device: str = "") -> None:
        self.name: Method = name
        try:
            with unbounded_memory():
                import torch
                from transformers import AutoModelForSequenceClassification, AutoTokenizer

            self._torch = torch
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
            loaded: Any = AutoModelForSequenceClassification.from_pretrained(model, use_safetensors=True)
        except ImportError as error:
            raise ShortModelMissingError(f"{model} needs torch ({error}): pip install 'inkwell[torch]'.") from error
        except (OSError, ValueError) as error:
            raise ShortModelMissingError(f"{model} can't be loaded: {error}") from error
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model = loaded.to(self._device).eval()
        self._columns = columns_of(loaded.config.id2label, model)
        self.version = f"{Path(model).name}@{hashlib.sha256(model.encode()).hexdigest()[:8]}"

    def read(self, texts: Sequence[str], *, explain: bool = True) -> list[Mood]:
        found: list[Mood] = []
        for at in range(0, len(texts), _BATCH):
            found += self._batch(list(texts[at : at + _BATCH]))
        return found

    def _batch(self, texts: list[str]) -> list[Mood]:
        encoded = self._tokenizer(
            [prepare(text).text or " " for text in texts], truncation=True, max_length=512, padding=True,
            return_tensors="pt",
        ).to(self._device)  # fmt: skip
        with self._torch.inference_mode():
            chances = self._model(**encoded).logits.float().softmax(-1).cpu().numpy()
        return [self._mood(text, row) for text, row in zip(texts, chances, strict=True)]

    def _mood(self, text: str, row: Any) -> Mood:
        reading = read(text)
        sums = [0.1, 0.8, 0.1] if reading.wordless else [0.0, 0.0, 0.0]
        if not reading.wordless:
            for chance, column in zip(row.tolist(), self._columns, strict=True):
                sums[column] += chance
        best = int(np.argmax(sums))
        return Mood(
            label=LABELS[best], probabilities=(sums[0], sums[1], sums[2]),
            sure=sums[best] >= SURE_FROM and not reading.wordless and "irony" not in reading.notes,
            method=self.name, model_version=self.version,
            language=reading.language, notes=reading.notes,
        )  # fmt: skip


def columns_of(id2label: dict[int, str], model: str) -> list[int]:
    """For each output of the model, which of negative, neutral, positive it counts for."""
    columns = []
    for _, raw in sorted(id2label.items()):
        word = raw.strip().lower()
        named = _NAMES.get(word[:3]) or (_MIXED_NAMES.get(word) if len(id2label) == 3 else None)
        if named:
            columns.append(LABELS.index(named))
        elif word[:1].isdigit() and "star" in word and int(word[0]) in _STARS:
            columns.append(_STARS[int(word[0])])
        else:
            raise ShortModelMissingError(f"{model} has the label {raw!r}, which is no negative, neutral or positive.")
    return columns
