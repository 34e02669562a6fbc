"""A mood in words, for the person who asked: label, bars, what decided, what to know. Knows no model."""

from collections.abc import Mapping, Sequence

import discord

from bot.locales import Say, mark
from bot.mood_reading import MoodNotReadError
from models.serving.short_requests import Evidence, Label, Method, Mood

FACES: dict[Label, str] = {"negative": "🙁", "neutral": "😐", "positive": "🙂"}
LABELS: dict[Label, str] = {"negative": mark("Negative"), "neutral": mark("Neutral"), "positive": mark("Positive")}
COLOURS: dict[Label, discord.Colour] = {
    "negative": discord.Colour(0xF09A4A),
    "neutral": discord.Colour(0x9AA3AD),
    "positive": discord.Colour(0x4CC2A8),
}
METHODS: dict[Method, str] = {
    "default": mark("machine learning, all tiers together (the default)"),
    "positive_lexicon": mark("1 positive lexicon: counts happy words"),
    "negative_lexicon": mark("2 negative lexicon: counts unhappy words"),
    "naive_bayes": mark("3 labelled language model: naive Bayes"),
    "rules": mark("4 rules: negation, degree words, emoji"),
    "linear": mark("5a machine learning, fast tier"),
    "encoder": mark("5b machine learning, encoder"),
}
COMPARED: dict[Method, str] = {  # the five methods of the article
    "positive_lexicon": mark("1 Positive lexicon"),
    "negative_lexicon": mark("2 Negative lexicon"),
    "naive_bayes": mark("3 Labelled language model"),
    "rules": mark("4 Rules"),
    "default": mark("5 Machine learning"),
}
_NOTES: dict[str, str] = {
    "empty": mark("There is nothing to read."),
    "no_words": mark("There are no words in it, only links, code or numbers."),
    "emoji_only": mark("It is only emoji; people use the same ones for different moods."),
    "one_word": mark("It is a single word, which says little without its context."),
    "other_language": mark("It is in a language that I didn't learn: I know English and Chinese."),
    "mixed": mark("It has strong words of both kinds: mixed feelings don't fit one label."),
    "cut": mark("It is long: I read only its beginning."),
    "irony": mark("It has signs of irony, which I don't understand: it may mean the opposite."),
}
_UNSURE = mark("🤔 Unsure, perhaps {label}")
_UNSURE_NOTHING = mark("🤔 Unsure")
_NOTHING_DECIDED = mark("No word decided.")
_NOT_READ = {
    "busy": mark("Too many texts are being read right now. Try again in a minute."),
    "closing": mark("I'm restarting. Ask again in a moment."),
    "missing": mark("The model for that isn't here. Choose another method, or ask an admin to run `inkwell doctor`."),
    "refused": mark("I can't read this text. Try it shorter or in other words."),
    "down": mark("My mood model doesn't answer right now. An admin can run `inkwell doctor`."),
}

_BAR = 14
_QUOTED_CHARS = 300
_EVIDENCE, _EVIDENCE_CHARS = 8, 28


def not_read(error: MoodNotReadError, say: Say) -> str:
    """Why there is no answer."""
    return say(_NOT_READ[error.reason])


def embed_of(text: str, mood: Mood, say: Say) -> discord.Embed:
    """One answer. Fits an embed whatever the text and the evidence."""
    lines = [quoted(text), "", *_bars(mood, say)]
    embed = discord.Embed(
        title=headline(mood, say), description="\n".join(lines), colour=COLOURS[mood.label] if mood.sure else None
    )
    embed.add_field(name=say(mark("What decided")), value=_evidence(mood.evidence, say), inline=False)
    _add_notes(embed, mood, say)
    how = say(METHODS[mood.method])
    words = mark("{how} · {version} · calibrated") if mood.calibrated else mark("{how} · {version} · not calibrated")
    embed.set_footer(text=say(words).format(how=how, version=mood.model_version[:100]))
    return embed


def comparison(text: str, moods: Mapping[Method, Mood | MoodNotReadError], say: Say) -> discord.Embed:
    """The five methods side by side."""
    embed = discord.Embed(title=say(mark("Five ways to read a mood")), description=quoted(text))
    for method, name in COMPARED.items():
        mood = moods[method]
        if isinstance(mood, MoodNotReadError):
            embed.add_field(name=say(name), value=not_read(mood, say), inline=False)
            continue
        numbers = " ".join(
            f"{FACES[label]} {share:.0%}" for label, share in zip(LABELS, mood.probabilities, strict=True)
        )
        embed.add_field(
            name=f"{say(name)}: {headline(mood, say)}",
            value=f"`{_sign(mood)}` {numbers}\n{_evidence(mood.evidence, say)}",
            inline=False,
        )
    if isinstance(best := moods["default"], Mood):
        _add_notes(embed, best, say)
        embed.set_footer(text=say(mark("▲ speaks for positive, ▼ for negative, each in its method's own unit")))
    return embed


def headline(mood: Mood, say: Say) -> str:
    """The label, or that there is none."""
    if mood.sure:
        return f"{FACES[mood.label]} {say(LABELS[mood.label])}"
    if max(mood.probabilities) < 0.4:  # three classes: as good as a guess
        return say(_UNSURE_NOTHING)
    return say(_UNSURE).format(label=say(LABELS[mood.label]).lower())


def quoted(text: str) -> str:
    """The text's beginning as a quote in which nothing pings, links or formats."""
    shown = " ".join(text.split())
    shown = f"{shown[:_QUOTED_CHARS]}…" if len(shown) > _QUOTED_CHARS else shown
    return f"> {plain(shown)}" if shown else "> …"


def plain(text: str) -> str:
    return discord.utils.escape_mentions(discord.utils.escape_markdown(text))


def score(mood: Mood) -> float:
    """From -1 (negative) to 1 (positive)."""
    return mood.probabilities[2] - mood.probabilities[0]


def _bars(mood: Mood, say: Say) -> list[str]:
    return [
        f"{FACES[label]} `{'█' * round(share * _BAR):░<{_BAR}}` {share:.0%} {say(LABELS[label])}"
        for label, share in zip(LABELS, mood.probabilities, strict=True)
    ]


def _sign(mood: Mood) -> str:
    """A scale from negative to positive with a mark where the text stands."""
    place = round((score(mood) + 1) / 2 * 10)
    return "−" + "·" * place + "●" + "·" * (10 - place) + "+"


def _evidence(evidence: Sequence[Evidence], say: Say) -> str:
    pieces = []
    for each in evidence[:_EVIDENCE]:
        words = " ".join(each.text.split())[:_EVIDENCE_CHARS]
        if words and each.weight:
            pieces.append(f"{'▲' if each.weight > 0 else '▼'} **{plain(words)}** {each.weight:+.2f}")
    return " · ".join(pieces) or say(_NOTHING_DECIDED)


def _add_notes(embed: discord.Embed, mood: Mood, say: Say) -> None:
    notes = [say(_NOTES[note]) for note in mood.notes if note in _NOTES]
    if not mood.sure:
        notes.append(say(mark("I'm not sure enough to give one label; the bars show how it looks to me.")))
    if notes:
        embed.add_field(name=say(mark("Good to know")), value="\n".join(notes), inline=False)
