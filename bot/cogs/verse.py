"""`/dream verse`: lines of verse from words. Knows no model: a poet writes, a receipt makes every verse again.

It is a part of the group that the dream cog has, and added to it where both are put together.
"""

from collections.abc import Mapping
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.client import StoryBot
from bot.locales import Say, mark, speaker
from bot.pace import Pace
from bot.store import Receipt
from bot.verse_buttons import VerseAct, below_verse
from bot.verse_words import FORM_NAMES, WRITER_NAMES, verse_receipt_words, verse_words
from bot.verses import FORMS, LINES, Poet, Writer, Written, another, request_of, verse_of
from models.serving.routing import is_mainly_chinese
from models.serving.short_requests import MAX_OPENING_CHARS, MAX_SEED_CHARS, VerseForm, VerseRequest


class Verses:
    """What `/dream verse` and the buttons below a verse do. `pace` is shared with the pictures."""

    def __init__(self, bot: StoryBot, pace: Pace) -> None:
        self._bot, self._pace = bot, pace
        self._poet = Poet(bot.short, bot.store.album)
        bot.verse_press = self.press
        bot.show_verse = self.show_again

    def command(self) -> app_commands.Command[Any, ..., None]:
        """The command, for a group to take."""

        @app_commands.describe(
            words=locale_str(mark("Any words, in any language; the same words, the same verse (I choose some)")),
            form=locale_str(mark("The language and the length of its lines (as your words, or your own)")),
            lines=locale_str(mark("How many lines (4)")),
            begin=locale_str(mark("Words that the first line begins with")),
            learned=locale_str(mark("How the network learned that writes it (the better way)")),
        )
        @app_commands.choices(form=_named(FORM_NAMES), learned=_named(WRITER_NAMES))
        @app_commands.choices(lines=[app_commands.Choice(name=str(count), value=count) for count in LINES])
        async def verse(
            interaction: discord.Interaction[StoryBot],
            words: app_commands.Range[str, 1, MAX_SEED_CHARS] | None = None,
            form: str | None = None,
            lines: int = 4,
            begin: app_commands.Range[str, 1, MAX_OPENING_CHARS] | None = None,
            learned: str | None = None,
        ) -> None:
            chosen = _form(form, begin or words or "", interaction.locale)
            request = request_of(words, chosen, lines=lines, begin=begin, writer=_writer(learned))
            await self._begin(interaction)
            await self._write(interaction, request)

        return app_commands.Command(
            name="verse",
            description=locale_str(mark("A verse by a network that was raised here; the same words, the same verse")),
            callback=verse,
        )

    async def press(self, interaction: discord.Interaction[Any], act: VerseAct, code: str) -> None:
        """A button below the verse with this receipt."""
        receipt = await self._bot.store.album.receipt(code)
        match act:
            case "seed":
                words = verse_receipt_words(receipt, speaker(interaction.locale.value))
                await interaction.response.send_message(
                    words, ephemeral=True, allowed_mentions=discord.AllowedMentions.none()
                )
            case "another":
                request = another(verse_of(receipt))
                await self._begin(interaction)
                await self._write(interaction, request)

    async def show_again(self, interaction: discord.Interaction[Any], receipt: Receipt) -> None:
        """The verse of a receipt, in place of "thinking…"."""
        await _send(interaction, await self._poet.again(receipt), again=True)

    async def _write(self, interaction: discord.Interaction[Any], request: VerseRequest) -> None:
        await _send(interaction, await self._poet.write(request, interaction.user.id))

    async def _begin(self, interaction: discord.Interaction[Any]) -> None:
        """Acknowledge. Raises TooFastError, before anything is promised."""
        self._pace.ask(user=interaction.user.id, guild=interaction.guild_id)
        await interaction.response.defer(thinking=True)  # Discord waits only 3 s


async def _send(interaction: discord.Interaction[Any], written: Written, *, again: bool = False) -> None:
    say: Say = speaker(interaction.locale.value)
    await interaction.followup.send(
        verse_words(written, say, again=again),
        view=below_verse(written.receipt.code, say),
        allowed_mentions=discord.AllowedMentions.none(),
    )


def _named(names: Mapping[Any, str]) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=locale_str(words), value=value) for value, words in names.items()]


def _form(chosen: str | None, words: str, locale: discord.Locale) -> VerseForm:
    """The chosen form, else one of the words' language, else of the person's own."""
    for form in FORMS:
        if form == chosen:
            return form
    chinese = is_mainly_chinese(words) if words else locale.value.startswith("zh")
    return "zh5" if chinese else "en"


def _writer(chosen: str | None) -> Writer:
    for writer in WRITER_NAMES:
        if writer == chosen:
            return writer
    return "default"
