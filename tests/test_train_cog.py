"""`/train` on a simulated Discord: who may, what is said while a run goes on and after it, what the buttons decide."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord
from discord import app_commands
from PIL import Image
from pydantic import SecretStr

from bot.client import StoryBot
from bot.promotion import PromotionFailedError
from bot.sandbox import Sandbox, point_discord_at
from bot.settings import Settings
from bot.store import Store
from bot.store.training_runs import Place, TrainingRun, TrainingUnderWayError
from bot.training import NothingToLearnError, NoTrainingError, Training, TrainingNotAllowedError
from bot.training_access import NotTrainerError
from bot.training_buttons import verdict_buttons
from bot.training_decisions import NoPromoterError, NotOfThisRunError
from bot.training_families import NoSuchFamilyError
from models.serving.in_process import InProcessEngine
from models.serving.training import Record
from models.training.registry import (
    MarkedError,
    NotAcceptedError,
    NothingToRollBackError,
    Promotion,
    Registry,
    VersionNotFoundError,
)
from tests.bigram_model import BigramModel
from tests.fake_training import program
from tests.mood_scene import answer_of, words_of
from tests.sandbox_client import Person
from tests.test_training import turn, until

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcdE." + "x" * 38


@dataclass
class Written:
    promotion: Promotion
    why: str = ""


@dataclass
class Shelf:
    """Promotes in the registry, and has no engine to tell."""

    registry: Registry
    why: str = ""
    fails: Exception | None = None

    async def promote(self, family: str, version_id: str, **given: Any) -> Written:
        if self.fails is not None:
            raise self.fails
        return Written(self.registry.promote(family, version_id, **given), self.why)

    async def rollback(self, family: str, **given: Any) -> Written:
        return Written(self.registry.rollback(family, **given), self.why)


class OpenBot(StoryBot):
    """In servers that let anybody see `/train`, as an admin can set it in Discord."""

    async def setup_hook(self) -> None:
        await super().setup_hook()
        group = self.tree.get_command("train")
        assert isinstance(group, app_commands.Group)
        assert group.default_permissions == discord.Permissions(manage_guild=True)
        group.default_permissions = None
        await self.tree.sync()


@dataclass(kw_only=True)
class Scene:
    env: Any
    bot: StoryBot
    store: Store
    guild: Any
    channel: Any
    admin: Any
    member: Any
    data_dir: Path
    shelf: Shelf
    records: list[Record] = field(default_factory=list)

    def met(self, *kinds: type[BaseException]) -> bool:
        return [type(getattr(error, "original", error)) for error in self.env.errors] == [*kinds]

    def messages(self) -> list[Any]:
        """What Inkwell said for all to see, oldest first."""
        return [message for message in self.channel.history() if not message.flags.ephemeral]

    async def tell(self) -> list[Any]:
        """Two seconds pass."""
        await self.env.advance_time(2.5)
        return self.messages()

    async def train(self, families: str = "story, ngram", who: Any = None) -> Any:
        return await (who or self.admin).slash(self.channel, "train start", families=families)

    async def begin(self, training: Training) -> TrainingRun:
        """A run that goes on while the simulated Discord does other things."""
        run = await training.start(
            place=Place(guild_id=self.guild.id, channel_id=self.channel.id, locale="en-GB"), families=("story",)
        )
        await until(lambda: training.live is not None and training.live.progress is not None)
        return run

    async def latest(self) -> TrainingRun:
        return (await self.store.training_runs.latest(1))[0]


def said(result: Any) -> str:
    """The last words of an answer, whoever may see it."""
    return words_of((result.followups or [result.response])[-1])


def labels_of(message: discord.Message) -> list[str]:
    """The labels of its buttons."""
    rows: list[Any] = [row for row in message.components if isinstance(row, discord.ActionRow)]
    return [child.label for row in rows for child in row.children]


def step_of(training: Training) -> int:
    """How far the run under way is."""
    assert training.live is not None
    assert training.live.progress is not None
    return training.live.progress.step


def training_of(bot: StoryBot, records: Callable[[], list[Record]], kind: str) -> Training:
    async def all_records() -> AsyncIterator[Record]:
        for record in records():
            yield record

    return Training(
        bot.store, lambda: bot.settings, all_records, ended=bot.decisions.after, program=program(kind), grace_s=5.0
    )


@asynccontextmanager
async def scene(
    tmp_path: Path, kind: str = "good", bot_kind: type[StoryBot] = StoryBot, **chosen: Any
) -> AsyncIterator[Scene]:
    settings = Settings(_env_file=None, data_dir=tmp_path, edit_interval_s=0.2, shutdown_grace_s=1.0, **chosen)
    engine = InProcessEngine(BigramModel)
    async with Store.open(settings.database) as store:
        await engine.start()
        records: list[Record] = []
        for person in (42, 43):
            await store.people.set_consent(person, "training", wording=1)
            records.append(turn(f"{person}", store.person_key(person), f"The words of {person}."))
        bot = bot_kind(settings=settings, store=store, engine=engine)
        shelf = bot.decisions.promoter = Shelf(bot.registry)
        bot.training = training_of(bot, lambda: records, kind)
        async with simcord.run(bot, settle_timeout=60.0, shard_count=1) as env:
            guild = env.create_guild()
            role = guild.create_role("Keepers", permissions=discord.Permissions(manage_guild=True))
            yield Scene(
                env=env, bot=bot, store=store, guild=guild, channel=guild.create_text_channel("workshop"),
                admin=guild.add_member(env.create_user("admin"), roles=[role]),
                member=guild.add_member(env.create_user("member")),
                data_dir=tmp_path, shelf=shelf, records=records,
            )  # fmt: skip
            await bot.training.close()
        await engine.close()


async def test_a_run_is_told_of_and_its_candidates_are_promoted_and_rolled_back_by_buttons(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        begun = words_of(answer_of(await at.train()))
        assert "has begun: the story model, the n-gram model" in begun
        progress, note = await at.tell()
        run = await at.latest()
        assert run.reported
        assert words_of(progress).strip() == f"🧠 **Training** `{run.id}`: ended."
        assert labels_of(progress) == []
        told = words_of(note)
        for part in (
            "Training has ended", "✅ **the story model**", "passed all 2 checks",
            "predicts your stories better: 1.72 → 1.50 bits per byte",
            "fewer than 5 people", "waits for you", run.id,
        ):  # fmt: skip
            assert part in told
        assert labels_of(note) == ["Promote the story model", "Promote the n-gram model", "Keep what answers now"]
        (picture,) = note.attachments
        assert "Loss of the story model: from 3.000 to 0.600 in 5 steps." in picture.description
        assert Image.open(io.BytesIO(await picture.read())).format == "PNG"

        registry = at.bot.registry
        await at.admin.click(note, label="Promote the story model")
        note = at.messages()[-1]
        version = run.judged[0].version
        assert registry.champion_id("story") == version
        assert registry.promotions("story")[0].by == at.store.person_key(at.admin.id)
        assert f"`{version}` answers now. Back: `/train rollback family:story`" in words_of(note)
        assert len(note.attachments) == 1
        assert labels_of(note) == ["Promote the n-gram model", "Keep what answers now", "Roll back the story model"]
        await at.admin.click(note, label="Keep what answers now")
        note = at.messages()[-1]
        assert registry.champion_id("ngram") == ""
        assert labels_of(note) == ["Roll back the story model"]
        await at.admin.click(note, label="Roll back the story model")
        note = at.messages()[-1]
        assert registry.champion_id("story") == ""
        assert "does not answer; the one before goes on" in words_of(note)
        assert labels_of(note) == []


async def test_while_a_run_goes_on_one_message_shows_how_far_it_is_and_its_button_cancels_it(tmp_path: Path) -> None:
    async with scene(tmp_path, "wait") as at:
        training = at.bot.training
        run = await at.begin(training)
        (progress,) = await at.tell()
        for part in ("▰", "the story model", "(1 of 1): training", "step", "loss", "120 tokens/s", "about 9 s left"):
            assert part in words_of(progress)
        assert labels_of(progress) == ["Cancel"]
        assert "fewer than 5 people" in words_of(progress)
        before = words_of(progress)
        step = step_of(training)
        await until(lambda: step_of(training) > step)
        (progress,) = await at.tell()
        assert words_of(progress) != before
        status = words_of(answer_of(await at.admin.slash(at.channel, "train status")))
        assert run.id in status
        assert "`story`: what Inkwell came with" in status
        refused = words_of(answer_of(await at.train()))
        assert f"Training `{run.id}` is in progress" in refused
        await at.admin.click(progress, label="Cancel")
        await until(lambda: training.live is None)
        progress, note = await at.tell()
        assert "cancelled." in words_of(progress)
        assert "Somebody cancelled it. The models that answer are as they were." in words_of(note)
        assert labels_of(note) == []
        assert "No training is in progress" in words_of(answer_of(await at.admin.slash(at.channel, "train cancel")))
        assert at.met(TrainingUnderWayError, NoTrainingError)


async def test_the_command_cancels_too(tmp_path: Path) -> None:
    async with scene(tmp_path, "wait") as at:
        run = await at.begin(at.bot.training)
        assert run.id in words_of(answer_of(await at.admin.slash(at.channel, "train cancel")))
        await until(lambda: at.bot.training.live is None)
        assert (await at.latest()).state == "cancelled"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("fail", "The disk is full. The models that answer are as they were."),
        ("kill", "was killed (signal 9)"),
    ],
)
async def test_a_run_that_fails_is_told_with_its_reason(tmp_path: Path, kind: str, words: str) -> None:
    async with scene(tmp_path, kind) as at:
        await at.train()
        note = (await at.tell())[-1]
        assert "Training failed" in words_of(note)
        assert words in words_of(note)
        assert "Traceback" not in words_of(note)


async def test_a_rejected_candidate_stays_visible_and_needs_a_reason_to_be_forced(tmp_path: Path) -> None:
    async with scene(tmp_path, "worse") as at:
        await at.train("story")
        note = (await at.tell())[-1]
        assert "was rejected.\n> ❌ doesn't predict your stories better" in words_of(note)
        assert labels_of(note) == []
        offered = await at.admin.autocomplete(at.channel, "train promote", "version", "rejec")
        (choice,) = offered
        assert "story" in choice["name"]
        refused = await at.admin.slash(at.channel, "train promote", version=choice["value"], force=True)
        assert "did not pass every check" in said(refused)
        forced = await at.admin.slash(
            at.channel, "train promote", version=choice["value"], force=True, reason="It reads well."
        )
        assert "answers now" in said(forced)
        (promotion,) = at.bot.registry.promotions("story")
        assert (promotion.forced, promotion.reason) == (True, "It reads well.")
        assert at.met(NotAcceptedError)


async def test_versions_are_promoted_and_rolled_back_by_name_with_words_for_what_is_not_possible(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as at:
        nothing = await at.admin.slash(at.channel, "train rollback", family="story")
        assert "nothing to roll back" in said(nothing)
        await at.train("story")
        await at.train("story")
        first, second = at.bot.registry.versions("story")
        names = [each["value"] for each in await at.admin.autocomplete(at.channel, "train promote", "version", "")]
        assert names == [f"story/{second.id}", f"story/{first.id}", "story/shipped"]
        for version in (first.id, f"story/{second.id}"):
            await at.admin.slash(at.channel, "train promote", version=version)
            assert at.bot.registry.champion_id("story") == version.split("/")[-1]
        status = words_of(answer_of(await at.admin.slash(at.channel, "train status")))
        assert f"`story`: `{second.id}`" in status
        back = await at.admin.slash(at.channel, "train rollback", family="story")
        assert f"**the story model**: `{first.id}` answers again" in said(back)
        await at.admin.slash(at.channel, "train promote", version="story/shipped")
        assert at.bot.registry.champion_id("story") == ""
        missing = await at.admin.slash(at.channel, "train promote", version="gpt/../../etc")
        assert "no such version" in said(missing)
        at.bot.registry.root.joinpath("story", "marks.jsonl").write_text(
            f'{{"version": "{first.id}", "at": 1.0, "reason": "erased"}}\n'
        )
        marked = await at.admin.slash(at.channel, "train rollback", family="story")
        assert "words erased" in said(marked) or "answers again" in said(marked)
        marked = await at.admin.slash(at.channel, "train promote", version=first.id)
        assert "had their words erased since" in said(marked)
        at.shelf.why = "STORY_ADAPTER names another adapter."
        told = await at.admin.slash(at.channel, "train promote", version=second.id)
        assert "does not answer here: STORY_ADAPTER names another adapter." in said(told)
        at.shelf.fails = PromotionFailedError("The worker ended. Nothing was changed.")
        told = await at.admin.slash(at.channel, "train promote", version=second.id)
        assert "nothing was changed: The worker ended." in said(told)
        at.bot.decisions.promoter = None
        down = await at.admin.slash(at.channel, "train promote", version=second.id)
        assert "right now" in said(down)
        kinds = {type(getattr(error, "original", error)) for error in at.env.errors}
        assert kinds >= {NothingToRollBackError, VersionNotFoundError, MarkedError, NoPromoterError}


async def test_taking_back_what_does_not_answer_any_more_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await at.train("story")
        note = (await at.tell())[-1]
        await at.admin.click(note, label="Promote the story model")
        at.bot.registry.promote("story", "", by="somebody")
        result = await at.admin.click(at.messages()[-1], label="Roll back the story model")
        assert "does not answer any more" in said(result)
        assert len(at.bot.registry.promotions("story")) == 2
        at.env.errors.clear()


async def test_with_train_promote_auto_what_was_accepted_answers_and_what_fails_is_told(tmp_path: Path) -> None:
    async with scene(tmp_path, train_promote="auto") as at:
        await at.train("story")
        note = (await at.tell())[-1]
        (version,) = at.bot.registry.versions("story")
        assert at.bot.registry.champion_id("story") == version.id
        assert "answers now. Back: `/train rollback family:story`" in words_of(note)
        assert labels_of(note) == ["Roll back the story model"]
        at.shelf.fails = OSError("No space left on device")
        await at.train("story")
        note = (await at.tell())[-1]
        assert "could not be promoted: No space left on device" in words_of(note)
        assert at.bot.registry.champion_id("story") == version.id


async def test_buttons_and_notes_live_through_a_restart(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await at.train("story")
        run = await at.latest()
        if not run.reported:
            await at.tell()
        note = at.messages()[-1]
        bot = StoryBot(settings=at.bot.settings, store=at.store, engine=at.bot.engine)
        bot.decisions.promoter = at.shelf
        bot.training = training_of(bot, lambda: at.records, "good")
        await at.env.restart_bot(bot)
        await at.admin.click(note, label="Promote the story model")
        assert bot.registry.champion_id("story") == run.judged[0].version


async def test_an_end_that_nobody_was_told_of_is_told_after_the_next_start(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        runs = at.store.training_runs
        run = await runs.begin(
            trigger="manual", families=("story",), options=at.bot.settings.training_options,
            place=Place(guild_id=at.guild.id, channel_id=at.channel.id, locale="zh-CN"), snapshot_key="ab",
            user_key=None,
        )  # fmt: skip
        await runs.end(run.id, "failed", reason="silent")
        bot = StoryBot(settings=at.bot.settings, store=at.store, engine=at.bot.engine)
        bot.training = training_of(bot, lambda: at.records, "good")
        known, bot.channel_of = bot.channel_of, lambda *_: None  # the server is announced late
        await at.env.restart_bot(bot)
        assert await at.tell() == []
        bot.channel_of = known
        assert await at.tell() == []
        await at.env.advance_time(61)
        (note,) = at.messages()
        assert "训练" in words_of(note)
        assert (await at.latest()).reported
        await at.env.advance_time(61)
        assert len(at.messages()) == 1


async def test_a_deleted_progress_message_is_not_posted_again(tmp_path: Path) -> None:
    async with scene(tmp_path, "wait") as at:
        await at.begin(at.bot.training)
        (progress,) = await at.tell()
        await at.bot.get_partial_messageable(at.channel.id).get_partial_message(progress.id).delete()
        for _ in range(2):
            await asyncio.sleep(0.1)
            assert await at.tell() == []
        await at.bot.training.cancel()
        await until(lambda: at.bot.training.live is None)
        (note,) = await at.tell()
        assert "Training was cancelled" in words_of(note)


async def test_where_inkwell_may_not_write_no_run_begins(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        quiet = at.guild.create_text_channel(
            "quiet", overwrites={at.guild.default_role: discord.PermissionOverwrite(send_messages=False)}
        )
        result = await at.admin.slash(quiet, "train start")
        assert "don't have the permission" in words_of(answer_of(result))
        assert await at.store.training_runs.latest(1) == ()
        assert at.met(app_commands.BotMissingPermissions)


async def test_families_are_offered_and_read_and_unknown_ones_are_named(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        offered = [each["value"] for each in await at.admin.autocomplete(at.channel, "train start", "families", "")]
        assert offered == ["everything", "story", "gpt", "ngram", "mood", "portraits"]
        offered = [
            each["value"] for each in await at.admin.autocomplete(at.channel, "train start", "families", "gpt, n")
        ]
        assert offered == ["gpt, ngram"]
        refused = words_of(answer_of(await at.train("story, stroy")))
        assert "story, gpt, ngram, mood, portraits" in refused
        await at.train("ngram，gpt")
        assert (await at.latest()).families == ("gpt", "ngram")
        none = words_of(answer_of(await at.admin.slash(at.channel, "train gan")))
        assert "nobody has agreed" in none
        assert at.met(NoSuchFamilyError, NothingToLearnError)


async def test_a_schedule_is_set_shown_begun_and_switched_off(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        runs = at.store.training_runs
        told = words_of(answer_of(await at.admin.slash(at.channel, "train schedule", when="nightly", hour=4)))
        assert "every day at 04:00 UTC" in told
        assert f"<#{at.channel.id}>" in told
        told = words_of(
            answer_of(await at.admin.slash(at.channel, "train schedule", when="weekly", weekday=2, families="ngram"))
        )
        assert "every Wednesday at 03:00 UTC" in told
        schedule = await runs.schedule()
        assert schedule is not None
        assert (schedule.hour, schedule.weekday, schedule.families) == (3, 2, ("ngram",))
        assert "every Wednesday" in words_of(answer_of(await at.admin.slash(at.channel, "train status")))
        await at.env.advance_time(61)
        assert await runs.latest(1) == ()
        await runs.set_schedule(None)
        await runs.set_schedule(
            type(schedule)(
                hour=3, weekday=2, families=("ngram",), place=schedule.place, user_key=None,
                due_at=schedule.due_at - 30 * 86_400,
            )
        )  # fmt: skip
        await at.env.advance_time(61)
        await at.env.advance_time(120)
        run, *others = await runs.latest(9)
        assert (run.trigger, others) == ("schedule", [])
        assert "Training has ended" in words_of((await at.tell())[-1])
        told = words_of(answer_of(await at.admin.slash(at.channel, "train schedule", when="off")))
        assert "only where somebody starts it" in told
        assert await runs.schedule() is None


async def test_the_history_shows_runs_with_a_picture_that_is_described(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        nothing = answer_of(await at.admin.slash(at.channel, "train history"))
        assert "Nothing was trained yet" in words_of(nothing)
        await at.train("story, portraits")
        await at.train("ngram")
        answer = answer_of(await at.admin.slash(at.channel, "train history"))
        told = words_of(answer)
        assert "story ✅ · portraits ➖" in told
        assert "ngram ✅" in told
        (picture,) = answer.attachments
        assert "1.720 to 1.500 bits per byte" in picture.description
        shown = Image.open(io.BytesIO(await picture.read()))
        assert shown.size[0] == 720


async def test_the_data_is_told_in_numbers_and_of_few_people_in_none(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await at.store.people.set_consent(at.admin.id, "training", wording=2)
        await at.admin.slash(at.channel, "story", prompt="An unmistakable lighthouse")
        told = words_of(answer_of(await at.admin.slash(at.channel, "train data")))
        assert "stories: 1 · parts: 1 · characters: 26 · people: 1" in told
        assert "unmistakable" not in told
        at.bot.settings = at.bot.settings.model_copy(
            update={"discord_token": SecretStr(TOKEN), "train_guilds": str(at.guild.id)}
        )
        told = words_of(answer_of(await at.admin.slash(at.channel, "train data")))
        assert "stories: – · parts: – · characters: – · people: –" in told
        assert "fewer than 5 people" in told


async def test_members_are_refused_everything_and_see_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path, bot_kind=OpenBot) as at:
        await at.train("story")
        note = (await at.tell())[-1]
        for command, given in (
            ("start", {}), ("gan", {}), ("status", {}), ("cancel", {}), ("history", {}), ("data", {}),
            ("rollback", {"family": "gpt"}), ("promote", {"version": "story/shipped"}), ("schedule", {"when": "off"}),
        ):  # fmt: skip
            result = await at.member.slash(at.channel, f"train {command}", **given)
            assert "only who runs it may" in words_of(answer_of(result))
        assert await at.member.autocomplete(at.channel, "train promote", "version", "") == []
        for label in labels_of(note):
            result = await at.member.click(note, label=label)
            assert "only who runs it may" in said(result)
        assert at.bot.registry.promotions("story") == []
        assert at.met(*[NotTrainerError] * 9)


async def test_the_command_is_hidden_from_members(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        assert "train start" in at.admin.available_commands(at.channel)
        assert "train start" not in at.member.available_commands(at.channel)


def application(bot: StoryBot, people: dict[str, Any], *, team: bool) -> discord.AppInfo:
    """Of a team's application Discord names the team's owner apart from its members."""

    def user(number: int) -> dict[str, Any]:
        return {"id": str(number), "username": f"u{number}", "discriminator": "0", "avatar": None}

    def member(name: str, role: str, state: int) -> dict[str, Any]:
        who = user(people[name].id)
        return {"user": who, "role": role, "membership_state": state, "team_id": "9", "permissions": ["*"]}

    owner = people["owner"].id
    members = [member("mate", "developer", 2), member("reader", "read_only", 2), member("invited", "admin", 1)]
    whole_team = {"id": "9", "name": "t", "icon": None, "owner_user_id": str(owner), "members": members}
    data: Any = {
        "id": "1", "name": "Inkwell", "icon": None, "description": "", "bot_public": True, "verify_key": "x",
        "bot_require_code_grant": False, "rpc_origins": [], "flags": 0, "summary": "",
        "owner": user(9 if team else owner), "team": whole_team if team else None,
    }  # fmt: skip
    return discord.AppInfo(bot._connection, data)


@pytest.mark.parametrize("team", [False, True])
async def test_in_discord_the_application_s_owners_may_and_who_manages_a_server_only_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, team: bool
) -> None:
    asked = []
    async with scene(tmp_path, bot_kind=OpenBot, discord_token=TOKEN, train_on_prompts=True, train_guilds="7, 8") as at:
        people = {
            name: at.guild.add_member(at.env.create_user(name)) for name in ("owner", "mate", "reader", "invited")
        }

        async def application_info() -> discord.AppInfo:
            asked.append(1)
            if len(asked) == 1:
                raise discord.HTTPException(type("Response", (), {"status": 500, "reason": "no"})(), "no")
            return application(at.bot, people, team=team)

        monkeypatch.setattr(at.bot, "application_info", application_info)

        async def may(who: Any) -> bool:
            return "only who runs it may" not in words_of(answer_of(await who.slash(at.channel, "train status")))

        assert not await may(people["owner"])  # Discord did not say who owns it
        assert await may(people["owner"])
        assert await may(people["mate"]) == team
        assert not await may(people["reader"])
        assert not await may(people["invited"])
        assert not await may(at.admin)
        assert len(asked) == 2  # remembered
        at.bot.settings = at.bot.settings.model_copy(update={"train_guilds": f"7, {at.guild.id}"})
        assert await may(at.admin)
        assert not await may(at.member)
        at.env.errors.clear()


async def test_in_discord_nothing_trains_until_the_operator_allows_it(tmp_path: Path) -> None:
    async with scene(tmp_path, discord_token=TOKEN) as at:
        at.bot.settings = at.bot.settings.model_copy(update={"train_guilds": str(at.guild.id)})
        for command, given in (("start", {}), ("gan", {}), ("schedule", {"when": "nightly"})):
            result = await at.admin.slash(at.channel, f"train {command}", **given)
            assert "TRAIN_ON_PROMPTS" in words_of(answer_of(result))
        assert await at.store.training_runs.latest(1) == ()
        assert at.met(*[TrainingNotAllowedError] * 3)


async def test_no_more_buttons_than_a_message_holds(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await at.train("story, gpt, ngram")
        run = await at.latest()
        view = verdict_buttons(run, lambda text: text)
        assert view is not None
        assert len(view.children) == 4
        with pytest.raises(NotOfThisRunError):
            await at.bot.decisions.promote(run.id, "portraits", by="me")


async def test_over_the_sandbox_a_run_is_begun_watched_and_cancelled_by_its_button(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", edit_interval_s=0.2, shutdown_grace_s=1.0)
    engine = InProcessEngine(BigramModel)
    async with Store.open(settings.database) as store, Sandbox(tmp_path / "discord") as sandbox:
        await engine.start()
        await store.people.set_consent(42, "training", wording=2)
        records: list[Record] = [turn("a", store.person_key(42), "A word.")]
        with point_discord_at(sandbox.base_url):
            async with StoryBot(settings=settings, store=store, engine=engine) as bot:
                bot.training = training_of(bot, lambda: records, "wait")
                running = asyncio.create_task(bot.start(sandbox.bot_token))
                await asyncio.wait_for(bot.wait_until_ready_or_dead(running), 30)
                async with Person.join(sandbox, "admin") as ida:
                    await ida.slash("train start", locale="zh-CN", families="story")
                    shown = await ida.wait_message(lambda message: "▰" in message["content"], 60)
                    assert "ephemeral_for" not in shown  # all here may see it
                    edited = await ida.wait_message(lambda message: "第 " in message["content"], 30)
                    assert edited["id"] == shown["id"]
                    await ida.click(edited, "取消")
                    note = await ida.wait_message(lambda message: bool(message["embeds"]), 60)
                    assert note["embeds"][0]["title"] == "训练被取消了"
                    (run,) = await store.training_runs.latest(9)
                    assert (run.state, run.locale) == ("cancelled", "zh-CN")
                await bot.close()
                await running
        await engine.close()
    assert sandbox.unknown_routes == {}
