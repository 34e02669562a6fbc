"""Adds texts to a voice at once: what a community wants its models to sound like. Knows no Discord.

The n-gram model over characters learns in time proportional to the new text. Where torch is installed a second one
learns the GPT's tokens, and the mixture's weights are fitted on the last tenth of the new text, which the fit must not
have seen; only then is that tenth learned, too.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.language.ngram import NGram
from models.language.normal_form import normalise
from models.language.voices import CHARACTERS, TOKENS, replaced, voice_folder

ORDER = 6  # of characters: a small text has seen few longer contexts twice
TOKEN_ORDER = 4
_HELD_OUT_SHARE = 10
_MIN_TO_FIT = 2_000  # characters: below that a tenth is too little to fit anything on
MAX_FITTED = 20_000  # characters; the GPT reads about 3,000 a second on one core


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What a voice knows now. `mixture` tells whether the house voice learned it, too."""

    characters: int
    dictionary: int
    mixture: bool


def teach(texts: Sequence[str], data_dir: Path, name: str, *, gpt_folder: Path | None) -> Taught:
    """Add `texts` to the voice `name`. `gpt_folder` None, or torch missing: only the n-gram model over characters.
    Raises ValueError for texts without a word and for a name that is none."""
    clean = [text for text in map(normalise, texts) if text]
    if not clean:
        raise ValueError("there is no text in that")
    folder = voice_folder(data_dir, name)
    model = _loaded(folder / CHARACTERS) or NGram(order=ORDER)
    for text in clean:
        model.add(text)
    with replaced(folder / CHARACTERS) as new:
        model.save(new)
    with_mixture = gpt_folder is not None and importlib.util.find_spec("torch") is not None
    if gpt_folder is not None and with_mixture:
        _teach_tokens(clean, folder / TOKENS, gpt_folder)
    return Taught(characters=model.counts.length, dictionary=len(model.dictionary), mixture=with_mixture)


def _loaded(folder: Path) -> NGram | None:
    return NGram.load(folder) if (folder / "ngram.json").exists() else None


def _teach_tokens(texts: Sequence[str], folder: Path, gpt_folder: Path) -> None:
    from models.language.gpt import GPT
    from models.language.mixture import WEIGHTS_FILE, HouseVoice

    gpt = GPT.load(gpt_folder)
    size = int(gpt.model.config.vocab_size)
    model = _loaded(folder)
    if model is None or model.tokens != size:
        model = NGram(order=TOKEN_ORDER, unit="token", tokens=size)
    whole = "\n\n".join(texts)
    held_out = min(len(whole) // _HELD_OUT_SHARE, MAX_FITTED) if len(whole) >= _MIN_TO_FIT else 0
    model.add_symbols(gpt.encode(whole[: len(whole) - held_out]))
    voice = HouseVoice(gpt, [model], learns=True)
    if held_out:
        voice.fit([whole[-held_out:]])
        model.add_symbols(gpt.encode(whole[-held_out:]))
    elif (folder / WEIGHTS_FILE).exists():
        voice.load_weights(folder)
    with replaced(folder) as new:
        model.save(new)
        voice.save(new)
