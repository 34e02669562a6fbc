"""Everything that is kept of one person as a zip: JSON for programs, a text to read. Knows no Discord and no SQL."""

import io
import time
import zipfile
from collections.abc import Sequence
from typing import Any

import msgspec

from bot.consents import Trace
from bot.locales import Say, mark, mark_counted
from bot.privacy_trace import line
from bot.privacy_words import MAY_TRAIN
from bot.store.people import Kept

MAX_FILE_BYTES = 10 * 1024 * 1024  # Discord: of one file
_ROOM = MAX_FILE_BYTES - 64 * 1024

_TITLE = mark("What Inkwell keeps of you, on {when} (UTC)")
_CUT = mark_counted(
    "This was too much for one file of Discord's: {count} of your longest texts is left out. Ask the operator.",
    "This was too much for one file of Discord's: {count} of your longest texts are left out. Ask the operator.",
)
_SECTIONS = {
    "turns": mark("Your words in stories"),
    "taught": mark("Texts that you taught a server's voice"),
    "corrections": mark("Moods that you corrected or confirmed"),
    "pictures": mark("Receipts of your pictures and verses"),
    "faces": mark("Faces that you gave to a story's characters"),
    "given": mark("Drawings that you gave"),
    "choices": mark("What you decided for single stories"),
    "votes": mark("What you pressed in blind votes"),
    "versions": mark("Versions of the models that learned from your words"),
}
_NOTHING = mark("Nothing.")


def export(kept: Kept, say: Say, *, now: float, traces: Sequence[Trace] = (), room: int = _ROOM) -> bytes:
    """A zip of at most `room` bytes. Where all of it does not fit, the longest texts are left out and it says so.
    Blocks; takes about a second for tens of megabytes."""
    left_out = 0
    while True:
        packed = _packed(kept, traces, say, now, left_out)
        if len(packed) <= room or not any(_texts(kept)):
            return packed
        left_out += _drop_longest(kept)


def _packed(kept: Kept, traces: Sequence[Trace], say: Say, now: float, left_out: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        document = {
            "format": 1,
            "exported_at": now,
            "texts_left_out": left_out,
            "versions": msgspec.to_builtins(list(traces)),
            **msgspec.to_builtins(kept),
            "given": [{**each, "png": _file_of(each)} for each in kept.given],
        }
        for each in kept.given:
            file.writestr(_file_of(each), each["png"])
        file.writestr("inkwell.json", msgspec.json.format(msgspec.json.encode(document), indent=2))
        file.writestr("inkwell.txt", _readable(kept, traces, say, now, left_out))
    return buffer.getvalue()


def _readable(kept: Kept, traces: Sequence[Trace], say: Say, now: float, left_out: int) -> str:
    titles = {story["id"]: story["title"] for story in kept.stories}
    parts = [say(_TITLE).format(when=_when(now))]
    if left_out:
        parts.append(say.counted(_CUT, left_out).format(count=left_out))
    level = kept.consent.level if kept.consent is not None else "private"
    parts.append(say(mark("Consent: {level}")).format(level=level))
    if kept.opted_out_since is not None:
        parts.append(say(mark("Left out of channel moods since {when}")).format(when=_when(kept.opted_out_since)))
    parts.append(say(MAY_TRAIN).format(count=len(kept.shared)))
    parts.append(say(mark("Passages that you asked for: {count}")).format(count=len(kept.requests)))
    entries = {
        "turns": [
            (f"{_when(turn['created_at'])} · {titles.get(turn['story_id'], turn['story_id'])}", turn["text"])
            for turn in kept.turns
        ],
        "taught": [(f"{_when(text['created_at'])} · {text['title']}", text["text"]) for text in kept.taught],
        "corrections": [
            (f"{_when(each.created_at)} · {each.answered} → {each.label}", each.text) for each in kept.corrections
        ],
        "pictures": [
            (f"{_when(each['created_at'])} · {each['code']}", _recipe(each["recipe"])) for each in kept.pictures
        ],
        "faces": [(f"{_when(each['created_at'])} · {each['code']}", each["name"]) for each in kept.faces],
        "given": [(_when(each["created_at"]), _file_of(each)) for each in kept.given],
        "choices": [
            (f"{_when(each['since'])} · {titles.get(each['story_id'], each['story_id'])}", each["level"])
            for each in kept.choices
            if each["own"]
        ],
        "votes": [
            (_when(each["created_at"]), f"{each['run_id']} {each['family']} {each['number']}: {each['choice']}")
            for each in kept.votes
        ],
        "versions": [(_when(trace.created_at), line(trace, say, _when(trace.created_at))) for trace in traces],
    }
    for name, words in _SECTIONS.items():
        parts.append(f"\n== {say(words)} ==")
        parts += [f"\n[{head}]\n{text}" for head, text in entries[name]] or [say(_NOTHING)]
    return "\n".join(parts) + "\n"


def _file_of(drawing: dict[str, Any]) -> str:
    return f"drawings/{drawing['id']}.png"


def _recipe(recipe: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in sorted(recipe.items()) if key != "type")


def _texts(kept: Kept) -> list[list[Any]]:
    return [list(kept.turns), list(kept.taught), list(kept.corrections)]


def _drop_longest(kept: Kept) -> int:
    """Leave out the longest text, or all that are as long as half of it; how many."""
    lengths = [len(row["text"]) for row in (*kept.turns, *kept.taught)] + [len(each.text) for each in kept.corrections]
    limit = max(lengths) / 2
    before = len(lengths)
    kept.turns[:] = [row for row in kept.turns if len(row["text"]) < limit]
    kept.taught[:] = [row for row in kept.taught if len(row["text"]) < limit]
    kept.corrections[:] = [each for each in kept.corrections if len(each.text) < limit]
    return before - len(kept.turns) - len(kept.taught) - len(kept.corrections)


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))
