"""The one spelling in which the trained methods read a text, in training and in use. Knows no model and no corpus."""

import html
import re
import unicodedata
from typing import Literal

Language = Literal["en", "zh", "other", "none"]

_URL = re.compile(r"(?:https?://|www\.)\S+|\bt\.co/\S+", re.IGNORECASE)
_MENTION = re.compile(r"<[@#][!&]?\d+>|(?<![\w.])@[\w.\-]+:?")
_DISCORD_EMOJI = re.compile(r"<a?:(\w{2,32}):\d+>")
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")  # SemEval's files keep JSON's escapes
_ENDLESS_REFERENCE = re.compile(r"&#[0-9]{20,};?")  # int() refuses thousands of digits
_INVISIBLE = re.compile("[\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u2064\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2026": "..."})
# The Penn Treebank's spelling (SST-2): "do n't", "film 's", "bad .", "-lrb- yes -rrb-".
_TREEBANK_BRACKETS = {"-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "-lcb-": "{", "-rcb-": "}"}
_BRACKET = re.compile("|".join(_TREEBANK_BRACKETS), re.IGNORECASE)
_CLITIC = re.compile(r" (n't|'s|'re|'ve|'ll|'d|'m)\b", re.IGNORECASE)
_SPACED_MARK = re.compile(r" (?<=\w )([,.;!?])(?=\s|$)")  # a literal first: that is what `re` finds fast

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_KANA_OR_HANGUL = re.compile("[\u3040-\u30ff\uac00-\ud7af\u1100-\u11ff]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
_WORD = re.compile(r"[^\W\d_]+")
_ENGLISH_LETTER = re.compile(r"[A-Za-z]")
# Words so common in their language and so rare in English that two of them decide. Small on purpose: it only has to
# catch sentences, and a short foreign text stays "en".
_NOT_ENGLISH = frozenset(
    _WORD.findall(
        "el la los las que por para con una está muy pero como más het een niet dat ik je van und der die das ist"
        " nicht ich ein eine mit auf für le les des est pas une je vous nous avec sur pour dans il di che non sono"
        " per della um uma não você com isso na foi mais muito também porque esta este sehr aber auch wir sie och"
        " att det är som inte jag nie jest się że na bardzo và của là không"
    )
)
_ENGLISH = frozenset(
    _WORD.findall(
        "the a an and to of is are was i you he she it we they this that in on for with not my your so but what"
        " have has do be at me just all like can will no if out up or from about good bad"
    )
)


def clean(text: str) -> str:
    """One line: "http" for a link, "@user" for a mention, `:name:` for a custom emoji, straight quotes, full-width
    letters narrow, HTML entities and the Penn Treebank's tokens undone, no invisible character. Emoji stay."""
    if "\\u" in text:
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    if "&" in text:
        text = html.unescape(_ENDLESS_REFERENCE.sub("\ufffd", text))
    if not text.isprintable():
        text = _INVISIBLE.sub("", text)
    if not text.isascii():
        text = _narrow(text.replace("\ufe0f", "")).translate(_QUOTES)
    if "<" in text:
        text = _DISCORD_EMOJI.sub(r":\1:", text)
    if "://" in text or "t.co/" in (lower := text.lower()) or "www." in lower:
        text = _URL.sub(" http ", text)
    if "@" in text or "<" in text:
        text = _MENTION.sub(" @user ", text)
    if "-" in text:
        text = _BRACKET.sub(lambda found: _TREEBANK_BRACKETS[found[0].lower()], text)
    text = " ".join(text.split())
    if "'" in text:
        text = _CLITIC.sub(r"\1", text)
    text = _SPACED_MARK.sub(r"\1", text)
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()  # no lone surrogates


def _narrow(text: str) -> str:
    # NFKC would also turn ™ into letters and ideographic forms into others; only the full-width block is wanted.
    return unicodedata.normalize("NFC", text).translate(_FULL_WIDTH)


_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF10, 0xFF5B) if chr(code).isalnum()}


def language_of(text: str) -> Language:
    """The language of a cleaned text, as far as the methods must know: "zh" when it has Han characters and they are a
    fifth of its letters at least, "en" for ASCII letters, "other" for anything else with letters, "none" without."""
    han = len(_HAN.findall(text))
    letters = len(_WORD.findall(text)) and sum(map(str.isalpha, text))
    if not letters:
        return "none"
    if len(_KANA_OR_HANGUL.findall(text)) * 5 > letters:
        return "other"
    if han * 5 >= letters:
        return "zh"
    latin = len(_LATIN.findall(text))
    if latin * 2 < letters:
        return "other"
    words = [word.lower() for word in _WORD.findall(text)]
    foreign = sum(word in _NOT_ENGLISH for word in words)
    english = sum(word in _ENGLISH for word in words)
    accented = latin - len(_ENGLISH_LETTER.findall(text))
    if foreign >= 2 and foreign > english:
        return "other"
    return "other" if accented * 12 > latin and foreign > english else "en"
