"""Who is served next: round robin over guilds, and within a guild over its users. Knows no engine, model or clock."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Generic, TypeVar

from models.serving.engine import EngineOverloadedError

Item = TypeVar("Item")
_NOTHING = object()


@dataclass(frozen=True, kw_only=True)
class QueueLimits:
    """How many requests may wait, in all, for one guild and for one user. What runs does not count."""

    total: int = 256
    per_guild: int = 64
    per_user: int = 8


@dataclass(frozen=True, kw_only=True)
class _Entry(Generic[Item]):
    item: Item
    lane: tuple[str, str]
    user: str


class FairQueue(Generic[Item]):
    """A bounded queue whose every turn goes to the guild, and in it to the user, that has waited longest for one.

    A user with fifty requests and one with a single request alternate. A request outside any guild (a direct message,
    `guild` empty) forms a lane of its own user, so that strangers in direct messages do not share one turn.
    """

    def __init__(self, limits: QueueLimits) -> None:
        self.limits = limits
        self._lanes: OrderedDict[tuple[str, str], OrderedDict[str, deque[str]]] = OrderedDict()
        self._entries: dict[str, _Entry[Item]] = {}
        self._per_user: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def push(self, item: Item, *, key: str, user: str, guild: str, turn_s: float | None = None) -> None:
        """Let `item` wait under the unique `key`. `turn_s` is the measured time between two turns; with it the
        EngineOverloadedError of a full queue says when a place becomes free. Raises ValueError for a key in use."""
        if key in self._entries:
            raise ValueError(f"{key} is in the queue already")
        lane = ("guild", guild) if guild else ("user", user)
        self._refuse_when_full(lane, user, turn_s)
        self._lanes.setdefault(lane, OrderedDict()).setdefault(user, deque()).append(key)
        self._entries[key] = _Entry(item=item, lane=lane, user=user)
        self._per_user[user] = self._per_user.get(user, 0) + 1

    def pop(self) -> Item | None:
        """The next item, or None when nobody waits."""
        if not self._lanes:
            return None
        lane, users = next(iter(self._lanes.items()))
        user, keys = next(iter(users.items()))
        key = keys[0]
        users.move_to_end(user)
        self._lanes.move_to_end(lane)
        return self.remove(key)

    def remove(self, key: str) -> Item | None:
        """Take the item out wherever it stands; None when it does not wait (any more)."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        users = self._lanes[entry.lane]
        users[entry.user].remove(key)
        if not users[entry.user]:
            del users[entry.user]
        if not users:
            del self._lanes[entry.lane]
        self._per_user[entry.user] -= 1
        if not self._per_user[entry.user]:
            del self._per_user[entry.user]
        return entry.item

    def order(self) -> Iterator[Item]:
        """All items in the order in which they would be popped if nobody else came."""
        return (self._entries[key].item for key in self._keys_in_order())

    def position(self, key: str) -> int:
        """1 for the next to be popped. Raises KeyError when `key` does not wait."""
        for position, waiting in enumerate(self._keys_in_order(), start=1):
            if waiting == key:
                return position
        raise KeyError(key)

    def by_guild(self) -> dict[str, int]:
        """How many wait for each guild; direct messages are counted under ""."""
        counts: dict[str, int] = {}
        for (kind, name), users in self._lanes.items():
            guild = name if kind == "guild" else ""
            counts[guild] = counts.get(guild, 0) + sum(map(len, users.values()))
        return counts

    def _keys_in_order(self) -> Iterator[str]:
        return _take_turns([list(_take_turns(users.values())) for users in self._lanes.values()])

    def _refuse_when_full(self, lane: tuple[str, str], user: str, turn_s: float | None) -> None:
        users: OrderedDict[str, deque[str]] = self._lanes.get(lane) or OrderedDict()
        in_guild = sum(map(len, users.values())) if lane[0] == "guild" else 0
        mine = self._per_user.get(user, 0)
        if mine >= self.limits.per_user:
            scope, queued, frees = "user", mine, {key for key, entry in self._entries.items() if entry.user == user}
        elif in_guild >= self.limits.per_guild:
            scope, queued, frees = "guild", in_guild, set(chain.from_iterable(users.values()))
        elif len(self) >= self.limits.total:
            scope, queued, frees = "server", len(self), set(self._entries)
        else:
            return
        turns = next((turn for turn, key in enumerate(self._keys_in_order(), start=1) if key in frees), 1)
        raise EngineOverloadedError(scope, queued, None if turn_s is None else turns * turn_s)


def _take_turns(lanes: Iterable[Iterable[str]]) -> Iterator[str]:
    rounds = zip_longest(*lanes, fillvalue=_NOTHING)
    return (key for key in chain.from_iterable(rounds) if isinstance(key, str))
