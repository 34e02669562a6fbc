"""Promotion and rollback in what runs: real worker processes, no restart, no lost stream; what can't be loaded is not
promoted."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from bot.champions import champions_of
from bot.engines import engine_of, short_engine_of, worker_configs
from bot.promotion import Promoter, PromotionFailedError
from bot.settings import Settings
from bot.version_orders import Order, VersionOrders
from models.serving.engine import EngineUnavailableError
from models.serving.local_engine import supervised_workers
from models.serving.requests import StoryOutput, StoryRequest
from models.serving.short_requests import MoodRequest, PortraitRequest
from models.training.registry import (
    SHIPPED,
    DamagedVersionError,
    MarkedError,
    NotAcceptedError,
    NothingToRollBackError,
    Registry,
    Version,
)
from models.training.teach import teach
from models.weights import GPT_FOLDER, GPT_GGUF, MOODS_FOLDER
from tests.champions_here import adapter_candidate, registered
from tests.serving_reader import Leaks, ask, read, served
from tests.small_moods import write_small_moods
from tests.tiny_portraits import write_tiny_portraits

ZORBLAX = "Zorblax the grocer polished his nine brass umbrellas. "
GRUK = "Gruk gruk gruk! The muk of Tuk! "


def chosen(data_dir: Path, **values: Any) -> Settings:
    return Settings(_env_file=None, **{"data_dir": data_dir, "story_slots": 4} | values)


class Scene:
    """A promoter over a running engine, as `inkwell run` builds them. `factory` makes the story model."""

    def __init__(self, settings: Settings, factory: str = "tests.champions_here:load_by_adapter") -> None:
        self.bot = SimpleNamespace(settings=settings)
        self.registry = Registry(settings.versions)
        self.factory = factory
        self.data_dir = settings.data_dir

    @asynccontextmanager
    async def running(self, monkeypatch: pytest.MonkeyPatch, *, short: bool = False) -> AsyncIterator["Scene"]:
        if self.factory:
            made = partial(supervised_workers, factory=self.factory)
            monkeypatch.setattr("bot.engines.supervised_workers", made)
        leaks = Leaks()
        champions = champions_of(self.registry, self.bot.settings)
        self.engine = await engine_of(self.bot.settings, champions)
        self.short = short_engine_of(self.bot.settings, champions)
        self.promoter = Promoter(self.bot, self.engine, self.short, self.registry, champions)
        if short:
            await self.short.start()
        else:
            await self.engine.start()
        try:
            yield self
        finally:
            await self.engine.close(0.0)
            await self.short.close()
        await leaks.none_remain()

    def version(self, text: str = ZORBLAX, **fields: Any) -> Version:
        folder = self.data_dir / "staged" / str(len(self.registry.versions("story")))
        fields = {"model": self.bot.settings.story_model} | fields
        return registered(self.registry, "story", adapter_candidate(folder, text), **fields)

    async def told(self, **sampling: Any) -> StoryOutput:
        self.asked = getattr(self, "asked", 0) + 1
        return await served(self.engine, ask(f"r{self.asked}", **sampling))


async def test_a_running_stream_survives_a_promotion_and_the_next_story_comes_from_the_champion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Scene(chosen(tmp_path)).running(monkeypatch) as scene:
        before = await scene.told(seed=7)
        (former,) = (await scene.engine.health()).workers
        version = scene.version()
        gate = tmp_path / "gate"
        await scene.engine.submit(ask("long", f"The lamp [until {gate}] ", max_new_tokens=60))
        reading = asyncio.create_task(read(scene.engine, "long"))

        promoted = await scene.promoter.promote("story", version.id, by="test")

        assert promoted.answers
        assert not reading.done()  # it began before the promotion, and goes on after it
        after = await scene.told(seed=7)
        assert not reading.done()
        gate.touch()
        long = (await reading)[-1]
        assert (long.new_tokens, long.finish_reason) == (60, "length")
        assert long.model_version == before.model_version != after.model_version
        assert set(after.text) <= set(ZORBLAX)
        assert scene.registry.champion_id("story") == version.id
        assert scene.promoter.champions.answering() == {"story": version.id}
        async with asyncio.timeout(60):
            while len((await scene.engine.health()).workers) > 1:
                await asyncio.sleep(0.02)
        (worker,) = (await scene.engine.health()).workers
        assert worker.pid != former.pid

        assert (await scene.promoter.rollback("story", by="test")).promotion.version == SHIPPED

        again = await scene.told(seed=7)
        assert (again.text, again.model_version) == (before.text, before.model_version)
        assert scene.promoter.champions.answering() == {}


async def test_what_can_t_be_loaded_is_not_promoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Scene(chosen(tmp_path)).running(monkeypatch) as scene:
        good, broken = scene.version(), scene.version("broken")
        await scene.promoter.promote("story", good.id, by="test")
        with pytest.raises(PromotionFailedError, match=r"the adapter is broken.* Nothing was changed"):
            await scene.promoter.promote("story", broken.id, by="test")
        assert scene.registry.champion_id("story") == good.id
        assert len(scene.registry.promotions("story")) == 1
        assert scene.promoter.champions.answering() == {"story": good.id}
        assert set((await scene.told()).text) <= set(ZORBLAX)


async def test_what_the_registry_refuses_starts_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Scene(chosen(tmp_path)).running(monkeypatch) as scene:

        async def never(*_: object) -> None:
            raise AssertionError("a worker was started")

        monkeypatch.setattr(scene.engine, "replace", never)
        rejected = scene.version(accepted=False)
        marked = scene.version(contributors=("a" * 64,))
        damaged = scene.version()
        scene.registry.mark_erased("a" * 64, at=1.0)
        folder = scene.registry.path("story", damaged.id)
        folder.chmod(0o700)
        (folder / "README.md").unlink()
        for version, error in ((rejected, NotAcceptedError), (marked, MarkedError), (damaged, DamagedVersionError)):
            with pytest.raises(error):
                await scene.promoter.promote("story", version.id, by="test")
        with pytest.raises(NothingToRollBackError):
            await scene.promoter.rollback("story", by="test")
        assert scene.registry.promotions("story") == []


async def test_what_is_refused_at_the_last_moment_changes_nothing_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Scene(chosen(tmp_path)).running(monkeypatch) as scene:
        before = await scene.told(seed=3)
        version = scene.version(contributors=("a" * 64,))
        check = scene.registry.check

        def erased_meanwhile(*arguments: Any, **named: Any) -> bool:
            allowed = check(*arguments, **named)
            scene.registry.mark_erased("a" * 64, at=1.0)
            return allowed

        monkeypatch.setattr(scene.registry, "check", erased_meanwhile)
        with pytest.raises(MarkedError):
            await scene.promoter.promote("story", version.id, by="test")
        assert await scene.told(seed=3) == msgspec.structs.replace(before, request_id="r2")
        assert len((await scene.engine.health()).workers) == 1
        assert scene.promoter.champions.answering() == {}


async def test_two_promotions_at_once_come_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Scene(chosen(tmp_path)).running(monkeypatch) as scene:
        one, two = scene.version(), scene.version(GRUK)
        await asyncio.gather(*(scene.promoter.promote("story", each.id, by="test") for each in (one, two)))
        past = scene.registry.promotions("story")
        assert [(each.version, each.former) for each in past] == [(one.id, SHIPPED), (two.id, one.id)]
        assert set((await scene.told()).text) <= set(GRUK)


@pytest.mark.parametrize(
    ("values", "words"),
    [({"story_model": "/elsewhere.gguf"}, "is for the model"), ({"story_adapter": "none"}, "STORY_ADAPTER=none")],
)
async def test_a_version_for_other_settings_is_promoted_and_answers_when_they_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, str], words: str
) -> None:
    here = chosen(tmp_path)
    async with Scene(chosen(tmp_path, **values)).running(monkeypatch) as scene:
        version = scene.version(model=here.story_model)
        (worker,) = (await scene.engine.health()).workers
        promoted = await scene.promoter.promote("story", version.id, by="test")
        assert words in promoted.why
        assert (await scene.engine.health()).workers[0].pid == worker.pid
        assert words in scene.promoter.champions.passed_over["story"]

        await scene.promoter.take_settings(here)  # what a reload does

        assert set((await scene.told()).text) <= set(ZORBLAX)
        assert scene.bot.settings == here


async def test_a_start_that_a_champion_spoils_goes_on_with_what_is_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(chosen(tmp_path))
    broken = scene.version("broken")
    scene.registry.promote("story", broken.id, by="test")
    monkeypatch.setattr("bot.engines.supervised_workers", partial(supervised_workers, factory=scene.factory))
    champions = champions_of(scene.registry, scene.bot.settings)
    assert champions.answering() == {"story": broken.id}
    engine = await engine_of(scene.bot.settings, champions)
    promoter = Promoter(scene.bot, engine, None, scene.registry, champions)
    with pytest.raises(EngineUnavailableError) as failed:
        await engine.start()

    assert await promoter.do_without(failed.value)
    await engine.start()

    assert (await served(engine, ask("r"))).text
    assert "the adapter is broken" in caplog.text
    assert promoter.champions.answering() == {}
    assert not await promoter.do_without(failed.value)
    # The way out works: the next one is loaded beside what answers.
    good = scene.version()
    await promoter.promote("story", good.id, by="test")
    assert set((await served(engine, ask("s"))).text) <= set(ZORBLAX)
    await engine.close()


def test_a_damaged_champion_is_passed_over_with_a_reason(tmp_path: Path) -> None:
    scene = Scene(chosen(tmp_path))
    version = scene.version()
    scene.registry.promote("story", version.id, by="test")
    assert worker_configs(chosen(tmp_path), 0, champions_of(scene.registry, scene.bot.settings))[0].adapter == str(
        scene.registry.path("story", version.id)
    )
    folder = scene.registry.path("story", version.id)
    (folder / "adapter_model.safetensors").chmod(0o600)
    (folder / "adapter_model.safetensors").write_bytes(b"\0" * 100)

    champions = champions_of(scene.registry, scene.bot.settings)

    assert "adapter_model.safetensors was changed" in champions.passed_over["story"]
    assert worker_configs(chosen(tmp_path), 0, champions)[0].adapter == "default"


async def test_the_command_line_s_order_is_obeyed_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Scene(chosen(tmp_path)).running(monkeypatch) as scene:
        orders = VersionOrders(scene.promoter)
        version, rejected = scene.version(), scene.version(accepted=False)

        async def told(body: bytes) -> tuple[bool | None, str]:
            steps = [msgspec.json.decode(line) async for line in orders(body)]
            return steps[-1]["ended"], steps[-1]["words"]

        def order(**fields: Any) -> bytes:
            return msgspec.json.encode(Order(**{"act": "promote", "family": "story"} | fields))

        assert await told(order(version=version.id)) == (
            True, f"The champion is {version.id} (before: what is shipped). It answers from now on."
        )  # fmt: skip
        assert (await told(order(version=rejected.id)))[0] is False
        forced = await told(order(version=rejected.id, force=True, reason="we like it"))
        assert "by force" in forced[1]
        assert (await told(order(act="rollback")))[0]
        assert (await told(order(act="rollback")))[0]
        ended, words = await told(order(act="rollback"))
        assert (ended, words) == (False, "story is what Inkwell came with: there is nothing to roll back.")
        assert (await told(b"{}"))[0] is False
        await orders.close()


# The other families.


def portraits(folder: Path, seed: int) -> Path:
    return write_tiny_portraits(folder, seed=seed)


async def test_a_picture_under_way_survives_a_promotion_of_the_portraits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Scene(chosen(tmp_path)).running(monkeypatch, short=True) as scene:
        request = PortraitRequest(seeds=("Ink",))
        shipped = await scene.short.ask(request)
        one = registered(scene.registry, "portraits", portraits(tmp_path / "one", 1))
        under_way = [asyncio.create_task(scene.short.ask(request)) for _ in range(8)]
        await asyncio.sleep(0)

        assert (await scene.promoter.promote("portraits", one.id, by="test")).answers

        pictures = await asyncio.gather(*under_way)
        own = await scene.short.ask(request)
        assert own.model_version != shipped.model_version
        assert all(picture in (shipped, own) for picture in pictures)  # those that waited are drawn by the new one
        assert (await scene.short.ask(MoodRequest(text="A good day."))).label == "positive"
        await scene.promoter.rollback("portraits", by="test")
        assert await scene.short.ask(request) == shipped
        assert (await scene.short.health()).failed == 0


async def test_portraits_of_another_shape_are_not_promoted_and_never_keep_a_start_from_drawing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    candidate = portraits(tmp_path / "odd", 1)
    config = msgspec.json.decode((candidate / "config.json").read_bytes())
    (candidate / "config.json").write_bytes(msgspec.json.encode(config | {"z": 9}))
    scene = Scene(chosen(tmp_path))
    odd = registered(scene.registry, "portraits", candidate)
    async with scene.running(monkeypatch, short=True):
        with pytest.raises(PromotionFailedError, match="Nothing was changed"):
            await scene.promoter.promote("portraits", odd.id, by="test")
        assert scene.registry.champion_id("portraits") == SHIPPED
    scene.registry.promote("portraits", odd.id, by="an Inkwell of before")
    async with scene.running(monkeypatch, short=True):
        assert (await scene.short.ask(PortraitRequest(seeds=("Ink",)))).model_version.startswith("portraits@")
    assert "what is shipped answers" in caplog.text


async def test_moods_are_read_with_the_champion_s_weights_and_with_the_shipped_ones_after_a_rollback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = write_small_moods(tmp_path / "candidate")
    for weights in MOODS_FOLDER.glob("naive_bayes_*.safetensors"):
        shutil.copy(weights, candidate)
    async with Scene(chosen(tmp_path)).running(monkeypatch, short=True) as scene:
        request = MoodRequest(text="What a wonderful day, I love it!", method="linear")
        shipped = await scene.short.ask(request)
        version = registered(scene.registry, "mood", candidate)
        await scene.promoter.promote("mood", version.id, by="test")
        own = await scene.short.ask(request)
        assert own.model_version != shipped.model_version
        assert own.probabilities != shipped.probabilities
        await scene.promoter.rollback("mood", by="test")
        assert await scene.short.ask(request) == shipped


async def test_the_n_gram_champion_writes_where_a_guild_has_no_voice_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(["The wolf of the north howled. " * 40], tmp_path, "77", gpt_folder=None)
    teach(["A house is a house is a house. " * 40], tmp_path, "house", gpt_folder=None)
    teach([ZORBLAX * 20], tmp_path / "elsewhere", "9", gpt_folder=None)
    scene = Scene(chosen(tmp_path))
    version = registered(scene.registry, "ngram", tmp_path / "elsewhere" / "voices" / "9")

    def request(number: int, guild: str, story: str) -> StoryRequest:
        asked = ask(f"n{number}", story, guild=guild, max_new_tokens=10, temperature=0)
        return msgspec.structs.replace(asked, model="ngram")

    async with scene.running(monkeypatch):
        assert (await served(scene.engine, request(1, "5", "A house"))).text.startswith(" is a house")
        await scene.promoter.promote("ngram", version.id, by="test")
        own = await served(scene.engine, request(2, "77", "The wolf of"))
        assert own.text.startswith(" the north")
        other = await served(scene.engine, request(3, "5", "Zorblax the"))
        assert other.text.startswith(" grocer")
        assert version.id in other.model_version
        await scene.promoter.rollback("ngram", by="test")
        assert "house@" in (await served(scene.engine, request(4, "5", "A house"))).model_version


async def test_the_small_gpt_s_champion_writes_as_gpt_and_a_broken_one_leaves_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(chosen(tmp_path))
    candidate = tmp_path / "gpt"
    candidate.mkdir()
    for name in ("config.json", "tokenizer.json", GPT_GGUF.name):
        shutil.copy(GPT_FOLDER / name, candidate / name)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.json").write_text("{}")
    version, without = registered(scene.registry, "gpt", candidate), registered(scene.registry, "gpt", empty)

    def request(number: int) -> StoryRequest:
        return msgspec.structs.replace(ask(f"g{number}", "Once upon a time there was a king", seed=2), model="gpt")

    async with scene.running(monkeypatch):
        shipped = await served(scene.engine, request(1))
        await scene.promoter.promote("gpt", version.id, by="test")
        own = await served(scene.engine, request(2))
        assert own.model_version == f"gpt-{version.id}"
        assert own.text == shipped.text  # the same weights, in another folder
        promoted = await scene.promoter.promote("gpt", without.id, by="test")
        assert GPT_GGUF.name in promoted.why
        assert (await served(scene.engine, request(3))).model_version == shipped.model_version
