"""Commands, forms, buttons and messages on the sandbox's page, over the real sandbox and a small real bot."""

import io
import re

from PIL import Image
from playwright.async_api import FilePayload, Page, expect

from tests import sandbox_stage
from tests.sandbox_page_bot import STORY, TITLES
from tests.sandbox_stage import Stage, command, last, needs_browser

# the fixtures, under the names that pytest looks for
stage, context, page, watch = sandbox_stage.stage, sandbox_stage.context, sandbox_stage.page, sandbox_stage.watch
pytestmark = needs_browser


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


async def test_a_command_with_optional_options_only_is_sent_by_one_enter(page: Page) -> None:
    await command(page, "dream")
    await expect(last(page)).to_contain_text("A dream of None, seed None.")


async def test_letters_typed_before_any_option_is_chosen_begin_one(page: Page) -> None:
    await page.keyboard.type("/dream ")
    await expect(page.locator(".command-chip.entered")).to_be_visible()
    await page.keyboard.type("owls")
    await expect(page.get_by_role("combobox", name="look")).to_have_value("owls")
    await page.keyboard.press("Enter")
    await expect(last(page)).to_contain_text("A dream of owls, seed None.")

    await page.keyboard.type("/dream ")
    await expect(page.locator(".command-chip.entered")).to_be_visible()
    await page.keyboard.type("l")  # as the option's name begins: it is a word's letter all the same
    await expect(page.get_by_role("combobox", name="look")).to_have_value("l")
    await page.keyboard.press("Backspace")
    await page.keyboard.press("Backspace")
    await expect(page.get_by_role("combobox", name="look")).to_have_count(0)
    await page.keyboard.press("Enter")
    await expect(last(page)).to_contain_text("A dream of None, seed None.")


async def test_words_pasted_behind_a_command_without_required_options_are_kept(page: Page) -> None:
    await page.keyboard.insert_text("/dream owls at dusk")
    await expect(page.locator(".command-chip.entered")).to_be_visible()
    await expect(page.get_by_role("combobox", name="look")).to_have_value("owls at dusk")


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
    picture: FilePayload = {"name": "lamp.png", "mimeType": "image/png", "buffer": drawn.getvalue()}
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
    await page.locator("#main").evaluate(
        """main => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(10 * 1024 * 1024 + 1)], "huge.bin"));
            data.items.add(new File(["dropped"], "dropped.txt"));
            main.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
    )
    await expect(page.locator(".tray-name")).to_have_text(["dropped.txt"])
    await expect(page.get_by_role("alert").filter(has_text="“huge.bin” is 10 MB")).to_be_visible()


async def test_the_message_counter_refuses_more_than_two_thousand_characters(page: Page) -> None:
    await page.keyboard.insert_text("x" * 2001)
    await expect(page.locator(".counter")).to_have_text("-1")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert").filter(has_text="at most 2000 characters; yours has 2001")).to_be_visible()
    await page.keyboard.press("Backspace")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message", has_text="x" * 2000)).to_be_visible()
    await expect(page.locator(".composer-field")).to_have_value("")
