"""Sixteen openings of about sixty tokens, different from the first words on: no engine can share their prefill."""

_PEOPLE = ("Mara", "Old Tom", "The widow", "Ilse", "A boy", "Captain Reed", "Her sister", "The miller")
_PLACES = ("on the cliff", "under the bridge")


def opening(number: int) -> str:
    """The story to continue; the same number gives the same story."""
    who, where = _PEOPLE[number % len(_PEOPLE)], _PLACES[number // len(_PEOPLE) % len(_PLACES)]
    return (
        f"{who} had kept the light {where} for thirty years before the letter came. It lay under the door in the "
        "morning, unsealed, and the ink was still wet. Nobody had passed on the road all night; the dog would have "
        "barked. The first line was a name that nobody living should have known, and"
    )
