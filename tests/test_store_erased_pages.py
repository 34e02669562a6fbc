"""After a withdrawal nothing of a text trains; after an erasure no byte of it is left: in any table, in any page of the
decrypted file (also those that SQLite has freed), in its log, in what a run is handed, in what was logged.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bot.store import Store
from bot.store.people import Correction
from tests.test_store_moods import dump
from tests.test_store_training import KEYS, ME, OTHER, tell

PAGE, RESERVED = 4096, 80  # SQLCipher 4: each page ends with its IV (16 bytes) and its HMAC (64)
SECRET = "quixotic marmalade lighthouse"
LONG = f"{SECRET} " * 400  # spills over several pages


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("bot.store.store.load_keys", lambda *_, **__: KEYS)
    return tmp_path / "inkwell.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with Store.open(path) as store:
        yield store


def decrypted(page: bytes, *, first: bool) -> bytes:
    """The content of one page under the raw key; the first one begins with the salt, in the clear."""
    body = page[16 if first else 0 : PAGE - RESERVED]
    cipher = Cipher(algorithms.AES(KEYS.database), modes.CBC(page[PAGE - RESERVED : PAGE - RESERVED + 16]))
    decryptor = cipher.decryptor()
    return decryptor.update(body) + decryptor.finalize()


def pages(path: Path) -> list[bytes]:
    """Every page of the file, live, freed or stale, as SQLite would read it."""
    content = path.read_bytes()
    return [decrypted(content[at : at + PAGE], first=at == 0) for at in range(0, len(content), PAGE)]


def frames(path: Path) -> list[bytes]:
    """Every page in the write-ahead log."""
    log = path.with_name(f"{path.name}-wal")
    content = log.read_bytes()[32:] if log.exists() else b""
    size = 24 + PAGE
    return [
        decrypted(frame, first=int.from_bytes(content[at : at + 4], "big") == 1)
        for at in range(0, len(content) - size + 1, size)
        if (frame := content[at + 24 : at + size])
    ]


def holding(parts: list[bytes], text: str = SECRET) -> int:
    """How many of them hold a piece of the text: its middle, so that no cut at a page's end hides it."""
    return sum(text[8:20].encode() in part for part in parts)


async def handed_out(store: Store) -> str:
    return str([record async for record in store.training.records()])


async def fill(store: Store) -> None:
    """`ME` alone, with another before and after, at length, undone, and in a correction."""
    await tell(store, ME, LONG)
    theirs = await tell(store, OTHER, "words of another")
    mine = await tell(store, ME, f"as a guest: {SECRET}", theirs)
    await tell(store, OTHER, "and theirs again", mine)
    other = await tell(store, ME, f"{SECRET} undone")
    await store.undo(await tell(store, ME, f"more {SECRET}", other), ME)
    await store.people.correct(
        ME,
        Correction(text=SECRET, answered="neutral", label="neutral", method="m", model_version="", language="en"),
    )


async def test_the_search_finds_what_is_there_though_no_file_shows_it(store: Store, path: Path) -> None:
    for user in (ME, OTHER):
        await store.people.set_consent(user, "training", wording=2)
    await fill(store)
    assert holding(frames(path)) > 2
    await store.fold_log()
    assert holding(pages(path)) > 2
    assert frames(path) == []
    for file in path.parent.iterdir():
        assert SECRET[8:20].encode() not in file.read_bytes(), file
    assert SECRET in await handed_out(store)


async def test_after_an_erasure_no_byte_of_the_text_is_left(
    store: Store, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    for user in (ME, OTHER):
        await store.people.set_consent(user, "training", wording=2)
    await fill(store)
    await store.fold_log()
    assert holding(pages(path)) > 2
    person = store.person_key(ME)
    await store.people.erase(ME)
    for told in await store.training.pending():
        await store.training.settled(told)
    await store.fold_log()
    assert (holding(pages(path)), holding(frames(path))) == (0, 0)
    assert sum(person.encode() in page for page in pages(path)) == 0
    assert SECRET not in str(dump(path))
    assert SECRET not in await handed_out(store)
    assert SECRET not in caplog.text
    assert "words of another" in await handed_out(store)
    assert await store.check() == ()


async def test_without_a_yes_the_text_stands_in_its_story_alone(store: Store, path: Path) -> None:
    await tell(store, ME, SECRET)
    await store.people.set_consent(ME, "private", wording=2)
    await tell(store, ME, f"{SECRET} again")
    where = {name for name, rows in dump(path).items() if SECRET in str(rows)}
    assert where == {"stories", "turns"}
    assert SECRET not in await handed_out(store)
    rows = dump(path)
    assert (rows["shared_turns"], rows["story_choices"], rows["mood_corrections"]) == ([], [], [])


async def test_a_withdrawal_leaves_no_mark_in_any_page(store: Store, path: Path) -> None:
    await store.people.set_consent(ME, "training", wording=2)
    await fill_alone(store)
    before = await store.people.kept_of(ME)
    marks = [row["turn_id"] for row in before.shared]
    assert len(marks) == 2
    await store.people.set_consent(ME, "private", wording=2)
    await store.fold_log()
    assert dump(path)["shared_turns"] == []
    assert holding(pages(path)) > 0  # the stories are still theirs
    assert SECRET not in await handed_out(store)


async def fill_alone(store: Store) -> None:
    end = await tell(store, ME, SECRET)
    await tell(store, ME, f"more {SECRET}", end)
