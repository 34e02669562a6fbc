"""The sandbox's Markdown: Discord's flavour, and never a tag or attribute that is not on the list."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.sandbox.markdown import ALLOWED_TAGS, LINK_REL, Names, render, render_inline

NAMES = Names(users={"1": "Wren <b>"}, channels={"2": "stories"}, roles={"3": 'Writ"ers'})


class Seen(HTMLParser):
    """Every tag with its attributes, and whether they nest."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError("a declaration")


def hold_to_the_list(html: str) -> Seen:
    seen = Seen(html)
    assert seen.open == []
    for tag, attributes in seen.tags:
        assert tag in ALLOWED_TAGS
        assert set(attributes) <= ALLOWED_TAGS[tag]
        if "href" in attributes:
            assert re.match(r"https?://", attributes["href"] or "", re.IGNORECASE)
            assert attributes["rel"] == LINK_REL
    return seen


PIECES = (
    "** * __ _ ~~ || ` ``` \n > >>>  - 1.  # ## #### -#  [ ]( ) < > <@1> <#2> <@&3> <t:1:R> @everyone "
    "<t:99999999999999> http://a.b https:// javascript:alert(1) data:text/html,x \\ &lt; &#x3c; <script> </p> "
    "<img/src=x/onerror=alert(1)> "
    '" \' onmouseover= ![ 你好 ། \u202e \u200b \x00 <!-- --> <![CDATA[ </name:1> <a:emo:1> </x":1> | [x](http://y'
)
FRAGMENTS = st.sampled_from(PIECES.split(" "))


@settings(max_examples=400, deadline=None)
@given(st.lists(FRAGMENTS | st.text(max_size=6), max_size=30).map("".join))
def test_no_input_yields_a_tag_or_attribute_outside_the_list(text: str) -> None:
    hold_to_the_list(render(text, NAMES))
    hold_to_the_list(render_inline(text, NAMES))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_no_name_yields_a_tag(name: str, other: str) -> None:
    html = render("<@1> <#2> <@&3>", Names(users={"1": name}, channels={"2": other}, roles={"3": name}))
    assert [tag for tag, _ in hold_to_the_list(html).tags] == ["p", "span", "span", "span"]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**b** *i* _i_", "<p><strong>b</strong> <em>i</em> <em>i</em></p>"),
        ("__u__ ~~s~~ `c<`", "<p><u>u</u> <s>s</s> <code>c&lt;</code></p>"),
        ("a\nb", "<p>a<br>b</p>"),
        ("# H\n-# small", "<h1>H</h1><small>small</small>"),
        ("#### no heading", "<p>#### no heading</p>"),
        ("> q\n\nt", "<blockquote><p>q</p></blockquote><p>t</p>"),
        (">>> all\nof it", "<blockquote><p>all<br>of it</p></blockquote>"),
        ("- a\n- b", "<ul><li>a</li><li>b</li></ul>"),
        ("```py\nx\n```", '<pre><code class="language-py">x\n</code></pre>'),
        ("[j](javascript:alert)", "<p>[j](javascript:alert)</p>"),
        ("@everyone", "<p>@everyone</p>"),
        ("你好**世界**。", "<p>你好<strong>世界</strong>。</p>"),
        ("&lt;", "<p>&amp;lt;</p>"),
    ],
)
def test_markdown_reads_as_in_discord(text: str, html: str) -> None:
    assert render(text, NAMES) == html


def test_a_spoiler_hides_what_it_holds() -> None:
    assert ">a <strong>b</strong></span>" in render("||a **b**||", NAMES)


def test_mentions_show_names_and_escape_them() -> None:
    html = render("<@1> <#2> <@&3> <@9>", NAMES)
    assert hold_to_the_list(html).text == '@Wren <b> #stories @Writ"ers @unknown-user'


def test_everyone_is_a_ping_only_where_it_pings() -> None:
    assert 'class="mention ping"' in render("@everyone", Names(pings_everyone=True))


def test_a_bare_link_ends_before_the_punctuation() -> None:
    seen = hold_to_the_list(render("see (https://a.b/c_(d)), or <https://x.y>.", NAMES))
    assert [attributes["href"] for tag, attributes in seen.tags if tag == "a"] == ["https://a.b/c_(d)", "https://x.y"]


def test_a_timestamp_carries_its_moment_and_format() -> None:
    seen = hold_to_the_list(render("<t:1700000000:R>", NAMES))
    assert seen.tags[1][1] == {"class": "timestamp", "datetime": "2023-11-14T22:13:20+00:00", "data-format": "R"}
