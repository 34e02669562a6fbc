"""A story's arc in words, beside its picture. Knows turns only by number, and people not at all."""

from collections.abc import Sequence

import discord

from bot.charts import Beat
from bot.locales import Say, mark
from bot.mood_words import plain

MAX_SHOWN_TURNS = 80  # more would be a smear; the latest ones are shown

_RISE = 0.15  # of a scale of 2: smaller moves are noise


class ArcTooShortError(Exception):
    """One turn makes no arc. Continue the story first."""


def told(title: str, beats: Sequence[Beat], first: int, version: str, say: Say) -> discord.Embed:
    """What the arc shows."""
    high, low = _peak(beats, first)
    lines = [_course(beats, say)]
    if beats[high - first].score - beats[low - first].score > _RISE:
        lines.append(say(mark("Happiest: part {high}. Darkest: part {low}.")).format(high=high, low=low))
    lines.append(
        say(mark("● people · ◆ Inkwell · hollow: unsure. Higher is happier; the numbers are the story's parts."))
    )
    if first > 1:
        lines.append(say(mark("Only the latest {count} parts are shown.")).format(count=len(beats)))
    embed = discord.Embed(
        title=say(mark("The mood of “{title}”")).format(title=plain(title)), description="\n".join(lines)
    )
    embed.set_footer(text=version[:200])
    return embed


def described(beats: Sequence[Beat], first: int, say: Say) -> str:
    """The picture for those who can't see it; Discord takes 1,024 characters."""
    high, low = _peak(beats, first)
    return say(
        mark(
            "A line over the story's parts {first} to {last}, from −1 (negative) to 1 (positive): it begins at {begin} "
            "and ends at {end}; highest at part {high}, lowest at part {low}."
        )
    ).format(
        first=first,
        last=first + len(beats) - 1,
        begin=f"{beats[0].score:+.2f}",
        end=f"{beats[-1].score:+.2f}",
        high=high,
        low=low,
    )


def _peak(beats: Sequence[Beat], first: int) -> tuple[int, int]:
    order = sorted(range(len(beats)), key=lambda number: beats[number].score)
    return first + order[-1], first + order[0]


def _course(beats: Sequence[Beat], say: Say) -> str:
    """Its beginning against its end, each a quarter of the turns."""
    part = max(1, len(beats) // 4)
    begin = sum(beat.score for beat in beats[:part]) / part
    end = sum(beat.score for beat in beats[-part:]) / part
    if end - begin > _RISE:
        return say(mark("It grows lighter towards its end."))
    if begin - end > _RISE:
        return say(mark("It grows darker towards its end."))
    return say(mark("It ends about as it began."))
