"""Nobody drowns the others in requests."""

import pytest

from bot import pace


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_user_over_the_limit_hears_when_to_come_back_and_others_are_served() -> None:
    clock = Clock()
    limits = pace.Pace(user_per_minute=2, guild_per_minute=100, clock=clock)
    limits.ask(user=1, guild=9)
    clock.now += 20
    limits.ask(user=1, guild=9)
    with pytest.raises(pace.TooFastError) as caught:
        limits.ask(user=1, guild=9)
    assert (caught.value.scope, caught.value.retry_after_s) == ("user", 40.0)
    limits.ask(user=2, guild=9)
    clock.now += 40
    limits.ask(user=1, guild=9)


def test_a_refused_request_does_not_count_against_the_server() -> None:
    limits = pace.Pace(user_per_minute=1, guild_per_minute=2, clock=Clock())
    limits.ask(user=1, guild=9)
    for _ in range(5):
        with pytest.raises(pace.TooFastError, match="user"):
            limits.ask(user=1, guild=9)
    limits.ask(user=2, guild=9)
    with pytest.raises(pace.TooFastError, match="guild"):
        limits.ask(user=3, guild=9)
    limits.ask(user=3, guild=None)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_KEYS_KEPT", 50)
    limits = pace.Pace(user_per_minute=1, guild_per_minute=1)
    for user in range(500):
        limits.ask(user=user, guild=None)
    assert len(limits._asked) == 50
