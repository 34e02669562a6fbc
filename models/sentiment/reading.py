"""What of a chat message the methods read: markup, links and quotes taken away, the language guessed, oddities noted.
Knows no method and judges no mood.

Clean text keeps its emoji, kaomoji and punctuation, for they carry much of a chat's mood; what a person quotes or
pastes as code isn't theirs and goes. Traditional characters become simplified ones one for one, so that
`written[i:j]` is how the author spelled `text[i:j]`.
"""

import html
import json
import re
import unicodedata
from dataclasses import dataclass
from importlib import resources

from models.sentiment.emoji_valence import Face, find_faces
from models.sentiment.irony import looks_ironic, tagged_ironic
from models.sentiment.language_guess import CHINESE, Language, guess_language, latin_words
from models.serving.short_requests import MAX_MOOD_CHARS, MoodNote

_CODE_BLOCK = re.compile(r"```.*?(?:```|\Z)", re.S)
_INLINE_CODE = re.compile(r"`[^`\n]+`")
_MASKED_LINK = re.compile(r"\[([^\]\n]{1,300})\]\(<?https?://[^)\s]+\)")
_LINK = re.compile(r"<?\b(?:https?://|www\.|discord\.gg/)[^\s<>\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]+>?", re.I)
# What corpora put in a link's place, and the Penn Treebank's way to write "don't" (SST-2).
_LINK_WORD = re.compile(r"(?<![\w/:.])http(?![\w:/])")
_CLITIC = re.compile(r"(?<=\w) ?(n't|'s|'re|'ve|'ll|'d|'m)\b", re.I)
_ENDLESS_REFERENCE = re.compile(r"&#[0-9]{20,};?")  # int() refuses thousands of digits
_NAME_BEFORE_AT = re.compile(r"@(?<=[\w.+-]@)")  # tells in a tenth of the time whether there may be an address
_EMAIL = re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,64}\.[\w.]{2,64}\b")
_CUSTOM_EMOJI = re.compile(r"<a?:(\w{2,32}):\d{1,20}>")
_MENTION = re.compile(r"<(?:@[!&]?|#|/[\w -]{1,100}:|t:)-?\d{1,20}(?::[tTdDfFR])?>|@(?:everyone|here)\b")
_AT_NAME = re.compile(r"(?<![A-Za-z0-9_])@[\w-]{1,30}")
_QUOTE_REST = re.compile(r"^>>> .*\Z", re.M | re.S)
_QUOTE_LINE = re.compile(r"^> .*$", re.M)
_QUOTE_SIGN = re.compile(r"^>(?:>>)? ", re.M)
_REPOST = re.compile(r"//@[\w-]{1,30}[:：]?")
_EMPHASIS = re.compile(r"\*{1,3}(?=\S)|(?<=\S)\*{1,3}|__|~~|\|\|")
_HEADING = re.compile(r"^(?:#{1,3}|-#|[-*]) ", re.M)
_HASHTAG = re.compile(r"#(?=[A-Za-z\u4e00-\u9fff])|(?<=[\w\u4e00-\u9fff])#")
_INVISIBLE = re.compile(
    "[\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u2064\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]"
)
_STRAY_JOINER = re.compile("(?<![\u2640-\U0001faff\ufe0f])\u200d")
_STYLED = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff]")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|_|(?<=[A-Za-z])(?=\d)")
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " "})


def _load_simplifying() -> dict[int, int]:
    table = json.loads(resources.files(__package__).joinpath("traditional.json").read_text(encoding="utf-8"))
    return {ord(old): ord(new) for old, new in zip(table["traditional"], table["simplified"], strict=True)}


_SIMPLIFIED = _load_simplifying()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """`text` is what a model reads (case kept), `written` the same with the author's own Chinese characters. `latin`
    are its words in Latin letters, lower-cased, without emoticons; `chinese` the number of its Chinese characters.
    `faces` lie in `text`."""

    text: str
    written: str
    language: Language
    latin: tuple[str, ...]
    chinese: int
    faces: tuple[Face, ...]
    notes: tuple[MoodNote, ...]

    @property
    def wordless(self) -> bool:
        """Whether there is neither a word nor a face to judge."""
        return not (self.latin or self.chinese or self.faces)

    @property
    def doubtful(self) -> bool:
        """Whether no method can be sure: nothing to judge, a language that none learned, or marks of irony."""
        return self.wordless or self.language == "other" or "irony" in self.notes


def clean(text: str) -> str:
    """`text` without Discord's markup, code, links, mentions and quotes, on one line. A text of nothing but a quote
    keeps it."""
    text = text[:MAX_MOOD_CHARS]
    if not text.isascii():
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).translate(_QUOTES)
        text = _STYLED.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)
        if "\u200d" in text:
            text = _STRAY_JOINER.sub("", text)
    elif not text.isprintable():
        text = _INVISIBLE.sub("", text)
    if "`" in text:
        text = _INLINE_CODE.sub(" ", _CODE_BLOCK.sub(" ", text))
    if "<" in text:
        text = _CUSTOM_EMOJI.sub(lambda match: f" {_CAMEL.sub(' ', match.group(1))} ", text)
        text = _MENTION.sub(" ", text)
    if "&" in text:
        text = html.unescape(_ENDLESS_REFERENCE.sub("\ufffd", text))
    if "http" in text or "www." in text or "discord.gg" in text or "HTTP" in text:
        text = _LINK_WORD.sub(" ", _LINK.sub(" ", _MASKED_LINK.sub(r"\1", text)))
    if " n't" in text or " '" in text:
        text = _CLITIC.sub(r"\1", text)
    if "@" in text:
        if _NAME_BEFORE_AT.search(text):
            text = _EMAIL.sub(" ", text)
        text = _AT_NAME.sub(" ", _MENTION.sub(" ", _REPOST.sub(" ", text)))
    if "> " in text:
        own = _QUOTE_LINE.sub("", _QUOTE_REST.sub("", text))
        text = own if own.strip() else _QUOTE_SIGN.sub("", text)
    if "*" in text or "_" in text or "~~" in text or "||" in text:
        text = _unmark(text)
    text = _HASHTAG.sub("", _HEADING.sub("", text)) if "#" in text or "- " in text else text
    return " ".join(text.split())


def _unmark(text: str) -> str:
    """Takes emphasis away, but not out of faces ("T_T", "*_*")."""
    if not ("__" in text or "~~" in text or "||" in text or "*" in text):
        return text
    pieces, at = [], 0
    for face in find_faces(text):
        pieces += [_EMPHASIS.sub("", text[at : face.start]), text[face.start : face.end]]
        at = face.end
    return "".join([*pieces, _EMPHASIS.sub("", text[at:])])


def simplify(text: str) -> str:
    """Traditional Chinese characters as simplified ones, one for one."""
    return text if text.isascii() else text.translate(_SIMPLIFIED)


def read(raw: str) -> Reading:
    """Never raises. A text over `MAX_MOOD_CHARS` is cut, with the note "cut"."""
    written = clean(raw)
    text = simplify(written)
    faces = tuple(find_faces(text))
    wordy = _without(text, faces)
    latin = latin_words(wordy)
    language = guess_language(wordy, latin)
    chinese = 0 if text.isascii() else len(CHINESE.findall(wordy))
    return Reading(
        text=text,
        written=written,
        language=language,
        latin=tuple(latin),
        chinese=chinese,
        faces=faces,
        notes=_notes(raw, text, language, latin, chinese, faces),
    )


def _without(text: str, faces: tuple[Face, ...]) -> str:
    if not faces:
        return text
    pieces, at = [], 0
    for face in faces:
        pieces.append(text[at : face.start])
        at = face.end
    return " ".join([*pieces, text[at:]])


def _notes(
    raw: str, text: str, language: Language, latin: list[str], chinese: int, faces: tuple[Face, ...]
) -> tuple[MoodNote, ...]:
    notes: list[MoodNote] = []
    if not raw.strip():
        return ("empty",)
    if language == "none":
        return ("emoji_only",) if faces else ("no_words",)
    if language == "other":
        notes.append("other_language")
    elif (len(latin) == 1 and not chinese) or (not latin and chinese <= 2):
        notes.append("one_word")
    if len(raw) > MAX_MOOD_CHARS:
        notes.append("cut")
    if looks_ironic(text, language, latin) or tagged_ironic(raw):
        notes.append("irony")
    return tuple(notes)
