"""`/mood text`, `compare`, `story` and the message menu on a simulated Discord, and what their buttons keep."""

from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import discord
import pytest
from discord import app_commands

from bot.cogs.mood import MoodCog
from bot.corrections import Corrections
from bot.locales import speaker
from bot.mood_reading import MoodNotReadError
from bot.mood_story import ArcTooShortError
from bot.mood_words import COMPARED, comparison, embed_of
from bot.pace import TooFastError
from bot.store import Recipe, Store
from bot.teaching import NoStoryError
from models.serving.requests import Sampling
from models.serving.short_requests import METHODS, Evidence, Mood
from tests.mood_scene import Scene, answer_of, labels_of, scene, words_of
from tests.word_moods import VERSION

GOOD, MIXED = "what a good good day", "good and bad"
BUTTONS = ["Negative", "Neutral", "That's right"]


async def corrections(at: Scene, who: Any) -> list[Any]:
    return (await at.store.people.kept_of(who.id)).corrections


async def test_a_text_gets_its_label_bars_reasons_and_model_and_only_the_asker_sees_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        result = await at.member.slash(at.channel, "mood text", text=GOOD)
        assert result.acknowledged
        words = words_of(answer_of(result))
        for part in ("🙂 Positive", "67%", "33%", "▲ **good** +1.00", VERSION, "calibrated", f"> {GOOD}"):
            assert part in words
        assert not at.channel.history()
        named = words_of(answer_of(await at.member.slash(at.channel, "mood text", text=GOOD, method="rules")))
        assert "negation" in named
        assert "not calibrated" in named


async def test_doubt_mixed_feelings_and_irony_are_said_in_plain_words(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        words = words_of(answer_of(await at.member.slash(at.channel, "mood text", text=f"{MIXED} /s ?")))
        for part in ("Unsure", "mixed feelings", "irony", "not sure enough"):
            assert part in words
        assert "unheard-of" not in words
        blank = answer_of(await at.member.slash(at.channel, "mood text", text=" "))
        assert "nothing to read" in words_of(blank)
        assert labels_of(blank) == []


async def test_it_works_in_a_direct_message_and_for_those_who_installed_it_themselves(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        assert "Positive" in words_of(answer_of(await at.member.user.slash("mood text", text=GOOD)))
        for name, kind in (("mood", discord.AppCommandType.chat_input), ("privacy", discord.AppCommandType.chat_input),
                           ("Mood", discord.AppCommandType.message)):  # fmt: skip
            command: Any = at.bot.tree.get_command(name, type=kind)
            assert command.allowed_installs.user
            assert command.allowed_contexts.dm_channel


async def test_a_missing_model_and_an_impatient_person_get_one_sentence(tmp_path: Path) -> None:
    async with scene(tmp_path, missing=("encoder",), user_moods_per_minute=2) as at:
        answer = answer_of(await at.member.slash(at.channel, "mood text", text=GOOD, method="encoder"))
        assert "isn't here" in answer.content
        await at.member.slash(at.channel, "mood text", text=GOOD)
        assert "quick" in answer_of(await at.member.slash(at.channel, "mood text", text=GOOD)).content
        assert at.met(MoodNotReadError, TooFastError)


async def test_five_methods_stand_side_by_side_and_one_that_fails_leaves_the_others(tmp_path: Path) -> None:
    async with scene(tmp_path, missing=("naive_bayes",)) as at:
        message = answer_of(await at.member.slash(at.channel, "mood compare", text=MIXED))
        (embed,) = message.embeds
        names = [field.name for field in embed.fields]
        assert [name[:1] for name in names[:5]] == ["1", "2", "3", "4", "5"]
        assert "isn't here" in embed.fields[2].value
        assert "▲ **good** +1.00 · ▼ **bad** -1.00" in embed.fields[0].value
        assert "mixed feelings" in words_of(message)


async def test_the_message_menu_reads_any_message_and_keeps_none(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        message = await at.admin.send(at.channel, "a bad day")
        other = answer_of(await at.member.context_menu(at.channel, "Mood", message))
        assert "Negative" in words_of(other)
        assert labels_of(other) == []
        own = answer_of(await at.admin.context_menu(at.channel, "Mood", message))
        assert "Negative" in words_of(own)
        assert labels_of(own) == []  # text of ordinary messages never trains, its author's own neither
        silent = await at.admin.send(at.channel, "", attachments=[("a.png", b"x")])
        assert "no words" in answer_of(await at.member.context_menu(at.channel, "Mood", silent)).content


async def test_nothing_is_kept_until_somebody_agrees_and_then_what_they_said(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        shown = answer_of(await at.member.slash(at.channel, "mood text", text=GOOD))
        assert labels_of(shown) == BUTTONS
        asked = answer_of(await at.member.click(shown, label="Negative"))
        assert "May I learn" in asked.content
        assert labels_of(asked) == ["Help train", "Keep private"]
        assert await corrections(at, at.member) == []
        assert await at.store.people.consent(at.member.id) is None
        await at.member.click(asked, label="Help train")
        (kept,) = await corrections(at, at.member)
        assert (kept.text, kept.answered, kept.label, kept.method) == (GOOD, "positive", "negative", "default")
        assert (kept.model_version, kept.language) == (VERSION, "en")
        again = answer_of(await at.member.click(shown, label="That's right"))
        assert "Thank you" in again.content
        (kept,) = await corrections(at, at.member)
        assert kept.label == "positive"


async def test_who_says_no_is_not_asked_again_and_nothing_is_kept(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        shown = answer_of(await at.member.slash(at.channel, "mood text", text=GOOD))
        asked = answer_of(await at.member.click(shown, label="Neutral"))
        await at.member.click(asked, label="Keep private")
        consent = await at.store.people.consent(at.member.id)
        assert consent is not None
        assert consent.level == "private"
        later = answer_of(await at.member.slash(at.channel, "mood text", text=GOOD))
        answer = answer_of(await at.member.click(later, label="Neutral"))
        assert "stay private" in answer.content
        assert labels_of(answer) == []
        assert await corrections(at, at.member) == []


async def test_the_buttons_outlive_the_text_and_say_so(tmp_path: Path) -> None:
    now = [0.0]
    async with scene(tmp_path) as at:
        at.bot.corrections = Corrections(at.store, allowed=True, keep_days=9, clock=lambda: now[0])
        shown = answer_of(await at.member.slash(at.channel, "mood text", text=GOOD))
        asked = answer_of(await at.member.click(shown, label="Neutral"))
        now[0] += 16 * 60
        await at.member.click(asked, label="Help train")
        assert "no longer have that text" in answer_of(await at.member.click(shown, label="Neutral")).content
        assert await corrections(at, at.member) == []


async def test_where_the_operator_allows_no_training_there_is_nothing_to_press(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.bot.corrections = Corrections(at.store, allowed=False, keep_days=9)
        shown = answer_of(await at.member.slash(at.channel, "mood text", text=GOOD))
        assert labels_of(shown) == []


async def test_presses_are_acknowledged_before_the_disk_is_asked() -> None:
    steps = AsyncMock()
    steps.people.consent.return_value = None
    kept = Corrections(steps, allowed=True, keep_days=9)
    for press in (
        lambda each: kept.press(each, "neutral", next(iter(kept._pending))),
        lambda each: kept.answer(each, "private", next(iter(kept._pending))),
    ):
        kept.buttons(1, GOOD, mood(), speaker("en-US"))
        interaction = AsyncMock()
        interaction.user.id, interaction.locale = 1, discord.Locale.american_english
        order = Mock()
        order.attach_mock(interaction.response.defer, "acknowledged")
        order.attach_mock(steps.people, "people")
        await press(interaction)
        assert order.mock_calls[0][0] == "acknowledged"
        assert len(order.mock_calls) == 2


async def test_pending_texts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.corrections._KEPT_TEXTS", 3)
    async with Store.open(tmp_path / "inkwell.db") as store:
        kept = Corrections(store, allowed=True, keep_days=9)
        for number in range(10):
            kept.buttons(number, "x" * number + "y", mood(), speaker("en-US"))
        assert [pending.user_id for pending in kept._pending.values()] == [7, 8, 9]
        kept.forget(8)
        assert [pending.user_id for pending in kept._pending.values()] == [7, 9]


async def begin_story(
    at: Scene, channel: Any = None, parts: tuple[str, ...] = ("a good start", " and then bad")
) -> None:
    first, *rest = parts
    place: dict[str, Any] = {
        "user_id": at.member.id, "guild_id": at.guild.id, "channel_id": (channel or at.channel).id,
        "sampling": Sampling(), "application_id": 1, "interaction_token": None, "locale": "en-US",
    }  # fmt: skip
    job = await at.store.begin_story(prompt=first, **place)
    for number, text in enumerate(rest):
        await at.store.start_job(job.job.id)

        turn = await at.store.write_result(job.job.id, text, Recipe(model_version="m", seed=1, sampling=Sampling()))
        await at.store.finish_job(job.job.id, [1])
        if number < len(rest) - 1:
            job = await at.store.continue_story(turn.id, **place)


async def test_a_storys_arc_is_a_picture_with_words_for_those_who_cant_see_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await begin_story(at, parts=("a good good start", " it turns bad", " bad and bad", " bad bad bad"))
        result = await at.admin.slash(at.channel, "mood story")
        message = (result.followups or [result.response])[-1]
        assert not message.ephemeral
        words = words_of(message)
        assert "The mood of “a good good start”" in words
        assert "Happiest: part 1. Darkest: part 4." in words
        assert "grows darker" in words
        (picture,) = message.attachments
        assert picture.filename == "mood-story.png"
        assert picture.size > 1_000


async def test_no_story_or_a_single_part_makes_no_arc(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await at.member.slash(at.channel, "mood story")
        await begin_story(at, parts=("alone",))
        result = await at.member.slash(at.channel, "mood story")
        assert "no arc" in (result.followups or [result.response])[-1].content
        assert at.met(NoStoryError, ArcTooShortError)


async def test_the_arc_of_another_channel_is_only_for_those_who_may_read_there(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        closed = at.guild.create_text_channel(
            "closed",
            overwrites={
                at.guild.default_role: discord.PermissionOverwrite(read_message_history=False),
                at.admin: discord.PermissionOverwrite(read_message_history=True),
            },
        )
        await begin_story(at, closed)
        refused = answer_of(await at.member.slash(at.channel, "mood story", channel=closed))
        assert "permission" in refused.content
        seen = answer_of(await at.admin.slash(at.channel, "mood story", channel=closed))
        assert "The mood of" in words_of(seen)
        assert "permission" in answer_of(await at.member.slash(at.channel, "mood channel", channel=closed)).content
        assert at.met(app_commands.MissingPermissions, app_commands.MissingPermissions)


def mood(**changed: Any) -> Mood:
    values: dict[str, Any] = {
        "label": "positive", "probabilities": (0.1, 0.2, 0.7), "sure": True, "method": "default",
        "model_version": VERSION, "language": "en",
    }  # fmt: skip
    return Mood(**values | changed)


@pytest.mark.parametrize("locale", ["en-US", "zh-CN", "zh-TW"])
def test_any_answer_fits_an_embed_and_pings_nobody(locale: str) -> None:
    evidence = tuple(Evidence(text="<@1>`*_" * 20, weight=-9.99) for _ in range(50))
    notes = ("empty", "no_words", "emoji_only", "one_word", "other_language", "mixed", "cut", "irony")
    worst = mood(evidence=evidence, notes=notes, sure=False, model_version="m" * 500)
    text = "@everyone *" * 600
    for embed in (
        *(embed_of(text, mood(method=method), speaker(locale)) for method in METHODS),
        embed_of(text, worst, speaker(locale)),
        comparison(text, dict.fromkeys(COMPARED, worst), speaker(locale)),
    ):  # fmt: skip
        assert len(embed) <= 6_000
        assert all(len(field.value or "") <= 1_024 and len(field.name or "") <= 256 for field in embed.fields)
        assert "@everyone" not in str(embed.to_dict())
        assert len(embed.footer.text or "") <= 2_048


def test_every_method_can_be_chosen() -> None:
    (parameter,) = [each for each in MoodCog.text.parameters if each.name == "method"]
    assert {choice.value for choice in parameter.choices} == {"default", *METHODS}
