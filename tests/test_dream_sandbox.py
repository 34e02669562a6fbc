"""`/dream` over the sandbox's real gateway and HTTP: files go up and come back, choices and modals cross the wire."""

import asyncio
from pathlib import Path

from bot.client import StoryBot
from bot.sandbox import Sandbox, point_discord_at
from bot.settings import Settings
from bot.store import Store
from models.serving.in_process import InProcessEngine
from tests.bigram_model import BigramModel
from tests.drawn_portraits import DrawnEngine, DrawnPortraits
from tests.sandbox_client import Json, Person, labels, walk


def has_picture(message: Json) -> bool:
    return bool(message["attachments"])


def code_of(message: Json) -> str:
    return str(message["content"]).split("`")[1]


async def test_a_person_draws_chooses_morphs_and_attaches_in_chinese(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", edit_interval_s=0.2, shutdown_grace_s=1.0)
    engine, short = InProcessEngine(BigramModel), DrawnEngine(DrawnPortraits())
    async with Store.open(settings.database) as store, Sandbox(tmp_path / "discord") as sandbox:
        await engine.start()
        await short.start()
        with point_discord_at(sandbox.base_url):
            async with StoryBot(settings=settings, store=store, engine=engine, short=short) as bot:
                running = asyncio.create_task(bot.start(sandbox.bot_token))
                await asyncio.wait_for(bot.wait_until_ready_or_dead(running), 30)
                async with Person.join(sandbox, "writer") as wren:
                    await draw_and_attach(wren, store)
                await bot.close()
                await running
        await short.close()
        await engine.close()
    assert sandbox.unknown_routes == {}


async def draw_and_attach(wren: Person, store: Store) -> None:
    await wren.slash("story", prompt="陈默回到了小镇。陈默说：“林晚，我回来了。”林晚没有听见。", model="default")
    await wren.wait_message(lambda message: "Retry" in labels(message), 30)

    await wren.slash("dream portrait", locale="zh-CN", name="阿宝", count=4, glasses="dark")
    grid = await wren.wait_message(has_picture, 30)
    (file,) = grid["attachments"]
    assert file["description"].startswith("4 张像素画像。1. 阿宝：")
    assert (await wren.fetch(file["url"])).startswith(b"\x89PNG")
    code = code_of(grid)
    (select,) = [part for part in walk(grid["components"]) if part["type"] == 3]
    assert [option["label"] for option in select["options"]] == ["1. 阿宝", "2. 阿宝 2", "3. 阿宝 3", "4. 阿宝 4"]

    await wren.choose(grid, f"dream:pick:{code}", "2")
    one = await wren.wait_message(lambda message: has_picture(message) and "阿宝 2" in message["content"], 30)
    await wren.click(one, f"dream:attach:{code_of(one)}")
    modal = await wren.modal()
    (field,) = [part for part in walk(modal["components"]) if part["type"] == 4]
    assert field["value"] == "阿宝 2"
    await wren.submit_modal(modal, {field["custom_id"]: "陈默"})
    await wren.wait_message(lambda message: "/dream characters" in message["content"], 30)

    offered = await wren.complete("dream morph", to="")
    assert {choice["value"] for choice in offered} >= {"character:陈默", "character:林晚"}
    await wren.slash("dream morph", **{"from": "character:陈默", "to": "character:林晚"}, frames=4)
    morph = await wren.wait_message(lambda message: len(message["attachments"]) == 2, 30)
    gif, child = [await wren.fetch(file["url"]) for file in morph["attachments"]]
    assert gif.startswith(b"GIF89a")
    assert child.startswith(b"\x89PNG")

    await wren.slash("dream receipt", code=code_of(one))
    again = await wren.wait_message(has_picture, 30)
    assert "byte for byte" in again["content"]
    assert await wren.fetch(again["attachments"][0]["url"]) == await wren.fetch(one["attachments"][0]["url"])

    await wren.slash("dream characters")
    gallery = await wren.wait_message(has_picture, 30)
    assert "1. 陈默" in gallery["content"]
    story = await store.latest_story(int(wren.channel_id))
    assert story is not None
    (face,) = await store.album.cast(story.id)
    assert face.picture == await wren.fetch(one["attachments"][0]["url"])
