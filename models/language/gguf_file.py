"""The head of a GGUF file: what it says of the model, and whether the file is whole. Loads no weights."""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_MOST: Final = 10_000_000  # entries or tensors; more than this is a damaged length field
_CONTROL, _USER_DEFINED = 3, 4  # of tokenizer.ggml.token_type

# ggml type -> (weights in a block, bytes of a block). A type that is missing here is only checked to begin in the file.
_BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 20: (32, 18),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2),
}  # fmt: skip


class ModelFileError(Exception):
    """The file is missing, unreadable, damaged or no model. The message names it and says what to do."""


@dataclass(frozen=True, kw_only=True)
class GgufHead:
    """What the engine must know before it loads the weights."""

    architecture: str
    name: str
    context_length: int
    chat_template: str | None
    control_tokens: tuple[str, ...]


def read_head(path: Path) -> GgufHead:
    """Read and check the head of the model file at `path`. Raises ModelFileError."""
    try:
        with path.open("rb") as file:
            if file.read(4) != _MAGIC:
                raise ModelFileError(f"{path} is no GGUF model file. Point the setting at one, or fetch it again.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data, path).head()
    except FileNotFoundError:
        raise ModelFileError(f"there is no model file at {path}. Fetch it first.") from None
    except IsADirectoryError:
        raise ModelFileError(f"{path} is a directory, not a GGUF model file.") from None
    except OSError as error:
        raise ModelFileError(f"the model file {path} can't be read: {error.strerror}.") from error


class _Reader:
    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data, self._path, self._at = data, path, 4

    def head(self) -> GgufHead:
        if (version := self._number("I")) not in _VERSIONS:
            raise ModelFileError(f"{self._path} is GGUF version {version}; known here are {_VERSIONS}.")
        tensors, entries = self._length(), self._length()
        metadata = {self._string(): self._value(self._number("I")) for _ in range(entries)}
        self._check_tensors(tensors, metadata)
        architecture = str(metadata.get("general.architecture", ""))
        tokens, types = metadata.get("tokenizer.ggml.tokens"), metadata.get("tokenizer.ggml.token_type")
        if metadata.get("general.type", "model") != "model" or not architecture or not isinstance(tokens, list):
            raise ModelFileError(f"{self._path} holds no language model (an adapter or a part of one?).")
        context_length, template = (
            metadata.get(f"{architecture}.context_length"),
            metadata.get("tokenizer.chat_template"),
        )
        return GgufHead(
            architecture=architecture,
            name=str(metadata.get("general.name") or self._path.stem),
            context_length=context_length if isinstance(context_length, int) else 0,
            chat_template=template if isinstance(template, str) else None,
            control_tokens=tuple(
                str(token)
                for token, kind in zip(tokens, types if isinstance(types, list) else (), strict=False)
                if kind in (_CONTROL, _USER_DEFINED) and not str(token).isspace()
            ),
        )

    def _check_tensors(self, tensors: int, metadata: dict[str, object]) -> None:
        end = 0
        for _ in range(tensors):
            self._string()
            weights = 1
            for _ in range(self._number("I")):
                weights *= self._number("Q")
            per_block, block_bytes = _BLOCKS.get(self._number("I"), (weights or 1, 1))
            end = max(end, self._number("Q") + -(-weights // per_block) * block_bytes)
        alignment = metadata.get("general.alignment", 32)
        alignment = alignment if isinstance(alignment, int) and alignment > 0 else 32
        expected = -(-self._at // alignment) * alignment + end
        if not tensors or expected > len(self._data):
            raise self._cut_off(expected)

    def _value(self, kind: int) -> object:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._number(self._scalar(kind))
        element, length = self._number("I"), self._length()
        if element in (_STRING, _ARRAY):
            return [self._value(element) for _ in range(length)]
        numbers = struct.Struct(f"<{length}{self._scalar(element)}")
        return list(numbers.unpack(self._take(numbers.size)))

    def _scalar(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise ModelFileError(f"{self._path} is damaged: it holds a value of an unknown kind. Fetch it again.")
        return _SCALARS[kind]

    def _number(self, code: str) -> int:
        (number,) = struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))
        return number  # type: ignore[no-any-return]

    def _length(self) -> int:
        length = self._number("Q")
        if length > _MOST:
            raise ModelFileError(f"{self._path} is damaged: a length of {length} in its head. Fetch it again.")
        return length

    def _string(self) -> str:
        return self._take(self._length()).decode("utf-8", "replace")

    def _take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise self._cut_off(self._at + count)
        self._at += count
        return self._data[self._at - count : self._at]

    def _cut_off(self, expected: int) -> ModelFileError:
        return ModelFileError(
            f"{self._path} is cut off: {len(self._data)} bytes of at least {expected}. Delete it and fetch it again."
        )
