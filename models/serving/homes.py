"""Which replica has read a story before: its cache still holds the beginning. Knows no replica from the inside."""

from collections import OrderedDict
from typing import Generic, TypeVar

from models.serving.requests import StoryRequest

Place = TypeVar("Place")

_BEGINNING_CHARS = 400  # a story is known by them; later turns only add to its end
_REMEMBERED = 4_096


class Homes(Generic[Place]):
    """The place that each of the latest stories was given to."""

    def __init__(self) -> None:
        self._places: OrderedDict[tuple[str, int], Place] = OrderedDict()

    def of(self, request: StoryRequest) -> Place | None:
        return self._places.get(_key(request))

    def set(self, request: StoryRequest, place: Place) -> None:
        key = _key(request)
        self._places[key] = place
        self._places.move_to_end(key)
        if len(self._places) > _REMEMBERED:
            self._places.popitem(last=False)

    def clear(self) -> None:
        self._places.clear()


def _key(request: StoryRequest) -> tuple[str, int]:
    return request.model, hash(request.story[:_BEGINNING_CHARS])
