"""Who a story names, by counting: a modest guess for English and Chinese. Knows no model and no Discord.

English: capitalised words that stand in mid-sentence, or beside a verb of speech, or behind a title, or that begin
three sentences; without words that also occur in lower case, and without what only ever follows "in", "at", "the"
(places, things). Chinese: a surname or 小, 老, 阿 with one or two characters, twice or before a verb of speech. It
can't tell a person from a river that was named twice.
"""

import re
from collections import Counter
from collections.abc import Iterator

from bot.character_words import (
    ABBREVIATED,
    AFTER_TITLES,
    BEFORE_PLACES,
    NEVER_GIVEN,
    NO_CHINESE_NAMES,
    NO_NAMES,
    PARTICLES,
    SPEECH,
    SPEECH_CHINESE,
    SURNAMES,
    TITLES,
)

MAX_NAMES = 25  # Discord: choices of an autocompletion
MAX_NAME_CHARS = 60
_ENOUGH = 2  # mentions, where nothing else speaks for a Chinese name
_ENOUGH_STARTS = 3  # mentions, where an English one only begins sentences
_MOST_CHINESE = 500  # what looks like a name, at most: each is compared with each
_SPEAKS = 3  # mentions that a verb of speech beside the name is worth, when names are sorted

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_ENDS_SENTENCE = re.compile(r"[.!?…:;。！？]['\"”’)\]]*\s*$|[\"“‘(\[—–*>#]\s*$|\n\s*$")
_OWNS = re.compile(r"['’]s$")
_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_ONE = "".join(each for each in SURNAMES if len(each) == 1)
_TWO = "|".join(each for each in SURNAMES if len(each) == 2)
_CHINESE = re.compile(rf"(?:{_TWO}|[{_ONE}小老阿])(?=([{_HAN}]{{1,2}}))")


def named_in(text: str) -> tuple[str, ...]:
    """The names in a story, likeliest first, at most `MAX_NAMES`."""
    found = _english(text) + _chinese(text)
    return tuple(name for name, _ in found.most_common(MAX_NAMES))


def spelling_in(name: str, text: str) -> str | None:
    """A name, or whatever somebody typed in its place, as a story spells it; None where it doesn't have it as whole
    words."""
    edge = r"\b" if name[:1].isascii() and name[:1].isalnum() else ""
    end = r"\b" if name[-1:].isascii() and name[-1:].isalnum() else ""
    words = r"\s+".join(re.escape(word) for word in name.split())
    found = re.search(edge + words + end, text, re.IGNORECASE) if words else None
    return " ".join(found.group().split()) if found else None


def constant(name: str) -> str:
    """The part of a name that stays while its story goes on: "Mara" of "Mara Lind", for the story may soon say only
    that. A title and what is no name keep all their words."""
    words = name.split()
    first = words[0].rstrip(".").casefold() if words else ""
    if first in TITLES or first in PARTICLES or not all(word[0].isupper() for word in words):
        return name
    return words[0]


def _english(text: str) -> Counter[str]:
    words = list(_WORD.finditer(text))
    lower = {word.group() for word in words if word.group()[0].islower()}
    seen: Counter[str] = Counter()
    sure: Counter[str] = Counter()
    placed: Counter[str] = Counter()
    speaks: set[str] = set()
    for first, last in _runs(text, words, lower):
        name = _bare(text[words[first].start() : words[last].end()])
        if not name or len(name) > MAX_NAME_CHARS:
            continue
        seen[name] += 1
        before = words[first - 1].group().casefold() if first else ""
        after = words[last + 1].group().casefold() if last + 1 < len(words) else ""
        titled = words[first].group().casefold() in TITLES
        starts = _starts_sentence(text, words[first].start()) and not titled
        if after in SPEECH or (before in SPEECH and not starts):
            speaks.add(name)
        elif before in BEFORE_PLACES and not starts:
            placed[name] += 1
        elif not starts or _OWNS.search(words[last].group()):
            sure[name] += 1
    counted: Counter[str] = Counter()
    for name, count in seen.items():
        if name in speaks or sure[name] or count - placed[name] >= _ENOUGH_STARTS:
            counted[name] = count + (_SPEAKS if name in speaks else 0)
    return _short_for_long(counted)


def _runs(text: str, words: list[re.Match[str]], lower: set[str]) -> Iterator[tuple[int, int]]:
    """First and last word of each run of capitalised words that may be a name: "Mara Lind", "Captain Hook"."""
    index = 0
    while index < len(words):
        if not _may_name(words[index].group(), lower):
            index += 1
            continue
        last = index
        while (
            last + 1 < len(words)
            and last - index < 3
            and (_may_name(words[last + 1].group(), lower) or _follows_title(words[last], words[last + 1]))
            and _joins(text[words[last].end() : words[last + 1].start()], words[last].group())
            and not words[last].group().endswith(("'s", "’s"))
        ):
            last += 1
        if not (last == index and words[index].group().casefold() in TITLES):
            yield index, last
        index = last + 1


def _may_name(word: str, lower: set[str]) -> bool:
    bare = _bare(word)
    return (
        len(bare) >= 2
        and bare[0].isupper()
        and not bare.isupper()
        and (bare.casefold() in TITLES or bare.casefold() not in NO_NAMES)
        and (bare.casefold() in TITLES or bare.casefold() not in lower)
        and "'" not in bare.replace("O'", "").replace("D'", "")
        and not re.match(rf"[{_HAN}]", bare)
    )


def _follows_title(left: re.Match[str], right: re.Match[str]) -> bool:
    return left.group().casefold() in TITLES and right.group() in AFTER_TITLES


def _joins(between: str, left: str) -> bool:
    return between == " " or (between == ". " and left.casefold() in ABBREVIATED)


def _bare(word: str) -> str:
    return re.sub(r"['’]s?$", "", word).replace("’", "'")


def _starts_sentence(text: str, at: int) -> bool:
    before = text[max(0, at - 8) : at]
    return not before.strip() or _ENDS_SENTENCE.search(before) is not None


def _short_for_long(counted: Counter[str]) -> Counter[str]:
    """ "Mara Lind" and "Mara" are one: the form that is used more, with the mentions of both."""
    merged = Counter(counted)
    for name in sorted(counted, key=lambda name: -len(name.split())):
        parts = [part for part in name.split() if part in merged and part != name]
        if len(parts) != 1 or name not in merged:
            continue
        (part,) = parts
        kept, gone = (name, part) if merged[name] >= merged[part] else (part, name)
        merged[kept] += merged.pop(gone)
    return merged


def _chinese(text: str) -> Counter[str]:
    seen: Counter[str] = Counter()
    spoken: Counter[str] = Counter()
    for found in _CHINESE.finditer(text):
        surname, given = found.group(), found.group(1)
        for length in range(1, len(given) + 1):
            name = surname + given[:length]
            if any(char in NEVER_GIVEN for char in given[:length]) or _is_no_name(name):
                break
            seen[name] += 1
            rest = text[found.end() + length : found.end() + length + 4]
            if rest.startswith(SPEECH_CHINESE):
                spoken[name] += 1
    kept: Counter[str] = Counter()
    for name, count in seen.items():
        if count < _ENOUGH and not spoken[name]:
            continue
        kept[name] = count + (_SPEAKS if spoken[name] else 0)
    kept = Counter(dict(kept.most_common(_MOST_CHINESE)))
    for name in [*kept]:  # 老汉 of 王老汉
        if any(name in longer[1:] and kept[longer] >= kept[name] for longer in kept):
            kept.pop(name)
    for name in sorted(kept, key=len):  # 李明华 also counted for 李明, or 李明 with the word behind it for 李明出
        for longer in [each for each in kept if each.startswith(name) and each != name]:
            whole = seen[longer] >= 0.8 * seen[name] and (seen[longer] > 1 or bool(spoken[longer]))
            kept.pop(name if whole else longer, None)
    return kept


def _is_no_name(name: str) -> bool:
    return any(name.startswith(word) for word in NO_CHINESE_NAMES)
