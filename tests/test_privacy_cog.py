"""`/privacy`: consent, withdrawal, policy, export and erasure on a simulated Discord."""

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import discord
import msgspec
import pytest
from discord import app_commands

from bot.cogs.privacy import EraseButton
from bot.locales import CATALOGUES, speaker
from bot.privacy_export import MAX_FILE_BYTES, export
from bot.privacy_words import policy
from bot.settings import Settings
from bot.store import Receipt
from bot.store.errors import ReceiptNotFoundError
from bot.store.people import Correction, Kept
from models.serving.requests import Sampling
from models.serving.short_requests import PortraitRequest
from tests.mood_scene import Scene, answer_of, labels_of, scene, words_of
from tests.serving_reader import settled
from tests.test_mood_cog import GOOD, corrections

TOLD = "The keeper climbed the stairs"


async def agree(at: Scene) -> None:
    """The member lets one corrected mood train."""
    shown = answer_of(await at.member.slash(at.channel, "mood text", text=GOOD))
    asked = answer_of(await at.member.click(shown, label="Negative"))
    await at.member.click(asked, label="Help train")


async def unpacked(message: Any) -> tuple[dict[str, Any], str]:
    (attached,) = message.attachments
    assert attached.size <= MAX_FILE_BYTES
    with zipfile.ZipFile(io.BytesIO(await attached.read())) as file:
        assert sorted(file.namelist()) == ["inkwell.json", "inkwell.txt"]
        return msgspec.json.decode(file.read("inkwell.json")), file.read("inkwell.txt").decode()


async def test_consent_is_private_at_first_and_says_what_each_level_means(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        assert "**private**" in answer_of(await at.member.slash(at.channel, "privacy consent")).content
        assert await at.store.people.consent(at.member.id) is None
        for level in ("training", "library", "private"):
            answer = answer_of(await at.member.slash(at.channel, "privacy consent", level=level))
            assert f"**{level}**" in answer.content
            held = await at.store.people.consent(at.member.id)
            assert held is not None
            assert held.level == level
        assert await at.store.people.consent(at.admin.id) is None


async def test_where_training_is_not_allowed_the_level_says_that_nothing_is_kept() -> None:
    token = "MTIzNDU2Nzg5MDEyMzQ1Njc4.AbCdEf.abcdefghijklmnopqrstuvwxyz0123456789AB"
    settings = Settings(_env_file=None, discord_token=token)
    assert not settings.may_train
    assert Settings(_env_file=None, discord_token=token, train_on_prompts=True).may_train
    assert Settings(_env_file=None).may_train  # the sandbox
    assert "here: no" in words_of_embed(policy(settings, speaker("en-US")))


async def test_withdrawing_deletes_what_the_consent_covered(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await agree(at)
        assert len(await corrections(at, at.member)) == 1
        answer = answer_of(await at.member.slash(at.channel, "privacy withdraw"))
        assert "deleted: 1" in answer.content
        assert await corrections(at, at.member) == []
        held = await at.store.people.consent(at.member.id)
        assert held is not None
        assert held.level == "private"


async def picture_of(at: Scene, words: str) -> Receipt:
    return await at.store.album.keep(
        user_id=at.member.id, recipe=PortraitRequest(seeds=(words,)), model_version="drawn@1", digest="a" * 64
    )


def words_of_embed(embed: discord.Embed) -> str:
    return "\n".join(f"{field.name}: {field.value}" for field in embed.fields)


@pytest.mark.parametrize("locale", ["en-US", *CATALOGUES])
def test_the_policy_fits_and_names_the_operator(locale: str) -> None:
    settings = Settings(_env_file=None, operator_contact="ann@example.org", mood_keep_days=3650, training_keep_days=77)
    embed = policy(settings, speaker(locale))
    assert len(embed) <= 6_000
    assert all(0 < len(field.value or "") <= 1_024 for field in embed.fields)
    assert "ann@example.org" in words_of_embed(embed)
    assert "77" in words_of_embed(embed)
    assert policy(Settings(_env_file=None), speaker(locale)).fields[-1].value


def test_what_is_kept_for_one_day_is_said_in_the_singular() -> None:
    words = words_of_embed(policy(Settings(_env_file=None, training_keep_days=1, mood_keep_days=1), speaker("en-US")))
    assert "Only after your yes, for at most 1 day:" in words
    assert "at least 5 people are kept, for 1 day." in words


async def test_the_policy_works_everywhere(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        for result in (
            await at.member.slash(at.channel, "privacy policy"),
            await at.member.user.slash("privacy policy"),
        ):
            assert "keyed hash" in words_of(answer_of(result))


async def test_an_export_holds_all_of_ones_own_and_nothing_of_others(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await at.member.slash(at.channel, "story", prompt=TOLD)
        await at.admin.slash(at.channel, "story", prompt="Words of an admin")
        await agree(at)
        await at.member.slash(at.channel, "mood optout")
        await at.store.add_taught_text(
            guild_id=at.guild.id, user_id=at.member.id, source="file", title="tale.txt", text="A taught tale"
        )
        receipt = await picture_of(at, "Mara of the export")
        document, text = await unpacked(answer_of(await at.member.slash(at.channel, "privacy export")))
        assert [turn["text"] for turn in document["turns"]] == [TOLD]
        assert document["stories"][0]["title"] == TOLD
        assert [request["kind"] for request in document["requests"]] == ["start"]
        assert document["corrections"][0]["text"] == GOOD
        assert document["taught"][0]["text"] == "A taught tale"
        assert document["consent"]["level"] == "training"
        assert document["opted_out_since"]
        assert [picture["code"] for picture in document["pictures"]] == [receipt.code]
        assert "Mara of the export" in text
        for part in (TOLD, GOOD, "A taught tale", "positive → negative", "Consent: training"):
            assert part in text
        assert "Words of an admin" not in text + str(document)
        empty, words = await unpacked(answer_of(await at.admin.slash(at.channel, "privacy export")))
        assert empty["corrections"] == []
        assert "Nothing." in words


def kept(*texts: str) -> Kept:
    return Kept(
        consent=None,
        opted_out_since=None,
        stories=[],
        turns=[{"id": "t", "story_id": "s", "text": text, "created_at": 1.0} for text in texts],
        requests=[],
        taught=[],
        corrections=[Correction(text="short", answered="x", label="y", method="z", model_version="", language="en")],
        pictures=[],
        faces=[],
        shared=[],
        choices=[],
    )


def test_an_export_that_is_too_large_leaves_out_the_longest_and_says_so() -> None:
    long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=60_000))
    packed = export(kept("kept", long), speaker("en-US"), now=0.0, room=20_000)
    assert len(packed) <= 20_000
    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        text = file.read("inkwell.txt").decode()
        assert msgspec.json.decode(file.read("inkwell.json"))["texts_left_out"] == 1
    assert "1 of your longest texts is left out" in text
    assert "kept" in text
    assert "short" in text
    assert long not in text
    whole = export(kept("kept", long), speaker("zh-CN"), now=0.0)
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        assert long in file.read("inkwell.txt").decode()


async def test_erasing_asks_and_then_removes_everything_and_the_voice_learns_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []

    async def settle(self: Any) -> None:
        for guild in await self._store.unsettled_voices():
            learned.append(guild)
            await self._store.settle_voice(guild, await self._store.forgetting_texts(guild))

    monkeypatch.setattr("bot.teaching.Teacher.settle", settle)
    async with scene(tmp_path) as at:
        await at.member.slash(at.channel, "story", prompt=TOLD)
        await agree(at)
        await at.store.add_taught_text(
            guild_id=at.guild.id, user_id=at.member.id, source="file", title="tale.txt", text="A taught tale"
        )
        await at.store.settle_voice(at.guild.id)
        receipt = await picture_of(at, "Mara")
        learned.clear()
        asked = answer_of(await at.member.slash(at.channel, "privacy erase"))
        assert "can't be undone" in asked.content
        assert labels_of(asked) == ["Erase everything"]
        assert len((await at.store.people.kept_of(at.member.id)).turns) == 1
        await at.member.click(asked, label="Erase everything")
        for part in ("whole stories: 1", "taught texts: 1", "receipts of pictures and verses: 1", "learning again"):
            assert part in asked.content
        left = await at.store.people.kept_of(at.member.id)
        assert (left.turns, left.taught, left.corrections, left.consent, left.requests) == ([], [], [], None, [])
        assert (left.pictures, left.faces) == ([], [])
        with pytest.raises(ReceiptNotFoundError):
            await at.store.album.receipt(receipt.code)
        await settled(lambda: learned)
        assert learned == [at.guild.id]


async def test_a_stranger_cant_press_somebody_elses_erasure_and_a_busy_story_is_waited_for(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await at.store.begin_story(
            prompt=TOLD, user_id=at.member.id, guild_id=at.guild.id, channel_id=at.channel.id, sampling=Sampling(),
            application_id=1, interaction_token=None, locale="en-US",
        )  # fmt: skip
        asked = answer_of(await at.member.slash(at.channel, "privacy erase"))
        pressed: list[str] = []

        class Stranger:
            user = at.admin
            client = at.bot

        async def told(interaction: Any, error: BaseException) -> None:
            pressed.append(type(error).__name__)

        at.bot.answer_error, honest = told, at.bot.answer_error  # type: ignore[method-assign]
        await EraseButton(at.member.id, "").callback(Stranger())  # type: ignore[arg-type]
        at.bot.answer_error = honest  # type: ignore[method-assign]
        assert pressed == [app_commands.MissingPermissions.__name__]
        busy = await at.member.click(asked, label="Erase everything")
        assert "still writing" in str([each.content for each in busy.followups])
        assert len((await at.store.people.kept_of(at.member.id)).turns) == 1


async def test_voices_forget_even_where_the_disk_fails_after_an_erasure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as at:
        await at.store.add_taught_text(
            guild_id=at.guild.id, user_id=at.member.id, source="file", title="tale.txt", text="A taught tale"
        )
        again: list[bool] = []

        async def full() -> None:
            raise OSError("no space left")

        monkeypatch.setattr(at.store, "fold_log", full)
        monkeypatch.setattr(at.bot, "learn_again", lambda: again.append(True))
        asked = answer_of(await at.member.slash(at.channel, "privacy erase"))
        await at.member.click(asked, label="Erase everything")
        assert again == [True]
