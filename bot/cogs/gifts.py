"""`/dream give` and `/dream given`: drawings that members give for the portraits to learn from. Knows no model: a
training run reads them from the store.

It is a part of the group that the dream cog has, and added to it where both are put together.
"""

import asyncio
import io
import time
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.client import StoryBot
from bot.gifts import ASK
from bot.given_picture import check_size, drawing_of, preview, sheet
from bot.locales import mark, speaker
from bot.pace import Pace
from bot.privacy_words import days

_CHOICES = 25  # Discord: of an autocompletion
_NONE = mark("You gave me no drawings. `/dream give` does.")
_YOURS = mark("Your drawings that may train, oldest first ({count}). `remove:` takes one back, `everything:` all.")
_TAKEN = mark(
    "🧹 Taken back, and deleted: {count}. Versions of the portraits that learned from you before are listed by "
    "`/privacy trace`."
)


class GivenDrawings:
    """What the two commands do. `pace` is shared with the pictures that are drawn."""

    def __init__(self, bot: StoryBot, pace: Pace) -> None:
        self._bot, self._pace = bot, pace

    def commands(self) -> tuple[app_commands.Command[Any, ..., None], ...]:
        """The commands, for a group to take."""

        @app_commands.describe(picture=locale_str(mark("A PNG, best of 16×16 pixels; larger ones are made small")))
        async def give(interaction: discord.Interaction[StoryBot], picture: discord.Attachment) -> None:
            await self._give(interaction, picture)

        @app_commands.describe(
            remove=locale_str(mark("Take this one back (numbered as in the list)")),
            everything=locale_str(mark("Take all of them back")),
        )
        async def given(
            interaction: discord.Interaction[StoryBot], remove: str | None = None, everything: bool = False
        ) -> None:
            if everything or remove is not None:
                await self._take_back(interaction, None if everything else remove)
            else:
                await self._show(interaction)

        listing: app_commands.Command[Any, ..., None] = app_commands.Command(
            name="given", description=locale_str(mark("See or take back the drawings that you gave")), callback=given
        )
        listing.autocomplete("remove")(self._own)
        return (
            app_commands.Command(
                name="give",
                description=locale_str(mark("Give a drawing of yours for the portraits to learn from; asks first")),
                callback=give,
            ),
            listing,
        )

    async def _give(self, interaction: discord.Interaction[StoryBot], picture: discord.Attachment) -> None:
        """Raises TooFastError, NotAllowedHereError, NotAgreedError, NotADrawingError."""
        self._pace.ask(user=interaction.user.id, guild=interaction.guild_id)
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self._bot.gifts.require_consent(interaction.user.id)
        check_size(picture.size)
        drawing = await asyncio.to_thread(drawing_of, await picture.read())
        say = speaker(interaction.locale.value)
        await interaction.followup.send(
            say(ASK).format(time=days(self._bot.settings.training_keep_days, say)),
            file=discord.File(io.BytesIO(await asyncio.to_thread(preview, drawing)), "drawing.png"),
            view=self._bot.gifts.buttons(interaction.user.id, drawing, say),
            ephemeral=True,
        )

    async def _show(self, interaction: discord.Interaction[StoryBot]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        say = speaker(interaction.locale.value)
        mine = await self._bot.store.given.of(interaction.user.id)
        if not mine:
            await interaction.followup.send(say(_NONE), ephemeral=True)
            return
        drawn = await asyncio.to_thread(sheet, [each.png for each in mine])
        await interaction.followup.send(
            say(_YOURS).format(count=len(mine)), file=discord.File(io.BytesIO(drawn), "given.png"), ephemeral=True
        )

    async def _take_back(self, interaction: discord.Interaction[StoryBot], picture_id: str | None) -> None:
        """Raises GivenPictureNotFoundError."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        count = await self._bot.store.given.take_back(interaction.user.id, picture_id)
        await self._bot.consents.settle()
        await self._bot.store.fold_log()  # what was deleted is not to linger in the file's log
        words = speaker(interaction.locale.value)(_TAKEN).format(count=count)
        await interaction.followup.send(words, ephemeral=True)

    async def _own(self, interaction: discord.Interaction[StoryBot], typed: str) -> list[app_commands.Choice[str]]:
        mine = await self._bot.store.given.of(interaction.user.id)
        named = [
            (f"{number}. {time.strftime('%Y-%m-%d %H:%M', time.gmtime(each.created_at))} (UTC)", each.id)
            for number, each in enumerate(mine, start=1)
        ]
        return [app_commands.Choice(name=name, value=id_) for name, id_ in named if typed in name][:_CHOICES]
