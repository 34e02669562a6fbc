"""Model files on disk: which format they have, whether they are whole, and their sha256. Knows no source and fetches
nothing.
"""

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.language.gguf_header import NotGgufError, TruncatedGgufError, read_header

Format = Literal["gguf", "safetensors"]

# Of a directory in Hugging Face layout, what decides the text: these and no others are fetched, checked and hashed.
MODEL_PATTERNS = ("*.json", "*.safetensors", "*.jinja", "merges.txt", "tokenizer.model")
_HASH_CHUNK_BYTES = 1 << 20


class WeightsError(Exception):
    """Model weights that can't be used. The message is one sentence that says what to do."""


class WeightsMissingError(WeightsError):
    """They are not there."""


class WeightsCorruptError(WeightsError):
    """They are there but damaged: truncated, or with a part missing."""


class NotAModelError(WeightsError):
    """What is there, or what the spec says, is no model."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a model's files say about themselves. `context` is in tokens; both may be unknown."""

    format: Format
    context: int | None
    licence: str


def inspect(path: Path) -> Contents:
    """Look at a GGUF file or a directory in Hugging Face layout without reading its weights.

    Raises WeightsMissingError, NotAModelError, WeightsCorruptError.
    """
    if not path.exists():
        raise WeightsMissingError(f"There is no file or directory {path}: check the path of the model.")
    try:
        return _inspect_directory(path) if path.is_dir() else _inspect_gguf(path)
    except PermissionError as error:
        raise WeightsMissingError(f"{path} can't be read ({error.strerror}): check its permissions.") from error


def _inspect_gguf(path: Path) -> Contents:
    try:
        header = read_header(path)
    except NotGgufError as error:
        raise NotAModelError(
            f"{path} is not a model ({error}): give a GGUF file or a directory with config.json and *.safetensors."
        ) from error
    except TruncatedGgufError as error:
        raise WeightsCorruptError(f"{path} is damaged ({error}): delete it and fetch it again.") from error
    return Contents(format="gguf", context=header.context, licence=header.licence)


def check_language_model(path: Path) -> None:
    """Raises NotAModelError for a whole GGUF file that holds something else, and what `inspect` raises."""
    if inspect(path).format != "gguf":
        return
    metadata = read_header(path).metadata
    if metadata.get("general.type", "model") != "model" or "tokenizer.ggml.model" not in metadata:
        raise NotAModelError(f"{path} holds no language model (an adapter, or a part of one?): name another file.")


def _inspect_directory(directory: Path) -> Contents:
    config = _json_object(directory / "config.json")
    if config is None or "model_type" not in config:
        raise NotAModelError(
            f"{directory} is not a model (it has no config.json with a model_type): "
            "give a GGUF file or a directory in Hugging Face layout."
        )
    shards = _shards(directory)
    if not shards:
        raise NotAModelError(f"{directory} holds no *.safetensors file: only safetensors and GGUF weights are loaded.")
    if not any((directory / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise NotAModelError(f"{directory} holds no tokenizer: copy tokenizer.json beside its weights.")
    for shard in shards:
        _check_safetensors(shard)
    context = config.get("max_position_embeddings")
    return Contents(format="safetensors", context=context if isinstance(context, int) else None, licence="")


def _shards(directory: Path) -> list[Path]:
    index = _json_object(directory / "model.safetensors.index.json")
    if index is not None and isinstance(index.get("weight_map"), dict):
        return sorted({directory / str(name) for name in index["weight_map"].values()})
    return sorted(directory.glob("*.safetensors"))


def _check_safetensors(shard: Path) -> None:
    """The format: eight bytes of header length, the header as JSON, then the tensors without a gap."""
    try:
        size = shard.stat().st_size
        with shard.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length < size else {}
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except FileNotFoundError as error:
        raise WeightsCorruptError(f"{shard} is missing: fetch the model again.") from error
    except (struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise WeightsCorruptError(f"{shard} is damaged (no safetensors header): fetch the model again.") from error
    needed = 8 + length + max(ends, default=1)
    if size < needed:
        raise WeightsCorruptError(f"{shard} is damaged ({size:,} of {needed:,} bytes): fetch the model again.")


def _json_object(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def model_files(path: Path) -> list[Path]:
    """The files that decide what the model writes, sorted."""
    if path.is_file():
        return [path]
    return sorted({file for pattern in MODEL_PATTERNS for file in path.glob(pattern) if file.name != MANIFEST})


MANIFEST = "inkwell.json"


def sha256_of(path: Path, advanced: Callable[[int], None] = lambda _: None) -> str:
    """Of a file: its sha256. Of a directory: the sha256 of its model files' names and sums. `advanced` gets the bytes
    read since it was last called."""
    if path.is_dir():
        lines = [f"{sha256_of(file, advanced)}  {file.name}\n" for file in model_files(path)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
            advanced(len(chunk))
    return digest.hexdigest()
