"""What a teaching process says, a JSON object a line. Knows no model and no process."""

from msgspec import Struct


class Heard(Struct, frozen=True, kw_only=True, tag=True):
    """The n-gram model knows the texts; other models may still be learning them."""


class Learned(Struct, frozen=True, kw_only=True, tag=True):
    """All is done: the voice knows so many characters. `mixture`: the house voice learned them, too."""

    characters: int
    mixture: bool


class Refused(Struct, frozen=True, kw_only=True, tag=True):
    """Nothing was learned, and the next try would end in the same way."""

    reason: str


Told = Heard | Learned | Refused
