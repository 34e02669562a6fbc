"""A blind vote on a simulated Discord: who may begin, vote and end it, and that nothing tells what is which before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.ballot_buttons import ballot_buttons
from bot.ballot_words import CHANCE, NEEDED, result, sign_test
from bot.client import StoryBot
from bot.sandbox import Sandbox, point_discord_at
from bot.settings import Settings
from bot.store import Store
from bot.store.ballots import Ballot, Key
from models.serving.in_process import InProcessEngine
from models.serving.training import Record
from tests.bigram_model import BigramModel
from tests.fake_training import PAIRS
from tests.mood_scene import answer_of, words_of
from tests.sandbox_client import Person
from tests.test_privacy_cog import unpacked
from tests.test_train_cog import Scene, labels_of, said, scene, training_of
from tests.test_training import turn

LABELS = ["A", "B", "No difference", "End and reveal"]


@dataclass(kw_only=True)
class Vote:
    """A run whose verdict stands in the channel."""

    at: Scene
    note: Any

    async def begin(self, who: Any = None) -> list[Any]:
        """Press "Blind vote"; what stands below the note then."""
        before = len(self.at.messages())
        await (who or self.at.admin).click(self.note, label="Blind vote")
        return self.at.messages()[before:]

    def shown(self, message: Any) -> Any:
        """The message as it is now."""
        return next(each for each in self.at.messages() if each.id == message.id)

    async def ballots(self) -> tuple[Ballot, ...]:
        return await self.at.store.ballots.of_run((await self.at.latest()).id)


@asynccontextmanager
async def vote(tmp_path: Path, families: str = "story, gpt, ngram") -> AsyncIterator[Vote]:
    async with scene(tmp_path, "pairs") as at:
        await at.train(families)
        yield Vote(at=at, note=(await at.tell())[-1])


def looks_of(message: Any) -> list[Any]:
    rows: list[Any] = [row for row in message.components if isinstance(row, discord.ActionRow)]
    return [child for row in rows for child in row.children]


async def test_a_vote_is_begun_taken_changed_and_revealed(tmp_path: Path) -> None:
    async with vote(tmp_path) as here:
        at = here.at
        assert labels_of(here.note)[-1] == "Blind vote"
        posted = await here.begin()
        ballots = await here.ballots()
        assert [ballot.key.family for ballot in ballots] == ["gpt", "story", "story"]
        assert len(posted) == 3
        assert "Blind vote 1 of 3: the small GPT" in words_of(posted[0])
        message, ballot = posted[2], ballots[2]
        assert labels_of(message) == LABELS
        own, other = ("A", "B") if ballot.candidate_first else ("B", "A")

        first = await at.member.click(message, label=other)
        assert said(first) == (f"Your vote: **{other}**. You can change your vote until the end: press another button.")
        assert first.followups[-1].ephemeral
        assert "Voted so far: 1" in words_of(here.shown(message))
        await at.member.click(message, label=own)
        await at.admin.click(message, label="No difference")
        told = words_of(here.shown(message))
        assert "Voted so far: 2" in told
        assert "candidate" not in told

        await at.admin.click(message, label="End and reveal")
        told = words_of(here.shown(message))
        version = ballot.version
        assert f"**{own}** was the candidate `{version}`, **{other}** what Inkwell came with." in told
        assert "For the candidate: 1 · for the other: 0 · no difference: 1" in told
        assert "at least 6 people" in told
        assert "Voted: 2 · this vote is over" in told
        assert labels_of(here.shown(message)) == []
        past = said(await at.admin.slash(at.channel, "train history"))
        assert "the story model: 1 for the candidate, 0 for the other, 1 no difference" in past
        assert "the small GPT: " not in past


async def test_nothing_tells_what_is_which_before_the_end(tmp_path: Path) -> None:
    async with vote(tmp_path, "story") as here:
        posted = await here.begin()
        for message, ballot in zip(posted, await here.ballots(), strict=True):
            (embed,) = message.embeds
            assert [field.name for field in embed.fields] == ["A", "B"]
            texts = [ballot.candidate, ballot.other] if ballot.candidate_first else [ballot.other, ballot.candidate]
            assert [field.value.replace("\\", "") for field in embed.fields] == texts
            a, b, *_ = looks_of(message)
            assert (a.style, a.emoji) == (b.style, b.emoji)
            run = ballot.key.run_id
            assert [each.custom_id for each in looks_of(message)] == [
                f"ballot:{act}:{run}:story:{ballot.key.number}" for act in ("a", "b", "same", "reveal")
            ]
            assert ballot.version not in words_of(message)
            assert "candidate" not in words_of(message)
            assert PAIRS[ballot.key.number - 1].prompt in words_of(message)


async def test_who_may_not_train_can_vote_but_neither_begin_nor_end_it(tmp_path: Path) -> None:
    async with vote(tmp_path, "story") as here:
        at = here.at
        refused = await at.member.click(here.note, label="Blind vote")
        assert "only who runs it may" in said(refused)
        assert len(at.messages()) == 2
        (message, _) = await here.begin()
        refused = await at.member.click(message, label="End and reveal")
        assert "only who runs it may" in said(refused)
        assert "candidate" not in words_of(here.shown(message))
        assert all(ballot.open for ballot in await here.ballots())
        await at.member.click(message, label="A")
        assert (await here.ballots())[0].voted == 1


async def test_a_vote_that_is_over_says_so_also_below_its_other_message(tmp_path: Path) -> None:
    async with vote(tmp_path, "gpt") as here:
        at = here.at
        (message,) = await here.begin()
        (copy,) = await here.begin()  # as if the first had been deleted
        await at.admin.click(message, label="End and reveal")
        late = await at.member.click(copy, label="A")
        assert "This vote is over" in said(late)
        assert "what Inkwell came with" in words_of(here.shown(copy))
        assert labels_of(here.shown(copy)) == []
        assert (await here.ballots())[0].voted == 0
        over = await at.admin.click(here.note, label="Blind vote")
        assert "This vote is over" in said(over)
        await at.admin.click(here.note, label="Keep what answers now")
        assert labels_of(here.shown(here.note)) == []


async def test_a_vote_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with vote(tmp_path, "story") as here:
        at = here.at
        (message, _) = await here.begin()
        await at.member.click(message, label="A")
        await at.env.restart_bot(StoryBot(settings=at.bot.settings, store=at.store, engine=at.bot.engine))
        await at.member.click(message, label="B")
        assert "Voted so far: 1" in words_of(here.shown(message))
        assert (await here.ballots())[0].votes == {"a": 0, "b": 1, "same": 0}
        await at.admin.click(message, label="End and reveal")
        assert "was the candidate" in words_of(here.shown(message))


async def test_the_texts_go_when_somebody_erases_themselves_whom_the_candidate_learned_from(tmp_path: Path) -> None:
    async with vote(tmp_path, "story") as here:
        at = here.at
        (message, _) = await here.begin()
        await at.member.click(message, label="A")
        await at.bot.consents.erase(42)
        assert await here.ballots() == ()
        gone = await at.member.click(message, label="B")
        assert "no longer keep the texts of this vote" in said(gone)
        assert PAIRS[0].candidate not in words_of(here.shown(message)).replace("\\", "")
        assert labels_of(here.shown(message)) == []
        gone = await at.admin.click(here.note, label="Blind vote")
        assert "no longer keep the texts of this vote" in said(gone)


async def test_texts_that_an_erasure_missed_are_not_posted(tmp_path: Path) -> None:
    async with vote(tmp_path, "story") as here:
        at = here.at
        at.bot.registry.mark_erased(at.store.person_key(42), 1.0)
        gone = await at.admin.click(here.note, label="Blind vote")
        assert "no longer keep the texts of this vote" in said(gone)
        assert await here.ballots() == ()
        assert len(at.messages()) == 2


async def test_one_s_votes_are_in_one_s_export_and_go_with_an_erasure(tmp_path: Path) -> None:
    async with vote(tmp_path, "story") as here:
        at = here.at
        (message, _) = await here.begin()
        await at.member.click(message, label="B")
        document, text = await unpacked(answer_of(await at.member.slash(at.channel, "privacy export")))
        assert [each["choice"] for each in document["votes"]] == ["b"]
        assert "What you pressed in blind votes" in text
        await at.bot.consents.erase(at.member.id)
        assert [ballot.voted for ballot in await here.ballots()] == [0, 0]


async def test_a_run_without_pairs_offers_no_vote(tmp_path: Path) -> None:
    async with vote(tmp_path, "ngram") as here:
        assert "Blind vote" not in labels_of(here.note)


async def test_over_the_sandbox_in_chinese_a_vote_is_taken_and_revealed(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", edit_interval_s=0.2, shutdown_grace_s=1.0)
    engine = InProcessEngine(BigramModel)
    async with Store.open(settings.database) as store, Sandbox(tmp_path / "discord") as sandbox:
        await engine.start()
        await store.people.set_consent(42, "training", wording=2)
        records: list[Record] = [turn("a", store.person_key(42), "A word.")]
        with point_discord_at(sandbox.base_url):
            async with StoryBot(settings=settings, store=store, engine=engine) as bot:
                bot.training = training_of(bot, lambda: records, "pairs")
                running = asyncio.create_task(bot.start(sandbox.bot_token))
                await asyncio.wait_for(bot.wait_until_ready_or_dead(running), 30)
                async with Person.join(sandbox, "admin") as ida:
                    await ida.slash("train start", locale="zh-CN", families="gpt")
                    note = await ida.wait_message(lambda message: bool(message["embeds"]), 60)
                    await ida.click(note, "盲选投票")
                    posted = await ida.wait_message(lambda message: "盲选投票 1/1" in str(message["embeds"]), 30)
                    assert "ephemeral_for" not in posted
                    await ida.click(posted, "B")
                    thanks = await ida.wait_message(lambda message: "**B**" in message["content"], 30)
                    assert "ephemeral_for" in thanks
                    await ida.click(posted, "结束并揭晓")
                    over = await ida.wait_message(lambda message: "是候选版本" in str(message["embeds"]), 30)
                    assert (over["id"], over["components"]) == (posted["id"], [])
                await bot.close()
                await running
        await engine.close()
    assert sandbox.unknown_routes == {}


def ballot(own: int, other: int, *, first: bool = True) -> Ballot:
    votes: Any = {"a" if first else "b": own, "b" if first else "a": other, "same": 3}
    return Ballot(
        key=Key(run_id="0" * 16, family="story", number=1), version="v2", against="v1", prompt="p", candidate="c",
        other="o", candidate_first=first, open=False, votes=votes,
    )  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        (0, 0, "So few say nothing"), (5, 0, "So few say nothing"), (6, 0, "like the candidate's text better"),
        (0, 6, "like the candidate's text less"), (6, 2, "says nothing: tossing coins"), (40, 8, "in only < 0.1%"),
        (8, 1, "in only 3.9%"),
    ],
)  # fmt: skip
def test_the_end_says_in_words_whether_so_many_votes_say_anything(
    own: int, other: int, words: str, first: bool
) -> None:
    told = result(ballot(own, other, first=first), lambda text: text)
    assert words in told
    assert f"**{'A' if first else 'B'}** was the candidate `v2`, **{'B' if first else 'A'}** the version `v1`" in told
    assert f"For the candidate: {own} · for the other: {other} · no difference: 3" in told


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_sign_test_is_a_chance_that_falls_as_votes_grow_uneven_and_knows_no_side(first: int, second: int) -> None:
    chance = sign_test(first, second)
    assert 0.0 <= chance <= 1.0
    assert chance == sign_test(second, first)
    if first >= second:
        assert sign_test(first + 1, second) <= chance
    if first == second:
        assert chance == 1.0


def test_the_sign_test_counts_as_in_the_books() -> None:
    assert sign_test(8, 2) == pytest.approx(112 / 1024)
    assert sign_test(NEEDED, 0) <= CHANCE < sign_test(NEEDED - 1, 0)


def test_the_longest_id_fits_a_button() -> None:
    key = Key(run_id="z" * 16, family="portraits", number=9)
    assert all(len(child.item.custom_id) <= 100 for child in ballot_buttons(key, str).children)  # type: ignore[attr-defined]
