"""A small real discord.py bot for the tests of the sandbox's page: one command for each thing that the page shows.

Knows nothing of the page or the sandbox.
"""

import asyncio

import discord
from discord import app_commands

STORY = (
    "The lighthouse keeper found a letter under the lamp, folded so small that it fitted in the palm of her hand. "
    "The ink had run in the damp, but the first line could still be read: *do not light it tonight.*\n\n"
    "She turned it over. On the back, in a hand that she knew better than her own, someone had drawn the coast as it "
    "had been before the storm, with a cross where there was now only water."
)
TITLES = ("The lamp at Skerry Point", "Winter orchard", "灯塔与信")


class StoryButtons(discord.ui.View):
    """Continue edits its message; Edit opens a form; Silent never answers."""

    def __init__(self) -> None:
        super().__init__(timeout=None)

    @discord.ui.button(label="Continue", emoji="✍️", style=discord.ButtonStyle.primary, custom_id="continue")
    async def go_on(self, interaction: discord.Interaction, button: discord.ui.Button["StoryButtons"]) -> None:
        await interaction.response.edit_message(content="She lit it all the same.")

    @discord.ui.button(label="Edit", style=discord.ButtonStyle.secondary, custom_id="edit")
    async def edit(self, interaction: discord.Interaction, button: discord.ui.Button["StoryButtons"]) -> None:
        await interaction.response.send_modal(TurnForm())

    @discord.ui.button(label="Silent", style=discord.ButtonStyle.danger, custom_id="silent")
    async def silent(self, interaction: discord.Interaction, button: discord.ui.Button["StoryButtons"]) -> None:
        """Says nothing, so that the page has to."""

    @discord.ui.button(label="Stop", style=discord.ButtonStyle.danger, custom_id="stop", disabled=True)
    async def stop_writing(self, interaction: discord.Interaction, button: discord.ui.Button["StoryButtons"]) -> None:
        """Switched off."""


class TurnForm(discord.ui.Modal, title="Edit this turn"):
    words: discord.ui.Label["TurnForm"] = discord.ui.Label(
        text="Text",
        description="What readers will see",
        component=discord.ui.TextInput(style=discord.TextStyle.paragraph, min_length=5, max_length=300),
    )
    tone: discord.ui.Label["TurnForm"] = discord.ui.Label(
        text="Mood",
        component=discord.ui.Select(
            options=[discord.SelectOption(label="Calm", value="calm"), discord.SelectOption(label="Dark", value="dark")]
        ),
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        words, tone = self.words.component, self.tone.component
        assert isinstance(words, discord.ui.TextInput)
        assert isinstance(tone, discord.ui.Select)
        await interaction.response.send_message(f"Kept as {tone.values[0]}: {words.value}")


class Library(discord.ui.LayoutView):
    """Layout components: container, text, separator, section, select."""

    def __init__(self) -> None:
        super().__init__(timeout=None)
        choice: discord.ui.Select[Library] = discord.ui.Select(
            placeholder="Choose a story",
            custom_id="choose",
            options=[discord.SelectOption(label=title, value=str(index)) for index, title in enumerate(TITLES)],
        )

        async def chosen(interaction: discord.Interaction) -> None:
            await interaction.response.send_message(f"Opened {TITLES[int(choice.values[0])]}.", ephemeral=True)

        choice.callback = chosen  # type: ignore[method-assign]
        self.add_item(
            discord.ui.Container(
                discord.ui.TextDisplay("## Story library\nThree stories in **this** channel."),
                discord.ui.Separator(),
                discord.ui.Section(
                    discord.ui.TextDisplay(f"**{TITLES[0]}**\n-# 14 turns, Wren and Tomás"),
                    accessory=discord.ui.Button(label="Open", custom_id="open"),
                ),
                discord.ui.ActionRow(choice),
                accent_colour=discord.Colour(0x2F9C92),
            )
        )


class Chinese(app_commands.Translator):
    """One command's words in Chinese."""

    async def translate(
        self, string: app_commands.locale_str, locale: discord.Locale, context: app_commands.TranslationContextTypes
    ) -> str | None:
        words = {"whisper": "悄悄话", "Answers you alone": "只回答你一人"}
        return words.get(string.message) if locale is discord.Locale.chinese else None


class PageBot(discord.Client):
    """Says when it is ready through `ready_once`; a stream goes on whenever a test sets `next_words`."""

    def __init__(self) -> None:
        super().__init__(intents=discord.Intents(guilds=True))
        self.tree = app_commands.CommandTree(self)
        self.ready_once = asyncio.Event()
        self.next_words = asyncio.Event()
        self.received: dict[str, object] = {}
        _add_commands(self)

    async def setup_hook(self) -> None:
        self.add_view(StoryButtons())
        self.add_view(Library())
        await self.tree.set_translator(Chinese())
        await self.tree.sync()

    async def on_ready(self) -> None:
        self.ready_once.set()


def _add_commands(bot: PageBot) -> None:
    story = app_commands.Group(name="story", description="Stories")

    @story.command(name="prompt", description="Start a story and stream its continuation")
    @app_commands.describe(text="How the story begins", length="How much", seed="The same seed gives the same text")
    @app_commands.choices(length=[app_commands.Choice(name=name, value=name[2:]) for name in ("A line", "A page")])
    async def prompt(
        interaction: discord.Interaction,
        text: app_commands.Range[str, 5, 6000],
        length: str | None = None,
        seed: app_commands.Range[int, 0, 99] | None = None,
    ) -> None:
        bot.received = {"text": text, "length": length, "seed": seed}
        await interaction.response.defer(thinking=True)
        words = STORY.split(" ")
        for end in (12, 30, 55):
            await bot.next_words.wait()
            bot.next_words.clear()
            await interaction.edit_original_response(content=" ".join(words[:end]))
        await bot.next_words.wait()
        bot.next_words.clear()
        await interaction.edit_original_response(content=STORY, view=StoryButtons())

    @story.command(name="open", description="Open one of the stories")
    @app_commands.describe(title="Its title")
    async def open_story(interaction: discord.Interaction, title: str) -> None:
        await interaction.response.send_message(f"This is {title}.")

    @open_story.autocomplete("title")
    async def titles(interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        found = [title for title in TITLES if current.lower() in title.lower()]
        return [app_commands.Choice(name=title, value=f"story {TITLES.index(title)}") for title in found]

    bot.tree.add_command(story)

    @bot.tree.command(name="whisper", description="Answers you alone")
    async def whisper(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("Only for your ears.", ephemeral=True)

    @bot.tree.command(name="library", description="The stories of this channel")
    async def library(interaction: discord.Interaction) -> None:
        await interaction.response.send_message(view=Library())

    @bot.tree.command(name="dream", description="A picture")
    @app_commands.describe(seed="The same seed gives the same picture", look="What it shows")
    async def dream(interaction: discord.Interaction, seed: int | None = None, look: str | None = None) -> None:
        await interaction.response.send_message(f"A dream of {look}, seed {seed}.")

    @bot.tree.command(name="silence", description="Never answers")
    async def silence(interaction: discord.Interaction) -> None:
        """Says nothing, so that the page has to."""

    @bot.tree.command(name="say", description="Says what you say")
    @app_commands.describe(words="What to say")
    async def say(interaction: discord.Interaction, words: str) -> None:
        embed = discord.Embed(title=words, description=words, colour=discord.Colour(0xD99A5B))
        embed.add_field(name=words, value=words)
        embed.set_footer(text=words)
        await interaction.response.send_message(words, embed=embed, view=StoryButtons())

    @bot.tree.command(name="show", description="Shows a picture")
    @app_commands.describe(picture="Which one")
    async def show(interaction: discord.Interaction, picture: discord.Attachment) -> None:
        file = await picture.to_file(description="A lamp, drawn in ink")
        await interaction.response.send_message(f"{picture.filename}, {picture.size} bytes", file=file)

    @bot.tree.context_menu(name="Mood")
    async def mood(interaction: discord.Interaction, message: discord.Message) -> None:
        await interaction.response.send_message(f"Calm: message {message.id}", ephemeral=True)
