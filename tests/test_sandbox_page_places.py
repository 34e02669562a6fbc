"""Channels, members, connection, colours and languages of the sandbox's page, over the real sandbox and a small bot."""

import asyncio
import re
from typing import Literal

import pytest
from playwright.async_api import Page, Route, expect

from bot.sandbox.message_form import MessageForm
from tests import sandbox_stage
from tests.sandbox_stage import Stage, Watch, command, last, needs_browser, open_page

# the fixtures, under the names that pytest looks for
stage, context, page, watch = sandbox_stage.stage, sandbox_stage.context, sandbox_stage.page, sandbox_stage.watch
pytestmark = needs_browser


async def test_a_newcomer_sees_the_server_the_hint_and_how_to_begin(page: Page) -> None:
    await expect(page.get_by_role("heading", name="Welcome to #stories")).to_be_visible()
    await expect(page.locator(".banner.hint")).to_contain_text("DISCORD_TOKEN")
    await expect(page.get_by_role("radio", name="Write as Wren (writer)")).to_be_checked()
    await page.get_by_role("button", name="/story", exact=True).click()
    await expect(page.get_by_role("option").first).to_contain_text("/story open")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Dismiss this hint").click()
    await page.reload()
    await expect(page.locator(".intro")).to_be_visible()
    await expect(page.locator(".banner.hint")).to_have_count(0)


async def test_a_reader_of_old_messages_is_not_moved_and_may_jump_to_the_present(page: Page, stage: Stage) -> None:
    world = stage.sandbox.world
    channel = next(entry for entry in world.text_channels() if entry["name"] == "workshop")
    say = stage.sandbox.backend.messages
    for number in range(70):
        say.create(world.data.parts["admin"], channel, MessageForm(content=f"Line {number}"))
    await page.get_by_role("link", name="workshop").click()
    await expect(page.get_by_text("Line 69", exact=True)).to_be_visible()
    await expect(page.get_by_text("Line 0", exact=True)).to_have_count(0)
    scroller = page.locator("#scroller")
    await scroller.evaluate("node => { node.scrollTop = 0 }")
    await expect(page.get_by_text("Line 0", exact=True)).to_be_attached()
    await expect(page.get_by_role("button", name="Jump to present")).to_be_visible()

    await page.get_by_text("Line 30", exact=True).scroll_into_view_if_needed()
    where = await page.get_by_text("Line 30", exact=True).bounding_box()
    say.create(world.data.parts["admin"], channel, MessageForm(content="Something new"))
    await page.get_by_role("button", name="New messages (1)").wait_for()
    assert await page.get_by_text("Line 30", exact=True).bounding_box() == where
    await page.get_by_role("button", name="New messages (1)").click()
    await expect(page.get_by_text("Something new", exact=True)).to_be_in_viewport()
    await expect(page.locator(".pill")).to_be_hidden()


async def test_members_have_their_own_channels_threads_and_direct_messages(page: Page) -> None:
    await expect(page.get_by_role("link", name="admin-desk")).to_have_count(0)
    await page.get_by_role("link", name="announcements").click()
    await expect(page.locator(".composer-field")).to_have_attribute("placeholder", "Wren may not write here.")
    await page.get_by_role("radio", name="Write as Ida (admin)").click()
    await expect(page.get_by_role("link", name="admin-desk")).to_be_visible()
    await page.get_by_role("link", name="stories").click()
    await expect(page.locator(".composer-field")).to_be_focused()
    await page.keyboard.type("A thread should hang here")
    await page.keyboard.press("Enter")
    await last(page, "A thread should hang here").click(button="right")
    await page.get_by_role("menuitem", name="Create thread").click()
    await page.get_by_role("textbox", name="Name of the thread").fill("Side notes")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Side notes", level=1)).to_be_visible()
    await expect(page.locator(".threads .channel.open")).to_have_text("Side notes")
    await page.get_by_role("link", name="stories").click()
    await last(page, "A thread should hang here").get_by_role("link", name="Side notes").click()
    await expect(page.get_by_role("heading", name="Side notes", level=1)).to_be_visible()
    await page.get_by_role("button", name="New direct message").click()
    await page.get_by_role("menuitem", name="inkwell").click()
    await expect(page.get_by_role("heading", name="You and inkwell")).to_be_visible()
    await command(page, "whisper")
    await expect(last(page)).to_contain_text("Only for your ears.")


async def test_two_pages_see_each_other_type_reply_and_delete(page: Page, stage: Stage, watch: Watch) -> None:
    other_context = await stage.browser.new_context(locale="en-GB")
    other = await other_context.new_page()
    watch.follow(other)
    await open_page(other, stage)
    await other.get_by_role("radio", name="Write as Tomás (co-author)").click()
    await expect(other.locator(".switcher-title")).to_have_text("You are writing as Tomás")
    await expect(other.locator(".composer-field")).to_be_visible()
    await other.locator(".composer-field").focus()
    await other.keyboard.type("Are you there?")
    await expect(page.locator(".typing")).to_have_text("Tomás is typing…")
    await other.keyboard.press("Enter")
    question = last(page, "Are you there?")
    await expect(question).to_be_visible()
    await expect(page.locator(".typing")).to_have_text("")
    await question.focus()
    await page.keyboard.press("r")
    await page.keyboard.type("Always.")
    await page.keyboard.press("Enter")
    await expect(last(other, "Always.").locator(".context")).to_contain_text("Are you there?")
    mine = other.locator(".message", has_text="Are you there?").filter(has_not_text="Always.").last
    await mine.click(button="right")
    await other.get_by_role("menuitem", name="Delete message").click()
    await expect(page.locator(".m-content", has_text="Are you there?")).to_have_count(0)
    await other_context.close()


async def test_words_typed_while_the_member_changes_lose_no_letter_and_are_announced(page: Page, stage: Stage) -> None:
    async def slowly(route: Route) -> None:
        await asyncio.sleep(0.5)
        await route.continue_()

    await page.route("**/state*", slowly)
    async with page.expect_request("**/typing") as announced:  # as soon as there is a channel to tell it to
        await page.get_by_role("radio", name="Write as Tomás (co-author)").click()
        await page.locator(".composer-field").focus()
        await page.keyboard.type("Are you there?")
    assert (await announced.value).post_data_json == {"as": stage.sandbox.world.data.parts["co-author"]}
    await expect(page.get_by_role("radio", name="Write as Tomás (co-author)")).to_be_checked()
    await page.unroute_all(behavior="wait")
    await expect(page.locator(".composer-field")).to_have_value("Are you there?")


async def test_what_is_typed_while_a_channel_loads_is_sent_there(page: Page) -> None:
    async def slowly(route: Route) -> None:
        await asyncio.sleep(0.5)
        await route.continue_()

    await page.get_by_role("link", name="stories").click()
    await page.route("**/messages?*", slowly)
    await page.get_by_role("link", name="workshop").click()
    await expect(page.locator(".composer-field")).to_be_focused()
    await page.keyboard.type("Ahead of its channel")
    await page.keyboard.press("Enter")
    await page.unroute_all(behavior="wait")
    await expect(page.get_by_role("heading", name="workshop", level=1)).to_be_visible()
    await expect(last(page)).to_contain_text("Ahead of its channel")
    await expect(page.locator(".composer-field")).to_have_value("")


async def test_a_lost_connection_is_named_and_the_page_catches_up(page: Page, stage: Stage, watch: Watch) -> None:
    writer = stage.sandbox.world.data.parts["writer"]
    await page.keyboard.type("A draft")
    await page.context.set_offline(True)
    for opened in list(stage.sandbox.backend.pages._pages):
        if opened.user_id == writer and opened.transport is not None:
            opened.transport.abort()
    await expect(page.locator(".banner.warning")).to_have_text("The connection was lost. Reconnecting…")
    channel = stage.sandbox.world.text_channels()[0]
    said = MessageForm(content="Said while you were away")
    stage.sandbox.backend.messages.create(stage.sandbox.world.data.parts["admin"], channel, said)
    await page.context.set_offline(False)
    await expect(page.get_by_text("Said while you were away")).to_be_visible()
    await expect(page.locator(".composer-field")).to_have_value("A draft")
    await expect(page.locator(".banner.warning")).to_be_hidden()
    # the browser itself reports sockets that failed to open while there was no network
    watch.said = [line for line in watch.said if "ERR_INTERNET_DISCONNECTED" not in line]


async def test_colours_follow_the_system_and_the_switch_is_remembered(page: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    await page.emulate_media(color_scheme="light")
    light = await page.evaluate(background)
    await page.emulate_media(color_scheme="dark")
    dark = await page.evaluate(background)
    assert light != dark
    await page.get_by_role("button", name="Colours: as the system").click()
    assert await page.evaluate(background) == light
    await page.get_by_role("button", name="Colours: light").click()
    assert await page.evaluate(background) == dark
    await page.emulate_media(color_scheme="light")
    await page.reload()
    await expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    assert await page.evaluate(background) == dark


CONTRASTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const seen = (colour, under) => {
        canvas.fillStyle = under ? `rgb(${under.join()})` : "#fff";
        canvas.fillRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, index) => sum + v * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (node) => {
        const layers = [];
        for (let at = node; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor);
        return layers.reduce((under, colour) => seen(colour, under), null);
    };
    const poor = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        const style = getComputedStyle(node);
        const box = node.getBoundingClientRect();
        if (!walker.currentNode.data.trim() || !box.width) continue;
        if (node.closest(".avatar, .sr-only, :disabled, .spoiler")) continue;
        if (style.visibility === "hidden" || style.opacity === "0") continue;
        const under = ground(node);
        const [a, b] = [light(seen(style.color, under)), light(under)];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        const name = node.className || node.localName;
        if (ratio < 4.5) poor.push(`${name}: ${ratio.toFixed(2)} ${node.textContent.slice(0, 30)}`);
    }
    return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_has_enough_contrast(page: Page, scheme: Literal["light", "dark"]) -> None:
    await page.emulate_media(color_scheme=scheme)
    await command(page, "say", "Ink on `paper`, #1 https://example.org")
    await expect(last(page, "Ink on")).to_be_visible()
    await command(page, "whisper")
    await expect(last(page, "Only for your ears.")).to_be_visible()
    await command(page, "library")
    await expect(last(page, "Story library")).to_be_visible()
    await page.keyboard.type("/")
    await expect(page.get_by_role("option").first).to_be_visible()
    assert await page.evaluate(CONTRASTS) == []


async def test_a_narrow_chinese_page_has_its_words_fonts_and_drawer(stage: Stage, watch: Watch) -> None:
    context = await stage.browser.new_context(locale="zh-CN", viewport={"width": 380, "height": 720})
    page = await context.new_page()
    watch.follow(page)
    await open_page(page, stage)
    assert await page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert await page.evaluate("document.documentElement.scrollWidth") == 380, "nothing may stick out sideways"
    await page.keyboard.type("你好，灯塔")
    await page.keyboard.press("Enter")
    said = last(page, "你好，灯塔").locator(".m-content .rich")
    await expect(said).to_have_attribute("lang", "zh-Hans")
    await page.keyboard.type("/悄")
    await expect(page.get_by_role("option")).to_have_text(["/悄悄话只回答你一人inkwell"])
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await expect(last(page)).to_contain_text("只有你能看到这条消息")
    await expect(page.get_by_role("radio").first).to_be_hidden()
    await page.get_by_role("button", name="频道与成员").click()
    await expect(page.get_by_role("radio", name="以 Wren 的身份写作（作者）")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("radio").first).to_be_hidden()
    await context.close()


@pytest.mark.parametrize(
    ("locale", "lang", "placeholder"),
    [
        ("zh-TW", "zh-Hant", "傳訊息到 #stories"),
        ("zh-HK", "zh-Hant", "傳訊息到 #stories"),
        ("zh-Hans-HK", "zh-Hans", "发消息到 #stories"),
    ],
)
async def test_each_chinese_has_its_own_words(
    stage: Stage, watch: Watch, locale: str, lang: str, placeholder: str
) -> None:
    context = await stage.browser.new_context(locale=locale)
    page = await context.new_page()
    watch.follow(page)
    await open_page(page, stage)
    assert await page.evaluate("document.documentElement.lang") == lang
    await expect(page.locator(".composer-field")).to_have_attribute("placeholder", placeholder)
    await context.close()


async def test_an_absent_bot_is_announced(page: Page, stage: Stage) -> None:
    """Last: it takes the bot away."""
    await stage.bot.close()
    await expect(page.locator(".banner.quiet")).to_contain_text("inkwell is offline")
    await command(page, "whisper")
    await expect(page.locator(".sending.failed")).to_contain_text(re.compile("offline|did not respond"))
