"""Cuts a long text into Discord messages without breaking Markdown, words or characters. Knows nothing of sending."""

import re
import unicodedata
from dataclasses import dataclass

MESSAGE_LIMIT = 2_000  # Discord: characters in a message; we count UTF-16 units, the strictest way to count
_RESERVE = 40  # room in each message for the markers that close what is open at the cut

_FENCE = re.compile(r"```(?P<language>[\w+#.-]{1,20}(?=\n))?(?P<body>.+?)```", re.DOTALL)
_INLINE_CODE = re.compile(r"(?<!`)`(?=[^`])(?P<body>[^`\n]+)`(?!`)")
_ATOM = re.compile(r"<[^<>\s]{1,120}>|\[[^\[\]\n]{1,200}\]\([^()\s]{1,500}\)|https?://\S{1,500}")
_EMPHASES = tuple(
    (
        marker,
        re.compile(rf"(?<!\\){re.escape(marker)}(?=\S)(?P<body>(?:(?!\n\n).)+?)(?<=\S){re.escape(marker)}", re.DOTALL),
    )
    for marker in ("***", "**", "__", "~~", "||", "*", "_")
    for mark in (re.escape(marker),)
)
_SENTENCE_END = frozenset(".!?…。！？；")
_CLOSING = frozenset("\"'”’」』）)]》】")
_NOT_AT_LINE_START = frozenset("，。！？；：、,.!?;:…”’」』）)]》】~～")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One message: `opening + body + closing`. The bodies of all pieces, joined, are the text."""

    opening: str
    body: str
    closing: str

    @property
    def content(self) -> str:
        return self.opening + self.body + self.closing


@dataclass(frozen=True, kw_only=True)
class _Span:
    """A Markdown construct whose inside is text[start:end]."""

    start: int
    end: int
    opening: str
    closing: str


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text) + sum(1 for char in text if ord(char) > 0xFFFF)


def split_message(text: str, limit: int = MESSAGE_LIMIT) -> list[str]:
    """The contents of the messages that show `text`, each at most `limit` UTF-16 units and none of them blank."""
    return [piece.content for piece in split_pieces(text, limit) if piece.body.strip()]


def split_pieces(text: str, limit: int = MESSAGE_LIMIT) -> list[Piece]:
    """Cut `text` at the best place before each limit: paragraph, line, sentence, word, then between two characters.

    Constructs open at a cut (code fence, emphasis, spoiler, quote) are closed there and opened again behind it.
    Raises ValueError for a limit under 200, which leaves no room for that.
    """
    if limit < 200:
        raise ValueError(f"a limit of {limit} leaves no room for Markdown")
    if utf16_length(text) <= limit:
        return [Piece(opening="", body=text, closing="")] if text else []
    spans, atoms = _constructs(text)
    pieces: list[Piece] = []
    start, opening = 0, ""
    while True:
        budget = limit - utf16_length(opening)
        if utf16_length(text[start : start + budget + 1]) <= budget and start + budget >= len(text):
            pieces.append(Piece(opening=opening, body=text[start:], closing=""))
            return pieces
        cut = _best_cut(text, start, _reach(text, start, budget - _RESERVE), spans, atoms)
        inside = [span for span in spans if span.start <= cut < span.end or (span.start < cut <= span.end)]
        closing = "".join(span.closing for span in reversed(inside))
        if text[cut - 1] == "\n":
            closing = closing.removeprefix("\n")
        pieces.append(Piece(opening=opening, body=text[start:cut], closing=closing))
        start, opening = cut, _quote_at(text, cut) + "".join(span.opening for span in inside)


def _constructs(text: str) -> tuple[list[_Span], list[tuple[int, int]]]:
    """Spans that may be cut if closed and reopened, outermost first, and atoms that should stay whole."""
    spans: list[_Span] = []
    atoms: list[tuple[int, int]] = []
    plain = list(text)
    for match in _FENCE.finditer(text):
        language = match["language"] or ""
        spans.append(
            _Span(start=match.start("body"), end=match.end("body"), opening=f"```{language}\n", closing="\n```")
        )
        atoms += [(match.start(), match.start("body")), (match.end("body"), match.end())]
        plain[match.start() : match.end()] = "\0" * (match.end() - match.start())
    for match in _INLINE_CODE.finditer("".join(plain)):
        spans.append(_Span(start=match.start("body"), end=match.end("body"), opening="`", closing="`"))
        atoms.append(match.span())
        plain[match.start() : match.end()] = "\0" * (match.end() - match.start())
    for match in _ATOM.finditer("".join(plain)):
        atoms.append(match.span())
        plain[match.start() : match.end()] = "\0" * (match.end() - match.start())
    for marker, pattern in _EMPHASES:
        for match in pattern.finditer("".join(plain)):
            spans.append(_Span(start=match.start("body"), end=match.end("body"), opening=marker, closing=marker))
            for begin, end in ((match.start(), match.start("body")), (match.end("body"), match.end())):
                atoms.append((begin, end))
                plain[begin:end] = "\0" * (end - begin)  # "**" is not two "*"
    spans.sort(key=lambda span: (span.start, -span.end))
    return spans, atoms


def _reach(text: str, start: int, budget: int) -> int:
    """The furthest end so that text[start:end] has at most `budget` UTF-16 units."""
    end = min(len(text), start + budget)
    while utf16_length(text[start:end]) > budget:
        end -= max(1, (utf16_length(text[start:end]) - budget) // 2)
    return end


def _best_cut(text: str, start: int, end: int, spans: list[_Span], atoms: list[tuple[int, int]]) -> int:
    forbidden = {at for begin, stop in atoms if stop > start and begin < end for at in range(begin + 1, stop)}
    # Between a closing marker and its text would reopen a construct that is empty.
    forbidden |= {span.end for span in spans} | {span.start for span in spans}
    earliest = start + max(1, (end - start) // 2)
    best: dict[int, int] = {}
    for at in range(end, earliest - 1, -1):
        rank = _rank(text, at)
        if rank and at not in forbidden and rank not in best:
            best[rank] = at
            if rank == 5:
                break
    for rank in (5, 4, 3, 2, 1):
        if rank in best:
            return best[rank]
    for at in range(end, start, -1):  # one endless atom or cluster: whole characters at least
        if at not in forbidden and _between_clusters(text, at):
            return at
    return end


def _rank(text: str, at: int) -> int:
    """How good a cut before text[at] is: 5 paragraph, 4 line, 3 sentence, 2 word, 1 between characters, 0 none."""
    if not 0 < at < len(text):
        return 0
    before, after = text[at - 1], text[at]
    if after in " \n":
        return 0  # white space stays with what it follows
    if before == "\n":
        return 5 if text[at - 2 : at - 1] == "\n" else 4
    sentence = text[max(0, at - 4) : at].rstrip().rstrip("".join(_CLOSING))[-1:]
    if before == " ":
        return 3 if sentence in _SENTENCE_END and sentence else 2
    if _is_wide(before) and after not in _NOT_AT_LINE_START and _between_clusters(text, at):
        return 3 if sentence in _SENTENCE_END and sentence else 2
    return 0 if _in_word(before, after) else int(_between_clusters(text, at))


def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF" and not 0x1F000 <= ord(char) <= 0x1FFFF


def _in_word(before: str, after: str) -> bool:
    return not before.isspace() and not after.isspace() and before.isascii() == after.isascii()


def _between_clusters(text: str, at: int) -> bool:
    """Whether a reader sees two characters at this place, not one (marks, joiners, skin tones, flags)."""
    before, after = text[at - 1], text[at]
    if after in "\u200d\ufe0f\ufe0e" or before == "\u200d" or unicodedata.category(after).startswith("M"):
        return False
    if 0x1F3FB <= ord(after) <= 0x1F3FF or 0xE0020 <= ord(after) <= 0xE007F or 0xDC00 <= ord(after) <= 0xDFFF:
        return False
    if before == "\r" and after == "\n":
        return False
    flags = 0
    while at - 1 - flags >= 0 and 0x1F1E6 <= ord(text[at - 1 - flags]) <= 0x1F1FF:
        flags += 1
    return not (flags % 2 == 1 and 0x1F1E6 <= ord(after) <= 0x1F1FF)


def _quote_at(text: str, cut: int) -> str:
    """The quote mark that the line around `cut` began with, if the cut is inside that line."""
    line = text.rfind("\n", 0, cut) + 1
    return "> " if line < cut and text.startswith("> ", line) else ""
