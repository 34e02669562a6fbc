"""The one spelling of a text that the models of our own read, in training and in use. Knows no model and no corpus."""

import re
import unicodedata

_SPACES = re.compile(r"[^\S\n]+")
_INVISIBLE = re.compile("[\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CHINESE = re.compile("[\u3400-\u9fff]")
_FULL_WIDTH = {
    code: code - 0xFEE0
    for start, end in ((0xFF10, 0xFF19), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A))
    for code in range(start, end + 1)
}
_STRAIGHT = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u2014": "--", "\u2013": "-",
                           "\u2026": "..."})  # fmt: skip


def is_chinese(text: str) -> bool:
    """Whether at least a twentieth of the first 20,000 characters is Chinese."""
    sample = text[:20_000]
    return len(_CHINESE.findall(sample)) * 20 >= max(len(sample), 1)


def normalise(text: str) -> str:
    """The one spelling of a text that every model sees: NFC, LF, single spaces, no invisible characters, ASCII letters
    and digits, at most one blank line; in text that is not Chinese also straight quotes and "--"."""
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    text = _INVISIBLE.sub("", text).translate(_FULL_WIDTH)
    if not is_chinese(text):
        text = text.translate(_STRAIGHT)
    text = "\n".join(_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip()
