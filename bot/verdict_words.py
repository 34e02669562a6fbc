"""What the gate found, in words for the people whose model it is. Knows no model and sets no limit.

A check is named where it is made (in models/training: `gate.py` for language, `run_mood.py` for moods,
`run_portraits.py` for portraits); each name has two sentences here, for when it passed and for when it failed. A name
that is missing is still shown, with its numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bot.locales import Say, mark
from models.serving.training import Check

_NO_NUMBER: Final = 1e6  # what the gate writes for inf and nan


def _bits(value: float) -> str:
    return "∞" if value >= _NO_NUMBER else f"{value:.2f}"


def _fine_bits(value: float) -> str:  # for a limit of 0.02
    return "∞" if value >= _NO_NUMBER else f"{value:.3f}"


def _rate(value: float) -> str:
    return f"{value:.1f}"


def _likeness(value: float) -> str:
    return f"{value:.2f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{value:.0%}"


@dataclass(frozen=True, kw_only=True)
class _Words:
    """`{change}` is the value, behind the former one where there was one; `{limit}` what it was held against."""

    passed: str
    failed: str
    number: Callable[[float], str]


_WORDS: Final[dict[str, _Words]] = {
    "gain": _Words(
        passed=mark("predicts your stories better: {change} bits per byte (at least {limit} better asked)"),
        failed=mark(
            "doesn't predict your stories better, or too little to be sure: {change} bits per byte (at least {limit} "
            "better asked)"
        ),
        number=_bits,
    ),
    "first": _Words(
        passed=mark("predicts your stories: {change} bits per byte (at most {limit} asked)"),
        failed=mark("can't predict your stories yet: {change} bits per byte (at most {limit} asked)"),
        number=_bits,
    ),
    "forgetting_en": _Words(
        passed=mark("kept its English: {change} bits per byte on stories it never saw (at most {limit} worse allowed)"),
        failed=mark(
            "forgot some English: {change} bits per byte on stories it never saw (at most {limit} worse allowed)"
        ),
        number=_fine_bits,
    ),
    "forgetting_zh": _Words(
        passed=mark("kept its Chinese: {change} bits per byte on stories it never saw (at most {limit} worse allowed)"),
        failed=mark(
            "forgot some Chinese: {change} bits per byte on stories it never saw (at most {limit} worse allowed)"
        ),
        number=_fine_bits,
    ),
    "loops": _Words(
        passed=mark("doesn't get stuck: {change} loops per 1,000 characters (at most {limit} allowed)"),
        failed=mark("gets stuck and repeats itself: {change} loops per 1,000 characters (at most {limit} allowed)"),
        number=_rate,
    ),
    "distinct": _Words(
        passed=mark("has many words: {change} of its word pairs differ (at least {limit} asked)"),
        failed=mark(
            "uses the same few words again and again: {change} of its word pairs differ (at least {limit} asked)"
        ),
        number=_percent,
    ),
    "self_bleu": _Words(
        passed=mark("tells different stories: they are alike by {change} (self-BLEU, at most {limit} allowed)"),
        failed=mark("tells the same story again and again: alike by {change} (self-BLEU, at most {limit} allowed)"),
        number=_likeness,
    ),
    "copied_span": _Words(
        passed=mark(
            "copies no long passage, the longest in letters: {change} ({limit} allowed; a Chinese character counts as "
            "three)"
        ),
        failed=mark(
            "recites what somebody wrote: {change} letters in a row ({limit} allowed; a Chinese character counts as "
            "three)"
        ),
        number=_count,
    ),
    "copied_share": _Words(
        passed=mark("writes in its own words: {change} stands in the texts it learned from (at most {limit} allowed)"),
        failed=mark("copies too much: {change} stands in the texts it learned from (at most {limit} allowed)"),
        number=_percent,
    ),
    "exposure": _Words(
        passed=mark("keeps secrets: planted numbers became {change} bits easier to guess (at most {limit} allowed)"),
        failed=mark(
            "memorises secrets: planted numbers became {change} bits easier to guess (at most {limit} allowed)"
        ),
        number=_rate,
    ),
    "toxicity": _Words(
        passed=mark("isn't ruder than before: {change} insults per 1,000 words (at most {limit} allowed)"),
        failed=mark("became rude: {change} insults per 1,000 words (at most {limit} allowed)"),
        number=_rate,
    ),
    "authors": _Words(
        passed=mark("enough people wrote what it learned from: {change} (at least {limit} asked)"),
        failed=mark("too few people wrote what it learned from: {change} (at least {limit} asked)"),
        number=_count,
    ),
    "characters": _Words(
        passed=mark("learned from enough text: {change} characters (at least {limit} asked)"),
        failed=mark("learned from too little text: {change} characters (at least {limit} asked)"),
        number=_count,
    ),
    "author_share": _Words(
        passed=mark("nobody drowns out the others: the busiest wrote {change} of it (at most {limit} allowed)"),
        failed=mark("one person drowns out the others and wrote {change} of it (at most {limit} allowed)"),
        number=_percent,
    ),
    "mood_log_loss": _Words(
        passed=mark("reads moods better: {change} nats of surprise at what you said was right (at most {limit} asked)"),
        failed=mark(
            "doesn't read moods better by enough: {change} nats of surprise at what you said was right (at most "
            "{limit} asked)"
        ),
        number=_fine_bits,
    ),
    "mood_error_rate": _Words(
        passed=mark("is wrong no more often: in {change} of the corrected texts (at most {limit} allowed)"),
        failed=mark("is wrong more often: in {change} of the corrected texts (at most {limit} allowed)"),
        number=_percent,
    ),
    "mood_log_loss_fast": _Words(
        passed=mark("the fast tier reads no worse: {change} nats of surprise (at most {limit} allowed)"),
        failed=mark("the fast tier reads worse: {change} nats of surprise (at most {limit} allowed)"),
        number=_fine_bits,
    ),
    "mood_agreement": _Words(
        passed=mark("kept what it knew: {change} of other sentences read as before (at least {limit} asked)"),
        failed=mark("forgot what it knew: only {change} of other sentences read as before (at least {limit} asked)"),
        number=_percent,
    ),
    "portraits_held_out": _Words(
        passed=mark(
            "draws more like you: {change} from drawings that it never saw to its nearest faces (at most {limit} asked)"
        ),
        failed=mark(
            "doesn't draw more like you: {change} from drawings that it never saw to its nearest faces (at most "
            "{limit} asked)"
        ),
        number=_likeness,
    ),
    "portraits_forgetting": _Words(
        passed=mark("still draws the faces it knew: {change} from them to its nearest (at most {limit} allowed)"),
        failed=mark("forgot faces that it knew: {change} from them to its nearest (at most {limit} allowed)"),
        number=_likeness,
    ),
    "portraits_copies": _Words(
        passed=mark("draws its own faces: {change} are as good as a given drawing (at most {limit} allowed)"),
        failed=mark("copies what somebody drew: {change} are as good as a given drawing (at most {limit} allowed)"),
        number=_percent,
    ),
    "portraits_attributes": _Words(
        passed=mark("draws what it is asked for: {change} of the asked traits are seen (at least {limit} asked)"),
        failed=mark(
            "draws too little of what it is asked for: {change} of the asked traits are seen (at least {limit} asked)"
        ),
        number=_percent,
    ),
}
_UNKNOWN: Final = mark("{name}: {change} (limit {limit})")


def reason(check: Check, say: Say) -> str:
    """One line, with ✅ or ❌ before it."""
    words = _WORDS.get(check.name)
    number = words.number if words else _likeness
    text = say(_UNKNOWN) if words is None else say(words.passed if check.passed else words.failed)
    change = number(check.value) if check.before is None else f"{number(check.before)} → {number(check.value)}"
    return f"{'✅' if check.passed else '❌'} {text.format(name=check.name, change=change, limit=number(check.limit))}"


def reasons(checks: tuple[Check, ...], say: Say) -> list[str]:
    """A line for each check, those that failed first: they are why a version was turned down."""
    return [reason(check, say) for check in sorted(checks, key=lambda check: check.passed)]
