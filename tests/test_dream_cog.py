"""`/dream` on a simulated Discord: every command and button, over a small painter that really draws."""

import asyncio
import hashlib
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord
from PIL import Image

from bot.client import StoryBot
from bot.dream_words import dream_words, receipt_words
from bot.dreams import (
    ChildFaceError,
    EmptySeedError,
    NoSuchNumberError,
    Painter,
    PainterBusyError,
    PainterDownError,
    PainterMissingError,
    PainterRefusedError,
    PictureTooLargeForDiscordError,
    StartingAgainError,
)
from bot.locales import speaker
from bot.pace import TooFastError
from bot.settings import Settings
from bot.store import Store, StoryCharacter
from bot.store.errors import FaceTakenError, ReceiptNotFoundError, ReceiptNotYoursError
from bot.story_cast import NoStoryHereError, UnknownCharacterError
from models.serving.engine import (
    EngineClosedError,
    EngineOverloadedError,
    EngineUnavailableError,
    RequestRefusedError,
    WorkerDiedError,
)
from models.serving.in_process import InProcessEngine
from models.serving.requests import Sampling
from models.serving.short_requests import Look, PortraitRequest
from tests.bigram_model import BigramModel
from tests.drawn_portraits import DrawnEngine, DrawnPortraits

TALE = 'The keeper Mara found a letter. "Who wrote this?" asked Tom. Mara did not answer, and Tom went home.'
BUTTONS = ["More like this", "Vary", "Morph", "Attach to story", "Seed"]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A server with a channel, a writer, a reader and a moderator, and the bot in it."""

    env: Any
    bot: StoryBot
    store: Store
    model: DrawnPortraits
    short: DrawnEngine
    channel: Any
    writer: Any
    reader: Any
    moderator: Any
    told: list[str] = field(default_factory=list)

    async def dream(self, command: str, who: Any = None, **options: Any) -> "Answer":
        return await Answer.of(await (who or self.writer).slash(self.channel, f"dream {command}", **options))

    async def press(self, answer: "Answer", label: str, who: Any = None) -> "Answer":
        return await Answer.of(await (who or self.writer).click(answer.message, label=label))

    async def say_in_modal(self, answer: "Answer", words: str, who: Any = None) -> "Answer":
        (field_id,) = [part["custom_id"] for part in walk(answer.result.modal["components"]) if part["type"] == 4]
        return await Answer.of(await (who or self.writer).submit_modal(answer.result, {field_id: words}))

    async def tell(self, prompt: str = TALE, who: Any = None) -> str:
        """A story in the channel; its id."""
        await self.store.begin_story(
            prompt=prompt, user_id=(who or self.writer).id, guild_id=None, channel_id=self.channel.id,
            sampling=Sampling(), application_id=1, interaction_token=None, locale="en-US",
        )  # fmt: skip
        story = await self.store.latest_story(self.channel.id)
        assert story is not None
        return story.id

    def met(self, *kinds: type[BaseException]) -> bool:
        return [type(getattr(error, "original", error)) for error in self.env.errors] == [*kinds]


@dataclass(frozen=True)
class Answer:
    """What somebody got: the last message of an interaction."""

    result: Any
    message: Any
    files: dict[str, bytes]

    @classmethod
    async def of(cls, result: Any) -> "Answer":
        shown = (result.followups or [result.response])[-1]
        message = shown.message if shown is not None else None
        files = {} if message is None else {file.filename: await file.read() for file in message.attachments}
        return cls(result, message, files)

    @property
    def words(self) -> str:
        return str(self.message.content)

    @property
    def alts(self) -> list[str]:
        return [file.description for file in self.message.attachments]

    @property
    def labels(self) -> list[str]:
        return [child.label for row in self.message.components for child in row.children if getattr(child, "label", "")]

    @property
    def code(self) -> str:
        return self.words.split("Receipt `")[1].split("`")[0]

    @property
    def picture(self) -> bytes:
        (data,) = self.files.values()
        return data


def walk(parts: Any) -> list[Any]:
    found = []
    for part in parts:
        found += [part, *walk(part.get("components", [])), *walk([part["component"]] if "component" in part else [])]
    return found


def pixels(image: Image.Image) -> bytes:
    """The face, coarsely: a GIF has fewer colours than a PNG."""
    small = image.convert("RGB").resize((8, 8), Image.Resampling.NEAREST)
    return bytes(value // 16 for value in small.tobytes())


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@asynccontextmanager
async def scene(
    tmp_path: Path, model: DrawnPortraits | None = None, *, weights: bool = True, **chosen: Any
) -> AsyncIterator[Scene]:
    settings = Settings(_env_file=None, data_dir=tmp_path, edit_interval_s=0.2, shutdown_grace_s=1.0, **chosen)
    engine = InProcessEngine(BigramModel)
    model = model or DrawnPortraits()
    short = DrawnEngine(model if weights else None)
    await short.start()
    async with Store.open(settings.database) as store:
        await engine.start()
        bot = StoryBot(settings=settings, store=store, engine=engine, short=short)
        async with simcord.run(bot, settle_timeout=30.0, shard_count=1) as env:
            guild = env.create_guild()
            mods = guild.create_role("Mods", permissions=discord.Permissions(manage_messages=True))
            yield Scene(
                env=env,
                bot=bot,
                store=store,
                model=model,
                short=short,
                channel=guild.create_text_channel("stories"),
                writer=guild.add_member(env.create_user("writer")),
                reader=guild.add_member(env.create_user("reader")),
                moderator=guild.add_member(env.create_user("moderator"), roles=[mods]),
            )
        await short.close()
        await engine.close()


async def test_a_portrait_is_shown_large_with_alt_text_buttons_and_a_stored_receipt(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        answer = await at.dream("portrait", name="Mara")
        assert answer.result.acknowledged
        assert answer.words.startswith("🎨 **Mara**\n")
        assert min(Image.open(io.BytesIO(answer.picture)).size) >= 512
        (alt,) = answer.alts
        assert alt.startswith("Pixel-art portrait of Mara: ")
        assert "skin" in alt
        assert "no " not in alt
        assert answer.labels == BUTTONS
        receipt = await at.store.album.receipt(answer.code)
        assert receipt.recipe == PortraitRequest(seeds=("Mara",), truncation=0.8)
        assert (receipt.model_version, receipt.digest) == ("drawn@1", digest(answer.picture))
        assert receipt.author_key == at.store.person_key(at.writer.id)


async def test_the_same_name_is_the_same_face_and_without_one_the_seed_is_shown(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first, again = await at.dream("portrait", name="Mara"), await at.dream("portrait", name="  Mara ")
        assert first.picture == again.picture
        assert first.code != again.code
        other = await at.dream("portrait")
        recipe: Any = (await at.store.album.receipt(other.code)).recipe
        (seed,) = recipe.seeds
        assert f"**{seed}**" in other.words
        assert (await at.dream("portrait", name=seed)).picture == other.picture


async def test_traits_and_variety_are_asked_of_the_model_and_what_is_missed_is_said(tmp_path: Path) -> None:
    async with scene(tmp_path, DrawnPortraits(blind=["hat"])) as at:
        answer = await at.dream("portrait", name="Mara", glasses="dark", hair_colour="red", hat="yes", variety=50)
        (request,) = at.model.asked
        assert request.attributes == {"glasses": "dark", "hair colour": "red", "hat": "yes"}
        assert request.truncation == 0.5
        assert "dark glasses" in answer.alts[0]
        assert "red hair" in answer.alts[0]
        assert "I can't see it: a hat." in answer.words
        assert "glasses" not in answer.words


@pytest.mark.parametrize("count", [4, 9])
async def test_a_grid_has_one_receipt_and_any_face_of_it_can_be_taken_out(tmp_path: Path, count: int) -> None:
    async with scene(tmp_path) as at:
        grid = await at.dream("portrait", name="Mara", count=count)
        side = round(count**0.5)
        assert Image.open(io.BytesIO(grid.picture)).size == (side * 512, side * 512)
        assert f"(×{count})" in grid.words
        assert grid.alts[0].startswith(f"{count} pixel-art portraits. 1. Mara: ")
        assert f"{count}. Mara {count}: " in grid.alts[0]
        assert grid.labels == ["More like this", "Vary", "Seed"]
        one = await Answer.of(await at.reader.select(grid.message, ["2"]))
        assert one.labels == BUTTONS
        assert "**Mara 2**" in one.words
        assert one.picture == (await at.dream("portrait", name="Mara 2")).picture
        first = await Answer.of(await at.reader.select(grid.message, ["1"]))
        assert first.picture == (await at.dream("portrait", name="Mara")).picture


SEEDS = {
    "Chinese": ("林晚", "林晚"),
    "emoji": ("👩\u200d🚀", "👩\u200d🚀"),
    "right to left": ("\u202eمرحبا", "مرحبا"),
    "control characters": ("Ma\x00ra\x1b\x07", "Mara"),
    "a lone surrogate": ("Mara \ud83d", "Mara \ufffd"),
    "combining marks": ("Z" + "\u0301\u0302" * 90, None),
    "everyone": ("@everyone", "@everyone"),
    "code and Markdown": ("`**a** [b](http://c.example)`", "`**a** [b](http://c.example)`"),
    "two lines": ("one\ntwo", "one two"),
    "two hundred characters": ("灯" * 200, "灯" * 200),
}


@pytest.mark.parametrize(("typed", "kept"), SEEDS.values(), ids=SEEDS)
async def test_any_words_are_a_seed_that_the_receipt_reproduces(tmp_path: Path, typed: str, kept: str | None) -> None:
    async with scene(tmp_path) as at:
        answer = await at.dream("portrait", name=typed)
        recipe: Any = (await at.store.album.receipt(answer.code)).recipe
        assert kept is None or recipe.seeds == (kept,)
        assert not answer.message.mention_everyone
        assert len(answer.words) <= 2_000
        assert len(answer.alts[0]) <= 1_024
        again = await at.dream("receipt", code=answer.code)
        assert again.picture == answer.picture
        assert "byte for byte" in again.words
        assert (await at.press(answer, "Seed")).result.ephemeral


@pytest.mark.parametrize("typed", ["   ", "\u200b\u2060", "\u202e", "\x00\x07"])
async def test_words_that_nobody_sees_are_a_sentence(tmp_path: Path, typed: str) -> None:
    async with scene(tmp_path) as at:
        assert "can be seen" in (await at.dream("portrait", name=typed)).words
        assert at.met(EmptySeedError)
        assert at.model.asked == []


async def test_a_receipt_says_whether_it_is_the_same_picture(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = await at.dream("portrait", name="Mara", glasses="dark")
        typed = f" {first.code[:4].upper()}-{first.code[4:]} "
        again = await at.dream("receipt", who=at.reader, code=typed)
        assert again.picture == first.picture
        assert again.code == first.code
        assert "The same picture, byte for byte." in again.words
        at.model.version = "drawn@2"
        newer = await at.dream("receipt", code=first.code)
        assert "of `drawn@1`, and I have `drawn@2` now" in newer.words
        assert newer.picture != first.picture
        assert len(await at.store.album.receipts_of(at.writer.id, 10)) == 1  # looking at one makes none
        found = await at.writer.autocomplete(at.channel, "dream receipt", "code", "mar")
        assert found == [{"name": f"{first.code} · Mara", "value": first.code}]
        assert await at.reader.autocomplete(at.channel, "dream receipt", "code", "") == []
        assert "mistyped" in (await at.dream("receipt", code="nosuchcode")).words
        assert at.met(ReceiptNotFoundError)


async def test_other_bytes_from_the_same_version_are_admitted(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = await at.dream("portrait", name="Mara")
        at.model.extra_bytes = 1
        assert "the bytes are not" in (await at.dream("receipt", code=first.code)).words


async def test_seed_shows_the_whole_receipt_to_whoever_asks(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = await at.dream("portrait", name="Mara", glasses="dark", hat="no", variety=60)
        shown = await at.press(first, "Seed", at.reader)
        assert shown.result.ephemeral
        for part in (first.code, "`Mara`", "dark glasses, no hat", "60%", "`drawn@1`", digest(first.picture)):
            assert part in shown.words


async def test_vary_moves_the_same_face_and_its_receipt_reproduces_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = await at.dream("portrait", name="Mara")
        one, two = await at.press(first, "Vary", at.reader), await at.press(first, "Vary")
        assert len({first.picture, one.picture, two.picture}) == 3
        assert "**Mara**" in one.words
        assert (await at.dream("receipt", code=one.code)).picture == one.picture
        assert "Varied by: 35%" in (await at.press(one, "Seed")).words
        assert (await at.store.album.receipt(one.code)).author_key == at.store.person_key(at.reader.id)


async def test_more_like_this_asks_for_other_faces_with_the_same_looks(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = await at.dream("portrait", name="Mara", hat="yes")
        more = await at.press(first, "More like this")
        request = at.model.asked[-1]
        assert len(request.seeds) == 4
        assert "Mara" not in request.seeds
        assert request.attributes["hat"] == "yes"
        assert {"hair colour", "skin", "glasses"} <= set(request.attributes)
        assert "background" not in request.attributes
        assert "**4 faces**" in more.words
        await at.press(more, "More like this")
        assert len(at.model.asked[-1].seeds) == 4
        assert set(at.model.asked[-1].seeds).isdisjoint(request.seeds)
        assert "**4 faces**" in (await at.press(more, "Vary")).words


async def test_a_morph_is_an_animation_with_its_child_and_one_receipt(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        answer = await at.dream("morph", **{"from": "Mara", "to": "林晚", "frames": 6})
        gif, child = answer.files.values()
        with Image.open(io.BytesIO(gif)) as animation:
            assert (animation.format, animation.n_frames) == ("GIF", 10)
        assert Image.open(io.BytesIO(child)).size == (512, 512)
        assert "from Mara into 林晚" in answer.alts[0]
        assert "halfway between Mara and 林晚: " in answer.alts[1]
        assert answer.labels == ["Attach to story", "Seed"]
        assert "Frames: 6" in (await at.press(answer, "Seed")).words
        again = await at.dream("receipt", code=answer.code)
        assert [*again.files.values()] == [gif, child]
        assert "byte for byte" in again.words


async def test_the_morph_button_asks_for_the_other_name(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = await at.press(await at.dream("portrait", name="Mara", variety=30, glasses="dark"), "Vary")
        modal = await at.press(first, "Morph", at.reader)
        assert modal.result.modal["title"] == "Morph into whom?"
        answer = await at.say_in_modal(modal, "Tom", at.reader)
        assert "**Mara** becomes **Tom**" in answer.words
        asked = at.model.asked[-1]
        assert (asked.start, asked.end, asked.truncation, asked.end_look) == ("Mara", "Tom", 0.3, Look())
        assert asked.start_look.attributes == {"glasses": "dark"}
        with Image.open(io.BytesIO(next(iter(answer.files.values())))) as animation:
            assert pixels(animation) == pixels(Image.open(io.BytesIO(first.picture)))  # it begins with the very face
        for part in ("`Mara`: dark glasses, Variety 30%, Varied by 35%", "Frames: 24"):
            assert part in (await at.press(answer, "Seed")).words
        open_ones = at.bot._connection._view_store._modals
        assert not open_ones
        modal = await at.press(first, "Morph")
        assert [question.timeout for question in open_ones.values()] == [3_600.0]  # nobody tells when it is closed
        assert "can be seen" in (await at.say_in_modal(modal, "\u200b")).words
        assert at.met(EmptySeedError)


@pytest.mark.parametrize("frames", [10_000, 49, 1, 0, -5])
async def test_a_number_of_frames_that_nobody_can_draw_is_a_sentence(tmp_path: Path, frames: int) -> None:
    async with scene(tmp_path) as at:
        answer = await at.dream("morph", **{"from": "Mara", "to": "Tom", "frames": frames})
        assert answer.words == "A morph has 2 to 48 frames."
        assert answer.result.ephemeral
        assert at.met(NoSuchNumberError)
        assert at.model.asked == []


async def test_a_character_has_the_same_face_in_its_story_and_another_in_the_next(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first_story = await at.tell()
        found = await at.reader.autocomplete(at.channel, "dream character", "name", "")
        assert {choice["value"] for choice in found} == {"Mara", "Tom"}
        first = await at.dream("character", name="Mara")
        assert "🎨 **Mara**" in first.words
        assert first.labels == BUTTONS
        recipe: Any = (await at.store.album.receipt(first.code)).recipe
        assert recipe.seeds == (f"{first_story}/Mara",)
        again = await at.dream("character", who=at.reader, name="mara")
        assert again.picture == first.picture
        assert (await at.dream("portrait", name="Mara")).picture != first.picture
        await at.tell(TALE + " The next one.")
        assert (await at.dream("character", name="Mara")).picture != first.picture


async def test_a_character_that_the_story_does_not_name_is_told_who_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "bot")
    async with scene(tmp_path) as at:
        assert "no story in this channel" in (await at.dream("character", name="Mara")).words
        assert "no story in this channel" in (await at.dream("characters")).words
        assert await at.writer.autocomplete(at.channel, "dream character", "name", "") == []
        await at.tell()
        answer = await at.dream("character", name="@everyone")
        assert "doesn't name @everyone. I found: " in answer.words
        assert not answer.message.mention_everyone
        link = await at.dream("character", name="[gift](https://evil.example)")
        assert "doesn't name \\[gift](" in link.words  # all see it: no link under another name
        assert "🎨 **keeper**" in (await at.dream("character", name="Keeper")).words  # no name, but it stands there
        assert at.met(NoStoryHereError, NoStoryHereError, UnknownCharacterError, UnknownCharacterError)
        assert "told somebody about UnknownCharacterError" in caplog.text
        assert "evil" not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("bot"))


async def cast(at: Scene, story_id: str) -> tuple[StoryCharacter, ...]:
    return await at.store.album.cast(story_id)


async def test_an_attached_face_is_the_character_s_from_then_on_also_under_a_newer_model(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        story = await at.tell()
        portrait = await at.dream("portrait", name="amber fox 7", glasses="dark")
        modal = await at.press(portrait, "Attach to story")
        assert "amber fox 7" in str(modal.result.modal)
        assert "The story: The keeper Mara found" in str(modal.result.modal)
        answer = await at.say_in_modal(modal, "Mara")
        assert "**Mara** has this face in **The keeper Mara found" in answer.words
        (face,) = await cast(at, story)
        assert (face.name, face.code, face.picture) == ("Mara", portrait.code, portrait.picture)
        assert face.attributes["glasses"] == "dark"
        at.model.version = "drawn@2"
        shown = await at.dream("character", name="mara")
        assert shown.picture == portrait.picture
        assert shown.code == portrait.code
        assert "dark glasses" in shown.alts[0]
        assert shown.labels == BUTTONS
        found = await at.writer.autocomplete(at.channel, "dream morph", "from", "mar")
        assert found == [{"name": "Mara (of this story)", "value": "character:Mara"}]
        await at.dream("morph", **{"from": "character:Mara", "to": "character:Tom"})
        assert (at.model.asked[-1].start, at.model.asked[-1].end) == ("amber fox 7", f"{story}/Tom")
        assert at.model.asked[-1].start_look == Look(attributes={"glasses": "dark"}, truncation=0.8)


async def test_a_face_attached_after_the_model_changed_is_the_one_that_stands_there(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        story = await at.tell()
        portrait = await at.dream("portrait", name="Mara")
        at.model.version = "drawn@2"
        await at.say_in_modal(await at.press(portrait, "Attach to story"), "Mara")
        (face,) = await cast(at, story)
        assert face.picture == portrait.picture


async def test_a_child_can_be_attached(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        story = await at.tell()
        morph = await at.dream("morph", **{"from": "Mara", "to": "Tom", "frames": 4})
        await at.say_in_modal(await at.press(morph, "Attach to story"), "Robin")
        (face,) = await cast(at, story)
        assert face.picture == [*morph.files.values()][1]
        shown = await at.dream("character", name="Robin")
        assert shown.picture == face.picture
        assert shown.labels == ["Attach to story", "Seed"]
        refused = await at.dream("morph", **{"from": "character:Robin", "to": "Tom"})
        assert "itself a child" in refused.words
        assert at.met(ChildFaceError)


async def test_the_gallery_shows_every_face_and_names_who_has_none(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await at.tell()
        empty = await at.dream("characters")
        assert "Nobody has a face here yet" in empty.words
        assert "**Mara**" in empty.words
        assert empty.files == {}
        for name in ("Mara", "林晚", "@everyone"):
            await at.say_in_modal(await at.press(await at.dream("portrait", name=name), "Attach to story"), name)
        shown = await at.dream("characters", who=at.reader)
        sheet = Image.open(io.BytesIO(shown.picture))
        assert sheet.size == (2 * 160 + 3 * 8, 2 * 160 + 3 * 8)
        for part in ("1. Mara", "2. 林晚", "3. @everyone", "Without a face yet: **Tom**"):
            assert part in shown.words
        assert not shown.message.mention_everyone
        assert shown.alts[0].startswith("3 pixel-art portraits. 1. Mara: ")
        found = await at.writer.autocomplete(at.channel, "dream characters", "remove", "mar")
        assert [choice["value"] for choice in found] == ["Mara"]
        assert "no face in" in (await at.dream("characters", remove="mara")).words
        assert "1. 林晚" in (await at.dream("characters")).words
        await at.dream("characters", remove="@everyone")
        assert (await at.dream("characters")).alts[0].startswith("1 pixel-art portrait. 1. 林晚: ")


async def test_a_face_is_changed_by_its_giver_the_author_and_moderators_alone(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        story = await at.tell()
        portrait = await at.dream("portrait", name="a")
        other = await at.dream("portrait", name="b")

        async def attach(what: Answer, who: Any) -> str:
            return (await at.say_in_modal(await at.press(what, "Attach to story", who), "Mara", who)).words

        assert "has this face" in await attach(portrait, at.moderator)
        assert "Somebody else gave" in await attach(other, at.reader)
        assert "Somebody else gave" in (await at.dream("characters", who=at.reader, remove="Mara")).words
        assert at.met(FaceTakenError, FaceTakenError)
        assert "has this face" in await attach(other, at.writer)
        (face,) = await cast(at, story)
        assert face.code == other.code
        assert "has this face" in await attach(portrait, at.moderator)


async def test_attaching_without_a_story_is_a_sentence(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        answer = await at.press(await at.dream("portrait", name="Mara"), "Attach to story")
        assert "no story in this channel" in answer.words
        assert answer.result.ephemeral


async def test_forgetting_takes_receipts_and_the_faces_made_of_them(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        story = await at.tell()
        portrait = await at.dream("portrait", name="Mara")
        await at.dream("portrait", name="Tom")
        await at.say_in_modal(await at.press(portrait, "Attach to story", at.reader), "Mara", at.reader)
        refused = await at.dream("forget", who=at.reader, code=portrait.code)
        assert "only they" in refused.words
        assert refused.result.ephemeral
        assert "Say which" in (await at.dream("forget")).words
        assert "lost a face by it: 1" in (await at.dream("forget", code=portrait.code)).words
        assert await cast(at, story) == ()
        assert "made me forget" in (await at.press(portrait, "Vary")).words
        assert "(1)" in (await at.dream("forget", everything=True)).words
        assert await at.store.album.receipts_of(at.writer.id, 10) == ()
        assert at.met(ReceiptNotYoursError)


async def test_asking_too_fast_is_a_sentence_for_that_person_only(tmp_path: Path) -> None:
    async with scene(tmp_path, user_dreams_per_minute=2) as at:
        first = await at.dream("portrait", name="Mara")
        await at.press(first, "Vary")
        for answer in (await at.dream("portrait", name="Mara"), await at.press(first, "More like this")):
            assert "quick" in answer.words
            assert answer.result.ephemeral
        assert (await at.press(first, "Vary", at.reader)).files
        assert at.met(TooFastError)


FAILURES: dict[str, tuple[Exception, type[Exception], str]] = {
    "overloaded": (EngineOverloadedError("user", 9), PainterBusyError, "Too many people want a picture"),
    "unavailable": (EngineUnavailableError("no process"), PainterDownError, "can't answer right now"),
    "died twice": (WorkerDiedError("it died"), PainterDownError, "can't answer right now"),
    "refused": (RequestRefusedError("no"), PainterRefusedError, "can't draw that"),
    "closing": (EngineClosedError("bye"), StartingAgainError, "restarting"),
}


@pytest.mark.parametrize(("raised", "met", "words"), FAILURES.values(), ids=FAILURES)
async def test_a_failing_model_is_a_sentence_and_leaves_no_receipt(
    tmp_path: Path, raised: Exception, met: type[Exception], words: str
) -> None:
    async with scene(tmp_path) as at:
        at.short.fails = raised
        for answer in (
            await at.dream("portrait", name="Mara"),
            await at.dream("morph", **{"from": "Mara", "to": "Tom"}),
        ):
            assert words in answer.words
            assert "\n" not in answer.words
        assert at.met(met, met)
        assert await at.store.album.receipts_of(at.writer.id, 10) == ()


async def test_missing_weights_are_a_sentence_that_sends_an_admin_to_the_log(tmp_path: Path) -> None:
    async with scene(tmp_path, weights=False) as at:
        assert "in my log, for an admin" in (await at.dream("portrait", name="Mara")).words
        assert at.met(PainterMissingError)


async def test_a_model_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr("bot.dreams.PATIENCE_S", 0.1)
    async with scene(tmp_path) as at:
        monkeypatch.setattr(at.short, "ask", never)
        assert "Too many people" in (await at.dream("portrait", name="Mara")).words
        assert at.met(PainterBusyError)


async def test_a_file_larger_than_discord_takes_is_a_sentence(tmp_path: Path) -> None:
    async with scene(tmp_path, DrawnPortraits(extra_bytes=10 * 1024 * 1024)) as at:
        assert "larger than Discord takes" in (await at.dream("portrait", name="Mara")).words
        assert at.met(PictureTooLargeForDiscordError)


async def test_buttons_work_after_a_restart(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = await at.dream("portrait", name="Mara")
        await at.env.restart_bot(
            StoryBot(settings=at.bot.settings, store=at.store, engine=at.bot.engine, short=at.short)
        )
        assert (await at.press(first, "Vary")).files
        assert "`Mara`" in (await at.press(first, "Seed")).words


async def test_the_commands_are_for_everybody_everywhere_and_fit_discord(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        group = at.bot.tree.get_command("dream")
        assert isinstance(group, discord.app_commands.Group)
        payload = group.to_dict(at.bot.tree)
        assert payload["integration_types"] == [0, 1]
        assert payload["contexts"] == [0, 1, 2]
        assert texts(payload) < 8_000
        assert at.bot.tree.translator is not None
        translated = await group.get_translated_payload(at.bot.tree, at.bot.tree.translator)
        assert {"zh-CN", "zh-TW"} <= set(translated["description_localizations"])
        assert longest(translated) <= 100
        assert {command.name for command in group.commands} == {
            "portrait", "morph", "character", "characters", "receipt", "forget", "verse", "give", "given",
        }  # fmt: skip
        for actor in (at.reader, at.moderator):
            assert "dream portrait" in actor.available_commands(at.channel)


def texts(command: Any) -> int:
    own = sum(len(str(command.get(key, ""))) for key in ("name", "description", "value"))
    return own + sum(texts(part) for key in ("options", "choices") for part in command.get(key) or [])


def longest(command: Any) -> int:
    """Discord takes 100 characters of a description or a choice, in each language."""
    own = [command.get("description", ""), *command.get("description_localizations", {}).values(), command["name"]]
    own += command.get("name_localizations", {}).values()
    parts = (longest(part) for key in ("options", "choices") for part in command.get(key) or [])
    return max([*map(len, own), *parts])


async def test_answers_alt_texts_and_receipts_are_chinese_for_whoever_reads_it(tmp_path: Path) -> None:
    """simcord's members speak English; a catalogue that lacked a word would show it here."""
    async with scene(tmp_path, DrawnPortraits(blind=["hat"])) as at:
        await at.tell()
        first = await at.dream("portrait", name="Mara", hat="yes", glasses="dark")
        receipt = await at.store.album.receipt(first.code)
        dream = (await Painter(at.short, at.store.album).again(receipt)).dream
        say = speaker("zh-CN")
        words = dream_words(dream, say)
        assert "凭据" in words.content
        assert "却没看到：戴帽子" in words.content
        assert words.alts[0].startswith("Mara 的像素画像：")
        assert "戴墨镜" in words.alts[0]
        assert not re.search("[a-z]", words.alts[0].replace("Mara", ""))
        assert "要求的特征：戴墨镜、戴帽子" in receipt_words(receipt, say)
        morph = await at.dream("morph", **{"from": "Mara", "to": "Tom", "frames": 3})
        dream = (await Painter(at.short, at.store.album).again(await at.store.album.receipt(morph.code))).dream
        assert "的孩子" in dream_words(dream, speaker("zh-TW")).content
