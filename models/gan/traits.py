"""The traits of a portrait: what DiceBear's labels are called here, which of them can be asked for, and the words for
them. Knows no picture and no network.

A `Field` is one of DiceBear's labels with all its classes ("hair": 45 styles). A trait is what a member asks for or
reads ("hair": long, short, bald ...): it groups classes of one field under plain English words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

NONE: Final = "none"  # the class of a part that was not drawn


@dataclass(frozen=True, kw_only=True)
class Field:
    """One label of the data set. `shown_with` is the part that must be drawn for a colour to be seen at all."""

    name: str
    classes: tuple[str, ...]
    shown_with: str | None = None


def _numbered(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number:02d}" for number in range(1, count + 1))


FIELDS: Final = (
    Field(name="background", classes=("b6e3f4", "c0aede", "d1d4f9", "ffd5dc", "ffdfbf")),
    Field(
        name="skinColor",
        classes=("ffdbac", "f5cfa0", "eac393", "e0b687", "cb9e6e", "b68655", "a26d3d", "8d5524"),
    ),
    Field(name="hair", classes=_numbered("long", 21) + _numbered("short", 24)),
    Field(
        name="hairColor",
        classes=(
            "28150a",
            "603a14",
            "603015",
            "611c17",
            "612616",
            "83623b",
            "a78961",
            "cab188",
            "bd1700",
            "91cb15",
            "009bbd",
        ),
    ),
    Field(name="eyes", classes=_numbered("variant", 12)),
    Field(name="mouth", classes=_numbered("happy", 13) + _numbered("sad", 10)),
    Field(name="clothing", classes=_numbered("variant", 23)),
    Field(
        name="clothingColor",
        classes=(
            "ffeead",
            "ffd969",
            "ffc425",
            "ff6f69",
            "d11141",
            "ae0001",
            "88d8b0",
            "44c585",
            "00b159",
            "5bc0de",
            "428bca",
            "03396c",
        ),
    ),
    Field(name="glasses", classes=(NONE, *_numbered("light", 7), *_numbered("dark", 7))),
    Field(name="hat", classes=(NONE, *_numbered("variant", 10))),
    Field(name="beard", classes=(NONE, *_numbered("variant", 8))),
    Field(name="accessories", classes=(NONE, *_numbered("variant", 4))),
    Field(
        name="glassesColor",
        classes=("191919", "323232", "4b4b4b", "43677d", "5f705c", "a04b5d"),
        shown_with="glasses",
    ),
    Field(
        name="hatColor",
        classes=("2e1e05", "2663a3", "614f8a", "989789", "a62116", "cc6192", "3d8a6b"),
        shown_with="hat",
    ),
)
FIELD: Final = {field.name: field for field in FIELDS}


@dataclass(frozen=True, kw_only=True)
class Trait:
    """What can be asked for by one word. `groups` maps each word to classes of `field`. `faint`: in the pictures it is
    a few pixels or a shade, and the classifier overlooks most of it, so that its "no" says nothing."""

    name: str
    field: str
    groups: Mapping[str, tuple[str, ...]]
    faint: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.groups)


def _rest(field: str, *groups: tuple[str, ...]) -> tuple[str, ...]:
    taken = {each for group in groups for each in group}
    return tuple(each for each in FIELD[field].classes if each not in taken)


def _each(field: str, *words: str) -> dict[str, tuple[str, ...]]:
    return {word: (each,) for word, each in zip(words, FIELD[field].classes, strict=True)}


_PLAITS: Final = ("long06", "long18", "long19")
_BUNS: Final = ("long05", "long14")
_CURLY: Final = ("long15", "short11", "short13")
_TUFT: Final = ("short05", "short19", "short20", "short21")
_BALD: Final = ("short04", "short07", "short18")
_LONG: Final = ("long01", "long02", "long03", "long04", "long07", "long08", "long09", "long12", "long13", "long20")
_LONG_TOO: Final = ("long16", "long17", "long21", "long10")
_HAIR: Final = {
    "long": _LONG + _LONG_TOO,
    "short": _rest("hair", _PLAITS, _BUNS, _CURLY, _TUFT, _BALD, _LONG, _LONG_TOO),
    "plaits": _PLAITS,
    "buns": _BUNS,
    "curly": _CURLY,
    "tuft": _TUFT,
    "balding": _BALD,
}


def _drawn(field: str) -> dict[str, tuple[str, ...]]:
    return {"no": (NONE,), "yes": FIELD[field].classes[1:]}


TRAITS: Final = (
    Trait(
        name="background",
        field="background",
        groups=_each("background", "blue", "purple", "lavender", "pink", "peach"),
    ),
    Trait(
        name="skin",
        field="skinColor",
        groups=_each("skinColor", "porcelain", "fair", "light", "beige", "tan", "bronze", "brown", "deep brown"),
    ),
    Trait(name="hair", field="hair", groups=_HAIR),
    Trait(
        name="hair colour",
        field="hairColor",
        groups={
            "black": ("28150a",),
            "dark brown": ("603a14", "603015"),
            "auburn": ("611c17", "612616"),
            "brown": ("83623b",),
            "light brown": ("a78961",),
            "blonde": ("cab188",),
            "red": ("bd1700",),
            "green": ("91cb15",),
            "blue": ("009bbd",),
        },
    ),
    Trait(
        name="glasses",
        field="glasses",
        groups={"no": (NONE,), "clear": _numbered("light", 7), "dark": _numbered("dark", 7)},
    ),
    Trait(name="hat", field="hat", groups=_drawn("hat")),
    Trait(name="beard", field="beard", groups=_drawn("beard"), faint=True),
    Trait(name="earrings", field="accessories", groups=_drawn("accessories"), faint=True),
    Trait(
        name="mouth",
        field="mouth",
        groups={"happy": _numbered("happy", 13), "sad": _numbered("sad", 10)},
    ),
    Trait(
        name="clothes",
        field="clothingColor",
        groups=_each(
            "clothingColor",
            "cream",
            "yellow",
            "gold",
            "coral",
            "red",
            "dark red",
            "mint",
            "green",
            "emerald",
            "sky blue",
            "blue",
            "navy",
        ),
    ),
)
TRAIT: Final = {trait.name: trait for trait in TRAITS}
