"""Everything Inkwell says exists in every language it claims to speak."""

import re
import string
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from bot import locales

BOT = Path(locales.__file__).parents[1]
PAGE = BOT / "sandbox" / "page"
KEYWORDS = {"mark": None, "mark_counted": (1, 2), "say": None}

Said = tuple[str, ...]  # a text; or two, of one and of many


def said_in_the_code() -> set[Said]:
    found = extract_from_dir(BOT, method_map=[("**.py", "python")], keywords=KEYWORDS)
    return {each(message) for _, _, message, _, _ in found if message}


def each(texts: str | tuple[str, ...] | list[str]) -> Said:
    return (texts,) if isinstance(texts, str) else tuple(texts)


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code", locales.CATALOGUES)
def test_every_text_is_translated_with_the_same_placeholders(code: str) -> None:
    name = locales.CATALOGUES[code]
    with (BOT / "locales" / f"{name}.po").open("rb") as source:
        catalogue = {each(message.id): each(message.string) for message in read_po(source, locale=name) if message.id}
    assert said_in_the_code() == set(catalogue)
    for source_texts, (translated,) in catalogue.items():  # in one form: Chinese counts without a plural
        assert translated, source_texts
        for source_text in source_texts:
            assert fields(translated) == fields(source_text)
            if re.search(r"[a-z]", re.sub(r"\{\w+\}", "", source_text)):  # only punctuation has no Chinese characters
                assert re.search(r"[\u4e00-\u9fff]", translated), source_text


def test_what_is_counted_differs_between_one_and_many() -> None:
    """Else `mark` does."""
    counted = [texts for texts in said_in_the_code() if len(texts) > 1]
    assert counted
    assert all(one != many and fields(one) for one, many in counted)


@pytest.mark.parametrize("locale", ["en-US", "fr"])
def test_one_is_said_in_the_singular_and_every_other_number_in_the_plural(locale: str) -> None:
    say, older = locales.speaker(locale), locales.mark_counted("…and {count} older one.", "…and {count} older ones.")
    said = [say.counted(older, count).format(count=count) for count in (0, 1, 2, 21)]
    assert said == ["…and 0 older ones.", "…and 1 older one.", "…and 2 older ones.", "…and 21 older ones."]


@pytest.mark.parametrize("locale", locales.CATALOGUES)
def test_chinese_says_every_number_of_what_is_counted_in_its_one_form(locale: str) -> None:
    say = locales.speaker(locale)
    for one, many in (texts for texts in said_in_the_code() if len(texts) > 1):
        said = {say.counted(locales.OneOrMany(one, many), count) for count in (0, 1, 2, 21)}
        assert len(said) == 1
        assert said.isdisjoint({one, many})


def page_strings(name: str) -> dict[str, str]:
    source = (PAGE / name).read_text(encoding="utf-8")
    listed = re.findall(r'^ +(\w+): "(.*)",$', source, re.MULTILINE)
    assert len(listed) == len(dict(listed)) == source.count('",\n'), "one string a line, and no key twice"
    return dict(listed)


@pytest.mark.parametrize("name", ["strings-zh.js", "strings-zh-tw.js"])
def test_the_sandbox_s_page_says_everything_with_the_same_placeholders(name: str) -> None:
    english, translated = page_strings("strings-en.js"), page_strings(name)
    assert set(translated) == set(english)
    for key, sentence in english.items():
        assert fields(translated[key]) == fields(sentence), key


def test_other_languages_hear_english_and_chinese_hears_chinese() -> None:
    assert locales.speaker("fr")("Continue") == "Continue"
    assert locales.speaker("en-GB")("Continue") == "Continue"
    assert locales.speaker("zh-CN")("Continue") == "继续"
    assert locales.speaker("zh-TW")("Retry") == "重寫"


def test_a_command_s_texts_fit_discord_in_every_language() -> None:
    for code in ("en-US", *locales.CATALOGUES):
        for text, *_ in said_in_the_code():
            if text.startswith(("Begin a story", "How", "The same seed", "short", "medium", "long")):
                assert len(locales.speaker(code)(text)) <= 100
