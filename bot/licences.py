"""Which licences whoever runs Inkwell has accepted, kept in DATA_DIR. Knows no model's files."""

import json
import time
from pathlib import Path

from models.language.catalogue import Licence, Recommended

FILE = "accepted-licences.json"


def needs_acceptance(licence: Licence, data_dir: Path) -> bool:
    """Whether the licence restricts use and nobody has accepted it here, with these links, yet."""
    if not licence.restricts:
        return False
    entry = _accepted(data_dir).get(licence.name)
    return not isinstance(entry, dict) or entry.get("links") != list(licence.links)


def accept(row: Recommended, data_dir: Path) -> None:
    """Record that the licence of this model was accepted now. Raises OSError."""
    accepted = _accepted(data_dir)
    accepted[row.licence.name] = {
        "model": row.name,
        "links": list(row.licence.links),
        "accepted_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    data_dir.mkdir(parents=True, exist_ok=True)
    unfinished = data_dir / f".{FILE}.new"
    unfinished.write_text(json.dumps(accepted, indent=1), "utf-8")
    unfinished.replace(data_dir / FILE)


def _accepted(data_dir: Path) -> dict[str, object]:
    try:
        value = json.loads((data_dir / FILE).read_text("utf-8"))
    except (OSError, ValueError):  # none yet, or damaged: then it has to be accepted again
        return {}
    return value if isinstance(value, dict) else {}
