"""The offer after a first story, consent for single stories, withdrawal and trace, on a simulated Discord; and who is
told when somebody takes their words back.
"""

import json
import time
from pathlib import Path
from typing import Any

import discord
import pytest

from bot.client import StoryBot
from bot.cogs.sharing import SharingCog
from bot.consent_offer import OfferButton
from bot.consents import NotYourWordsError, Trace
from bot.locales import CATALOGUES, speaker
from bot.privacy_trace import MAX_LINES, traced
from bot.store.errors import StoreFullError
from bot.store.people import Correction
from models.serving.in_process import InProcessEngine
from models.serving.training import TurnRecord
from models.training.registry import Registry
from tests.bigram_model import BigramModel
from tests.mood_scene import Scene, answer_of, labels_of, scene, words_of
from tests.test_privacy_cog import unpacked

TOLD = "The keeper climbed the stairs"
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.AbCdEf.abcdefghijklmnopqrstuvwxyz0123456789AB"


async def tell(at: Scene, who: Any, prompt: str = TOLD) -> Any:
    return await who.slash(at.channel, "story", prompt=prompt)


def offers(result: Any) -> list[Any]:
    return [message for message in result.followups if "May I learn from your stories?" in (message.content or "")]


async def lessons(at: Scene) -> list[str]:
    return [
        record.text async for record in at.store.training.records() if isinstance(record, TurnRecord) and record.author
    ]


def learned(at: Scene, who: Any, family: str = "gpt", *, live: bool = True) -> str:
    """A version that learned from somebody, in the bot's registry; its id."""
    registry = Registry(at.bot.settings.data_dir / "versions")
    staged = at.bot.settings.data_dir / "staged"
    staged.mkdir()
    (staged / "config.json").write_text(json.dumps({"a": 1}))
    version = registry.register(family, staged, contributors=[at.store.person_key(who.id)], accepted=True)
    if live:
        registry.promote(family, version.id, by="test")
    return version.id


def told(at: Scene) -> list[str]:
    """Whom a run of training hears of."""
    heard: list[str] = []

    async def author_left(author_key: str) -> None:
        heard.append(author_key)

    at.bot.consents.author_left = author_left
    return heard


async def test_the_offer_comes_once_after_the_first_story_and_only_to_its_author(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = await tell(at, at.member)
        (offer,) = offers(first)
        assert offer.ephemeral
        assert labels_of(offer) == ["Keep private", "Help train"]
        assert at.channel.last_message.content.startswith(f"> {TOLD}")  # the story stands, answered or not
        assert offers(await tell(at, at.member)) == []
        assert len(offers(await tell(at, at.admin))) == 1
        assert await lessons(at) == []


async def test_the_offer_comes_in_a_direct_message_too(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        (offer,) = offers(await at.member.user.slash("story", prompt=TOLD))
        await at.member.user.click(offer, label="Help train")
        assert await lessons(at) == [TOLD]


async def test_help_train_counts_for_that_story_and_those_to_come(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        (offer,) = offers(await tell(at, at.member))
        await at.member.click(offer, label="Help train")
        assert "your yes is noted" in offer.content
        assert labels_of(offer) == []
        await tell(at, at.member, "Another beginning")
        await tell(at, at.admin, "Of somebody else")
        assert sorted(await lessons(at)) == ["Another beginning", TOLD]


async def test_keep_private_keeps_private_and_is_not_asked_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        (offer,) = offers(await tell(at, at.member))
        await at.member.click(offer, label="Keep private")
        assert "stay private" in offer.content
        assert offers(await tell(at, at.member)) == []
        assert await lessons(at) == []
        consent = await at.store.people.consent(at.member.id)
        assert consent is not None
        assert (consent.level, consent.wording) == ("private", 2)


async def test_the_buttons_of_an_offer_work_after_a_restart(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        (offer,) = offers(await tell(at, at.member))
        again = StoryBot(settings=at.bot.settings, store=at.store, engine=InProcessEngine(BigramModel))
        await at.env.restart_bot(again)
        await at.member.click(offer, label="Help train")
        assert await lessons(at) == [TOLD]


async def test_a_stranger_cant_answer_somebody_elses_offer(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await tell(at, at.member)
        (choice,) = await at.store.training.choices(at.member.id)
        refusals: list[str] = []

        class Stranger:
            user = at.admin
            client = at.bot

        async def heard(interaction: Any, error: BaseException) -> None:
            refusals.append(type(error).__name__)

        at.bot.answer_error, honest = heard, at.bot.answer_error  # type: ignore[method-assign]
        await OfferButton("training", at.member.id, choice.story.id, "").callback(Stranger())  # type: ignore[arg-type]
        at.bot.answer_error = honest  # type: ignore[method-assign]
        assert refusals == ["MissingPermissions"]
        assert await lessons(at) == []


async def test_where_the_operator_allows_no_training_nobody_is_asked(tmp_path: Path) -> None:
    async with scene(tmp_path, discord_token=TOKEN) as at:
        assert offers(await tell(at, at.member)) == []
        assert await at.store.people.consent(at.member.id) is None
        answer = answer_of(await at.member.slash(at.channel, "privacy consent", level="training"))
        assert "has not allowed training" in answer.content
        await tell(at, at.member, "Not kept for training")
        at.store.training.allowed = True
        assert await lessons(at) == []


async def test_an_offer_that_cant_be_sent_is_made_after_the_next_story(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as at:
        real = discord.Webhook.send

        async def refused(self: Any, *arguments: Any, **options: Any) -> Any:
            if options.get("ephemeral"):
                raise discord.HTTPException(type("Gone", (), {"status": 401, "reason": "gone"})(), "gone")
            return await real(self, *arguments, **options)

        monkeypatch.setattr(discord.Webhook, "send", refused)
        assert offers(await tell(at, at.member)) == []
        monkeypatch.undo()
        assert at.channel.last_message.content.startswith(f"> {TOLD}")
        assert len(offers(await tell(at, at.member))) == 1


async def test_a_story_is_given_and_taken_back_by_its_title(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await tell(at, at.member)
        await tell(at, at.admin, "The admin's own beginning")
        heard = told(at)
        shown = await at.member.autocomplete(at.channel, "privacy consent", "story", "KEEPER")
        assert [choice["name"] for choice in shown] == [TOLD]
        answer = answer_of(await at.member.slash(at.channel, "privacy consent", story=shown[0]["value"]))
        assert "general level holds (private)" in answer.content
        answer = answer_of(await at.member.slash(at.channel, "privacy consent", level="training", story=TOLD.upper()))
        assert "1 of 1, each for at most 365 days" in answer.content
        assert await lessons(at) == [TOLD]
        general = answer_of(await at.member.slash(at.channel, "privacy consent")).content
        for part in ("**private**", "may train: 1", f"**{TOLD}**: training; parts that may train: 1 of 1"):
            assert part in general
        assert heard == []
        answer = answer_of(await at.member.slash(at.channel, "privacy consent", level="private", story=TOLD))
        assert "whatever your general level" in answer.content
        assert await lessons(at) == []
        assert heard == [at.store.person_key(at.member.id)]
        assert await at.store.training.pending() == ()


async def test_a_story_of_somebody_else_is_not_mine_to_give(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await tell(at, at.admin, "The admin's own beginning")
        result = await at.member.slash(
            at.channel, "privacy consent", level="training", story="The admin's own beginning"
        )
        assert "no story of that title" in words_of(answer_of(result))
        assert at.met(NotYourWordsError)


async def test_withdrawing_takes_back_stories_and_moods_and_tells_the_run(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await at.member.slash(at.channel, "privacy consent", level="training")
        await tell(at, at.member)
        await at.store.people.correct(
            at.member.id,
            Correction(text="x", answered="neutral", label="neutral", method="m", model_version="", language="en"),
        )
        heard = told(at)
        answer = answer_of(await at.member.slash(at.channel, "privacy withdraw"))
        assert "deleted: 1" in answer.content
        assert "no longer may: 1" in answer.content
        assert heard == [at.store.person_key(at.member.id)]
        assert [record async for record in at.store.training.records()] == []
        await at.member.slash(at.channel, "privacy withdraw")
        assert len(heard) == 1


async def test_trace_names_the_versions_that_learned_from_me_and_no_others(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        nothing = answer_of(await at.member.slash(at.channel, "privacy trace")).content
        assert "No version of a model here has learned from your words." in nothing
        live, other = learned(at, at.member), learned(at, at.member, "ngram", live=False)
        foreign = learned(at, at.admin, "story")
        shown = answer_of(await at.member.slash(at.channel, "privacy trace")).content
        assert f"`{live}` (the small GPT)" in shown
        assert f"`{other}` (the n-gram model)" in shown
        assert foreign not in shown
        assert shown.count("answers now") == 1
        document, text = await unpacked(answer_of(await at.member.slash(at.channel, "privacy export")))
        assert {version["version"] for version in document["versions"]} == {live, other}
        assert live in text


async def test_erasing_marks_the_versions_and_tells_the_run_first(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await at.member.slash(at.channel, "privacy consent", level="training")
        await tell(at, at.member)
        version, order = learned(at, at.member), []
        registry = Registry(at.bot.settings.data_dir / "versions")

        async def author_left(author_key: str) -> None:
            assert author_key == at.store.person_key(at.member.id)
            order.append(dict(registry.marks("gpt")))

        at.bot.consents.author_left = author_left
        asked = answer_of(await at.member.slash(at.channel, "privacy erase"))
        await at.member.click(asked, label="Erase everything")
        assert "now marked: 1" in asked.content
        assert order == [{}]  # a run that still goes could register another version
        assert set(registry.marks("gpt")) == {version}
        assert await at.store.training.pending() == ()
        assert "answers now, marked" in answer_of(await at.member.slash(at.channel, "privacy trace")).content


async def test_an_erasure_whose_marks_fail_is_answered_and_marked_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as at:
        await tell(at, at.member)
        version = learned(at, at.member)
        registry = Registry(at.bot.settings.data_dir / "versions")

        def full(self: Any, author_key: str, at_: float) -> Any:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as broken:
            broken.setattr(Registry, "mark_erased", full)
            asked = answer_of(await at.member.slash(at.channel, "privacy erase"))
            await at.member.click(asked, label="Erase everything")
        assert "Erased" in asked.content
        assert registry.marks("gpt") == {}
        await sharing(at).keep_house()
        assert set(registry.marks("gpt")) == {version}
        assert await at.store.training.pending() == ()


async def test_an_export_says_what_may_train(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await tell(at, at.member)
        await at.member.slash(at.channel, "privacy consent", level="training", story=TOLD)
        document, text = await unpacked(answer_of(await at.member.slash(at.channel, "privacy export")))
        assert [row["turn_id"] for row in document["shared"]] == [turn["id"] for turn in document["turns"]]
        assert [(row["level"], row["own"]) for row in document["choices"]] == [("training", True)]
        assert "may train: 1" in text


def sharing(at: Scene) -> SharingCog:
    cog = at.bot.get_cog("Sharing")
    assert isinstance(cog, SharingCog)
    cog._began = time.monotonic()  # as simcord's clock of its own is over
    return cog


async def test_a_server_that_was_left_shares_no_more_after_the_grace(tmp_path: Path) -> None:
    async with scene(tmp_path, leave_grace_days=0) as at:
        await at.member.slash(at.channel, "privacy consent", level="training")
        await tell(at, at.member)
        guild = at.bot.get_guild(at.guild.id)
        assert guild is not None
        await sharing(at).on_guild_remove(guild)
        await sharing(at).on_guild_join(guild)
        await sharing(at).keep_house()
        assert await lessons(at) == [TOLD]
        heard = told(at)
        await sharing(at).on_guild_remove(guild)
        await sharing(at).keep_house()
        assert await lessons(at) == []
        assert heard == [at.store.person_key(at.member.id)]


async def test_a_server_that_was_left_while_inkwell_was_off_is_found_once_all_were_announced(tmp_path: Path) -> None:
    async with scene(tmp_path, leave_grace_days=0) as at:
        await at.member.slash(at.channel, "privacy consent", level="training")
        await tell(at, at.member)
        await sharing(at).on_ready()
        cog, at.bot._connection._guilds = sharing(at), {}  # what Discord announces after the next start
        await cog.keep_house()
        assert await lessons(at) == [TOLD]
        cog._began -= 3_601
        await cog.keep_house()
        await cog.keep_house()
        assert await lessons(at) == []


async def test_a_member_who_leaves_shares_no_more_there_where_discord_tells(tmp_path: Path) -> None:
    async with scene(tmp_path, leave_grace_days=0, members_intent=True) as at:
        assert at.bot.intents.members
        await at.member.slash(at.channel, "privacy consent", level="training")
        await tell(at, at.member)
        at.guild.remove_member(at.member)
        await at.env.settle()
        await sharing(at).keep_house()
        assert await lessons(at) == []


async def test_what_is_old_is_shared_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(tmp_path, training_keep_days=1) as at:
        await at.member.slash(at.channel, "privacy consent", level="training")
        await tell(at, at.member)
        await sharing(at).keep_house()
        assert await lessons(at) == [TOLD]
        now = at.store._clock()
        monkeypatch.setattr("bot.cogs.sharing.time.time", lambda: now + 2 * 86_400)
        await sharing(at).keep_house()
        assert await lessons(at) == []
        assert len((await at.store.people.kept_of(at.member.id)).turns) == 1


async def test_a_full_disk_stops_neither_the_house_nor_a_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(tmp_path) as at:

        async def full(*_: Any) -> Any:
            raise StoreFullError("full")

        monkeypatch.setattr(at.store.training, "forget_before", full)
        await sharing(at).keep_house()
        monkeypatch.setattr(at.store.people, "note_asked", full)
        assert offers(await tell(at, at.member)) == []
        assert at.channel.last_message.content.startswith(f"> {TOLD}")


@pytest.mark.parametrize("locale", ["en-US", *CATALOGUES])
def test_a_long_trace_fits_a_message(locale: str) -> None:
    trace = Trace(family="story", version="v" * 24, created_at=1.8e9, live=True, marked=True)
    say = speaker(locale)
    assert len(traced([trace] * 500, "x" * 80, say)) <= 2_000


def test_one_version_more_than_a_trace_shows_is_said_in_the_singular() -> None:
    trace, say = Trace(family="story", version="v", created_at=1.8e9, live=True, marked=False), speaker("en-US")
    assert "\n…and 1 older one.\n" in traced([trace] * (MAX_LINES + 1), "", say)
    assert "\n…and 2 older ones.\n" in traced([trace] * (MAX_LINES + 2), "", say)
