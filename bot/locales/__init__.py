"""What Inkwell says, in the reader's language: gettext catalogues beside this file. Knows no message by heart.

The source language is English; `zh_CN.po` and `zh_TW.po` are compiled in memory at the first use, so that there is no
build step and no stale .mo file.
"""

import gettext
import io
from functools import cache
from importlib import resources
from typing import NamedTuple

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

CATALOGUES = {"zh-CN": "zh_CN", "zh-TW": "zh_TW"}  # Discord's locale code -> file name


class OneOrMany(NamedTuple):
    """A text about a number of something: of one, and of any other number."""

    one: str
    many: str


class Say:
    """Says texts in one language; their placeholders are filled in afterwards."""

    def __init__(self, catalogue: gettext.NullTranslations) -> None:
        self._catalogue = catalogue

    def __call__(self, text: str) -> str:
        return self._catalogue.gettext(text)

    def counted(self, text: OneOrMany, count: int) -> str:
        """In the form that fits `count`. Of several numbers in a text this is one: where that is not enough, say it so
        that it is right for any number ("Stories: {stories}")."""
        return self._catalogue.ngettext(text.one, text.many, count)


def mark(text: str) -> str:
    """Marks a text for translation where it is defined; it is translated where it is shown."""
    return text


def mark_counted(one: str, many: str) -> OneOrMany:
    """As `mark`, for what is said with a number that may be one. Both texts have the same placeholders."""
    return OneOrMany(one, many)


def speaker(locale: str) -> Say:
    """What speaks the language of a Discord locale code; English for every other language."""
    return Say(_catalogue(CATALOGUES.get(locale, "")))


@cache
def _catalogue(name: str) -> gettext.NullTranslations:
    if not name:
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with (resources.files(__name__) / f"{name}.po").open("rb") as source:
        write_mo(compiled, read_po(source, locale=name))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
