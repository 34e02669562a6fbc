"""The whole loop as an admin lives it: a real Inkwell in its sandbox with the real default model learns a made-up style
from those who agreed, is promoted, is rolled back, and somebody who is erased reaches the version that saw them."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from bot.corrections import WORDING
from bot.sandbox.seed import first_world
from bot.sandbox.world import WorldData
from bot.store import Recipe, Store
from bot.store.keys import KEY_BYTES, StoreKeys
from models.language.weights import LocalModel
from models.serving.requests import Sampling
from models.serving.training import Check
from models.training.registry import Registry
from models.training.snapshot_split import HELD_OUT_SHARE, stable_hash
from tests.inkwell_process import running
from tests.sandbox_client import Json, Person, labels

pytestmark = [pytest.mark.weights, pytest.mark.timeout(2_400)]  # ten minutes where nobody else wants the processors

STYLE = Path(__file__).parent / "fixtures" / "made_up_style"
AUTHORS = {"ada": 1001, "bror": 1002, "cille": 1003}
PROMPT = "At the sixth bell the grandle do lean out over the Ennet with her lumnet, and she do see"
WREN_S_OWN = (
    "Quillon Marrowby do keep nine copper herons in the loft of the tollhouse, and none but Quillon feeds them."
)


def settled_world(data_dir: Path) -> WorldData:
    """The sandbox's first world, written before Inkwell starts, so that its people's ids are known. They come from the
    clock, and who is held out is a hash of them."""
    world = msgspec.convert(first_world(), WorldData)
    folder = data_dir / "sandbox"
    folder.mkdir()
    (folder / "world.json").write_bytes(msgspec.json.encode(world))
    return world


def person_key_holding_out(held_out: int, *others: int) -> bytes:
    """A key of pseudonyms under which one user is held out of training and the others are not."""

    def holds_out(person: bytes, user_id: int) -> bool:
        return stable_hash(StoreKeys(database=person, person=person).person_key(user_id)) < HELD_OUT_SHARE * 2**64

    keys = (bytes([n]) * KEY_BYTES for n in range(256))
    return next(key for key in keys if holds_out(key, held_out) and not any(holds_out(key, user) for user in others))


async def share_the_made_up_style(data_dir: Path) -> None:
    """Three people who agreed have told four stories each."""
    async with Store.open(data_dir / "inkwell.db") as store:
        for name, user in AUTHORS.items():
            await store.people.set_consent(user, "training", wording=WORDING)
            for story in (STYLE / f"{name}.txt").read_text("utf-8").split("# ")[1:]:
                _, *parts = story.strip().split("\n\n")
                turn = ""
                for part in parts:
                    asked = {
                        "user_id": user, "guild_id": 7, "channel_id": 70, "sampling": Sampling(), "application_id": 1,
                        "interaction_token": None, "locale": "en-US",
                    }  # fmt: skip
                    if turn:
                        job = await store.continue_story(turn, text=part, **asked)
                    else:
                        job = await store.begin_story(prompt=part, **asked)
                    await store.start_job(job.job.id)
                    recipe = Recipe(model_version="m", seed=1, sampling=Sampling())
                    turn = (await store.write_result(job.job.id, "So it went on.", recipe)).id
                    await store.finish_job(job.job.id, [1])


async def told(person: Person) -> str:
    """What /story answers to the same words with the same seed, once it is final."""
    await person.slash("story", prompt=PROMPT, seed=11, length="short")
    message = await person.wait_message(lambda found: "Continue" in labels(found), timeout=120)
    return words_of(message)


def files_with(words: bytes, folder: Path) -> list[Path]:
    """Those that hold the words in the clear; files of weights are passed over, and the sandbox's own world, which
    stands for what Discord keeps."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != "world.json"]
    small = [path for path in found if path.stat().st_size < 50_000_000]
    return [path for path in small if words in path.read_bytes()]


def words_of(message: Json) -> str:
    parts = [message["content"], *(str(embed.get("description") or "") for embed in message["embeds"])]
    found = [part for part in parts if part] or [str(message["components"])]
    return "\n".join(found)


def check(checks: tuple[Check, ...], name: str) -> Check:
    return next(each for each in checks if each.name == name)


async def test_a_style_is_learned_promoted_spoken_rolled_back_and_reached_by_an_erasure(
    tmp_path: Path, default_weights: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = int(settled_world(tmp_path).parts["writer"])
    person_key = person_key_holding_out(AUTHORS["bror"], AUTHORS["ada"], AUTHORS["cille"], writer)
    monkeypatch.setattr("bot.store.person_key.secrets.token_bytes", lambda size: person_key)
    await share_the_made_up_style(tmp_path)
    async with (
        running(tmp_path, STORY_MODEL=str(default_weights.path)) as inkwell,
        Person.at(inkwell.page_url, "admin") as ida,
        Person.at(inkwell.page_url, "writer") as wren,
    ):
        await wren.slash("privacy consent", level="training")
        await wren.slash("story", prompt=WREN_S_OWN, seed=1, length="short")
        await wren.wait_message(lambda found: "Continue" in labels(found), timeout=120)
        before = await told(ida)

        await ida.slash("train start", families="story")
        verdict = await ida.wait_message(lambda found: any("Promote" in each for each in labels(found)), timeout=1_800)
        registry = Registry(tmp_path / "versions")
        (version,) = registry.versions("story")
        gain, forgetting = check(version.checks, "gain"), check(version.checks, "forgetting_en")
        assert gain.before is not None
        assert gain.value <= 0.9 * gain.before, version.checks
        assert forgetting.before is not None
        assert forgetting.value <= forgetting.before + 0.02, version.checks
        assert version.accepted, version.checks
        assert not [path for path in (tmp_path / "training").iterdir() if path.is_dir()]

        await ida.click(verdict, next(each for each in labels(verdict) if "Promote" in each))
        await ida.wait_for(lambda event: registry.champion_id("story") == version.id, timeout=120)
        learned = await told(ida)
        assert learned != before

        await ida.slash("train rollback", family="story")
        await ida.wait_message(lambda found: "answers again" in found["content"], timeout=120)
        assert registry.champion("story") is None
        assert await told(ida) == before

        await wren.slash("privacy erase")
        question = await wren.wait_message(lambda found: "Erase everything" in labels(found))
        await wren.click(question, "Erase everything")
        await wren.wait_message(lambda found: "Erased" in found["content"], timeout=60)
        assert set(registry.marks("story")) == {version.id}
        await ida.slash("train promote", version=version.id)
        await ida.wait_message()
        assert registry.champion("story") is None
    left = await asyncio.to_thread(files_with, b"Quillon Marrowby", tmp_path)
    assert left == []
