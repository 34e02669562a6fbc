"""Shows each of our language models to `evaluate` as a family. Knows how each is asked, not how it is judged."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from models.language.ngram import NGram
from models.language.normal_form import normalise

if TYPE_CHECKING:  # torch: an n-gram model is judged without it
    from models.language.gpt import GPT
    from models.language.mixture import HouseVoice


class NGramFamily:
    """An n-gram model over characters or words."""

    def __init__(self, model: NGram, *, temperature: float = 0.8) -> None:
        self.model, self.temperature = model, temperature

    def bits(self, text: str) -> tuple[float, int]:
        score = self.model.score(text)
        return score.bits, score.symbols

    def continue_(self, prompt: str, *, characters: int, seed: int) -> str:
        return self.model.sample(prompt, max_symbols=characters, temperature=self.temperature, seed=seed)[:characters]


class TokenFamily:
    """A GPT, alone or in a house voice."""

    def __init__(self, model: "GPT | HouseVoice", *, temperature: float = 0.8, top_p: float = 0.95) -> None:
        self.model, self.temperature, self.top_p = model, temperature, top_p

    def bits(self, text: str) -> tuple[float, int]:
        score = self.model.score(text)
        return score.bits, score.tokens

    def continue_(self, prompt: str, *, characters: int, seed: int) -> str:
        sample: Callable[..., str] = self.model.sample
        text = sample(
            normalise(prompt), max_new_tokens=max(characters // 2, 1) if prompt.isascii() else characters,
            temperature=self.temperature, top_p=self.top_p, seed=seed,
        )  # fmt: skip
        return text[:characters]
