"""What Inkwell says, in the reader's language: gettext catalogues beside this file. Knows no message by heart.

The source language is English; `zh_CN.po` and `zh_TW.po` are compiled in memory at the first use, so that there is no
build step and no stale .mo file.
"""

import gettext
import io
from collections.abc import Callable
from functools import cache
from importlib import resources

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

CATALOGUES = {"zh-CN": "zh_CN", "zh-TW": "zh_TW"}  # Discord's locale code -> file name

Say = Callable[[str], str]


def mark(text: str) -> str:
    """Marks a text for translation where it is defined; it is translated where it is shown."""
    return text


def speaker(locale: str) -> Say:
    """The translation function for a Discord locale code; English for every other language."""
    return _catalogue(CATALOGUES.get(locale, "")).gettext


@cache
def _catalogue(name: str) -> gettext.NullTranslations:
    if not name:
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with (resources.files(__name__) / f"{name}.po").open("rb") as source:
        write_mo(compiled, read_po(source, locale=name))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
