"""A channel's trend in words, beside its picture; and what to say where there is none."""

import time
from collections.abc import Sequence

import discord

from bot.locales import Say, mark, mark_counted
from bot.mood_trend import Drop, Period, Share, Slice

NOT_SAMPLED = mark(
    "This channel's mood is not sampled: that is off everywhere until somebody who manages the server switches it on "
    "with `/inkwell channels on`."
)
NOTHING_YET = mark(
    "Nothing to show for that time. Numbers appear at the earliest when an hour is over and at least 5 different "
    "people have written in it; what fewer people wrote is forgotten at the end of the day (UTC)."
)
NO_INTENT = mark(
    "Inkwell can't read messages here: Discord calls that the Message Content intent, and it is not switched on. "
    "Whoever runs this Inkwell opens https://discord.com/developers/applications, the application, Bot, Privileged "
    "Gateway Intents, switches **Message Content Intent** on, writes `MESSAGE_CONTENT_INTENT=true` into `.env` and "
    "starts Inkwell again. Everything else works without it."
)
_TITLES: dict[Period, str] = {
    "day": mark("Mood of the last 24 hours"),
    "week": mark("Mood of the last 7 days"),
    "month": mark("Mood of the last 30 days"),
}
_SKIPPED = mark_counted(
    "{count} message came too fast to be read and is left out.",
    "{count} messages came too fast to be read and are left out.",
)
_DROP = mark(
    "📉 The mood in {channel} fell: {now} of its messages were negative just now, usually {usual}. "
    "These are counts of at least 5 people; I know no more than that."
)


def trend_embed(channel_id: int, slices: Sequence[Slice], whole: Slice, period: Period, say: Say) -> discord.Embed:
    """What the picture shows."""
    begin, end = slices[0].first_hour * 3600, (slices[-1].first_hour + slices[-1].hours) * 3600
    lines = [
        f"<#{channel_id}> · <t:{begin}:f> – <t:{min(end, round(time.time()))}:f>",
        f"🙂 {_percent(whole.positive)} · 🙁 {_percent(whole.negative)}",
        say(mark("{count} messages read; each count shown is of at least 5 people.")).format(count=f"{whole.read:,}"),
    ]
    if whole.skipped:
        lines.append(say.counted(_SKIPPED, whole.skipped).format(count=f"{whole.skipped:,}"))
    lines.append(
        say(mark("Bands: 95% intervals. Bars: messages read. Times in UTC. Gaps: too few people, or nothing."))
    )
    embed = discord.Embed(title=say(_TITLES[period]), description="\n".join(lines))
    embed.set_footer(text=say(mark("Only such counts are kept: no text, no names. Leave yours out: /mood optout")))
    return embed


def trend_alt(slices: Sequence[Slice], whole: Slice, period: Period, say: Say) -> str:
    """The picture for those who can't see it."""
    shown = [each for each in slices if each.read]
    best = max(shown, key=lambda each: each.positive.value - each.negative.value)
    worst = min(shown, key=lambda each: each.positive.value - each.negative.value)
    return say(
        mark(
            "{title}: positive {positive}, negative {negative} of {count} messages. Best around {best}, worst around "
            "{worst} (UTC); parts with nothing to show: {gaps} of {all}."
        )
    ).format(
        title=say(_TITLES[period]),
        positive=f"{whole.positive.value:.0%}",
        negative=f"{whole.negative.value:.0%}",
        count=f"{whole.read:,}",
        best=_clock(best),
        worst=_clock(worst),
        gaps=len(slices) - len(shown),
        all=len(slices),
    )


def axis(slices: Sequence[Slice]) -> list[str]:
    """Digits below the picture: the hour, or at its beginning the day where a part is longer than an hour."""
    if slices[0].hours == 1:
        return [time.strftime("%H:00", time.gmtime(each.first_hour * 3600)) for each in slices]
    return [
        "" if each.first_hour % 24 else time.strftime("%m-%d", time.gmtime(each.first_hour * 3600)) for each in slices
    ]


def drop_told(channel_id: int, found: Drop, say: Say) -> str:
    """The alert, for a channel of admins."""
    return say(_DROP).format(
        channel=f"<#{channel_id}>", now=f"{found.negative_now:.0%}", usual=f"{found.negative_usual:.0%}"
    )


def _percent(share: Share) -> str:
    return f"{share.value:.0%} ({share.low:.0%}–{share.high:.0%})"


def _clock(each: Slice) -> str:
    return time.strftime("%Y-%m-%d %H:00", time.gmtime(each.first_hour * 3600))
