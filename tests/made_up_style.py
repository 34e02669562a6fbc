"""The stories in the invented speech of the Ennet (tests/fixtures/made_up_style) as records of three consenting people.
Knows no model."""

from collections.abc import Iterator
from pathlib import Path

from models.serving.training import TurnRecord
from models.training.text_records import records_of

FOLDER = Path(__file__).parent / "fixtures" / "made_up_style"


def made_up_records() -> list[TurnRecord]:
    """Sixty turns: twelve stories of five, four stories an author."""
    return list(records_of(FOLDER))


def without(author: str) -> Iterator[TurnRecord]:
    """All but one author's."""
    return (record for record in made_up_records() if record.author != author)
