"""What is said of training: how far a run is, how it ended and why, what it learned from, what was decided. Knows runs;
knows no Discord object and no picture.
"""

import time
from collections.abc import Sequence

from bot.locales import Say, mark, mark_counted
from bot.store.schema import MIN_AUTHORS
from bot.store.training import TrainingCounts
from bot.store.training_runs import Curves, Schedule, TrainingRun
from bot.training_charts import Held
from bot.training_decisions import undecided
from bot.training_run import LiveRun
from bot.training_schedule import next_time
from bot.verdict_words import reasons
from models.serving.training import Counted, Family, Judged, Stage

FAMILIES: dict[Family, str] = {
    "story": mark("the story model"),
    "gpt": mark("the small GPT"),
    "ngram": mark("the n-gram model"),
    "mood": mark("moods"),
    "portraits": mark("portraits"),
}
_STAGES: dict[Stage | None, str] = {
    None: mark("starting"),
    "snapshot": mark("gathering what may be learned"),
    "train": mark("training"),
    "evaluate": mark("judging the candidate"),
    "register": mark("putting the candidate by"),
}
STATES = {
    "queued": mark("starting"),
    "running": mark("in progress"),
    "ended": mark("ended"),
    "failed": mark("failed"),
    "cancelled": mark("cancelled"),
}
_CRASHED = mark("Its process ended early; the log has more.")
_REASONS = {
    "cancelled": mark("Somebody cancelled it."),
    "stopped": mark("Its process was told to stop from outside."),
    "author_left": mark("Somebody whose words it was learning took them back. They are gone from it."),
    "not_allowed": mark("Training is not switched on any more (TRAIN_ON_PROMPTS)."),
    "interrupted": mark("Inkwell ended too often while it ran, so I did not begin it again."),
    "silent": mark("Its process said nothing for too long, so I ended it."),
    "unreadable": mark("Its process said what I can't read, so I ended it; the log has more."),
    "store": mark("My database could not be read; the log has more."),
    "start": mark("Its process could not be started; the log has more."),
    "killed": mark("Its process was killed (signal {detail}); often the machine has too little memory for it."),
    "crashed": _CRASHED,
}
WEEKDAYS = (
    mark("Monday"), mark("Tuesday"), mark("Wednesday"), mark("Thursday"), mark("Friday"), mark("Saturday"),
    mark("Sunday"),
)  # fmt: skip
_LOSS = mark_counted(
    "Loss of {family}: from {first} to {last} in {steps} step.",
    "Loss of {family}: from {first} to {last} in {steps} steps.",
)
_UNCHANGED = mark("The models that answer are as they were.")
_BAR_CELLS = 12
_NOTE_CHARS = 4_000  # Discord: an embed's description holds 4,096
_TRAIN_SHARE = 0.8  # of a family's time; the rest goes into judging it


def families(names: Sequence[Family], say: Say) -> str:
    """Several, in one line."""
    return say(mark(", ")).join(say(FAMILIES[name]) for name in names)


def progress(live: LiveRun, say: Say) -> str:
    """The message that is edited while a run goes on."""
    share = _share(live)
    filled = round(share * _BAR_CELLS)
    lines = [
        say(mark("🧠 **Training** `{run}`")).format(run=live.run.id),
        f"{'▰' * filled}{'▱' * (_BAR_CELLS - filled)} {share:.0%}",
        _doing(live, say),
    ]
    if live.run.attempt > 1:
        lines.append(say(mark("Begun anew: somebody took their words back, and they are left out now.")))
    if live.counted is not None:
        lines.append(learned_from(live.counted, say))
    if live.stopping in ("cancelled", "author_left"):
        lines.append(say(mark("It is being cancelled…")))
    lines.append(say(mark("-# Nothing that answers changes until a version is promoted.")))
    return "\n".join(lines)


def _share(live: LiveRun) -> float:
    """In 0..1, of the whole run."""
    inside = 0.0
    if live.family is not None and live.family not in live.judged.keys() | live.skipped.keys():
        if live.stage == "train" and live.progress is not None:
            inside = _TRAIN_SHARE * min(1.0, live.progress.step / max(1, live.progress.steps))
        elif live.stage in ("evaluate", "register"):
            inside = _TRAIN_SHARE
    return min(1.0, (live.done + inside) / len(live.run.families))


def _doing(live: LiveRun, say: Say) -> str:
    stage = say(_STAGES[live.stage])
    if live.stage in (None, "snapshot") or live.family not in live.run.families:
        return say(mark("{stage}…")).format(stage=stage)
    if live.family in live.judged.keys() | live.skipped.keys():
        stage = say(mark("done"))
    number = live.run.families.index(live.family) + 1
    words = say(mark("**{family}** ({number} of {count}): {stage}")).format(
        family=say(FAMILIES[live.family]), number=number, count=len(live.run.families), stage=stage
    )
    step = live.progress
    if step is None or live.stage != "train":
        return words
    parts = [words, say(mark("step {step} of {steps}")).format(step=f"{step.step:,}", steps=f"{step.steps:,}")]
    if step.loss:  # counting has none
        parts.append(say(mark("loss {loss}")).format(loss=f"{step.loss:.3f}"))
    if step.tokens_per_s > 0:
        parts.append(say(mark("{rate} tokens/s")).format(rate=f"{step.tokens_per_s:,.0f}"))
    parts.append(say(mark("about {time} left")).format(time=duration(step.left_s, say)))
    return " · ".join(parts)


def learned_from(counted: Counted, say: Say) -> str:
    """How much. Of few people no number is said: it would tell of persons."""
    people = (
        say(mark("{count} people")).format(count=counted.authors)
        if counted.authors >= MIN_AUTHORS
        else say(mark("fewer than {count} people")).format(count=MIN_AUTHORS)
    )
    return say(
        mark(
            "Learned from {people} · parts: {kept} · characters: {characters} · left out: {dropped} · held out: {held}"
        )
    ).format(
        kept=f"{counted.kept:,}",
        characters=f"{counted.characters:,}",
        people=people,
        dropped=f"{sum(counted.dropped.values()):,}",
        held=f"{counted.held_out:,}",
    )


def how_it_ended(run: TrainingRun, say: Say) -> str:
    """Why, in a sentence or two; "" where all went well."""
    if run.state == "ended":
        return ""
    if run.reason == "said":
        return f"{say(run.detail)} {say(_UNCHANGED)}"
    words = _REASONS.get(run.reason, _CRASHED)
    return f"{say(words).format(detail=run.detail)} {say(_UNCHANGED)}"


def verdict(judged: Judged, say: Say, *, whole: bool = True) -> str:
    """One family's: accepted or not, and a line for each check; not `whole`: only for those that failed."""
    head = say(
        mark("✅ **{family}**: `{version}` passed all {count} checks.")
        if judged.accepted
        else mark("❌ **{family}**: `{version}` was rejected.")
    ).format(family=say(FAMILIES[judged.family]), version=judged.version, count=len(judged.checks))
    checks = judged.checks if whole else tuple(check for check in judged.checks if not check.passed)
    return "\n".join((head, *(f"> {line}" for line in reasons(checks, say))))


def held_out(judged: Judged) -> Held | None:
    """What it knows of the text that nobody trained on; None where the family isn't measured so."""
    after = judged.metrics.get("held_out_bits")
    if after is None:
        return None
    return Held(
        family=judged.family,
        before=judged.metrics.get("held_out_bits_before"),
        after=after,
        accepted=judged.accepted,
    )


def note(run: TrainingRun, say: Say) -> str:
    """All that is said when a run has ended: verdicts, what was skipped, what answers now and how to go back. Of many
    families only what they failed in is listed, where the whole would be too long."""
    whole = _note(run, say, whole=True)
    return whole if len(whole) <= _NOTE_CHARS else _note(run, say, whole=False)


def _note(run: TrainingRun, say: Say, *, whole: bool) -> str:
    lines = [each for each in (how_it_ended(run, say),) if each]
    lines += [verdict(judged, say, whole=whole) for judged in run.judged]
    lines += [
        say(mark("➖ **{family}**: {reason}")).format(family=say(FAMILIES[each.family]), reason=say(each.reason))
        for each in run.skipped
    ]
    if run.counted is not None:
        lines.append(learned_from(run.counted, say))
    lines += _decided(run, say)
    if undecided(run):
        lines.append(
            say(mark("What was accepted waits for you: **Promote** lets it answer, at once and with no restart."))
        )
    return "\n".join(lines)


def _decided(run: TrainingRun, say: Say) -> list[str]:
    lines = []
    for each in run.decisions:
        family = say(FAMILIES[each.family])
        if each.answers and each.error:
            words = say(mark("⬆️ **{family}**: `{version}` is promoted, but does not answer here: {why}"))
        elif each.answers:
            words = say(mark("⬆️ **{family}**: `{version}` answers now. Back: `/train rollback family:{name}`"))
        elif each.error:
            words = say(mark("⚠️ **{family}**: `{version}` could not be promoted: {why}"))
        else:
            words = say(mark("✋ **{family}**: `{version}` does not answer; the one before goes on."))
        lines.append(words.format(family=family, version=each.version, why=each.error, name=each.family))
    return lines


def past(run: TrainingRun, say: Say) -> str:
    """One line of the history."""
    results = []
    skipped = {each.family for each in run.skipped}
    judged = {each.family: each for each in run.judged}
    for family in run.families:
        sign = "✅" if family in judged and judged[family].accepted else "❌" if family in judged else "–"
        results.append(f"{family} {'➖' if family in skipped else sign}")
    if run.state in ("failed", "cancelled"):
        results = [say(run.detail) if run.reason == "said" else say(STATES[run.state])]
    words = say(mark("`{run}` {when} · {trigger} · {state}: {results}")).format(
        run=run.id,
        when=f"<t:{round(run.created_at)}:f>",
        trigger=say(mark("by schedule") if run.trigger == "schedule" else mark("by hand")),
        state=say(STATES[run.state]),
        results=" · ".join(results),
    )
    return words[:300]


def described(held: Sequence[Held], curves: Curves, say: Say) -> str:
    """A run's picture in words, for those who can't see it."""
    parts = [
        say.counted(_LOSS, points[-1][0]).format(
            family=say(FAMILIES[family]), first=f"{points[0][1]:.3f}", last=f"{points[-1][1]:.3f}", steps=points[-1][0]
        )
        for family, points in curves.items()
        if points
    ]
    for each in held:
        after = f"{each.after:.3f}"
        family = say(FAMILIES[each.family])
        if each.before is None:
            parts.append(say(mark("{family}: {after} bits per byte.")).format(family=family, after=after))
        else:
            parts.append(
                say(mark("{family}: from {before} to {after} bits per byte.")).format(
                    family=family, before=f"{each.before:.3f}", after=after
                )
            )
    return " ".join(parts)[:1_024]  # Discord: of an attachment's description


def data(counts: TrainingCounts, at_least: int, say: Say) -> str:
    """What a run would be given now, in numbers of at least so many people."""

    def shown(number: int | None) -> str:
        return "–" if number is None else f"{number:,}"

    lines = [
        say(mark("• stories: {stories} · parts: {turns} · characters: {characters} · people: {people}")).format(
            turns=shown(counts.turns),
            stories=shown(counts.stories),
            characters=shown(counts.characters),
            people=shown(counts.authors),
        ),
        say(mark("• corrected moods: {corrections} · people: {people}")).format(
            corrections=shown(counts.corrections), people=shown(counts.correctors)
        ),
        say(mark("• given drawings: {drawings} · people: {people}")).format(
            drawings=shown(counts.pictures), people=shown(counts.givers)
        ),
    ]
    if at_least > 1:
        lines.append(
            say(mark("-# –: none, or of fewer than {count} people, of whom a number would tell.")).format(
                count=at_least
            )
        )
    lines.append(
        say(
            mark(
                "-# A run leaves out more: what stands on words of somebody who did not agree, repetitions, links, "
                "commands, what is too short."
            )
        )
    )
    return "\n".join(lines)


def when(schedule: Schedule | None, say: Say) -> str:
    """When training begins by itself."""
    if schedule is None:
        return say(mark("Training begins only where somebody starts it. `/train schedule` changes that."))
    hour = f"{schedule.hour:02d}:00"
    words = (
        say(mark("Training begins by itself every day at {hour} UTC")).format(hour=hour)
        if schedule.weekday is None
        else say(mark("Training begins by itself every {weekday} at {hour} UTC")).format(
            weekday=say(WEEKDAYS[schedule.weekday]), hour=hour
        )
    )
    following = round(next_time(schedule.hour, schedule.weekday, time.time()))
    return say(mark("{words}; next: <t:{when}:R>. It reports in <#{channel}>.")).format(
        words=words, when=following, channel=schedule.place.channel_id
    )


def duration(seconds: float, say: Say) -> str:
    """Rounded as a person would say it."""
    if seconds < 90:
        return say(mark("{count} s")).format(count=max(1, round(seconds)))
    if seconds < 5_400:
        return say(mark("{count} min")).format(count=round(seconds / 60))
    return say(mark("{count} h")).format(count=f"{seconds / 3_600:.1f}")
