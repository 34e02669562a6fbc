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
KEYWORDS = {"mark": None, "say": None}


def said_in_the_code() -> set[str]:
    found = extract_from_dir(BOT, method_map=[("**.py", "python")], keywords=KEYWORDS)
    return {message for _, _, message, _, _ in found if isinstance(message, str)}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code", locales.CATALOGUES)
def test_every_text_is_translated_with_the_same_placeholders(code: str) -> None:
    name = locales.CATALOGUES[code]
    with (BOT / "locales" / f"{name}.po").open("rb") as source:
        catalogue = {str(message.id): str(message.string) for message in read_po(source, locale=name) if message.id}
    assert said_in_the_code() == set(catalogue)
    for source_text, translated in catalogue.items():
        assert translated, source_text
        assert fields(translated) == fields(source_text)
        if re.search(r"[a-z]", re.sub(r"\{\w+\}", "", source_text)):  # only punctuation has no Chinese characters
            assert re.search(r"[\u4e00-\u9fff]", translated), source_text


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
        for text in said_in_the_code():
            if text.startswith(("Begin a story", "How", "The same seed", "short", "medium", "long")):
                assert len(locales.speaker(code)(text)) <= 100
