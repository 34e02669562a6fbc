"""Discord's Markdown as HTML that is safe to insert: every tag and attribute is written here, all else is escaped.

Knows no world: names of users, roles and channels are handed in.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape

from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

# Everything that `render` may emit; a test holds it to this.
ALLOWED_TAGS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(
        ("p", "br", "strong", "em", "u", "s", "ul", "li", "blockquote", "h1", "h2", "h3", "small", "pre"), frozenset()
    ),
    "ol": frozenset({"start"}),
    "code": frozenset({"class"}),
    "a": frozenset({"href", "rel", "target"}),
    "span": frozenset({"class", "data-id", "title", "tabindex", "role"}),
    "time": frozenset({"class", "datetime", "data-format"}),
}
LINK_REL = "noopener noreferrer nofollow"

_SIMPLE = {
    "em_open": "<em>",
    "em_close": "</em>",
    "s_open": "<s>",
    "s_close": "</s>",
    "spoiler_open": '<span class="spoiler" tabindex="0" role="button">',
    "spoiler_close": "</span>",
    "bullet_list_open": "<ul>",
    "bullet_list_close": "</ul>",
    "ordered_list_close": "</ol>",
    "list_item_open": "<li>",
    "list_item_close": "</li>",
    "blockquote_open": "<blockquote>",
    "blockquote_close": "</blockquote>",
    "subtext_open": "<small>",
    "subtext_close": "</small>",
    "softbreak": "<br>",
    "hardbreak": "<br>",
    "link_close": "</a>",
}
_TIME_FORMATS = {
    "t": "%H:%M",
    "T": "%H:%M:%S",
    "d": "%d/%m/%Y",
    "D": "%d %B %Y",
    "f": "%d %B %Y %H:%M",
    "F": "%A, %d %B %Y %H:%M",
    "R": "%d %B %Y %H:%M",
}
_ANGLED = re.compile(
    r"<(?:@!?(?P<user>\d{1,20})|@&(?P<role>\d{1,20})|#(?P<channel>\d{1,20})"
    r"|/(?P<command>[^:<>\n]{1,100}):(?P<command_id>\d{1,20})|a?:(?P<emoji>\w{2,32}):\d{1,20}"
    r"|t:(?P<time>-?\d{1,13})(?::(?P<format>[tTdDfFR]))?)>"
)
_BARE_LINK = re.compile(r"https?://[^\s<>]+", re.IGNORECASE)
_WEB = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Names:
    """What ids are called, and whether @everyone pings here."""

    users: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    pings_everyone: bool = False


def render(text: str, names: Names) -> str:
    """A message's content, or any text of blocks."""
    return _render(_blocks.parse(text), names)


def render_inline(text: str, names: Names) -> str:
    """A title: no blocks, no line breaks."""
    return _render(_blocks.parseInline(text.replace("\n", " ")), names)


# --- rules that CommonMark lacks


def _spoiler(state: StateInline, silent: bool) -> bool:
    start = state.pos
    if not state.src.startswith("||", start):
        return False
    end = state.src.find("||", start + 2, state.posMax)
    if end <= start + 2:
        return False
    if not silent:
        limit = state.posMax
        state.pos, state.posMax = start + 2, end
        state.push("spoiler_open", "", 1)
        state.md.inline.tokenize(state)
        state.push("spoiler_close", "", -1)
        state.posMax = limit
    state.pos = end + 2
    return True


def _angled(state: StateInline, silent: bool) -> bool:
    match = _ANGLED.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    if not silent:
        token = state.push("angled", "", 0)
        token.content = match.group()
        token.meta = {key: value for key, value in match.groupdict().items() if value is not None}
    state.pos = match.end()
    return True


def _everyone(state: StateInline, silent: bool) -> bool:
    match = re.compile(r"@(everyone|here)\b").match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    if not silent:
        state.push("everyone", "", 0).content = match.group()
    state.pos = match.end()
    return True


def _bare_link(state: StateInline, silent: bool) -> bool:
    """At the colon of `https://…`, whose scheme already lies in the pending text."""
    scheme = re.search(r"(?:^|[^A-Za-z0-9])(https?)$", state.pending, re.IGNORECASE)
    if state.linkLevel > 0 or scheme is None or not state.src.startswith("://", state.pos):
        return False
    begin = state.pos - len(scheme.group(1))
    match = _BARE_LINK.match(state.src, begin, state.posMax)
    if match is None:
        return False
    url = match.group().split("||")[0]  # a spoiler's end is not part of the link
    while url and (url[-1] in ".,:;!?'\"*_~" or (url[-1] == ")" and url.count(")") > url.count("("))):
        url = url[:-1]
    if len(url) <= len(scheme.group(1)) + 3:
        return False
    if not silent:
        state.pending = state.pending[: -len(scheme.group(1))]
        state.push("link_open", "a", 1).attrs = {"href": url}
        state.push("text", "", 0).content = url
        state.push("link_close", "a", -1)
    state.pos = begin + len(url)
    return True


def _subtext(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    begin, end = state.bMarks[start_line] + state.tShift[start_line], state.eMarks[start_line]
    if not state.src.startswith("-# ", begin):
        return False
    if silent:
        return True
    state.line = start_line + 1
    state.push("subtext_open", "", 1)
    inline = state.push("inline", "", 0)
    inline.content, inline.children, inline.map = state.src[begin + 3 : end].strip(), [], [start_line, state.line]
    state.push("subtext_close", "", -1)
    return True


def _quote_to_the_end(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """`>>> ` makes all that follows one quote."""
    begin = state.bMarks[start_line] + state.tShift[start_line]
    if not state.src.startswith(">>> ", begin) or state.level > 0:
        return False
    if silent:
        return True
    state.push("blockquote_open", "", 1)
    moved = state.bMarks[start_line]
    state.bMarks[start_line], shift = begin + 4, state.tShift[start_line]
    state.tShift[start_line] = 0
    state.md.block.tokenize(state, start_line, end_line)
    state.bMarks[start_line], state.tShift[start_line] = moved, shift
    state.push("blockquote_close", "", -1)
    state.line = end_line
    return True


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": 20})
    parser.disable(["html_block", "html_inline", "image", "entity", "hr", "lheading", "code", "reference"])
    parser.enable("strikethrough")
    parser.inline.add_terminator_char("|")
    parser.inline.ruler.before("autolink", "angled", _angled)
    parser.inline.ruler.before("emphasis", "spoiler", _spoiler)
    parser.inline.ruler.push("everyone", _everyone)
    parser.inline.ruler.push("bare_link", _bare_link)
    interrupts: RuleOptionsType = {"alt": ["paragraph", "blockquote", "list"]}
    parser.block.ruler.before("list", "subtext", _subtext, interrupts)
    parser.block.ruler.before("blockquote", "quote_to_the_end", _quote_to_the_end, interrupts)
    parser.validateLink = lambda url: _WEB.match(url) is not None  # type: ignore[method-assign]
    return parser


_blocks = _parser()


# --- tokens to HTML


def _render(tokens: list[Token], names: Names) -> str:
    return "".join(_token(token, names) for token in tokens)


def _token(token: Token, names: Names) -> str:
    kind = token.type
    if kind == "inline":
        return _render(token.children or [], names)
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if kind in ("text", "text_special"):
        return escape(token.content)
    if kind in ("paragraph_open", "paragraph_close"):
        return "" if token.hidden else "<p>" if token.nesting > 0 else "</p>"
    if kind in ("strong_open", "strong_close"):  # Discord underlines what CommonMark makes strong
        tag = "u" if token.markup == "__" else "strong"
        return f"<{tag}>" if token.nesting > 0 else f"</{tag}>"
    if kind in ("heading_open", "heading_close"):
        return _heading(token)
    if kind == "code_inline":
        return f"<code>{escape(token.content)}</code>"
    if kind == "fence":
        return _fence(token)
    if kind == "ordered_list_open":
        start = token.attrGet("start")
        return f'<ol start="{int(start)}">' if isinstance(start, int) and start != 1 else "<ol>"
    if kind == "link_open":
        href = str(token.attrGet("href") or "")
        return f'<a href="{escape(href)}" rel="{LINK_REL}" target="_blank">' if _WEB.match(href) else "<a>"
    if kind == "everyone":
        css = "mention ping" if names.pings_everyone else "mention"
        return f'<span class="{css}">{escape(token.content)}</span>' if names.pings_everyone else escape(token.content)
    if kind == "angled":
        return _angled_html(token, names)
    return escape(token.content)


def _heading(token: Token) -> str:
    if token.tag in ("h1", "h2", "h3"):
        return f"<{token.tag}>" if token.nesting > 0 else f"</{token.tag}>"
    return f"<p>{escape(token.markup)} " if token.nesting > 0 else "</p>"  # Discord knows three levels


def _fence(token: Token) -> str:
    language = re.match(r"[A-Za-z0-9+#_.-]{1,20}$", token.info.strip())
    css = f' class="language-{escape(language.group())}"' if language else ""
    return f"<pre><code{css}>{escape(token.content)}</code></pre>"


def _angled_html(token: Token, names: Names) -> str:
    meta: dict[str, str] = token.meta
    if "user" in meta:
        return _mention(f"@{names.users.get(meta['user'], 'unknown-user')}", meta["user"])
    if "role" in meta:
        return _mention(f"@{names.roles.get(meta['role'], 'unknown-role')}", meta["role"])
    if "channel" in meta:
        return _mention(f"#{names.channels.get(meta['channel'], 'unknown')}", meta["channel"])
    if "command" in meta:
        return _mention(f"/{meta['command']}", meta["command_id"])
    if "emoji" in meta:
        return f'<span class="emoji">:{escape(meta["emoji"])}:</span>'
    try:
        moment = datetime.fromtimestamp(int(meta["time"]), UTC)
    except (ValueError, OverflowError, OSError):
        return escape(token.content)
    style = meta.get("format", "f")
    shown = moment.strftime(_TIME_FORMATS[style])
    return f'<time class="timestamp" datetime="{moment.isoformat()}" data-format="{style}">{escape(shown)}</time>'


def _mention(text: str, target_id: str) -> str:
    return f'<span class="mention" data-id="{target_id}">{escape(text)}</span>'
