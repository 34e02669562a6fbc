"""`/dream verse` on a simulated Discord, over small generators that really write."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import simcord

from bot.client import StoryBot
from bot.dreams import EmptySeedError, NotAPictureError, PainterMissingError, StartingAgainError
from bot.locales import speaker
from bot.pace import TooFastError
from bot.privacy_export import export
from bot.settings import Settings
from bot.store import Store
from bot.verse_words import verse_receipt_words, verse_words
from bot.verses import (
    NotAVerseError,
    OpeningRefusedError,
    Poet,
    PoetBusyError,
    PoetDownError,
    PoetMissingError,
)
from models.gan.verse_weights import VerseFolder, weights_name
from models.gan.verses import VerseModel
from models.serving.engine import (
    EngineClosedError,
    EngineOverloadedError,
    EngineUnavailableError,
    RequestRefusedError,
    WorkerDiedError,
)
from models.serving.in_process import InProcessEngine
from models.serving.in_process_short import InProcessShortEngine
from models.serving.short_requests import PortraitRequest, ShortRequest, VerseRequest
from tests.bigram_model import BigramModel
from tests.drawn_portraits import DrawnPortraits
from tests.tiny_verses import write_tiny_verses


class WrittenEngine(InProcessShortEngine):
    """The engine's own batches over small generators; `fails` is raised in place of an answer."""

    def __init__(self, model: VerseModel | None) -> None:
        super().__init__({"portrait": DrawnPortraits()} if model is None else {"verse": model})
        self.fails: Exception | None = None

    async def ask(self, request: ShortRequest[Any], *, background: bool = False) -> Any:
        if self.fails is not None:
            raise self.fails
        return await super().ask(request, background=background)


@dataclass(frozen=True, kw_only=True)
class Scene:
    env: Any
    bot: StoryBot
    store: Store
    short: WrittenEngine
    channel: Any
    writer: Any
    reader: Any

    async def dream(self, command: str = "verse", who: Any = None, **options: Any) -> "Answer":
        return Answer(await (who or self.writer).slash(self.channel, f"dream {command}", **options))

    async def press(self, answer: "Answer", label: str, who: Any = None) -> "Answer":
        return Answer(await (who or self.writer).click(answer.message, label=label))

    def met(self, *kinds: type[BaseException]) -> bool:
        return [type(getattr(error, "original", error)) for error in self.env.errors] == [*kinds]


@dataclass(frozen=True)
class Answer:
    result: Any

    @property
    def message(self) -> Any:
        return (self.result.followups or [self.result.response])[-1].message

    @property
    def words(self) -> str:
        return str(self.message.content)

    @property
    def lines(self) -> list[str]:
        return [line[2:] for line in self.words.splitlines() if line.startswith("> ")]

    @property
    def code(self) -> str:
        return self.words.split("Receipt `")[1].split("`")[0]

    @property
    def labels(self) -> list[str]:
        return [child.label for row in self.message.components for child in row.children]


@asynccontextmanager
async def scene(tmp_path: Path, *, weights: bool = True, seed: int = 0, **chosen: Any) -> AsyncIterator[Scene]:
    settings = Settings(_env_file=None, data_dir=tmp_path, edit_interval_s=0.2, shutdown_grace_s=1.0, **chosen)
    engine = InProcessEngine(BigramModel)
    model = VerseModel(VerseFolder(write_tiny_verses(tmp_path / "verse", seed=seed))) if weights else None
    short = WrittenEngine(model)
    await short.start()
    async with Store.open(settings.database) as store:
        await engine.start()
        bot = StoryBot(settings=settings, store=store, engine=engine, short=short)
        async with simcord.run(bot, settle_timeout=60.0, shard_count=1) as env:
            guild = env.create_guild()
            yield Scene(
                env=env,
                bot=bot,
                store=store,
                short=short,
                channel=guild.create_text_channel("stories"),
                writer=guild.add_member(env.create_user("writer")),
                reader=guild.add_member(env.create_user("reader")),
            )
        await short.close()
        await engine.close()


async def test_a_verse_is_quoted_with_buttons_and_a_stored_receipt_that_writes_it_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = await at.dream(words="Mara", form="zh5")
        assert first.result.acknowledged
        assert first.words.startswith("📜 **Mara**\n> ")
        assert [len(line) for line in first.lines] == [5, 5, 5, 5]
        assert first.labels == ["Another", "Seed"]
        receipt = await at.store.album.receipt(first.code)
        assert (receipt.kind, receipt.recipe) == ("verse", VerseRequest(form="zh5", seed="Mara"))
        assert receipt.model_version.startswith("verse@")
        assert receipt.author_key == at.store.person_key(at.writer.id)
        again = await at.dream("receipt", who=at.reader, code=first.code)
        assert again.lines == first.lines
        assert "character for character" in again.words
        assert len(await at.store.album.receipts_of(at.reader.id, 10)) == 0
        assert (await at.dream(words=" mara ", form="zh5")).lines == first.lines
        two = await at.dream(words="Mara", form="zh7", lines=2)
        assert [len(line) for line in two.lines] == [7, 7]
        assert at.met()


async def test_without_choices_the_seed_is_shown_and_the_form_is_of_the_reader_s_language(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        answer = await at.dream()
        recipe = (await at.store.album.receipt(answer.code)).recipe
        assert isinstance(recipe, VerseRequest)
        assert recipe.form == "en"  # simcord's members speak English
        assert f"**{recipe.seed}**" in answer.words
        assert (await at.dream(words=recipe.seed)).lines == answer.lines


async def test_chinese_words_get_a_chinese_verse_whatever_the_reader_speaks(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        for words, form in ((("words", "月下"), "zh5"), (("begin", "明月"), "zh5"), (("words", "the moon 月"), "en")):
            recipe = (await at.store.album.receipt((await at.dream(**dict([words]))).code)).recipe
            assert isinstance(recipe, VerseRequest)
            assert recipe.form == form


async def test_another_writes_the_same_form_from_other_words_and_seed_shows_all(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = await at.dream(words="Mara", form="zh7", begin="明月", learned="adversarial")
        assert first.lines[0].startswith("明月")
        other = await at.press(first, "Another", at.reader)
        recipe = (await at.store.album.receipt(other.code)).recipe
        assert isinstance(recipe, VerseRequest)
        assert (recipe.form, recipe.begin, recipe.generator) == ("zh7", "明月", "adversarial")
        assert recipe.seed != "Mara"
        assert other.lines[0].startswith("明月")
        shown = await at.press(first, "Seed", at.reader)
        assert shown.result.ephemeral
        for part in (f"`{first.code}`", "`Mara`", "seven characters", "`明月`", "adversarial", "verse@", "SHA-256"):
            assert part in shown.words
        await at.env.restart_bot(
            StoryBot(settings=at.bot.settings, store=at.store, engine=at.bot.engine, short=at.short)
        )
        assert (await at.press(first, "Another")).lines


SEEDS = {
    "Chinese": "林晚",
    "emoji": "👩\u200d🚀",
    "right to left": "\u202eمرحبا",
    "control characters": "Ma\x00ra\x1b",
    "a lone surrogate": "Mara \ud83d",
    "everyone": "@everyone",
    "Markdown": "`**a** [b](http://c.example)` > x",
    "two hundred characters": "灯" * 200,
}


@pytest.mark.parametrize("typed", SEEDS.values(), ids=SEEDS)
async def test_any_words_are_a_seed_that_the_receipt_reproduces(tmp_path: Path, typed: str) -> None:
    async with scene(tmp_path) as at:
        answer = await at.dream(words=typed, form="zh5")
        assert len(answer.lines) == 4
        assert not answer.message.mention_everyone
        assert (await at.dream("receipt", code=answer.code)).lines == answer.lines


async def test_what_can_not_be_written_is_a_sentence(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        assert "words that can be seen" in (await at.dream(words="\u200b")).words
        assert "can't begin with that" in (await at.dream(form="zh5", begin="龘")).words
        assert "can't begin with that" in (await at.dream(form="en", begin="moon " * 8)).words
        assert at.met(EmptySeedError, OpeningRefusedError, OpeningRefusedError)
        assert await at.store.album.receipts_of(at.writer.id, 10) == ()


async def test_a_newer_model_is_said(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = await at.dream(words="Mara", form="zh5")
    async with scene(tmp_path, seed=1) as at:
        again = await at.dream("receipt", code=first.code)
        assert "The receipt is of `verse@" in again.words
        assert again.lines != first.lines


async def test_forgetting_exporting_and_erasing_cover_verses(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first, second = await at.dream(words="unmistakable"), await at.dream(words="Tom")
        assert "Forgot that receipt" in (await at.dream("forget", code=second.code)).words
        assert "made me forget" in (await at.press(second, "Another")).words
        kept = await at.store.people.kept_of(at.writer.id)
        file = zipfile.ZipFile(io.BytesIO(export(kept, speaker("en-GB"), now=0.0)))
        (picture,) = json.loads(file.read("inkwell.json"))["pictures"]
        assert (picture["code"], picture["kind"], picture["recipe"]["seed"]) == (first.code, "verse", "unmistakable")
        assert "unmistakable" in file.read("inkwell.txt").decode()
        assert (await at.store.people.erase(at.writer.id)).pictures == 1
        assert await at.store.album.receipts_of(at.writer.id, 10) == ()
        assert at.met()  # what a button meets is told, and raised to nobody


FAILURES = {
    "overloaded": (EngineOverloadedError("user", 9), PoetBusyError, "Too many people want a verse"),
    "unavailable": (EngineUnavailableError("no process"), PoetDownError, "verse model can't answer right now"),
    "died twice": (WorkerDiedError("it died"), PoetDownError, "verse model can't answer right now"),
    "refused": (RequestRefusedError("no"), OpeningRefusedError, "can't begin with that"),
    "closing": (EngineClosedError("bye"), StartingAgainError, "restarting"),
}


async def test_a_failing_model_is_a_sentence_and_leaves_no_receipt(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        for raised, _, words in FAILURES.values():
            at.short.fails = raised
            answer = await at.dream(words="Mara")
            assert words in answer.words
            assert "\n" not in answer.words
        assert at.met(*(met for _, met, _ in FAILURES.values()))
        assert await at.store.album.receipts_of(at.writer.id, 10) == ()


async def test_without_weights_the_rest_of_dream_goes_on(tmp_path: Path) -> None:
    async with scene(tmp_path, weights=False) as at:
        assert "in my log, for an admin" in (await at.dream(words="Mara")).words
        assert (await at.dream("portrait", name="Mara")).message.attachments
        assert at.met(PoetMissingError)


async def test_one_damaged_language_is_a_sentence_and_the_other_writes(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        (tmp_path / "verse" / weights_name("likelihood", "zh")).write_bytes(b"nonsense")
        assert "its file is damaged" in (await at.dream(words="Mara", form="zh5")).words
        assert (await at.dream(words="Mara", form="en")).lines
        assert at.met(PoetMissingError)


async def test_a_verse_is_no_picture_and_a_picture_no_verse(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        keep = at.store.album.keep
        written = await at.dream(words="Mara")
        with pytest.raises(NotAPictureError):
            await at.bot.press_dream(None, "attach", written.code)  # type: ignore[arg-type]
        drawn = await keep(
            user_id=at.writer.id, recipe=PortraitRequest(seeds=("a",)), model_version="drawn@1", digest="a" * 64
        )
        with pytest.raises(NotAVerseError):
            await at.bot.press_verse(None, "another", drawn.code)  # type: ignore[arg-type]
        assert "portrait model isn't here" in (await at.dream("receipt", code=drawn.code)).words
        assert at.met(PainterMissingError)


async def test_pictures_and_verses_share_one_pace(tmp_path: Path) -> None:
    async with scene(tmp_path, weights=False, user_dreams_per_minute=1) as at:
        assert (await at.dream("portrait", name="Mara")).message.attachments
        assert "quick" in (await at.dream(words="Mara")).words
        assert at.met(TooFastError)


async def test_a_verse_and_its_receipt_are_chinese_for_whoever_reads_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = await at.dream(words="Mara", form="zh5", begin="明月")
        receipt = await at.store.album.receipt(first.code)
        written = await Poet(at.short, at.store.album).again(receipt)
        for locale, quoted, form in (("zh-CN", "凭据", "五言"), ("zh-TW", "憑據", "五言")):
            say = speaker(locale)
            assert quoted in verse_words(written, say, again=True)
            assert form in verse_receipt_words(receipt, say)
