"""KenLM (Heafield 2011) as an outside baseline of character n-grams: runs its two programs on text whose characters are
its words. Knows none of our models.

Build them from the sources of the `kenlm` package (LGPL; needs cmake, a C++ compiler and Boost):
`cmake -S kenlm -B build -DKENLM_MAX_ORDER=10 && make -C build lmplz query`; they are then in build/bin.
"""

import math
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from models.training.evaluate import Prediction

_MEMORY = "1500M"
_CODE_POINTS = 0x110000 - 2_048
_SUMMARY = re.compile(r"Perplexity including OOVs:\s+(\S+).*OOVs:\s+(\d+)\s+Tokens:\s+(\d+)", re.DOTALL)
_PIECE = 1 << 20  # characters turned into words at once


def _as_words(text: str) -> str:
    """One word a character; white space and KenLM's own brackets get names."""
    named = {"\n": "\\n", " ": "\\s", "<": "\\l", ">": "\\g"}
    return " ".join(f"\\x{ord(c):x}" if c.isspace() and c not in named else named.get(c, c) for c in text)


def score(programs: Path, train: str, texts: Mapping[str, str], *, order: int) -> list[Prediction]:
    """Interpolated modified Kneser-Ney by KenLM, scored on whole texts. An unknown character also costs its place
    among all code points, as in ours. Raises FileNotFoundError where `programs` has no lmplz, CalledProcessError."""
    found = []
    with tempfile.TemporaryDirectory(prefix="kenlm-") as name:
        folder = Path(name)
        with (folder / "train").open("w", encoding="utf-8") as file:
            for begin in range(0, len(train), _PIECE):
                file.write(_as_words(train[begin : begin + _PIECE]) + " ")
            file.write("\n")  # else there is no sentence end, and KenLM reads no model without one
        model = folder / "model.arpa"
        command = [programs / "lmplz", "-o", str(order), "-S", _MEMORY, "-T", folder / "lmplz", "--discount_fallback"]
        with (folder / "train").open("rb") as source, model.open("wb") as target:
            subprocess.run(command, stdin=source, stdout=target, stderr=subprocess.DEVNULL, check=True)
        for title, text in texts.items():
            asked = subprocess.run(
                [programs / "query", "-v", "summary", model], input=_as_words(text) + "\n", capture_output=True,
                check=True, encoding="utf-8",
            )  # fmt: skip
            summary = _SUMMARY.search(asked.stdout)
            assert summary is not None, asked.stdout
            perplexity, unknown, words = float(summary[1]), int(summary[2]), int(summary[3])
            bits = words * math.log2(perplexity) + unknown * math.log2(_CODE_POINTS)
            found.append(
                Prediction(
                    family=f"KenLM order {order}, characters", text=title, bits_per_character=bits / len(text),
                    bits_per_byte=bits / len(text.encode()), perplexity=perplexity,
                )
            )  # fmt: skip
    return found
