"""The folder of the verse generators: what lies in it, and that it is whole. Knows no torch, no seed and no text.

config.json                      shapes, which generator is the default, temperatures, sha256 of the files
pieces-LANGUAGE.json             the vocabulary, the line break first
KIND-LANGUAGE.safetensors        a generator, fp16; KIND is likelihood or adversarial
"""

import hashlib
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from models.gan.verse_forms import PLACES, Language
from models.gan.verse_forward import shapes
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import GeneratorKind

CONFIG: Final = "config.json"
_MAX_BYTES: Final = 32 * 2**20  # of one file; ours have at most 3 MB
_REPAIR: Final = "Install Inkwell again, or train them with `inkwell gan verse train`."


class LanguageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`temperatures` holds a generator's own where none is asked for; a kind that is not in it isn't here."""

    default: GeneratorKind
    temperatures: dict[GeneratorKind, Annotated[float, msgspec.Meta(gt=0, le=2)]]
    embedding: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    hidden: Annotated[int, msgspec.Meta(ge=1, le=4096)]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    languages: dict[Language, LanguageConfig]
    sha256: dict[str, str]
    origin: str = ""  # of the trainings: recipes and costs, for people


def pieces_name(language: Language) -> str:
    return f"pieces-{language}.json"


def weights_name(kind: GeneratorKind, language: Language) -> str:
    return f"{kind}-{language}.safetensors"


class VerseFolder:
    """Reads and checks the files when they are wanted: damage in one language leaves the other."""

    def __init__(self, folder: Path) -> None:
        """Raises ShortModelMissingError with what to do."""
        self._folder = folder
        try:
            self.config = msgspec.json.decode(_bytes(folder / CONFIG), type=Config)
        except msgspec.MsgspecError as error:
            raise ShortModelMissingError(
                f"The verse model's {folder / CONFIG} is damaged: {error}. {_REPAIR}"
            ) from error
        if any(each.default not in each.temperatures for each in self.config.languages.values()):
            raise ShortModelMissingError(f"The verse model's {folder / CONFIG} contradicts itself. {_REPAIR}")

    @property
    def version(self) -> str:
        """Of all that decides a verse."""
        return f"verse@{hashlib.sha256(_bytes(self._folder / CONFIG)).hexdigest()[:8]}"

    def pieces(self, language: Language) -> tuple[str, ...]:
        """Raises ShortModelMissingError."""
        name = pieces_name(language)
        try:
            found = msgspec.json.decode(self._checked(name), type=tuple[str, ...])
        except msgspec.MsgspecError as error:
            raise ShortModelMissingError(f"The verse model's {name} is no list of pieces. {_REPAIR}") from error
        if len(found) < 2 or found[0] != "\n" or not all(found[1:]):
            raise ShortModelMissingError(f"The verse model's {name} contradicts itself. {_REPAIR}")
        return found

    def weights(self, language: Language, kind: GeneratorKind, vocabulary: int) -> dict[str, NDArray[np.float32]]:
        """Raises ShortModelMissingError."""
        name, shape = weights_name(kind, language), self.config.languages[language]
        try:
            tensors = load(self._checked(name))
        except (SafetensorError, ValueError) as error:
            raise ShortModelMissingError(f"The verse model's {name} is no safetensors. {_REPAIR}") from error
        expected = shapes(vocabulary, PLACES[language], shape.embedding, shape.hidden)
        if {key: value.shape for key, value in tensors.items()} != expected:
            raise ShortModelMissingError(f"The verse model's {name} has another shape. {_REPAIR}")
        return {key: value.astype(np.float32) for key, value in tensors.items()}

    def _checked(self, name: str) -> bytes:
        data = _bytes(self._folder / name)
        if hashlib.sha256(data).hexdigest() != self.config.sha256.get(name):
            raise ShortModelMissingError(
                f"The verse model's {self._folder / name} is damaged (its sha256 differs). {_REPAIR}"
            )
        return data


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ShortModelMissingError(f"The verse model's {path} is larger than {_MAX_BYTES >> 20} MiB. {_REPAIR}")
        return path.read_bytes()
    except OSError as error:
        raise ShortModelMissingError(f"The verse model's {path} can't be read: {error.strerror}. {_REPAIR}") from error
