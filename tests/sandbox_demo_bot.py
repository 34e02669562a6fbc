"""A small real discord.py bot for the sandbox's own tests: it does what each test needs, over real sockets.

Knows nothing of the sandbox: only `point_discord_at` around it leads it there.
"""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot.sandbox import Sandbox, point_discord_at


class Buttons(discord.ui.View):
    """Persistent: works for messages sent before a reconnect or a restart."""

    def __init__(self) -> None:
        super().__init__(timeout=None)

    @discord.ui.button(label="Continue", custom_id="demo:continue")
    async def go_on(self, interaction: discord.Interaction, button: discord.ui.Button["Buttons"]) -> None:
        await interaction.response.defer()
        await interaction.edit_original_response(content="continued", view=None)

    @discord.ui.button(label="Rename", custom_id="demo:rename")
    async def rename(self, interaction: discord.Interaction, button: discord.ui.Button["Buttons"]) -> None:
        await interaction.response.send_modal(NameForm())

    @discord.ui.button(label="Off", custom_id="demo:off", disabled=True)
    async def off(self, interaction: discord.Interaction, button: discord.ui.Button["Buttons"]) -> None:
        """Never pressed."""

    @discord.ui.select(
        custom_id="demo:tone",
        min_values=1,
        max_values=2,
        options=[discord.SelectOption(label=name.title(), value=name) for name in ("calm", "dark", "wry")],
    )
    async def tone(self, interaction: discord.Interaction, select: discord.ui.Select["Buttons"]) -> None:
        await interaction.response.send_message(" and ".join(select.values), ephemeral=True)

    @discord.ui.select(cls=discord.ui.UserSelect, custom_id="demo:who")
    async def who(self, interaction: discord.Interaction, select: discord.ui.UserSelect["Buttons"]) -> None:
        await interaction.response.send_message(", ".join(user.name for user in select.values), ephemeral=True)


class NameForm(discord.ui.Modal, title="Rename"):
    name: discord.ui.Label["NameForm"] = discord.ui.Label(
        text="Name", component=discord.ui.TextInput(custom_id="name", min_length=2, max_length=20)
    )
    cover: discord.ui.Label["NameForm"] = discord.ui.Label(
        text="Cover", component=discord.ui.FileUpload(custom_id="cover", required=False)
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        name, cover = self.name.component, self.cover.component
        assert isinstance(name, discord.ui.TextInput)
        assert isinstance(cover, discord.ui.FileUpload)
        sizes = [len(await file.read()) for file in cover.values]
        await interaction.response.edit_message(content=f"named {name.value} {sizes}")


class DemoBot(commands.AutoShardedBot):
    """`heard` are messages that reached it; `caught` what its commands raised, newest last."""

    def __init__(self, intents: discord.Intents) -> None:
        super().__init__(command_prefix="!", intents=intents, help_command=None, guild_ready_timeout=0.1)
        self.ready_once, self.resumed = asyncio.Event(), asyncio.Event()
        self.heard: asyncio.Queue[discord.Message] = asyncio.Queue()
        self.caught: asyncio.Queue[BaseException] = asyncio.Queue()
        _add_commands(self)
        self.tree.error(self._caught)

    async def _caught(self, interaction: discord.Interaction, error: app_commands.AppCommandError) -> None:
        self.caught.put_nowait(getattr(error, "original", error))

    async def setup_hook(self) -> None:
        self.add_view(Buttons())
        await self.tree.sync()

    async def on_ready(self) -> None:
        self.ready_once.set()

    async def on_resumed(self) -> None:
        self.resumed.set()

    async def on_message(self, message: discord.Message) -> None:
        assert self.user is not None
        if message.author.id != self.user.id:
            self.heard.put_nowait(message)


@asynccontextmanager
async def demo_bot(sandbox: Sandbox, intents: discord.Intents | None = None) -> AsyncIterator[DemoBot]:
    """A bot that is ready; closed at the end."""
    with point_discord_at(sandbox.base_url):
        bot = DemoBot(intents or discord.Intents.default())
        running = asyncio.create_task(bot.start(sandbox.bot_token))
        ready = asyncio.create_task(bot.ready_once.wait())
        await asyncio.wait({running, ready}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        try:
            if running.done():
                await running
            assert bot.ready_once.is_set()
            yield bot
        finally:
            ready.cancel()
            await bot.close()
            await asyncio.gather(running, return_exceptions=True)


def _add_commands(bot: DemoBot) -> None:
    tree = bot.tree

    @tree.command(description="Streams a few words")
    @app_commands.describe(prompt="How it begins", seed="A number")
    @app_commands.choices(
        length=[app_commands.Choice(name="Short", value="s"), app_commands.Choice(name="Long", value="l")]
    )
    async def stream(
        interaction: discord.Interaction,
        prompt: app_commands.Range[str, 2, 100],
        seed: app_commands.Range[int, 0, 9] = 0,
        length: str = "s",
    ) -> None:
        await interaction.response.defer(thinking=True)
        message = await interaction.followup.send(f"{prompt} {seed}{length}", wait=True)
        assert message.id == (await interaction.original_response()).id
        for words in ("one", "one two"):
            await message.edit(content=f"{prompt} {words}")
        await message.edit(content=f"{prompt} done", view=Buttons())

    group = app_commands.Group(name="library", description="Stories")

    @group.command(description="Open one")
    async def open_one(interaction: discord.Interaction, title: str) -> None:
        await interaction.response.send_message(f"opened {title}", ephemeral=True)

    @open_one.autocomplete("title")
    async def titles(interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=f"{current}{end}", value=f"{current}{end}") for end in ("nter", "nd")]

    tree.add_command(group)

    @tree.command(description="Only for those who manage the guild")
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.allowed_contexts(guilds=True, dms=False, private_channels=False)
    async def desk(interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"locale {interaction.locale}", ephemeral=True)

    @tree.command(description="Never answers")
    async def silence(interaction: discord.Interaction) -> None:
        """Says nothing."""

    @tree.command(description="Answers twice")
    async def twice(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("once")
        await interaction._state.http.request(
            discord.http.Route(
                "POST", "/interactions/{webhook_id}/{webhook_token}/callback",
                webhook_id=interaction.id, webhook_token=interaction.token,
            ),
            json={"type": 4, "data": {"content": "twice"}},
        )  # fmt: skip

    @tree.command(description="Sends a file back")
    async def mirror(interaction: discord.Interaction, file: discord.Attachment) -> None:
        content = await file.read()
        embed = discord.Embed(title="Mirror").set_image(url="attachment://turned.png")
        turned = discord.File(io.BytesIO(content), filename="turned.png", description="the same")
        await interaction.response.send_message(str(len(content)), embed=embed, file=turned)

    @tree.command(description="Runs what a test asks for")
    async def run(interaction: discord.Interaction, what: str) -> None:
        await interaction.response.send_message("running", ephemeral=True)
        assert isinstance(interaction.channel, discord.TextChannel | discord.Thread | discord.DMChannel)
        await _RUNS[what](bot, interaction)

    @tree.command(description="A layout of components")
    async def layout(interaction: discord.Interaction) -> None:
        view = discord.ui.LayoutView(timeout=None)
        view.add_item(
            discord.ui.Container(
                discord.ui.TextDisplay("# Heading"),
                discord.ui.Section("text", accessory=discord.ui.Button(label="Open", custom_id="demo:open")),
            )
        )
        await interaction.response.send_message(view=view)

    @tree.context_menu(name="Mood")
    async def mood(interaction: discord.Interaction, message: discord.Message) -> None:
        await interaction.response.send_message(f"mood of {message.content}", ephemeral=True)

    @tree.context_menu(name="Who")
    async def who(interaction: discord.Interaction, user: discord.Member) -> None:
        await interaction.response.send_message(f"{user.name} {len(user.roles)}", ephemeral=True)


async def _thread(bot: DemoBot, interaction: discord.Interaction) -> None:
    assert isinstance(interaction.channel, discord.TextChannel)
    message = await interaction.channel.send("a story")
    thread = await message.create_thread(name="Its thread")
    await thread.send("first line")
    await thread.edit(name="Renamed", archived=False)
    await thread.add_user(interaction.user)
    assert interaction.user.id in [member.id for member in await thread.fetch_members()]


async def _dm(bot: DemoBot, interaction: discord.Interaction) -> None:
    await interaction.user.send("only to you")


async def _too_long(bot: DemoBot, interaction: discord.Interaction) -> None:
    await interaction.followup.send("x" * 2_001)


async def _elsewhere(bot: DemoBot, interaction: discord.Interaction) -> None:
    assert interaction.guild is not None
    channel = discord.utils.get(interaction.guild.text_channels, name="announcements")
    assert channel is not None
    await channel.send("not allowed")


async def _edits(bot: DemoBot, interaction: discord.Interaction) -> None:
    assert isinstance(interaction.channel, discord.TextChannel)
    message = await interaction.channel.send("0")
    await asyncio.gather(*(message.edit(content=str(number)) for number in range(1, 8)))
    await message.edit(content="all edited")


async def _unknown(bot: DemoBot, interaction: discord.Interaction) -> None:
    await bot.http.request(discord.http.Route("GET", "/sticker-packs"))


async def _pings(bot: DemoBot, interaction: discord.Interaction) -> None:
    assert isinstance(interaction.channel, discord.TextChannel)
    text = f"@everyone {interaction.user.mention}"
    await interaction.channel.send(text, allowed_mentions=discord.AllowedMentions.none())


_RUNS: dict[str, Any] = {
    "thread": _thread,
    "dm": _dm,
    "too long": _too_long,
    "elsewhere": _elsewhere,
    "edits": _edits,
    "unknown": _unknown,
    "pings": _pings,
}
