"""The header of a GGUF file: what the model is and how long the file must be. Reads no weight and needs no library.

The layout is llama.cpp's docs/gguf.md, versions 2 and 3, little-endian.
"""

import struct
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_ENTRIES = 1 << 24  # no model has 16 million tensors or keys; a damaged count must not become a loop
_MAX_DIMENSIONS = 8
_DEFAULT_ALIGNMENT = 32
_STRING, _ARRAY = 8, 9
_MARKS = (3, 4)  # of token_type: control and user-defined
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

# ggml tensor type -> (values in a block, bytes of a block)
BLOCKS = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    9: (32, 40),  # Q8_1
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    15: (256, 292),  # Q8_K
    16: (256, 66),  # IQ2_XXS
    17: (256, 74),  # IQ2_XS
    18: (256, 98),  # IQ3_XXS
    19: (256, 50),  # IQ1_S
    20: (32, 18),  # IQ4_NL
    21: (256, 110),  # IQ3_S
    22: (256, 82),  # IQ2_S
    23: (256, 136),  # IQ4_XS
    24: (1, 1),  # I8
    25: (1, 2),  # I16
    26: (1, 4),  # I32
    27: (1, 8),  # I64
    28: (1, 8),  # F64
    29: (256, 56),  # IQ1_M
    30: (1, 2),  # BF16
    34: (256, 54),  # TQ1_0
    35: (256, 66),  # TQ2_0
    39: (32, 17),  # MXFP4
}

Scalar = int | float | bool | str


class NotGgufError(ValueError):
    """The file isn't GGUF, or a version that nobody here reads."""


class TruncatedGgufError(ValueError):
    """The file is GGUF but shorter than its header says, or its header is nonsense."""


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """`metadata` holds single values and strings; of an array only its length, as `key[]`. `needed_bytes` is the least
    length of a whole file: a tensor type newer than this table counts as empty. `control_tokens` are the strings that
    the tokenizer reads as marks and not as text."""

    version: int
    metadata: dict[str, Scalar]
    tensors: int
    needed_bytes: int
    control_tokens: tuple[str, ...] = ()

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def context(self) -> int | None:
        """Tokens the model was made for."""
        length = self.metadata.get(f"{self.architecture}.context_length")
        return length if isinstance(length, int) else None

    @property
    def licence(self) -> str:
        return str(self.metadata.get("general.license", ""))


def read_header(path: Path) -> GgufHeader:
    """Raises NotGgufError, TruncatedGgufError (also for a file shorter than its tensors) and OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise NotGgufError("it doesn't begin with the letters GGUF")
        reader = _Reader(file, size)
        version = reader.number("I")
        if version not in _VERSIONS:
            raise NotGgufError(f"it is GGUF version {version}, and only versions 2 and 3 can be read")
        tensors, keys = reader.count(), reader.count()
        metadata: dict[str, Scalar] = {}
        for _ in range(keys):
            reader.entry(metadata)
        extents = [reader.tensor_extent() for _ in range(tensors)]
        alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment <= 0:
            raise TruncatedGgufError("its alignment is damaged")
        data_start = -(-file.tell() // alignment) * alignment
    needed = data_start + max(extents, default=0)
    if size < needed:
        raise TruncatedGgufError(f"it has {size:,} of at least {needed:,} bytes")
    return GgufHeader(
        version=version,
        metadata=metadata,
        tensors=tensors,
        needed_bytes=needed,
        control_tokens=reader.control_tokens(),
    )


class _Reader:
    """Values one after the other; never asks for more than the file has."""

    def __init__(self, file: BufferedReader, size: int) -> None:
        self._file, self._size = file, size
        self._tokens: list[bytes] = []
        self._token_types: tuple[int, ...] = ()

    def _take(self, length: int) -> bytes:
        taken = self._file.read(length) if length <= self._size else b""
        if len(taken) != length:
            raise TruncatedGgufError("it ends inside its header")
        return taken

    def number(self, code: str) -> int:
        value: int = struct.unpack("<" + code, self._take(struct.calcsize("<" + code)))[0]
        return value

    def count(self) -> int:
        value = self.number("Q")
        if value > _MAX_ENTRIES:
            raise TruncatedGgufError("its header is damaged")
        return value

    def string(self) -> str:
        return self._take(self.number("Q")).decode("utf-8", "replace")

    def entry(self, metadata: dict[str, Scalar]) -> None:
        key, kind = self.string(), self.number("I")
        if kind == _STRING:
            metadata[key] = self.string()
        elif kind == _ARRAY:
            metadata[f"{key}[]"] = self._array(key)
        elif kind in _SCALARS:
            metadata[key] = self.number(_SCALARS[kind])
        else:
            raise TruncatedGgufError("its header is damaged")

    def _array(self, key: str) -> int:
        """Read over an array, keeping the vocabulary and its kinds; return its length."""
        kind, length = self.number("I"), self.count()
        if kind == _STRING:
            strings = [self._take(self.number("Q")) for _ in range(length)]
            if key == "tokenizer.ggml.tokens":
                self._tokens = strings
        elif kind in _SCALARS:
            code = f"<{length}{_SCALARS[kind]}"
            values = self._take(struct.calcsize(code))
            if key == "tokenizer.ggml.token_type":
                self._token_types = struct.unpack(code, values)
        else:
            raise TruncatedGgufError("its header is damaged")  # no writer nests arrays
        return length

    def control_tokens(self) -> tuple[str, ...]:
        pairs = zip(self._tokens, self._token_types, strict=False)
        texts = (token.decode("utf-8", "replace") for token, kind in pairs if kind in _MARKS)
        return tuple(text for text in texts if text.strip())

    def tensor_extent(self) -> int:
        """Where the next tensor ends, in bytes from the start of the data."""
        self.string()
        dimensions = self.number("I")
        if dimensions > _MAX_DIMENSIONS:
            raise TruncatedGgufError("its header is damaged")
        values = 1
        for _ in range(dimensions):
            values *= self.number("Q")
        kind, offset = self.number("I"), self.number("Q")
        block, size = BLOCKS.get(kind, (1, 0))
        return offset + values // block * size
