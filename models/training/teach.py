"""Adds texts to a voice at once: what a community wants its models to sound like. Knows no Discord.

The n-gram model over characters learns in time proportional to the new text. Where torch is installed a second one
learns the GPT's tokens, and the mixture's weights are fitted on each fifth of the new text in turn, as predicted by a
model that learned the rest.
"""

import importlib.util
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.language.ngram import NGram
from models.language.normal_form import normalise
from models.language.voices import CHARACTERS, TOKENS, replaced, voice_folder

if TYPE_CHECKING:
    from models.language.gpt import GPT
    from models.language.mixture import Predictions

ORDER = 6  # of characters: a small text has seen few longer contexts twice
TOKEN_ORDER = 4
FOLDS = 5
_MIN_TO_FIT = 2_000  # characters: less than that is too little to fit anything on
MAX_FITTED = 2_000  # tokens of each fold; the GPT reads about 1,000 a second on one core


def _nobody() -> None: ...


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What a voice knows now. `mixture` tells whether the house voice learned it, too."""

    characters: int
    dictionary: int
    mixture: bool


def teach(
    texts: Sequence[str], data_dir: Path, name: str, *, gpt_folder: Path | None, heard: Callable[[], None] = _nobody
) -> Taught:
    """Add `texts` to the voice `name`. `gpt_folder` None, or torch missing: only the n-gram model over characters.
    `heard` is called once that model is in place. Raises ValueError for texts without a word and for a name that is
    none."""
    return _teach(_clean(texts), voice_folder(data_dir, name), gpt_folder, heard)


def teach_anew(
    texts: Sequence[str], data_dir: Path, name: str, *, gpt_folder: Path | None, heard: Callable[[], None] = _nobody
) -> Taught | None:
    """Make the voice `name` know exactly `texts`, whatever it knew; without a text there is no such voice any more,
    and None. The voice that was writes until the new one is whole. Raises as `teach` does."""
    folder = voice_folder(data_dir, name)
    for left in folder.parent.glob(f".{name}.*/"):  # of a teaching that was killed: it may hold what is to be forgotten
        shutil.rmtree(left)
    if not texts:
        if folder.exists():
            with replaced(folder):
                pass
            folder.rmdir()
        return None
    clean = _clean(texts)
    with replaced(folder) as new:
        return _teach(clean, new, gpt_folder, heard)


def _clean(texts: Sequence[str]) -> list[str]:
    clean = [text for text in map(normalise, texts) if text]
    if not clean:
        raise ValueError("there is no text in that")
    return clean


def _teach(clean: list[str], folder: Path, gpt_folder: Path | None, heard: Callable[[], None]) -> Taught:
    model = _loaded(folder / CHARACTERS) or NGram(order=ORDER)
    for text in clean:
        model.add(text)
    with replaced(folder / CHARACTERS) as new:
        model.save(new)
    heard()
    with_mixture = gpt_folder is not None and importlib.util.find_spec("torch") is not None
    if gpt_folder is not None and with_mixture:
        _teach_tokens(clean, folder / TOKENS, gpt_folder)
    return Taught(characters=model.counts.length, dictionary=len(model.dictionary), mixture=with_mixture)


def _loaded(folder: Path) -> NGram | None:
    return NGram.load(folder) if (folder / "ngram.json").exists() else None


def _token_model(folder: Path, size: int) -> NGram:
    """What the voice knows of a GPT's `size` tokens; nothing where it was taught for another GPT."""
    model = _loaded(folder)
    return model if model is not None and model.tokens == size else NGram(order=TOKEN_ORDER, unit="token", tokens=size)


def _teach_tokens(texts: Sequence[str], folder: Path, gpt_folder: Path) -> None:
    from models.language.gpt import GPT
    from models.language.mixture import WEIGHTS_FILE, HouseVoice

    gpt = GPT.load(gpt_folder)
    size = int(gpt.model.config.vocab_size)
    model = _token_model(folder, size)
    whole = gpt.encode("\n\n".join(texts))
    voice = HouseVoice(gpt, [model], learns=True)
    if sum(map(len, texts)) >= _MIN_TO_FIT:
        voice.fit_predictions(_predictions_of_unseen(gpt, whole, folder))
    elif (folder / WEIGHTS_FILE).exists():
        voice.load_weights(folder)
    model.add_symbols(whole)
    with replaced(folder) as new:
        model.save(new)
        voice.save(new)


def _predictions_of_unseen(gpt: "GPT", tokens: list[int], folder: Path) -> list["Predictions"]:
    """Of each fold of `tokens`, by a voice that learned the other folds (and what the voice in `folder` knew)."""
    from models.language.mixture import HouseVoice

    size = int(gpt.model.config.vocab_size)
    found = []
    for number in range(FOLDS):
        begin, end = len(tokens) * number // FOLDS, len(tokens) * (number + 1) // FOLDS
        model = _token_model(folder, size)
        model.add_symbols(tokens[:begin])
        model.add_symbols(tokens[end:])
        fold = tokens[begin : min(end, begin + MAX_FITTED)]
        found.append(HouseVoice(gpt, [model], learns=True).predictions(fold))
    return found
