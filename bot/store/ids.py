"""Short, time-ordered row ids that fit a Discord custom_id. Knows no table."""

import secrets
import threading
import time

ID_CHARS = 16  # "story:continue:" and an id stay far below the 100 characters of a custom_id
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts as the numbers do, no i, l, o, u
_RANDOM_BITS = 35  # below 45 bits of milliseconds (enough until the year 3084): 80 bits, 16 characters


class IdSource:
    """Makes ids that ascend within one process even when the clock steps back."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        """A new id: 16 characters of 0-9 and a-z."""
        fresh = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        with self._lock:
            self._last = max(fresh, self._last + 1)
            number = self._last
        return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (ID_CHARS - 1), -1, -5))


new_id = IdSource()


CODE_CHARS = 8  # 40 bits: nobody guesses a stranger's, and it can be read out


def short_code() -> str:
    """A random code for people: 8 characters of the same alphabet."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(CODE_CHARS))


def read_code(typed: str) -> str:
    """A code as people type it: in any case, with spaces or hyphens, with the letters that look like digits."""
    kept = "".join(char for char in typed.casefold() if char.isalnum())
    return kept.translate(str.maketrans("oil", "011"))
