"""The sandbox's page in headless Chromium, over the real sandbox and a small real bot. Knows nothing of Inkwell's own
commands."""

import asyncio
import io
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect

from bot.sandbox.app import Sandbox
from bot.sandbox.attach import point_discord_at
from bot.sandbox.limits import Pace, Timing
from bot.sandbox.message_form import MessageForm
from tests.sandbox_page_bot import STORY, TITLES, PageBot

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ANSWER_S = 1.0  # a real Discord waits 3 s; a silent command fails sooner here

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed"),
]


@dataclass
class Watch:
    """What a page did that it must not do."""

    said: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("request", lambda request: self._request(request.url))
        page.on("dialog", lambda dialog: self._dialog(dialog.message))

    def _request(self, url: str) -> None:
        if not re.match(r"(http|ws)://127\.0\.0\.1:\d+/|blob:http://127\.0\.0\.1:|data:", url):
            self.elsewhere.append(url)

    def _dialog(self, message: str) -> None:
        self.dialogs.append(message)


@dataclass(frozen=True, kw_only=True)
class Stage:
    sandbox: Sandbox
    bot: PageBot
    browser: Browser


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One sandbox, one bot and one browser for the whole file; every test opens a page of its own."""
    fast = Pace(messages=500, route=500, everything=500)
    directory = tmp_path_factory.mktemp("sandbox")
    async with Sandbox(directory, timing=Timing(ack_s=ANSWER_S), pace=fast) as sandbox, async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        with point_discord_at(sandbox.base_url):
            async with PageBot() as bot:
                running = asyncio.create_task(bot.start(sandbox.bot_token))
                await asyncio.wait_for(bot.ready_once.wait(), 20)
                yield Stage(sandbox=sandbox, bot=bot, browser=browser)
                await bot.close()
                await running
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def context(stage: Stage) -> AsyncIterator[BrowserContext]:
    context = await stage.browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 800})
    context.set_default_timeout(8_000)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def watch() -> AsyncIterator[Watch]:
    """Holds every test to this: no request leaves the machine, nothing opens a dialog, the console stays empty."""
    watch = Watch()
    yield watch
    assert watch.elsewhere == []
    assert watch.dialogs == []
    assert watch.said == []


@pytest_asyncio.fixture(loop_scope="module")
async def page(stage: Stage, context: BrowserContext, watch: Watch) -> Page:
    page = await context.new_page()
    watch.follow(page)
    await open_page(page, stage)
    return page


async def open_page(page: Page, stage: Stage) -> None:
    await page.goto(stage.sandbox.page_url)
    await expect(page.locator(".intro, .message, .loading-older").first).to_be_attached()
    await expect(page.locator(".composer-field")).to_be_focused()


async def command(page: Page, name: str, text: str = "") -> None:
    """Types a command, its first option, and sends it, by keyboard alone."""
    await page.locator(".composer-field").focus()
    await page.keyboard.type(f"/{name}")
    await expect(page.get_by_role("option").first).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(page.locator(".command-chip.entered")).to_be_visible()
    if text:
        await page.keyboard.insert_text(text)
    await page.keyboard.press("Enter")


def last(page: Page, text: str = "") -> Locator:
    return page.locator(".message", has_text=text).last


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


async def test_a_command_is_picked_filled_and_streamed_by_keyboard(page: Page, stage: Stage) -> None:
    await page.keyboard.type("/sto")
    await expect(page.get_by_role("option")).to_have_count(2)
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("option", selected=True)).to_contain_text("/story prompt")
    await page.keyboard.press("Enter")

    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert").filter(has_text="“text” is required.")).to_be_visible()
    await page.keyboard.type("Dusk")
    await page.keyboard.press("Enter")
    await expect(
        page.get_by_role("alert").filter(has_text="“text” needs at least 5 characters; it has 4.")
    ).to_be_visible()
    await page.keyboard.type(" over the sea")

    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.keyboard.type("pag")
    await expect(page.get_by_role("option")).to_have_count(1)
    await page.keyboard.press("Enter")
    await page.locator(".option-add", has_text="seed").click()
    await page.keyboard.type("100")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert").filter(has_text="“seed” must be at most 99.")).to_be_visible()
    await page.keyboard.press("Backspace")
    await page.keyboard.press("Enter")

    message = last(page)
    await expect(message).to_contain_text("inkwell is thinking…")
    await expect(message.locator(".context")).to_contain_text("used/story prompt")
    assert stage.bot.received == {"text": "Dusk over the sea", "length": "page", "seed": 10}
    await message.evaluate("node => { node.kept = true }")
    for words in ("found a letter", "in the palm", "could still be read"):
        stage.bot.next_words.set()
        await expect(message).to_contain_text(words)
        await expect(message).to_have_class(re.compile(r"\blive\b"))
        await expect(message.locator(".edited")).to_have_count(0)
    stage.bot.next_words.set()
    await expect(message.get_by_role("button", name="Continue")).to_be_visible()
    await expect(message.locator("em")).to_have_text("do not light it tonight.")
    assert STORY.split("\n\n")[1] in await message.inner_text()
    assert await message.evaluate("node => node.kept"), "an edit must patch the message, not draw it anew"
    await expect(message.locator(".edited")).to_be_visible()
    await expect(message).not_to_have_class(re.compile(r"\blive\b"))


async def test_autocomplete_offers_choices_and_sends_their_value(page: Page) -> None:
    await page.keyboard.type("/story open ")
    await expect(page.get_by_role("option")).to_have_count(len(TITLES))
    await page.keyboard.type("orchard")
    await expect(page.get_by_role("option")).to_have_count(1)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await expect(last(page)).to_contain_text("This is story 1.")


async def test_a_button_spins_until_the_bot_answers_and_says_when_it_does_not(page: Page) -> None:
    await command(page, "say", "A lamp in the window")
    message = last(page, "A lamp in the window")
    await expect(message.get_by_role("button", name="Stop")).to_be_disabled()
    silent = message.get_by_role("button", name="Silent")
    # it may be over before a look from here arrives, so the page notes it down
    await silent.evaluate(
        """button => new MutationObserver(() => { button.spun ||= button.getAttribute("aria-busy") === "true" })
            .observe(button, { attributes: true })"""
    )
    await silent.click()
    await expect(message.get_by_role("alert")).to_have_text("The application did not respond")
    assert await silent.evaluate("button => button.spun")
    await expect(silent).not_to_have_attribute("aria-busy", "true")
    await message.get_by_role("button", name="Continue").click()
    await expect(page.locator(".message", has_text="She lit it all the same.")).to_be_visible()


async def test_a_silent_command_is_reported_at_its_place(page: Page) -> None:
    await command(page, "silence")
    line = page.locator(".sending.failed")
    await expect(line).to_contain_text("/silence")
    await expect(line).to_contain_text("The application did not respond")
    await line.get_by_role("button", name="Dismiss").click()
    await expect(line).to_have_count(0)


async def test_a_form_is_validated_filled_and_answered(page: Page) -> None:
    await command(page, "say", "A form, please")
    await last(page, "A form, please").get_by_role("button", name="Edit").click()
    form = page.get_by_role("dialog", name="Edit this turn")
    await expect(form.get_by_role("textbox")).to_be_focused()
    await page.keyboard.type("Rain")
    await form.get_by_role("button", name="Submit").click()
    await expect(form.get_by_role("alert")).to_have_text("“Text” needs at least 5 characters; it has 4.")
    await page.keyboard.type(" all night")
    await form.get_by_role("button", name="Submit").click()
    await expect(form.get_by_role("alert")).to_have_text("Please fill in “Mood”.")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await form.get_by_role("button", name="Submit").click()
    await expect(form).to_have_count(0)
    await expect(last(page)).to_contain_text("Kept as dark: Rain all night")


async def test_an_ephemeral_answer_is_seen_by_one_member_and_can_be_dismissed(page: Page) -> None:
    await command(page, "whisper")
    message = page.locator(".message.ephemeral", has_text="Only for your ears.").last
    await expect(message).to_contain_text("Only you can see this")
    await page.get_by_role("radio", name="Write as Tomás (co-author)").click()
    await expect(page.locator(".switcher-title")).to_have_text("You are writing as Tomás")
    await expect(page.locator(".message").last).to_be_visible()
    await expect(page.locator("#list").get_by_text("Only for your ears.")).to_have_count(0)
    await page.get_by_role("radio", name="Write as Wren (writer)").click()
    await message.get_by_role("button", name="Dismiss message").click()
    await expect(page.locator("#list").get_by_text("Only for your ears.")).to_have_count(0)
    await page.reload()
    await expect(page.locator(".message").last).to_be_visible()
    await expect(page.locator("#list").get_by_text("Only for your ears.")).to_have_count(0)


async def test_layout_components_are_drawn_and_their_select_answers(page: Page) -> None:
    await command(page, "library")
    box = page.locator(".container").last
    await expect(box.get_by_role("heading", name="Story library")).to_be_visible()
    await expect(box.get_by_role("button", name="Open")).to_be_visible()
    await box.get_by_role("button", name="Choose a story").click()
    await page.get_by_role("option", name=TITLES[2]).click()
    await expect(last(page)).to_contain_text(f"Opened {TITLES[2]}.")


async def test_a_message_menu_runs_the_bots_command_by_keyboard(page: Page) -> None:
    await page.keyboard.type("A calm evening")
    await page.keyboard.press("Enter")
    message = last(page, "A calm evening")
    identity = await message.get_attribute("data-id")
    await message.focus()
    await page.keyboard.press("Shift+F10")
    await expect(page.get_by_role("menuitem", name="Copy message ID")).to_be_visible()
    await expect(page.get_by_role("menuitem", name="Mood")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator(".message.ephemeral").last).to_contain_text(f"Calm: message {identity}")


HOSTILE = (
    "<img src=x onerror=alert(1)><script>alert(2)</script><svg onload=alert(3)> "
    "[click](javascript:alert(4)) ||<b onmouseover=alert(5)>||"
)


async def test_hostile_words_names_and_files_execute_nothing(page: Page, stage: Stage) -> None:
    writer = stage.sandbox.world.data.parts["writer"]
    user = stage.sandbox.world.data.users[writer]
    plain = user["global_name"]
    user["global_name"] = "<img src=x onerror=alert(6)>"
    try:
        await page.reload()
        await expect(page.locator(".switcher-title strong")).to_have_text(user["global_name"])
        await page.locator(".composer-field").focus()
        await page.keyboard.insert_text(HOSTILE)
        chooser = page.locator("#composer input[type=file]")
        name = "<img src=x onerror=alert(7)>.txt"
        await chooser.set_input_files({"name": name, "mimeType": "text/html", "buffer": b"<script>alert(8)</script>"})
        await expect(page.locator(".tray-name")).to_have_text(name)
        await page.keyboard.press("Enter")
        await expect(last(page, "<script>alert(2)</script>")).to_be_visible()
        await command(page, "say", HOSTILE)
        message = last(page)
        await expect(message.locator(".embed-title")).to_contain_text("<img src=x")
        for spoiler in await message.locator(".spoiler").all():
            await spoiler.click()
        await expect(message.locator("script, img[src=x], svg[onload], b[onmouseover]")).to_have_count(0)
        await expect(page.locator("#list a[href^='javascript']")).to_have_count(0)
        assert await page.evaluate("document.querySelectorAll('[onerror],[onload],[onmouseover]').length") == 0
    finally:
        user["global_name"] = plain


async def test_pictures_carry_their_description_and_files_can_be_fetched(page: Page) -> None:
    drawn = io.BytesIO()
    Image.new("RGB", (64, 40), "#1f8f86").save(drawn, "PNG")
    picture = {"name": "lamp.png", "mimeType": "image/png", "buffer": drawn.getvalue()}
    await page.keyboard.type("/show")
    await page.keyboard.press("Enter")
    await page.locator(".option-field input[type=file]").set_input_files(picture)
    await page.get_by_role("button", name="Send message").click()
    shown = last(page, f"lamp.png, {len(drawn.getvalue())} bytes").get_by_role("img", name="A lamp, drawn in ink")
    await expect(shown).to_be_visible()
    await page.wait_for_function("image => image.naturalWidth === 64", arg=await shown.element_handle())

    await page.locator("#composer input[type=file]").set_input_files([picture])
    await page.locator(".tray-alt").fill("The lamp again")
    await page.locator(".composer-field").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("img", name="The lamp again")).to_be_visible()
    too_big = {"name": "huge.bin", "mimeType": "application/octet-stream", "buffer": bytes(10 * 1024 * 1024 + 1)}
    await page.locator("#composer input[type=file]").set_input_files([too_big])
    await expect(page.get_by_role("alert").filter(has_text="“huge.bin” is 10 MB")).to_be_visible()


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
    await page.keyboard.type("A thread should hang here")
    await page.keyboard.press("Enter")
    await last(page, "A thread should hang here").click(button="right")
    await page.get_by_role("menuitem", name="Create thread").click()
    await page.get_by_role("textbox", name="Name of the thread").fill("Side notes")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Side notes", level=1)).to_be_visible()
    await expect(page.locator(".threads .channel.open")).to_have_text("Side notes")
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
    await expect(other.locator(".message").last).to_be_visible()
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


async def test_a_lost_connection_is_named_and_the_page_catches_up(page: Page, stage: Stage, watch: Watch) -> None:
    writer = stage.sandbox.world.data.parts["writer"]
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
    await expect(page.locator(".banner.warning")).to_be_hidden()
    # the browser itself reports sockets that failed to open while there was no network
    watch.said = [line for line in watch.said if "ERR_INTERNET_DISCONNECTED" not in line]


async def test_the_message_counter_refuses_more_than_two_thousand_characters(page: Page) -> None:
    await page.keyboard.insert_text("x" * 2001)
    await expect(page.locator(".counter")).to_have_text("-1")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert").filter(has_text="at most 2000 characters; yours has 2001")).to_be_visible()
    await page.keyboard.press("Backspace")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message", has_text="x" * 2000)).to_be_visible()
    await expect(page.locator(".composer-field")).to_have_value("")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_colours_follow_the_system_and_the_switch_is_remembered(stage: Stage, watch: Watch, scheme: str) -> None:
    context = await stage.browser.new_context(locale="en-GB", color_scheme=scheme)  # type: ignore[arg-type]
    page = await context.new_page()
    watch.follow(page)
    await open_page(page, stage)
    background = "getComputedStyle(document.body).backgroundColor"
    by_system = await page.evaluate(background)
    await page.get_by_role("button", name="Colours: as the system").click()
    await page.get_by_role("button", name="Colours: light").click()
    await expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    dark = await page.evaluate(background)
    assert (by_system == dark) == (scheme == "dark")
    await page.reload()
    await expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    assert await page.evaluate(background) == dark
    await context.close()


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
    await expect(page.get_by_role("radio").first).to_be_hidden()
    await page.get_by_role("button", name="频道与成员").click()
    await expect(page.get_by_role("radio", name="以 Wren 的身份写作（作者）")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("radio").first).to_be_hidden()
    await context.close()


async def test_an_absent_bot_is_announced(page: Page, stage: Stage) -> None:
    """Last: it takes the bot away."""
    await stage.bot.close()
    await expect(page.locator(".banner.quiet")).to_contain_text("inkwell is offline")
    await command(page, "whisper")
    await expect(page.locator(".sending.failed")).to_contain_text(re.compile("offline|did not respond"))
