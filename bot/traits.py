"""The traits of a portrait in words: what can be asked for, and what an alt text says. Knows no model and no picture.

The names and values are those of `PortraitRequest.attributes` and `Portrait.attributes`.
"""

from collections.abc import Mapping

from bot.locales import Say, mark

# Trait -> value -> how it reads in the midst of others. In the order in which a face is described.
TRAITS: dict[str, dict[str, str]] = {
    "hair colour": {
        "black": mark("black hair"),
        "dark brown": mark("dark brown hair"),
        "auburn": mark("auburn hair"),
        "brown": mark("brown hair"),
        "light brown": mark("light brown hair"),
        "blonde": mark("blonde hair"),
        "red": mark("red hair"),
        "green": mark("green hair"),
        "blue": mark("blue hair"),
    },
    "hair": {
        "long": mark("worn long"),
        "short": mark("cut short"),
        "plaits": mark("in plaits"),
        "buns": mark("in buns"),
        "curly": mark("curly"),
        "tuft": mark("in a tuft"),
        "balding": mark("balding"),
    },
    "skin": {
        "porcelain": mark("porcelain skin"),
        "fair": mark("fair skin"),
        "light": mark("light skin"),
        "beige": mark("beige skin"),
        "tan": mark("tan skin"),
        "bronze": mark("bronze skin"),
        "brown": mark("brown skin"),
        "deep brown": mark("deep brown skin"),
    },
    "beard": {"yes": mark("a beard"), "no": mark("no beard")},
    "glasses": {
        "yes": mark("glasses"),
        "clear": mark("clear glasses"),
        "dark": mark("dark glasses"),
        "no": mark("no glasses"),
    },
    "hat": {"yes": mark("a hat"), "no": mark("no hat")},
    "earrings": {"yes": mark("earrings"), "no": mark("no earrings")},
    "mouth": {"happy": mark("a happy mouth"), "sad": mark("a sad mouth")},
    "clothes": {
        "cream": mark("cream clothes"),
        "yellow": mark("yellow clothes"),
        "gold": mark("gold clothes"),
        "coral": mark("coral clothes"),
        "red": mark("red clothes"),
        "dark red": mark("dark red clothes"),
        "mint": mark("mint clothes"),
        "green": mark("green clothes"),
        "emerald": mark("emerald clothes"),
        "sky blue": mark("sky blue clothes"),
        "blue": mark("blue clothes"),
        "navy": mark("navy clothes"),
    },
    "background": {
        "blue": mark("a blue background"),
        "purple": mark("a purple background"),
        "lavender": mark("a lavender background"),
        "pink": mark("a pink background"),
        "peach": mark("a peach background"),
    },
}
_ABSENT = "no"


def described(attributes: Mapping[str, str], say: Say, *, absent: bool = False) -> str:
    """The traits in one line. What a newer model sees and this file has no words for stands as it is, in English.
    `absent`: also what is not there ("no glasses")."""
    known = [trait for trait in TRAITS if trait in attributes]
    parts = [
        phrase(trait, attributes[trait], say)
        for trait in [*known, *(trait for trait in attributes if trait not in TRAITS)]
        if absent or attributes[trait] != _ABSENT
    ]
    return say(mark(", ")).join(parts)


def phrase(trait: str, value: str, say: Say) -> str:
    """One trait in words."""
    words = TRAITS.get(trait, {}).get(value)
    return f"{trait}: {value}" if words is None else say(words)


def missed(asked: Mapping[str, str], seen: Mapping[str, str]) -> dict[str, str]:
    """What was asked for and is not seen in the picture. "yes" is any value but "no"; a trait that the answer does not
    speak of is not held against it."""
    return {
        trait: value
        for trait, value in asked.items()
        if trait in seen and seen[trait] != value and not (value == "yes" and seen[trait] != _ABSENT)
    }
