"""Which model versions learned from somebody, in words. Knows no registry."""

from collections.abc import Sequence

from bot.consents import Trace
from bot.locales import Say, mark, mark_counted
from bot.training_words import FAMILIES

MAX_LINES = 12  # below 2,000 characters in every language

_NONE = mark("No version of a model here has learned from your words.")
_SOME = mark("**Versions that learned from your words**")
_LINE = mark("• `{version}` ({family}), {when}: {state}")
_LIVE, _NOT_LIVE = mark("answers now"), mark("does not answer")
_MARKED = mark("marked")
_MORE = mark_counted("…and {count} older one.", "…and {count} older ones.")
_WHAT_NOW = mark(
    "A version can't unlearn. `/privacy withdraw` keeps you out of the next ones, which all begin without what these "
    "learned; `/privacy erase` also has these marked: words that they know were erased, so none may be chosen again."
)
_VOICES = mark("Voices of servers that you taught are listed by `/teach list`.")


def traced(traces: Sequence[Trace], shared: str, say: Say) -> str:
    """The whole answer; `shared` is a sentence about what may train next."""
    if not traces:
        return f"{say(_NONE)}\n{shared}\n{say(_VOICES)}"
    lines = [say(_SOME), *(line(trace, say, f"<t:{round(trace.created_at)}:d>") for trace in traces[:MAX_LINES])]
    if len(traces) > MAX_LINES:
        older = len(traces) - MAX_LINES
        lines.append(say.counted(_MORE, older).format(count=older))
    return "\n".join([*lines, say(_WHAT_NOW), shared, say(_VOICES)])


def line(trace: Trace, say: Say, when: str) -> str:
    """One version, and how it stands."""
    state = say(_LIVE if trace.live else _NOT_LIVE)
    if trace.marked:
        state = f"{state}, {say(_MARKED)}"
    family = next((say(words) for name, words in FAMILIES.items() if name == trace.family), trace.family)
    return say(_LINE).format(version=trace.version, family=family, when=when, state=state)
