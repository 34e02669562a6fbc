"""The store's pictures and verses: receipts that reproduce them, and the faces of a story's characters. Each method is
one transaction. Knows no Discord object and no model; `Store.album` is the only one.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from bot.store import portraits
from bot.store.rows import Receipt, StoryCharacter
from models.serving.short_requests import MorphRequest, PortraitRequest, VerseRequest

Run = Callable[..., Awaitable[Any]]


class Album:
    """Every method may also raise a `StoreFaultError` and StoreClosedError, as the store's own. `user_id` arguments are
    Discord's; only their keyed hash is stored."""

    def __init__(self, read: Run, write: Run, person_key: Callable[[int], str]) -> None:
        self._read, self._write, self._person_key = read, write, person_key

    async def keep(
        self,
        *,
        user_id: int,
        recipe: PortraitRequest | MorphRequest | VerseRequest,
        model_version: str,
        digest: str,
    ) -> Receipt:
        """A new receipt. Call it before anybody is shown its code. Of one person the latest 2,000 are kept, and older
        ones that stand in a story."""
        receipt: Receipt = await self._write(
            portraits.add,
            author_key=self._person_key(user_id),
            recipe=recipe,
            model_version=model_version,
            digest=digest,
        )
        return receipt

    async def receipt(self, code: str) -> Receipt:
        """Raises ReceiptNotFoundError."""
        found: Receipt = await self._read(portraits.get, code)
        return found

    async def receipts_of(self, user_id: int, limit: int) -> tuple[Receipt, ...]:
        """A person's receipts, newest first."""
        found: tuple[Receipt, ...] = await self._read(portraits.latest_of, self._person_key(user_id), limit)
        return found

    async def forget(self, code: str, user_id: int) -> int:
        """Drop a receipt and the faces that stories have of it; how many faces. Raises ReceiptNotFoundError,
        ReceiptNotYoursError."""
        faces: int = await self._write(portraits.forget, code, author_key=self._person_key(user_id))
        return faces

    async def erase(self, user_id: int) -> int:
        """Drop every receipt of this person, and every face made of those or attached by them; how many receipts."""
        receipts: int = await self._write(portraits.erase, author_key=self._person_key(user_id))
        return receipts

    async def attach(
        self,
        *,
        story_id: str,
        name: str,
        code: str,
        user_id: int,
        moderator: bool,
        picture: bytes,
        attributes: dict[str, str],
    ) -> StoryCharacter:
        """Give a character its face, or another one: whoever gave the former, the story's author and moderators may.
        Raises StoryNotFoundError, ReceiptNotFoundError, FaceTakenError, CastFullError, PictureTooLargeError."""
        attached: StoryCharacter = await self._write(
            portraits.attach,
            story_id=story_id,
            name=name,
            code=code,
            author_key=self._person_key(user_id),
            moderator=moderator,
            picture=picture,
            attributes=attributes,
        )
        return attached

    async def detach(self, *, story_id: str, name: str, user_id: int, moderator: bool) -> StoryCharacter:
        """Take a face out of the story; the same people may. Raises StoryNotFoundError, CharacterNotFoundError,
        FaceTakenError."""
        gone: StoryCharacter = await self._write(
            portraits.detach,
            story_id=story_id,
            name=name,
            author_key=self._person_key(user_id),
            moderator=moderator,
        )
        return gone

    async def face(self, story_id: str, name: str) -> StoryCharacter | None:
        """The face that somebody gave this character; None where nobody did."""
        found: StoryCharacter | None = await self._read(portraits.face, story_id, name)
        return found

    async def cast(self, story_id: str) -> tuple[StoryCharacter, ...]:
        """The story's characters with a face, in the order in which they got one."""
        found: tuple[StoryCharacter, ...] = await self._read(portraits.cast, story_id)
        return found
