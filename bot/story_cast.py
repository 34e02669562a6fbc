"""The people of the latest story in a channel: whom its text names, who has a face. Knows no model."""

import asyncio
from collections import OrderedDict

from bot.characters import named_in, spelling_in
from bot.dreams import ChildFaceError, End, character_seed, end_of
from bot.store import Store, Story
from bot.stories import story_text
from models.serving.short_requests import PortraitRequest

CHARACTER = "character:"  # before a name that was chosen among a story's characters
_TEXTS_KEPT = 64  # stories whose names are remembered while somebody types


class NoStoryHereError(Exception):
    """Nobody began a story in this channel."""


class UnknownCharacterError(Exception):
    """The story has no such name; `names` are those that were found in it."""

    def __init__(self, name: str, names: tuple[str, ...]) -> None:
        super().__init__("the story does not name them")
        self.name, self.names = name, names


class Cast:
    """Reads stories; the names found in one are remembered until it goes on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: OrderedDict[tuple[str, int], tuple[str, ...]] = OrderedDict()

    async def story_here(self, channel_id: int | None) -> Story:
        """Raises NoStoryHereError."""
        story = None if channel_id is None else await self._store.latest_story(channel_id)
        if story is None:
            raise NoStoryHereError
        return story

    async def names(self, story: Story) -> tuple[str, ...]:
        """Whom the text names, likeliest first."""
        known_as = story.head_turn_id, self._store.people.erasures  # an erasure leaves the head and takes words
        if known_as not in self._names:
            text = await self._text(story)
            self._names[known_as] = await asyncio.to_thread(named_in, text)
            if len(self._names) > _TEXTS_KEPT:
                self._names.popitem(last=False)
        return self._names[known_as]

    async def spelling(self, story: Story, name: str) -> str | None:
        """The name as the story spells it; None where the story doesn't have it."""
        for known in await self.names(story):
            if known.casefold() == name.casefold():
                return known
        return spelling_in(name, await self._text(story))

    async def end(self, story: Story, name: str) -> End:
        """The face of this character as the end of a morph: the one that it was given, or the one that it always has.
        Raises ChildFaceError."""
        face = await self._store.album.face(story.id, name)
        if face is None:
            return End(seed=character_seed(story.id, await self.spelling(story, name) or name))
        recipe = (await self._store.album.receipt(face.code)).recipe
        if not isinstance(recipe, PortraitRequest):
            raise ChildFaceError
        return end_of(recipe)

    async def offered(self, channel_id: int | None, typed: str) -> list[str]:
        """Names to choose from while somebody types: those with a face, then those in the text."""
        try:
            story = await self.story_here(channel_id)
        except NoStoryHereError:
            return []
        faces = [face.name for face in await self._store.album.cast(story.id)]
        named = [*faces, *await self.names(story)]
        return _matching(list(dict.fromkeys(named)), typed)

    async def with_faces(self, channel_id: int | None, typed: str) -> list[str]:
        """Names of those who have a face."""
        try:
            story = await self.story_here(channel_id)
        except NoStoryHereError:
            return []
        return _matching([face.name for face in await self._store.album.cast(story.id)], typed)

    async def _text(self, story: Story) -> str:
        return story_text(await self._store.story_path(story.head_turn_id))


def _matching(names: list[str], typed: str) -> list[str]:
    wanted = typed.casefold().strip()
    return [name for name in names if wanted in name.casefold()]
