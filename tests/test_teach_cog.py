"""`/teach` on a simulated Discord: who may, what is learned, what is refused in which words, and how it is undone."""

# ruff: noqa: ASYNC240  # a test may look at its files directly

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord
from discord import app_commands

from bot import teaching
from bot.client import StoryBot
from bot.sandbox import Sandbox, point_discord_at
from bot.settings import Settings
from bot.store import Store
from bot.store.errors import TaughtTextNotFoundError
from bot.taught_file import MAX_BYTES, NotTeachableError
from bot.teaching import NoStoryError, NoStoryOfYoursError, NotYourStoryError, NoVoicesError, TeachingFailedError
from models.language.ngram_story import NGramStoryModel
from models.language.story_model import StoryModelMissingError
from models.language.voices import CHARACTERS, TOKENS, voice_folder
from models.serving.in_process import InProcessEngine
from models.serving.requests import Sampling, StoryRequest
from tests.bigram_model import BigramModel
from tests.sandbox_client import File, Person

TALE = "The keeper of the light climbed the stairs, and the keeper sang of the sea. " * 20
OTHER = "Zwyx zwyx zwyx, said the wizard, and zwyx it was. " * 20
# The process as it runs on a machine without torch.
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; " + teaching.PROGRAM.removeprefix("import sys; ")


@pytest.fixture(autouse=True)
def no_torch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "with_torch" not in request.node.name:
        monkeypatch.setattr(teaching.Teacher.__init__, "__defaults__", (WITHOUT_TORCH,))


class OpenBot(StoryBot):
    """In servers that let anybody see `/teach`, as an admin can set it in Discord."""

    async def setup_hook(self) -> None:
        await super().setup_hook()
        group = self.tree.get_command("teach")
        assert isinstance(group, app_commands.Group)
        assert group.default_permissions == discord.Permissions(manage_guild=True)
        group.default_permissions = None
        await self.tree.sync()


@dataclass(frozen=True, kw_only=True)
class Scene:
    env: Any
    bot: StoryBot
    store: Store
    guild: Any
    channel: Any
    admin: Any
    member: Any
    data_dir: Path

    async def teach(self, text: str = TALE, name: str = "tale.txt", who: Any = None) -> Any:
        return await (who or self.admin).slash(self.channel, "teach file", file=(name, text.encode()))

    async def texts(self) -> Any:
        return await self.store.taught_texts(self.guild.id)

    def met(self, *kinds: type[BaseException]) -> bool:
        return [type(getattr(error, "original", error)) for error in self.env.errors] == [*kinds]

    def written(self, model: NGramStoryModel, story: str = "The keeper") -> tuple[str, str]:
        """A text in the guild's voice, and who wrote it."""
        request = StoryRequest(
            request_id="1", story=story, sampling=Sampling(max_new_tokens=20, seed=1), user="u",
            guild=str(self.guild.id), model="ngram",
        )  # fmt: skip
        output = model.generate(request, lambda piece: True)
        return output.text, output.model_version


def said(result: Any) -> str:
    """The last words of an answer, which only the asker may see."""
    assert result.ephemeral
    message = (result.followups or [result.response])[-1]
    return str(message.content or message.embeds[0].description)


@asynccontextmanager
async def scene(tmp_path: Path, kind: type[StoryBot] = StoryBot, **chosen: Any) -> AsyncIterator[Scene]:
    settings = Settings(_env_file=None, data_dir=tmp_path, edit_interval_s=0.2, shutdown_grace_s=1.0, **chosen)
    engine = InProcessEngine(BigramModel)
    async with Store.open(settings.database) as store:
        await engine.start()
        bot = kind(settings=settings, store=store, engine=engine)
        async with simcord.run(bot, settle_timeout=60.0, shard_count=1) as env:
            guild = env.create_guild()
            role = guild.create_role("Keepers", permissions=discord.Permissions(manage_guild=True))
            yield Scene(
                env=env,
                bot=bot,
                store=store,
                guild=guild,
                channel=guild.create_text_channel("stories"),
                admin=guild.add_member(env.create_user("admin"), roles=[role]),
                member=guild.add_member(env.create_user("member")),
                data_dir=tmp_path,
            )
        await engine.close()


async def test_a_file_is_learned_with_a_receipt_and_the_loaded_voice_takes_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        model = NGramStoryModel(tmp_path)
        with pytest.raises(StoryModelMissingError):
            at.written(model)
        receipt = said(await at.teach())
        (text,) = await at.texts()
        assert (text.title, text.state, text.characters) == ("tale.txt", "learned", len(TALE.strip()))
        for part in ("Learned **tale.txt**", f"characters: {text.characters:,}", at.admin.mention, text.id, "forget"):
            assert part in receipt
        assert "house" not in receipt
        first, version = at.written(model)
        assert first.strip()
        again = said(await at.teach(OTHER, "other.txt"))
        assert f"{len(TALE.strip()) + len(OTHER.strip()):,}"[:3] in again
        assert at.written(model)[1] != version
        assert "keeper" not in b"".join(file.read_bytes() for file in tmp_path.glob("inkwell.db*")).decode("latin-1")


async def test_forgetting_one_text_leaves_the_voice_that_the_others_alone_make(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        model = NGramStoryModel(tmp_path)
        await at.teach()
        alone = at.written(model)
        await at.teach(OTHER, "other.txt")
        other, tale = await at.texts()
        assert at.written(model) != alone
        found = await at.admin.autocomplete(at.channel, "teach forget", "text", "oth")
        assert [choice["value"] for choice in found] == [other.id]
        assert "Forgot **other.txt**" in said(await at.admin.slash(at.channel, "teach forget", text=other.id))
        assert at.written(model) == alone
        assert await at.texts() == (tale,)
        assert "no voice of its own" in said(await at.admin.slash(at.channel, "teach forget", text=tale.id))
        assert not voice_folder(tmp_path, str(at.guild.id)).exists()
        assert "no such text" in said(await at.admin.slash(at.channel, "teach forget", text=tale.id))
        assert at.met(TaughtTextNotFoundError)


async def test_the_list_says_what_by_whom_and_is_short_enough(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        assert "Nothing was taught" in said(await at.admin.slash(at.channel, "teach list"))
        for number in range(25):
            await at.store.add_taught_text(
                guild_id=at.guild.id, user_id=(at.admin if number else at.member).id, source="file",
                title=f"{number}*" * 30, text=TALE,
            )  # fmt: skip
        words = said(await at.admin.slash(at.channel, "teach list"))
        assert len(words) < 4_096
        assert "taught by you" in words
        assert "and 5 more" in words


async def test_members_are_refused_until_they_are_allowed_and_forget_only_their_own(tmp_path: Path) -> None:
    async with scene(tmp_path, OpenBot) as at:
        for result in (
            await at.teach(who=at.member),
            await at.member.slash(at.channel, "teach list"),
            await at.member.slash(at.channel, "teach members", allow=True),
        ):
            assert "permission" in said(result)
        assert await at.texts() == ()
        assert "Members may teach" in said(await at.admin.slash(at.channel, "teach members", allow=True))
        await at.teach()
        (admins,) = await at.texts()
        assert "Learned" in said(await at.teach(OTHER, "own.txt", who=at.member))
        own, _ = await at.texts()
        assert "taught by somebody else" in said(await at.member.slash(at.channel, "teach list"))
        found = await at.member.autocomplete(at.channel, "teach forget", "text", "")
        assert [choice["value"] for choice in found] == [own.id]
        assert "permission" in said(await at.member.slash(at.channel, "teach forget", text=admins.id))
        assert "permission" in said(await at.member.slash(at.channel, "teach members", allow=True))
        assert "Forgot" in said(await at.member.slash(at.channel, "teach forget", text=own.id))
        assert "Only those" in said(await at.admin.slash(at.channel, "teach members", allow=False))
        assert "permission" in said(await at.teach(who=at.member))
        assert at.met(*[app_commands.MissingPermissions] * 6)


async def test_the_commands_are_hidden_from_members(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        assert "teach file" in at.admin.available_commands(at.channel)
        assert "teach file" not in at.member.available_commands(at.channel)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("tale.docx", b"PK", "only from .txt"),
        ("tale.txt", b"", "no words"),
        ("tale.txt", b"\n \n", "no words"),
        ("tale.txt", b"PK\x03\x04" + b"x" * 50, "archive"),
        ("tale.txt", b"\x89PNG\r\n\x1a\n" + b"\x00" * 50, "not a text"),
        ("tale.txt", ("從前有一個漁夫，他和他的妻子住在海邊的一間小屋裡。" * 3).encode("big5"), "encoding"),
        ("tale.txt", b"a" * (MAX_BYTES + 1), "too large"),
    ],
)
async def test_a_file_that_is_no_text_gets_one_sentence(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    async with scene(tmp_path) as at:
        answer = said(await at.admin.slash(at.channel, "teach file", file=(name, data)))
        assert words in answer
        assert "\n" not in answer
        assert await at.texts() == ()
        assert at.met(NotTeachableError)


async def test_a_story_is_taught_only_by_whoever_wrote_all_of_it(tmp_path: Path) -> None:
    async with scene(tmp_path, OpenBot) as at:
        assert "no story" in said(await at.admin.slash(at.channel, "teach story"))
        await at.admin.slash(at.channel, "story", prompt="The keeper climbed the stairs")
        receipt = said(await at.admin.slash(at.channel, "teach story"))
        assert "Learned **The keeper climbed the stairs**" in receipt
        assert "only by whoever wrote every part" in receipt
        (text,) = await at.texts()
        assert text.source == "story"
        assert text.characters > 60  # with what the model wrote
        story = await at.store.latest_story(at.channel.id)
        assert story is not None
        await at.store.continue_story(
            story.head_turn_id, user_id=at.member.id, guild_id=at.guild.id, channel_id=at.channel.id,
            sampling=Sampling(), application_id=1, interaction_token=None, locale="en-US", text="And I joined in.",
        )  # fmt: skip
        assert "isn't yours" in said(await at.admin.slash(at.channel, "teach story"))
        begun = (await at.store.stories_of(at.guild.id, at.admin.id))[0]
        assert "isn't yours" in said(await at.admin.slash(at.channel, "teach story", story=begun.id))
        await at.member.slash(at.channel, "story", prompt="Mine alone")
        elsewhere = at.guild.create_text_channel("elsewhere")
        refused = await at.admin.slash(elsewhere, "teach story", channel=at.channel)
        assert "isn't yours" in said(refused)
        assert at.met(NoStoryError, NotYourStoryError, NotYourStoryError, NotYourStoryError)
        assert await at.texts() == (text,)


async def test_a_story_is_named_by_its_title_and_only_ones_own_are_offered(tmp_path: Path) -> None:
    async with scene(tmp_path, OpenBot) as at:
        await at.admin.slash(at.channel, "story", prompt="The keeper climbed the stairs")
        await at.admin.slash(at.channel, "story", prompt="A fox at the door")
        await at.member.slash(at.channel, "story", prompt="The keeper of another")
        offered = await at.admin.autocomplete(at.channel, "teach story", "story", "KEEPER")
        assert [choice["name"] for choice in offered] == ["The keeper climbed the stairs"]
        elsewhere = at.guild.create_text_channel("elsewhere")
        receipt = said(await at.admin.slash(elsewhere, "teach story", story=offered[0]["value"]))
        assert "Learned **The keeper climbed the stairs**" in receipt
        receipt = said(await at.admin.slash(elsewhere, "teach story", story="a fox at the door"))
        assert "Learned **A fox at the door**" in receipt
        refused = await at.admin.slash(elsewhere, "teach story", story="The keeper of another")
        assert "None of your stories" in said(refused)
        assert at.met(NoStoryOfYoursError)
        assert len(await at.texts()) == 2


async def test_a_teaching_that_fails_leaves_the_voice_and_the_list_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as at:
        model = NGramStoryModel(tmp_path)
        await at.teach()
        before, kept = at.written(model), await at.texts()
        cog: Any = at.bot.get_cog("Teach")
        monkeypatch.setattr(
            cog.teacher, "_program", "import sys; sys.exit(3) if '--anew' not in sys.argv else None; " + WITHOUT_TORCH
        )
        assert "failed" in said(await at.teach(OTHER))
        assert at.met(TeachingFailedError)
        assert await at.texts() == kept
        assert at.written(model) == before
        assert await at.store.unsettled_voices() == ()


async def test_what_was_cut_short_is_learned_or_forgotten_at_the_next_start(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "inkwell.db") as store:
        teacher = teaching.Teacher(store, tmp_path)
        for guild, text in ((1, TALE), (2, TALE), (2, OTHER)):
            await teacher.teach(guild_id=guild, user_id=5, source="file", title="a.txt", text=text)
        await store.add_taught_text(guild_id=1, user_id=5, source="file", title="b.txt", text=OTHER)
        junk = tmp_path / "voices" / ".2.killed"
        junk.mkdir()
        for text in await store.taught_texts(2):
            await store.begin_forgetting(2, text.id)
        await teacher.settle()
        assert await store.unsettled_voices() == ()
        assert [text.state for text in await store.taught_texts(1)] == ["learned", "learned"]
        assert await store.taught_texts(2) == ()
        assert not junk.exists()
        assert not voice_folder(tmp_path, "2").exists()
        once = (voice_folder(tmp_path, "1") / CHARACTERS / "ngram.json").read_bytes()
        for text in await store.taught_texts(1):
            await store.begin_forgetting(1, text.id)
        await store.settle_voice(1, await store.forgetting_texts(1))
        for words in (TALE, OTHER):  # one after the other makes the same voice
            await teacher.teach(guild_id=3, user_id=5, source="file", title="a.txt", text=words)
        assert (voice_folder(tmp_path, "3") / CHARACTERS / "ngram.json").read_bytes() == once


async def test_what_is_erased_while_a_voice_learns_is_forgotten_by_it(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "inkwell.db") as store:
        teacher = teaching.Teacher(store, tmp_path)
        await teacher.teach(guild_id=1, user_id=5, source="file", title="a.txt", text=OTHER)

        async def erase() -> None:  # the voice has learned by then, and nothing is settled yet
            await store.people.erase(5)
            await store.people.erase(6)

        await teacher.teach(guild_id=1, user_id=6, source="file", title="b.txt", text=TALE, heard=erase)
        assert await store.unsettled_voices() == (1,)
        await teacher.settle()
        assert await store.unsettled_voices() == ()
        assert not voice_folder(tmp_path, "1").exists()


async def test_with_torch_the_house_voice_learns_too(tmp_path: Path) -> None:
    heard: list[bool] = []

    async def hear() -> None:
        heard.append((voice_folder(tmp_path, "1") / CHARACTERS / "ngram.json").exists())

    async with Store.open(tmp_path / "inkwell.db") as store:
        teacher = teaching.Teacher(store, tmp_path)
        lesson = await teacher.teach(guild_id=1, user_id=5, source="file", title="a", text="A tale.", heard=hear)
    assert heard == [True]
    assert lesson.house
    assert (voice_folder(tmp_path, "1") / TOKENS / "ngram.json").exists()


async def test_where_a_server_elsewhere_writes_there_is_nothing_to_teach(tmp_path: Path) -> None:
    remote = {"story_engine": "openai", "story_base_url": "http://127.0.0.1:9/v1", "story_model": "m"}
    async with scene(tmp_path, **remote) as at:
        assert "elsewhere" in said(await at.teach())
        assert at.met(NoVoicesError)


async def test_over_the_sandbox_a_picture_is_refused_and_a_gb18030_file_learned_in_chinese(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", edit_interval_s=0.2, shutdown_grace_s=1.0)
    engine = InProcessEngine(BigramModel)
    async with Store.open(settings.database) as store, Sandbox(tmp_path / "discord") as sandbox:
        await engine.start()
        with point_discord_at(sandbox.base_url):
            async with StoryBot(settings=settings, store=store, engine=engine) as bot:
                running = asyncio.create_task(bot.start(sandbox.bot_token))
                await asyncio.wait_for(bot.wait_until_ready_or_dead(running), 30)
                async with Person.join(sandbox, "admin") as ida:
                    await ida.slash("teach file", file=File("lamp.txt", b"\x89PNG\r\n\x1a\n" + b"\x00" * 50))
                    await ida.wait_message(lambda message: "not a text" in message["content"], 60)
                    (only,) = await ida.messages()  # and no "Reading…" for ever
                    assert "not a text" in only["content"]
                    data = ("从前有一个渔夫，他和他的妻子住在海边的一间小屋里。\n" * 20).encode("gb18030")
                    await ida.slash("teach file", locale="zh-CN", file=File("渔夫.txt", data))
                    message = await ida.wait_message(lambda message: "学会了" in message["content"], 60)
                    assert message["ephemeral_for"] == ida.id
                    assert "渔夫" in message["content"]
                await bot.close()
                await running
        await engine.close()
    assert sandbox.unknown_routes == {}
