"""Receipts and faces in the store: kept under a pseudonym, erased with all that was made of them, bounded."""

# ruff: noqa: ASYNC240  # a test may look at its files directly

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.store import Receipt, Store, StoryCharacter, portraits
from bot.store.errors import (
    CastFullError,
    CharacterNotFoundError,
    FaceTakenError,
    PictureTooLargeError,
    ReceiptNotFoundError,
    ReceiptNotYoursError,
    StoryNotFoundError,
)
from bot.store.ids import read_code, short_code
from bot.store.schema import portrait_receipts, stories
from models.serving.requests import Sampling
from models.serving.short_requests import MorphRequest, PortraitRequest

AUTHOR, MAKER, OTHER = 1, 2, 3
MARA = PortraitRequest(
    seeds=("Mara", "林晚 👩\u200d🚀"), attributes={"hair colour": "red"}, truncation=0.5, vary=0.35, vary_seed="x"
)
MORPH = MorphRequest(start="Mara", end="Tom", frames=7, truncation=1.0)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(tmp_path / "inkwell.db", clock=Clock()) as store:
        yield store


async def kept(store: Store, recipe: PortraitRequest | MorphRequest = MARA, user_id: int = MAKER) -> Receipt:
    return await store.album.keep(user_id=user_id, recipe=recipe, model_version="gan@1", digest="d" * 64)


async def begun(store: Store) -> str:
    await store.begin_story(
        prompt="A keeper named Mara.", user_id=AUTHOR, guild_id=None, channel_id=9, sampling=Sampling(),
        application_id=3, interaction_token=None, locale="en-GB",
    )  # fmt: skip
    story = await store.latest_story(9)
    assert story is not None
    return story.id


async def attached(store: Store, story_id: str, name: str, code: str, user_id: int = MAKER, **more: Any) -> Any:
    given = {"moderator": False, "picture": b"png", "attributes": {"hat": "yes"}} | more
    return await store.album.attach(story_id=story_id, name=name, code=code, user_id=user_id, **given)


async def test_a_receipt_comes_back_as_it_was_asked_and_names_nobody(store: Store) -> None:
    for recipe in (MARA, MORPH):
        receipt = await kept(store, recipe)
        assert await store.album.receipt(receipt.code) == receipt
        assert receipt.recipe == recipe
        assert (receipt.model_version, receipt.digest) == ("gan@1", "d" * 64)
        assert receipt.author_key == store.person_key(MAKER)
        assert re.fullmatch(r"[0-9a-hjkmnp-tv-z]{8}", receipt.code)
    with pytest.raises(ReceiptNotFoundError):
        await store.album.receipt("nosuch")


async def test_a_code_is_read_as_people_type_it() -> None:
    code = short_code()
    assert read_code(f" {code[:4].upper()}-{code[4:]} ") == code
    assert read_code("OiL0") == "0110"
    assert len({short_code() for _ in range(1_000)}) == 1_000


async def test_receipts_are_listed_newest_first_and_only_to_whoever_made_them(store: Store) -> None:
    first, second = await kept(store), await kept(store, MORPH)
    await kept(store, user_id=OTHER)
    assert await store.album.receipts_of(MAKER, 10) == (second, first)
    assert await store.album.receipts_of(MAKER, 1) == (second,)


async def test_a_recipe_of_a_newer_version_is_read_without_what_is_not_known_here(store: Store) -> None:
    receipt = await kept(store)

    async def add_a_field(connection: Any, *, now: float) -> None:
        document = {"type": "portrait", "seeds": ["Mara"], "truncation": 0.5, "style": "oil"}
        await connection.execute(sa.update(portrait_receipts).values(recipe=document))

    await store._write(add_a_field)
    recipe = (await store.album.receipt(receipt.code)).recipe
    assert recipe == PortraitRequest(seeds=("Mara",), truncation=0.5)


async def test_of_one_person_only_the_latest_and_those_in_stories_are_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portraits, "MAX_RECEIPTS", 2)
    story = await begun(store)
    in_story, dropped = await kept(store), await kept(store)
    await attached(store, story, "Mara", in_story.code)
    others = await kept(store, user_id=OTHER)
    latest = [await kept(store) for _ in range(2)]
    assert await store.album.receipts_of(MAKER, 10) == (*reversed(latest), in_story)
    assert await store.album.receipts_of(OTHER, 10) == (others,)
    with pytest.raises(ReceiptNotFoundError):
        await store.album.receipt(dropped.code)


async def test_names_that_look_alike_are_one_character_of_one_story(store: Store) -> None:
    story, receipt = await begun(store), await kept(store)
    mara = await attached(store, story, "Mara", receipt.code, picture=b"\x89PNG")
    assert mara == StoryCharacter(
        story_id=story, name="Mara", code=receipt.code, author_key=store.person_key(MAKER), picture=b"\x89PNG",
        attributes={"hat": "yes"}, created_at=mara.created_at,
    )  # fmt: skip
    for name in ("mara", " MARA ", "Ｍａｒａ"):
        assert await store.album.face(story, name) == mara
    tom = await attached(store, story, "Tom", receipt.code)
    again = await attached(store, story, "MARA", receipt.code, picture=b"other")
    assert await store.album.cast(story) == (again, tom)  # it keeps its place
    assert await store.album.face(await begun(store), "Mara") is None


async def test_only_the_giver_the_author_and_moderators_change_or_remove_a_face(store: Store) -> None:
    story, receipt = await begun(store), await kept(store)
    mara = await attached(store, story, "Mara", receipt.code)
    with pytest.raises(FaceTakenError):
        await attached(store, story, "mara", receipt.code, OTHER)
    with pytest.raises(FaceTakenError):
        await store.album.detach(story_id=story, name="Mara", user_id=OTHER, moderator=False)
    assert await store.album.cast(story) == (mara,)
    for user, moderator in ((MAKER, False), (AUTHOR, False), (OTHER, True)):
        await attached(store, story, "Mara", receipt.code, user, moderator=moderator)
    gone = await store.album.detach(story_id=story, name="mara", user_id=OTHER, moderator=False)
    assert gone.author_key == store.person_key(OTHER)
    with pytest.raises(CharacterNotFoundError):
        await store.album.detach(story_id=story, name="mara", user_id=OTHER, moderator=True)


async def test_a_story_holds_only_so_many_and_only_so_large_faces(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    story, receipt = await begun(store), await kept(store)
    monkeypatch.setattr(portraits, "MAX_FACES", 2)
    monkeypatch.setattr(portraits, "MAX_PICTURE_BYTES", 4)
    with pytest.raises(PictureTooLargeError):
        await attached(store, story, "Mara", receipt.code, picture=b"12345")
    await attached(store, story, "Mara", receipt.code)
    await attached(store, story, "Tom", receipt.code)
    with pytest.raises(CastFullError):
        await attached(store, story, "Ida", receipt.code)
    await attached(store, story, "Tom", receipt.code)  # a face in place of another is no more
    assert len(await store.album.cast(story)) == 2


async def test_a_face_needs_a_story_and_a_receipt_and_goes_with_either(store: Store) -> None:
    story, receipt = await begun(store), await kept(store)
    with pytest.raises(StoryNotFoundError):
        await attached(store, "nosuchstory", "Mara", receipt.code)
    with pytest.raises(ReceiptNotFoundError):
        await attached(store, story, "Mara", "nosuch")
    await attached(store, story, "Mara", receipt.code)

    async def drop(connection: Any, *, now: float) -> None:
        await connection.execute(sa.delete(stories))

    await store._write(drop)
    assert await store.album.cast(story) == ()
    assert await store.album.receipt(receipt.code) == receipt


async def test_forgetting_one_receipt_takes_its_faces_and_is_for_its_owner(store: Store) -> None:
    story, receipt, other = await begun(store), await kept(store), await kept(store)
    await attached(store, story, "Mara", receipt.code, OTHER)
    tom = await attached(store, story, "Tom", other.code)
    with pytest.raises(ReceiptNotYoursError):
        await store.album.forget(receipt.code, OTHER)
    assert await store.album.forget(receipt.code, MAKER) == 1
    assert await store.album.cast(story) == (tom,)
    with pytest.raises(ReceiptNotFoundError):
        await store.album.forget(receipt.code, MAKER)


async def test_erasing_somebody_leaves_nothing_that_they_made_or_attached(store: Store) -> None:
    story, mine, theirs = await begun(store), await kept(store), await kept(store, user_id=OTHER)
    await attached(store, story, "Mara", mine.code, OTHER)
    await attached(store, story, "Tom", theirs.code, MAKER)
    ida = await attached(store, story, "Ida", theirs.code, OTHER)
    assert await store.album.erase(MAKER) == 1
    assert await store.album.receipts_of(MAKER, 10) == ()
    assert await store.album.cast(story) == (ida,)
    assert await store.album.receipt(theirs.code) == theirs


async def test_seed_words_and_pictures_are_not_readable_in_the_files(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "inkwell.db") as store:
        receipt = await kept(store, PortraitRequest(seeds=("unmistakable",)))
        await attached(store, await begun(store), "Mara", receipt.code, picture=b"unmistakable" * 9)
        for file in tmp_path.iterdir():
            assert b"unmistakable" not in file.read_bytes(), file
