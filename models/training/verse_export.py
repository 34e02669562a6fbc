"""Writes the folder that `models.gan.verse_weights` reads, from the folders of trainings. Knows no loss."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from models.gan.verse_forms import Language
from models.gan.verse_weights import CONFIG, Config, LanguageConfig, pieces_name, weights_name
from models.serving.short_requests import GeneratorKind
from models.training.verse_run import GENERATOR, PIECES, generator_of


def export(
    folder: Path,
    runs: Mapping[Language, Mapping[GeneratorKind, Path]],
    defaults: Mapping[Language, GeneratorKind],
    temperatures: Mapping[Language, Mapping[GeneratorKind, float]],
    origin: str,
) -> None:
    """Write `folder` anew from each language's runs. Raises ValueError when one of them has not ended."""
    folder.mkdir(parents=True, exist_ok=True)
    languages: dict[Language, LanguageConfig] = {}
    names: list[str] = []
    for language, kinds in runs.items():
        shape, _ = generator_of(kinds["likelihood"])
        shutil.copyfile(kinds["likelihood"] / PIECES, folder / pieces_name(language))
        names.append(pieces_name(language))
        for kind, run in kinds.items():
            if generator_of(run)[0] != shape:
                raise ValueError(f"{run} has another shape than {kinds['likelihood']}.")
            shutil.copyfile(run / GENERATOR, folder / weights_name(kind, language))
            names.append(weights_name(kind, language))
        languages[language] = LanguageConfig(
            default=defaults[language],
            temperatures={kind: temperatures[language][kind] for kind in kinds},
            embedding=shape.embedding,
            hidden=shape.hidden,
        )
    config = Config(
        languages=languages,
        sha256={name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names},
        origin=origin,
    )
    (folder / CONFIG).write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n")
