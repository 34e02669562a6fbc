"""The whole product as a newcomer meets it: `inkwell run`, the page in Chromium, the real default model."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from models.language.weights import LocalModel
from tests.inkwell_process import running
from tests.sandbox_stage import ARGUMENTS, CHROMIUM, Watch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.weights,
    pytest.mark.timeout(900),  # up to nine stories of a real model, which is nice to others
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed"),
]
STORY = ".message:not(.ephemeral)"
WAIT_MS = 90_000  # a story takes six seconds, and many times that where others want the processors
PROMPT = "The lighthouse keeper found a letter under the door, and the ink was still wet."


async def tell(page: Page, prompt: str) -> None:
    await page.locator(".composer-field").focus()
    await page.keyboard.type("/story")
    await expect(page.get_by_role("option").first).to_contain_text("/story")
    await page.keyboard.press("Enter")
    await page.keyboard.insert_text(prompt)
    await page.keyboard.press("Enter")


async def test_a_newcomer_sees_a_real_model_continue_a_story_and_uses_every_button(
    tmp_path: Path, default_weights: LocalModel, pytestconfig: pytest.Config
) -> None:
    pictures = pytestconfig.getoption("--screenshots")
    async with running(tmp_path, STORY_MODEL=str(default_weights.path)) as inkwell, async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="dark", locale="en-GB")
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        watch = Watch()
        watch.follow(page)

        async def picture(name: str) -> None:
            if pictures:
                await page.screenshot(path=pictures / f"{name}.png")

        await page.goto(inkwell.page_url)
        await expect(page.locator(".composer-field")).to_be_focused()
        await tell(page, PROMPT)
        message = page.locator(STORY).nth(0)
        await expect(message.get_by_role("button", name="Stop")).to_be_visible()
        await picture("streaming")
        await expect(message.get_by_role("button", name="Continue")).to_be_visible()
        await expect(message.locator("blockquote")).to_contain_text(PROMPT)
        first = await message.locator(".rich").first.inner_text()
        assert len(first) > len(PROMPT) + 80
        await picture("finished")

        offer = page.locator(".message.ephemeral", has_text="May I learn from your stories?")
        await offer.get_by_role("button", name="Help train").click()
        await expect(page.locator(".message.ephemeral")).to_contain_text("your yes is noted")

        before = await message.get_by_role("button", name="Continue").get_attribute("data-custom")
        await message.get_by_role("button", name="Retry").click()
        # The old button stays until the first edit, and text may differ by white space alone: the turn id tells.
        renewed = message.locator(f'[data-custom^="story:continue:"]:not([data-custom="{before}"])')
        silent = message.get_by_text("nothing to add")  # a real model may have nothing to say; the old text stays then
        await expect(renewed.or_(silent).first).to_be_visible()
        if await renewed.count():
            assert await message.locator(".rich").first.inner_text() != first
        await message.get_by_role("button", name="Continue").click()
        await expect(page.locator(STORY)).to_have_count(2)
        second = page.locator(STORY).nth(1)
        await expect(second.get_by_role("button", name="Undo")).to_be_visible()
        await expect(message.get_by_role("button", name=re.compile("Continue|Retry|Undo"))).to_have_count(0)
        await picture("continued")

        await second.get_by_role("button", name="Undo").click()
        await expect(second).to_contain_text("Undone. The story now ends")
        answer = page.locator(STORY).last
        stop = answer.get_by_role("button", name="Stop")
        for _ in range(6):  # a real model may end by itself before the click arrives
            before = await answer.locator('[data-custom^="story:retry:"]').get_attribute("data-custom")
            ended = answer.locator(f'[data-custom^="story:retry:"]:not([data-custom="{before}"])')
            await answer.get_by_role("button", name=re.compile("Continue|Retry")).first.click()
            await expect(stop.or_(ended).first).to_be_visible()  # however long a busy machine takes to begin
            try:
                await stop.click(timeout=5_000)
                break
            except PlaywrightTimeoutError:
                await expect(ended).to_be_visible()
        else:
            pytest.fail("no story was running long enough to be stopped")
        await expect(stop).to_have_count(0)
        await expect(answer.get_by_role("button", name=re.compile("Continue|Retry")).first).to_be_visible()
        await picture("stopped")

        await browser.close()
        assert watch.elsewhere == []
        assert watch.said == []
