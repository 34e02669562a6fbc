"""Turns folders of public-domain prose into clean, de-duplicated text with whole titles held out. Knows no model.

Every step is deterministic: the same files give the same bytes. What is left out and why:

- editors' footnotes, introductions of modern editors, indexes, glossaries, transcribers' notes: not the author's
  words, and the modern Chinese ones may be in copyright;
- works whose copyright has not run out everywhere (`UNCLEAR_RIGHTS`);
- paragraphs of the training text that repeat held-out text, or training text that came before (`overlap`).
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from models.language.normal_form import normalise
from models.training.overlap import shared_with, shared_with_earlier

Split = Literal["train", "dev", "test"]
Language = Literal["en", "zh"]

SEPARATOR = "\n\n"
MAX_SHARED_WITH_HELD_OUT = 0.1  # of a training paragraph's 8-grams; more, and the paragraph is dropped
MAX_SHARED_WITH_EARLIER = 0.5  # within the training text a quotation is welcome, a second copy is not

# Renewed nowhere in the US, but their authors died less than 70 years ago (Norton 2005, Reynolds 1983); and a book of
# 1934 whose copyright still ran in China in 1996, so that the US restored it until 2030 (Zhu Ziqing died in 1948).
UNCLEAR_RIGHTS = frozenset({"norton-ralestone-luck_pg18817", "reynolds-gun-for-hire_pg24247", "欧游杂记"})

# Whole titles that no model ever trains on: `dev` steers (early stop, mixture weights), `test` is only reported.
HELD_OUT: dict[str, Split] = {
    "Chesterton_Napoleon_1904": "dev",
    "aesop-jones_pg11339": "dev",
    "恨海": "dev",
    "豆棚闲话": "dev",
    "Doyle_Lost_1912": "test",
    "Burnett_Princess_1905": "test",
    "jacobs-indian-fairy-tales_pg7128": "test",
    "老残游记": "test",
    "九命奇冤": "test",
    "朝花夕拾": "test",
}


@dataclass(frozen=True, kw_only=True)
class Document:
    """One title after cleaning. `collection` is the folder it came from."""

    title: str
    collection: str
    language: Language
    split: Split
    text: str


@dataclass(frozen=True, kw_only=True)
class TitleReport:
    """What became of one title, in characters: `read` from the file, `cleaned` after apparatus, `kept` in the end."""

    title: str
    collection: str
    language: Language
    split: Split | Literal["excluded"]
    read: int
    cleaned: int
    kept: int
    sha256: str


# --- English: Project Gutenberg's apparatus -------------------------------------------------------------------------

_NOTES_HEADING = re.compile(
    r"_?(FOOTNOTES?|NOTES?( TO .*| AND REFERENCES.*| ON .*)?|INDEX.*|GLOSSARY.*|APPENDIX.*|BIBLIOGRAPHY|ILLUSTRATIONS)"
    r"[.:]?_?", re.IGNORECASE)  # fmt: skip
_STORY_HEADING = re.compile(r"(CHAPTER|BOOK|TALE|STORY|CANTO)\b.*")
_NOTE_PARAGRAPH = re.compile(
    r"(\[\d{1,4}[a-z]?\]|\(\d{1,3}\)|\[\w_\d+\]|\[?(Footnote|Illustration|Frontispiece|Sidenote|Transcriber)|\+--|"
    r"NOTE \d+\.)", re.IGNORECASE)  # fmt: skip
_INLINE_NOTE = re.compile(
    r"\s?\[(\w_)?\d{1,4}[a-z]?\]|\s?\{\d{1,4}\}|\s?\(\d{1,3}\)|\[(Footnote|Illustration)[^]]*\]|\[[A-Z0-9][^]\n]{0,24}"
    r"\d+:\d+[^]\n]{0,24}\]")  # fmt: skip
_PUBLISHER = re.compile(r"Gutenberg|Transcriber|[Ee]text|Proofread|Internet Archive|[Cc]opyright|LONDON:|ILLUSTRATED")
_FUNCTION_WORDS = frozenset(
    [
        "the",
        "and",
        "of",
        "to",
        "a",
        "in",
        "he",
        "that",
        "his",
        "was",
        "it",
        "i",
        "with",
        "as",
        "had",
        "for",
        "you",
        "him",
        "is",
        "but",
        "not",
        "they",
        "at",
        "her",
        "she",
        "on",
        "be",
        "all",
        "my",
        "said",
        "so",
        "have",
        "me",
        "this",
        "from",
        "which",
        "by",
        "them",
        "there",
        "were",
        "no",
        "their",
        "one",
        "out",
        "up",
        "an",
        "or",
        "when",
        "if",
        "who",
        "then",
        "would",
        "will",
        "we",
        "into",
        "what",
        "upon",
        "are",
        "more",
        "your",
        "very",
        "man",
        "could",
        "now",
        "do",
        "been",
        "down",
        "like",
        "thou",
        "thee",
        "thy",
    ]
)
_LONG_PARAGRAPH = 200
_APPARATUS_MAX = 5_000
_MIN_FUNCTION_WORDS = 0.27  # prose has about 0.45; an index, a glossary or a table of contents 0.05 to 0.2


def _is_prose(paragraph: str) -> bool:
    words = re.findall(r"[a-z]+", paragraph.lower())
    return bool(words) and sum(word in _FUNCTION_WORDS for word in words) >= _MIN_FUNCTION_WORDS * len(words)


def strip_english_apparatus(text: str) -> str:
    """Drop front matter, footnotes, notes sections, indexes and note marks from a normalised English book."""
    kept: list[str] = []
    in_notes = False
    paragraphs = text.split("\n\n")
    for number, paragraph in enumerate(paragraphs):
        position = number / len(paragraphs)
        if (
            len(paragraph) < 80 and _NOTES_HEADING.fullmatch(paragraph) and position > 0.06
        ):  # before that it is the table of contents
            in_notes = True
        elif _STORY_HEADING.fullmatch(paragraph):
            in_notes = False
        is_short = len(paragraph) <= _APPARATUS_MAX  # some transcriptions are a single paragraph: never drop those
        if in_notes or (is_short and _NOTE_PARAGRAPH.match(paragraph)):
            continue
        if is_short and _PUBLISHER.search(paragraph) and not 0.03 < position < 0.97:
            continue
        if not kept and (len(paragraph) < _LONG_PARAGRAPH or not _is_prose(paragraph)):
            continue
        if len(paragraph) >= _LONG_PARAGRAPH and not _is_prose(paragraph):
            continue
        paragraph = _INLINE_NOTE.sub("", paragraph).replace("_", "").strip()
        if paragraph:
            kept.append(paragraph)
    return "\n\n".join(kept)


# --- Chinese: editors' notes of the modern editions -----------------------------------------------------------------

_NOTE_START = re.compile(r"〔\s?(\d{1,3})\s?〕|([⑴-⒇])")
_NOTE_MARK = re.compile(r"〔\s?\d{1,3}\s?〕|[⑴-⒇]|[①-⑳]")
_NOTES_WORD = re.compile(r"□?\s?注释[:：]?")
_NO_TITLE_END = "。！？；：”’…，、）》.!?"
_TITLE_MAX = 30


def _note_number(line: str) -> int | None:
    found = _NOTE_START.match(line)
    if not found:
        return None
    return int(found[1]) if found[1] else ord(found[2]) - ord("⑴") + 1


def _looks_like_title(line: str) -> bool:
    bare = _NOTE_MARK.sub("", line).strip()
    return 0 < len(bare) <= _TITLE_MAX and bare[-1] not in _NO_TITLE_END


def _unwrap(lines: list[str]) -> list[str]:
    """Join lines that a fixed width broke. A file counts as wrapped if a fifth of its lines are 32 to 42 long and none
    is much longer; a line then goes on if it is within four characters of the width."""
    full = sum(32 <= len(line) <= 42 for line in lines)
    if not lines or full * 5 < len(lines) or max(map(len, lines)) > 160:
        return lines
    joined: list[str] = []
    goes_on = False
    for line in lines:
        if goes_on and _note_number(line) is None:
            joined[-1] += line
        else:
            joined.append(line)
        goes_on = len(line) >= 32
    return joined


def strip_editors_notes(text: str) -> str:
    """Drop the notes behind each piece of a modern Chinese edition, the marks that point to them and the editors'
    introduction. Within a block of notes the numbers rise; a title ends it, or a number that falls."""
    lines = _unwrap([line for line in text.split("\n") if line])
    numbers = [_note_number(line) for line in lines]
    following: list[int] = [0] * len(lines)  # the number of the next note from here on; 0 if none follows
    upcoming = 0
    for index in range(len(lines) - 1, -1, -1):
        upcoming = numbers[index] or upcoming
        following[index] = upcoming
    kept: list[str] = []
    last_note = 0  # 0: outside a block of notes
    in_preface = False
    for line, number, upcoming in zip(lines, numbers, following, strict=True):
        if number or _NOTES_WORD.fullmatch(line):
            last_note = number or max(last_note, 1)
            continue
        if last_note and (upcoming > last_note or not (_looks_like_title(line) or line.startswith("--"))):
            continue
        last_note = 0
        in_preface = (in_preface and len(line) > _TITLE_MAX) or line.endswith(("简介：", "简介", "目录："))
        if in_preface or line.startswith("--"):
            continue
        kept.append(_NOTE_MARK.sub("", line).strip())
    return "\n".join(line for line in kept if line)


def strip_chinese_frame(text: str, title: str) -> str:
    """Drop the title that a transcription repeats at its very end, "书名…著" at its beginning and "本书完"."""
    text = re.sub(r"^书名.{1,24}?著", "", text)
    text = re.sub(rf"\s*{re.escape(title)}\s*$", "", text)
    return re.sub(r"本书完\s*$", "", text).strip()


# --- the whole ------------------------------------------------------------------------------------------------------


def clean(raw: str, *, title: str, collection: str) -> str:
    """One file's text as the author's prose in normal form."""
    text = normalise(raw)
    if collection.startswith("en-"):
        return strip_english_apparatus(text) if collection in ("en-fairy-myth", "en-novels") else text
    text = strip_editors_notes(text) if collection == "zh-luxun" else text
    return strip_chinese_frame(text, title)


def _paragraphs(document: Document) -> list[str]:
    return [each for each in re.split(r"\n+" if document.language == "zh" else r"\n{2,}", document.text) if each]


def _without_repeats(documents: list[Document], held_out: list[Document]) -> list[Document]:
    """The training documents without paragraphs that stand in held-out text or in an earlier document."""
    split = [_paragraphs(each) for each in documents]
    leaked = shared_with([each.text for each in held_out], split)
    repeated = shared_with_earlier(split)
    result = []
    for document, paragraphs, leaks, repeats in zip(documents, split, leaked, repeated, strict=True):
        keep = (leaks <= MAX_SHARED_WITH_HELD_OUT) & (repeats <= MAX_SHARED_WITH_EARLIER)
        joint = "\n" if document.language == "zh" else "\n\n"
        text = joint.join(paragraph for paragraph, kept in zip(paragraphs, keep, strict=True) if kept)
        result.append(replace(document, text=text))
    return result


def load_stories(root: Path) -> tuple[list[Document], list[TitleReport]]:
    """Read `root`/<collection>/*.txt; a collection's name begins with its language ("en-", "zh-"). Returns every
    document that may be used, in the order of collection and title, and a report on every file.
    Raises FileNotFoundError if there is no such file."""
    paths = sorted(path for path in root.glob("*/*.txt") if path.parent.name[:3] in ("en-", "zh-"))
    if not paths:
        raise FileNotFoundError(f"no en-*/…txt or zh-*/…txt below {root}")
    documents: list[Document] = []
    read: dict[str, tuple[int, int, str, str, Language]] = {}
    for path in paths:
        raw = path.read_text(encoding="utf-8")
        title, collection = path.stem, path.parent.name
        language: Language = "zh" if collection.startswith("zh-") else "en"
        text = clean(raw, title=title, collection=collection)
        digest = hashlib.sha256(raw.encode()).hexdigest()
        read[f"{collection}/{title}"] = (len(raw), len(text), digest, title, language)
        if title not in UNCLEAR_RIGHTS:
            split = HELD_OUT.get(title, "train")
            documents.append(Document(title=title, collection=collection, language=language, split=split, text=text))
    train = _without_repeats([each for each in documents if each.split == "train"],
                             [each for each in documents if each.split != "train"])  # fmt: skip
    by_key = {f"{each.collection}/{each.title}": each for each in documents}
    by_key |= {f"{each.collection}/{each.title}": each for each in train}
    reports = [
        TitleReport(
            title=title,
            collection=key.split("/")[0],
            language=language,
            split=by_key[key].split if key in by_key else "excluded",
            read=size,
            cleaned=cleaned,
            kept=len(by_key[key].text) if key in by_key else 0,
            sha256=digest,
        )
        for key, (size, cleaned, digest, title, language) in read.items()
    ]
    return [by_key[key] for key in read if key in by_key], reports


def write_corpus(root: Path, out: Path) -> dict[str, int]:
    """Clean `root` into `out`/<split>-<language>.txt, `out`/<split>/<language>/<collection>--<title>.txt for each
    title, and manifest.json. Returns characters per written split."""
    documents, reports = load_stories(root)
    sizes: dict[str, int] = {}
    for split in ("train", "dev", "test"):
        for language in ("en", "zh"):
            chosen = [each for each in documents if each.split == split and each.language == language]
            text = SEPARATOR.join(each.text for each in chosen)
            (out / split / language).mkdir(parents=True, exist_ok=True)
            (out / f"{split}-{language}.txt").write_text(text, encoding="utf-8")
            sizes[f"{split}-{language}"] = len(text)
            for each in chosen:
                name = f"{each.collection}--{each.title}.txt"
                (out / split / language / name).write_text(each.text, encoding="utf-8")
    manifest = {"sizes": sizes, "titles": [asdict(each) for each in reports]}
    (out / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")
    return sizes
