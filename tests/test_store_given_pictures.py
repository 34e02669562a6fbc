"""Drawings that people gave: never without their consent, gone with it, and handed out to train while it holds."""

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlcipher3 import dbapi2

from bot.store import Store, sqlite
from bot.store.errors import GivenPictureNotFoundError, TooManyGivenError
from bot.store.keys import derive_keys
from bot.store.people import ConsentMissingError
from models.serving.training import PictureRecord
from tests.test_store_erased_pages import holding, pages

KEYS = derive_keys("correct horse battery staple")
ME, OTHER = 42, 43
DAY = 86_400.0
DRAWING = b"the unmistakable bytes of a drawing"


class Clock:
    now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("bot.store.store.load_keys", lambda *_, **__: KEYS)
    return tmp_path / "inkwell.db"


@pytest.fixture
async def store(path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with Store.open(path, clock=clock) as store:
        yield store


def rows(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite.connect(path, KEYS)) as connection:
        return connection.execute("SELECT * FROM given_pictures").fetchall()


async def agree(store: Store, user: int) -> None:
    await store.people.set_consent(user, "training", wording=2)


async def test_without_consent_no_drawing_can_be(store: Store, path: Path) -> None:
    with pytest.raises(ConsentMissingError):
        await store.given.give(ME, DRAWING)
    for level in ("private", "library"):
        await store.people.set_consent(ME, level, wording=2)
        with pytest.raises(ConsentMissingError):
            await store.given.give(ME, DRAWING)
    for level in ("private", "library", "training"):  # the schema itself refuses
        with closing(sqlite.connect(path, KEYS)) as connection, pytest.raises(dbapi2.IntegrityError):
            connection.execute(
                "INSERT INTO given_pictures VALUES ('i', ?, ?, 'd', ?, 1.0)", (store.person_key(ME), level, DRAWING)
            )
    assert rows(path) == []


@pytest.mark.parametrize("way", ["withdraw", "erase"])
async def test_drawings_go_with_the_consent_to_the_last_byte(store: Store, path: Path, way: str) -> None:
    for user, drawing in ((ME, DRAWING), (OTHER, b"theirs")):
        await agree(store, user)
        await store.given.give(user, drawing)
    await store.fold_log()
    assert holding(pages(path), DRAWING.decode()) > 0
    if way == "withdraw":
        assert (await store.people.set_consent(ME, "private", wording=2)).given == 1
    else:
        assert (await store.people.erase(ME)).given == 1
    assert [told.author_key for told in await store.training.pending()] == [store.person_key(ME)]
    await store.fold_log()
    assert holding(pages(path), DRAWING.decode()) == 0
    assert [row[4] for row in rows(path)] == [b"theirs"]


async def test_the_same_drawing_is_kept_once_and_one_person_gives_only_so_many(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.given_pictures.MAX_GIVEN", 2)
    await agree(store, ME)
    first = await store.given.give(ME, DRAWING)
    again = await store.given.give(ME, DRAWING)
    assert (first.again, again.again, again.picture, again.count) == (False, True, first.picture, 1)
    await store.given.give(ME, b"second")
    with pytest.raises(TooManyGivenError):
        await store.given.give(ME, b"third")
    assert (await store.given.give(ME, DRAWING)).again
    await agree(store, OTHER)
    assert not (await store.given.give(OTHER, DRAWING)).again


async def test_drawings_are_handed_out_to_train_while_that_is_allowed(store: Store) -> None:
    await agree(store, ME)
    gift = await store.given.give(ME, DRAWING)
    assert [record async for record in store.training.records()] == [
        PictureRecord(id=gift.picture.id, author=store.person_key(ME), png=DRAWING, at=1e9)
    ]
    counts = await store.training.counts(at_least=1)
    assert (counts.givers, counts.pictures) == (1, 1)
    assert (await store.training.counts()).pictures is None
    store.training.allowed = False
    assert [record async for record in store.training.records()] == []


async def test_a_drawing_is_taken_back_by_whoever_gave_it(store: Store) -> None:
    for user in (ME, OTHER):
        await agree(store, user)
    mine = (await store.given.give(ME, DRAWING)).picture
    await store.given.give(OTHER, b"theirs")
    with pytest.raises(GivenPictureNotFoundError):
        await store.given.take_back(OTHER, mine.id)
    assert await store.training.pending() == ()
    assert await store.given.take_back(ME, mine.id) == 1
    assert [told.author_key for told in await store.training.pending()] == [store.person_key(ME)]
    assert await store.given.of(ME) == ()
    assert len(await store.given.of(OTHER)) == 1
    with pytest.raises(GivenPictureNotFoundError):
        await store.given.take_back(ME)


async def test_drawings_go_in_time_and_are_exported_before(store: Store, clock: Clock) -> None:
    await agree(store, ME)
    await store.given.give(ME, DRAWING)
    clock.now += 10 * DAY
    await store.given.give(ME, b"new")
    assert [row["png"] for row in (await store.people.kept_of(ME)).given] == [DRAWING, b"new"]
    assert await store.given.forget_before(clock.now - 5 * DAY) == 1
    assert [picture.png for picture in await store.given.of(ME)] == [b"new"]
