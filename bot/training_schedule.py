"""When scheduled training is due. Knows hours and weekdays in UTC, and nothing of what is then done.

A time that passed while Inkwell was off is made up for once, however many were missed.
"""

from datetime import UTC, datetime, timedelta


def last_time(hour: int, weekday: int | None, now: float) -> float:
    """The latest scheduled time that is not after `now` (Unix seconds); `weekday` None: daily, 0: Mondays."""
    today = datetime.fromtimestamp(now, UTC)
    at = today.replace(hour=hour, minute=0, second=0, microsecond=0)
    if weekday is not None:
        at -= timedelta(days=(at.weekday() - weekday) % 7)
    if at > today:
        at -= timedelta(days=_days(weekday))
    return at.timestamp()


def next_time(hour: int, weekday: int | None, now: float) -> float:
    """The first scheduled time after `now`."""
    return last_time(hour, weekday, now) + _days(weekday) * 86_400.0


def _days(weekday: int | None) -> int:
    return 1 if weekday is None else 7
