"""The fair queue, by examples and by hypothesis."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.serving.engine import EngineOverloadedError
from models.serving.fair_queue import FairQueue, QueueLimits

WIDE = QueueLimits(total=10_000, per_guild=10_000, per_user=10_000)
PEOPLE = st.tuples(st.sampled_from(["", "g1", "g2", "g3"]), st.sampled_from(["ann", "bo", "cy"]))


def queue_of(*people: tuple[str, str], limits: QueueLimits = WIDE) -> FairQueue[tuple[str, str, int]]:
    queue: FairQueue[tuple[str, str, int]] = FairQueue(limits)
    for number, (guild, user) in enumerate(people):
        queue.push((guild, user, number), key=str(number), user=user, guild=guild)
    return queue


def drained(queue):
    items = []
    while (item := queue.pop()) is not None:
        items.append(item)
    return items


def test_one_user_with_fifty_does_not_delay_another_by_more_than_two_turns():
    queue = queue_of(*[("g", "greedy")] * 50)
    queue.pop()
    queue.push(("g", "patient", 50), key="50", user="patient", guild="g")
    assert ("g", "patient", 50) in [queue.pop(), queue.pop()]


def test_a_busy_guild_does_not_delay_another_guild_by_more_than_two_turns():
    queue = queue_of(*[("busy", f"user{n}") for n in range(50)])
    queue.pop()
    queue.push(("quiet", "ann", 50), key="50", user="ann", guild="quiet")
    assert ("quiet", "ann", 50) in [queue.pop(), queue.pop()]


def test_strangers_in_direct_messages_do_not_share_one_turn():
    queue = queue_of(("", "greedy"), ("", "greedy"), ("", "ann"), ("g", "bo"), ("g", "bo"))
    assert [user for _, user, _ in drained(queue)] == ["greedy", "ann", "bo", "greedy", "bo"]


def test_a_users_own_requests_keep_their_order():
    assert [number for _, _, number in drained(queue_of(*[("g", "ann")] * 5))] == [0, 1, 2, 3, 4]


@given(st.lists(PEOPLE, max_size=60), st.integers(0, 20))
def test_the_announced_order_is_the_order_of_service(people, already_served):
    queue = queue_of(*people)
    for _ in range(already_served):
        queue.pop()
    announced = list(queue.order())
    positions = [queue.position(str(number)) for _, _, number in announced]
    assert positions == list(range(1, len(announced) + 1))
    assert drained(queue) == announced


@given(st.lists(PEOPLE, min_size=1, max_size=80))
def test_between_two_turns_of_a_user_everybody_waiting_in_the_guild_has_one(people):
    queue = queue_of(*people)
    waiting = Counter(people)
    since: dict[tuple[str, str], set[str]] = {}
    for guild, user, _ in drained(queue):
        others = {name for (place, name), count in waiting.items() if place == guild and count and name != user}
        if guild and (guild, user) in since:
            assert others <= since[guild, user]
        for key, seen in since.items():
            if key[0] == guild:
                seen.add(user)
        since[guild, user] = set()
        waiting[guild, user] -= 1


@given(st.lists(PEOPLE, min_size=1, max_size=80))
def test_between_two_turns_of_a_guild_every_waiting_guild_has_one(people):
    lane = {person: person if not person[0] else (person[0], "") for person in people}
    waiting = Counter(lane[person] for person in people)
    since: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for guild, user, _ in drained(queue_of(*people)):
        mine = lane[guild, user]
        if mine in since:
            assert {other for other, count in waiting.items() if count and other != mine} <= since[mine]
        for seen in since.values():
            seen.add(mine)
        since[mine] = set()
        waiting[mine] -= 1


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), PEOPLE),
            st.tuples(st.just("pop")),
            st.tuples(st.just("remove"), st.integers(0, 40)),
        ),
        max_size=120,
    )
)
def test_nothing_is_lost_or_served_twice_and_limits_hold(steps):
    limits = QueueLimits(total=12, per_guild=6, per_user=4)
    queue: FairQueue[int] = FairQueue(limits)
    inside: dict[int, tuple[str, str]] = {}
    for number, (step, *arguments) in enumerate(steps):
        if step == "push":
            guild, user = arguments[0]
            of_user = sum(user == name for _, name in inside.values())
            of_guild = sum(guild == place for place, _ in inside.values())
            full = of_user >= limits.per_user or (guild and of_guild >= limits.per_guild) or len(inside) >= limits.total
            try:
                queue.push(number, key=str(number), user=user, guild=guild)
            except EngineOverloadedError:
                assert full
                continue
            assert not full
            inside[number] = (guild, user)
        elif step == "pop":
            popped = queue.pop()
            assert (popped is None) == (not inside)
            if popped is not None:
                del inside[popped]
        else:
            key = arguments[0]
            assert (queue.remove(str(key)) is not None) == (inside.pop(key, None) is not None)
        assert len(queue) == len(inside)
        assert sorted(queue.order()) == sorted(inside)
        assert queue.by_guild() == dict(Counter(guild for guild, _ in inside.values()))


@pytest.mark.parametrize(
    ("people", "scope", "turns"),
    [
        ([("g1", "ann"), ("g2", "bo"), ("g1", "ann")], "user", 1),
        ([("g1", "bo"), ("g2", "cy"), ("g1", "dan")], "guild", 1),
        ([("g2", "ann"), ("g3", "bo"), ("g4", "cy"), ("g5", "dan")], "server", 1),
        ([("g2", "bo"), ("g1", "cy"), ("", "ann"), ("", "ann")], "user", 3),
    ],
)
def test_a_full_queue_says_for_whom_and_when_to_return(people, scope, turns):
    queue = queue_of(*people, limits=QueueLimits(total=4, per_guild=2, per_user=2))
    with pytest.raises(EngineOverloadedError) as caught:
        queue.push(("g1", "ann", 9), key="9", user="ann", guild="g1", turn_s=2.5)
    assert caught.value.scope == scope
    assert caught.value.retry_after_s == turns * 2.5


def test_a_key_in_use_is_refused():
    queue = queue_of(("g", "ann"))
    with pytest.raises(ValueError, match="already"):
        queue.push(("g", "ann", 0), key="0", user="ann", guild="g")


def test_positions_of_what_does_not_wait_are_unknown():
    with pytest.raises(KeyError):
        queue_of(("g", "ann")).position("7")
