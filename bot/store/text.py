"""What the store accepts as text: Unicode that every database can hold. Knows no table."""

from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def storable(text: str) -> str:
    """`text` with what no database file can hold replaced by U+FFFD: lone surrogates (UTF-8 has no form for them) and
    NUL (PostgreSQL refuses it, SQLite's own functions stop at it). Two surrogates that form a pair become their
    character. Everything else, also other control characters, stays as it is."""
    if "\0" in text:
        text = text.replace("\0", REPLACEMENT)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def storable_json(value: Any) -> Any:
    """`value` (what JSON can say) with every string in it, keys too, made storable."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(key): storable_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(item) for item in value]
    return value
