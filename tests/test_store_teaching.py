"""Taught texts in the store: kept encrypted under a pseudonym, forgotten at once, bounded for each server."""

# ruff: noqa: ASYNC240  # a test may look at its files directly

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.store import Store, TaughtText, teaching
from bot.store.errors import TaughtTextNotFoundError, TaughtTooMuchError

GUILD, OTHER = 7, 8


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(tmp_path / "inkwell.db") as store:
        yield store


async def taught(store: Store, text: str, guild: int = GUILD) -> TaughtText:
    return await store.add_taught_text(guild_id=guild, user_id=42, source="file", title="tale.txt", text=text)


async def test_texts_are_listed_newest_first_and_learned_oldest_first(store: Store) -> None:
    first, second = await taught(store, "one"), await taught(store, "three")
    await taught(store, "elsewhere", OTHER)
    assert await store.taught_texts(GUILD) == (second, first)
    assert await store.words_to_learn(GUILD) == ("one", "three")
    assert (second.characters, second.state, second.author_key) == (5, "learning", store.person_key(42))
    assert "42" not in repr(second).replace(second.author_key, "").replace(second.id, "").replace(
        str(second.created_at), ""
    )


async def test_a_voice_stays_unsettled_until_it_was_learned_and_until_it_was_forgotten(store: Store) -> None:
    text = await taught(store, "unmistakable words")
    assert await store.unsettled_voices() == (GUILD,)
    await store.settle_voice(GUILD)
    assert await store.unsettled_voices() == ()
    assert (await store.taught_text(GUILD, text.id)).state == "learned"
    await store.begin_forgetting(GUILD, text.id)
    assert await store.unsettled_voices() == (GUILD,)
    assert await store.words_to_learn(GUILD) == await store.taught_texts(GUILD) == ()
    late = await taught(store, "taught meanwhile")
    forgotten = await store.forgetting_texts(GUILD)
    assert forgotten == (text.id,)
    await store.begin_forgetting(GUILD, late.id)  # while the voice was learning
    await store.settle_voice(GUILD, forgotten)
    assert await store.unsettled_voices() == (GUILD,)
    await store.settle_voice(GUILD, await store.forgetting_texts(GUILD))
    assert await store.unsettled_voices() == ()


async def test_a_text_is_forgotten_once_and_only_in_its_own_server(store: Store) -> None:
    text = await taught(store, "words")
    with pytest.raises(TaughtTextNotFoundError):
        await store.begin_forgetting(OTHER, text.id)
    await store.begin_forgetting(GUILD, text.id)
    for ask in (store.begin_forgetting, store.taught_text):
        with pytest.raises(TaughtTextNotFoundError):
            await ask(GUILD, text.id)


async def test_a_server_is_taught_only_so_much(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching, "MAX_CHARACTERS", 10)
    monkeypatch.setattr(teaching, "MAX_TEXTS", 2)
    first = await taught(store, "12345")
    with pytest.raises(TaughtTooMuchError):
        await taught(store, "123456")
    await taught(store, "1")
    with pytest.raises(TaughtTooMuchError) as refused:
        await taught(store, "1")
    assert (refused.value.texts, refused.value.characters) == (2, 6)
    await taught(store, "1234567890", OTHER)
    await store.begin_forgetting(GUILD, first.id)
    await taught(store, "123456789")


async def test_the_words_are_not_readable_in_the_files(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "inkwell.db") as store:
        await taught(store, "unmistakable words")
        for file in tmp_path.iterdir():
            assert b"unmistakable" not in file.read_bytes(), file
