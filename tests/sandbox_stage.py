"""The stage for the tests of the sandbox's page: one sandbox, one small bot and one headless Chromium for each file.

Knows nothing of what is tested.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect

from bot.sandbox.app import Sandbox
from bot.sandbox.attach import point_discord_at
from bot.sandbox.limits import Pace
from tests.sandbox_page_bot import PageBot

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
WAIT_MS = 30_000

needs_browser = [
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
    expect.set_options(timeout=WAIT_MS)
    fast = Pace(messages=500, route=500, everything=500)
    directory = tmp_path_factory.mktemp("sandbox")
    async with Sandbox(directory, pace=fast) as sandbox, async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        with point_discord_at(sandbox.base_url):
            async with PageBot() as bot:
                running = asyncio.create_task(bot.start(sandbox.bot_token))
                await asyncio.wait_for(bot.ready_once.wait(), 60)
                yield Stage(sandbox=sandbox, bot=bot, browser=browser)
                await bot.close()
                await running
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def context(stage: Stage) -> AsyncIterator[BrowserContext]:
    context = await stage.browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 800})
    context.set_default_timeout(WAIT_MS)
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
