"""`/dream`: faces from words, their morphs, and the faces of a story's characters; `verse` has the verses. Knows no
model: a painter draws, a receipt makes every picture again.
"""

import asyncio
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import locale_str
from discord.ext import commands

from bot.characters import MAX_NAME_CHARS
from bot.client import StoryBot
from bot.dream_answers import Answer, answer_of, answer_with_face, send
from bot.dream_buttons import DreamAct, Question
from bot.dream_words import Words, again_note, gallery_words, receipt_words, story_name
from bot.dreams import (
    COUNTS,
    FRAMES,
    Dream,
    End,
    Painter,
    alike,
    character_seed,
    end_of,
    frames_of,
    morph_of,
    only,
    picture_of,
    seed_of,
    seeds_of,
    title_of,
    varied,
)
from bot.gallery import gallery
from bot.locales import mark, speaker
from bot.pace import Pace
from bot.store import Receipt, Story
from bot.store.ids import read_code
from bot.store.portraits import MAX_PICTURE_BYTES
from bot.story_cast import CHARACTER, Cast, UnknownCharacterError
from bot.traits import TRAITS
from models.serving.short_requests import MAX_SEED_CHARS, MorphRequest, PortraitRequest

_CHOICES = 25  # Discord: of an autocompletion
_VARIETY = 80  # percent

Seed = app_commands.Range[str, 1, MAX_SEED_CHARS]
Name = app_commands.Range[str, 1, MAX_NAME_CHARS]
Variety = app_commands.Range[int, 0, 100]


def _trait_choices() -> dict[str, list[app_commands.Choice[str]]]:
    """Of each trait's option; its name is the trait's with the underscore that Discord wants."""
    return {
        trait.replace(" ", "_"): [
            app_commands.Choice(name=locale_str(words), value=value) for value, words in values.items()
        ]
        for trait, values in TRAITS.items()
    }


@app_commands.allowed_installs(guilds=True, users=True)
@app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
class DreamCog(
    commands.GroupCog,
    name="Dream",
    group_name="dream",
    group_description=locale_str(mark("Faces for a story's characters, and verses, by networks that were raised here")),
):
    """For everybody, also in direct messages and where only a person brought the bot along."""

    def __init__(self, bot: StoryBot) -> None:
        self.bot = bot
        self.painter = Painter(bot.short, bot.store.album)
        self.cast = Cast(bot.store)
        self.pace = Pace(
            user_per_minute=bot.settings.user_dreams_per_minute, guild_per_minute=bot.settings.guild_dreams_per_minute
        )
        bot.dream_press = self.press

    @app_commands.command(name="portrait", description=locale_str(mark("Draw a face; the same words, the same face")))
    @app_commands.describe(
        name=locale_str(mark("A name or any words, in any language (I choose some)")),
        count=locale_str(mark("How many faces (1)")),
        hair=locale_str(mark("How the hair is worn")),
        hair_colour=locale_str(mark("The colour of the hair")),
        skin=locale_str(mark("The colour of the skin")),
        glasses=locale_str(mark("Glasses or none")),
        hat=locale_str(mark("A hat or none")),
        beard=locale_str(mark("A beard or none")),
        earrings=locale_str(mark("Earrings or none")),
        mouth=locale_str(mark("Happy or sad")),
        clothes=locale_str(mark("The colour of the clothes")),
        background=locale_str(mark("The colour behind the face")),
        variety=locale_str(mark("0: the model's mean face; 100: its boldest (80)")),
    )
    @app_commands.choices(count=[app_commands.Choice(name=str(count), value=count) for count in COUNTS])
    @app_commands.choices(**_trait_choices())
    async def portrait(
        self,
        interaction: discord.Interaction[StoryBot],
        name: Seed | None = None,
        count: int = 1,
        hair: str | None = None,
        hair_colour: str | None = None,
        skin: str | None = None,
        glasses: str | None = None,
        hat: str | None = None,
        beard: str | None = None,
        earrings: str | None = None,
        mouth: str | None = None,
        clothes: str | None = None,
        background: str | None = None,
        variety: Variety = _VARIETY,
    ) -> None:
        asked = {
            "hair": hair, "hair colour": hair_colour, "skin": skin, "glasses": glasses, "hat": hat, "beard": beard,
            "earrings": earrings, "mouth": mouth, "clothes": clothes, "background": background,
        }  # fmt: skip
        request = PortraitRequest(
            seeds=seeds_of(name, count),
            attributes={trait: value for trait, value in asked.items() if value is not None},
            truncation=variety / 100,
        )
        await self._begin(interaction)
        await self._draw(interaction, request)

    @app_commands.command(name="morph", description=locale_str(mark("One face becomes another; between them, a child")))
    @app_commands.rename(start="from", end="to")
    @app_commands.describe(
        start=locale_str(mark("A name or any words; this story's characters are offered")),
        end=locale_str(mark("The other one")),
        frames=locale_str(mark("Pictures in the animation, 2 to 48 (24)")),
        variety=locale_str(mark("0: the model's mean face; 100: its boldest (80)")),
    )
    async def morph(
        self,
        interaction: discord.Interaction[StoryBot],
        start: Seed,
        end: Seed,
        frames: int = FRAMES,
        variety: Variety = _VARIETY,
    ) -> None:
        frames_of(frames)  # refused before anything is promised
        await self._begin(interaction)
        ends = [await self._end(interaction, words) for words in (start, end)]
        await self._draw(interaction, morph_of(*ends, frames=frames, truncation=variety / 100))

    @app_commands.command(name="character", description=locale_str(mark("The face of somebody whom this story names")))
    @app_commands.describe(name=locale_str(mark("A name from the latest story here; those that I found are offered")))
    async def character(self, interaction: discord.Interaction[StoryBot], name: Name) -> None:
        words = seed_of(name.removeprefix(CHARACTER))
        await self._begin(interaction)
        story = await self.cast.story_here(interaction.channel_id)
        say = speaker(interaction.locale.value)
        if (face := await self.bot.store.album.face(story.id, words)) is not None:
            child = (await self.bot.store.album.receipt(face.code)).kind == "morph"
            await send(interaction, answer_with_face(face, story.title, say, child=child))
            return
        spelling = await self.cast.spelling(story, words)
        if spelling is None:
            raise UnknownCharacterError(words, await self.cast.names(story))
        request = PortraitRequest(seeds=(character_seed(story.id, spelling),), truncation=_VARIETY / 100)
        await self._show(interaction, await self.painter.draw(request, interaction.user.id))

    @app_commands.command(name="characters", description=locale_str(mark("All the faces of the latest story here")))
    @app_commands.describe(remove=locale_str(mark("Take this character's face out of the story")))
    async def characters(self, interaction: discord.Interaction[StoryBot], remove: Name | None = None) -> None:
        await self._begin(interaction)
        story = await self.cast.story_here(interaction.channel_id)
        say = speaker(interaction.locale.value)
        if remove is not None:
            gone = await self.bot.store.album.detach(
                story_id=story.id, name=remove, user_id=interaction.user.id, moderator=_moderates(interaction)
            )
            words = say(mark("**{name}** has no face in **{story}** any more.")).format(
                name=_plain(gone.name), story=story_name(story.title)
            )
            await send(interaction, Answer(words=Words(words)))
            return
        faces = await self.bot.store.album.cast(story.id)
        said = gallery_words(faces, story.title, await self.cast.names(story), say)
        sheet = await asyncio.to_thread(gallery, [face.picture for face in faces]) if faces else None
        await send(interaction, Answer(words=said, pictures=(("characters.png", sheet),) if sheet else ()))

    @app_commands.command(name="receipt", description=locale_str(mark("Show the picture or verse of a receipt again")))
    @app_commands.describe(code=locale_str(mark("The code below a picture or verse; your latest are offered")))
    async def receipt(self, interaction: discord.Interaction[StoryBot], code: Name) -> None:
        await self._begin(interaction)
        receipt = await self.bot.store.album.receipt(read_code(code))
        if receipt.kind == "verse":
            assert self.bot.show_verse is not None
            await self.bot.show_verse(interaction, receipt)
            return
        again = await self.painter.again(receipt)
        await self._show(interaction, again.dream, again_note(again, speaker(interaction.locale.value)))

    @app_commands.command(
        name="forget", description=locale_str(mark("Make me forget pictures and verses that you asked for"))
    )
    @app_commands.describe(
        code=locale_str(mark("The receipt of one of them; your latest are offered")),
        everything=locale_str(mark("All your receipts, and the faces that stories have of them")),
    )
    async def forget(
        self, interaction: discord.Interaction[StoryBot], code: Name | None = None, everything: bool = False
    ) -> None:
        say = speaker(interaction.locale.value)
        await interaction.response.defer(ephemeral=True, thinking=True)
        if everything:
            count = await self.bot.store.album.erase(interaction.user.id)
            words = say(mark("🧹 Forgot all your receipts ({count}), and every face that was made of them.")).format(
                count=count
            )
        elif code is not None:
            count = await self.bot.store.album.forget(read_code(code), interaction.user.id)
            words = say(mark("🧹 Forgot that receipt. Stories that lost a face by it: {count}.")).format(count=count)
        else:
            words = say(mark("Say which: a receipt's code, or everything."))
        await self.bot.store.fold_log()  # what was forgotten is not to linger in the file's log
        await interaction.followup.send(words, ephemeral=True)

    @receipt.autocomplete("code")
    @forget.autocomplete("code")
    async def _own(self, interaction: discord.Interaction[StoryBot], typed: str) -> list[app_commands.Choice[str]]:
        mine = await self.bot.store.album.receipts_of(interaction.user.id, limit=200)
        wanted = typed.casefold().strip()
        return [
            app_commands.Choice(name=f"{receipt.code} · {title_of(receipt)}"[:100], value=receipt.code)
            for receipt in mine
            if wanted in f"{receipt.code} {title_of(receipt)}".casefold()
        ][:_CHOICES]

    @character.autocomplete("name")
    async def _named(self, interaction: discord.Interaction[StoryBot], typed: str) -> list[app_commands.Choice[str]]:
        found = await self.cast.offered(interaction.channel_id, typed)
        return [app_commands.Choice(name=name, value=name) for name in found[:_CHOICES]]

    @morph.autocomplete("start")
    @morph.autocomplete("end")
    async def _ends(self, interaction: discord.Interaction[StoryBot], typed: str) -> list[app_commands.Choice[str]]:
        say = speaker(interaction.locale.value)
        found = await self.cast.offered(interaction.channel_id, typed.removeprefix(CHARACTER))
        here = say(mark("{name} (of this story)"))
        return [
            app_commands.Choice(name=here.format(name=name)[:100], value=f"{CHARACTER}{name}")
            for name in found[:_CHOICES]
        ]

    @characters.autocomplete("remove")
    async def _faces(self, interaction: discord.Interaction[StoryBot], typed: str) -> list[app_commands.Choice[str]]:
        found = await self.cast.with_faces(interaction.channel_id, typed)
        return [app_commands.Choice(name=name, value=name) for name in found[:_CHOICES]]

    # What the buttons ask for

    async def press(self, interaction: discord.Interaction[Any], act: DreamAct, code: str, number: int) -> None:
        """A button or choice below the picture with this receipt."""
        receipt = await self.bot.store.album.receipt(code)
        recipe = picture_of(receipt)
        match act, recipe:
            case "seed", _:
                words = receipt_words(receipt, speaker(interaction.locale.value))
                await interaction.response.send_message(words, ephemeral=True)
            case "attach", _:
                await self._ask_for_a_name(interaction, receipt)
            case "morph", PortraitRequest():
                await self._ask_for_the_other(interaction, recipe)
            case "vary", PortraitRequest():
                await self._begin(interaction)
                await self._draw(interaction, varied(recipe))
            case "pick", PortraitRequest():
                await self._begin(interaction)
                await self._draw(interaction, only(recipe, number))
            case "more", PortraitRequest():
                await self._draw_alike(interaction, receipt, recipe)

    async def _draw_alike(
        self, interaction: discord.Interaction[Any], receipt: Receipt, recipe: PortraitRequest
    ) -> None:
        await self._begin(interaction)
        seen = None
        if len(recipe.seeds) == 1:  # what is like it is seen in the picture, not in what was asked for
            seen = (await self.painter.again(receipt)).dream.faces[0].attributes
        await self._show(interaction, await self.painter.draw(alike(recipe, seen), interaction.user.id))

    async def _ask_for_the_other(self, interaction: discord.Interaction[Any], recipe: PortraitRequest) -> None:
        say = speaker(interaction.locale.value)

        async def answered(submitted: discord.Interaction[Any], words: str) -> None:
            await self._begin(submitted)
            end = await self._end(submitted, words)
            await self._draw(submitted, morph_of(end_of(recipe), end, truncation=recipe.truncation))

        await interaction.response.send_modal(
            Question(
                title=say(mark("Morph into whom?")),
                label=say(mark("The other name, or any words")),
                answered=answered,
            )
        )

    async def _ask_for_a_name(self, interaction: discord.Interaction[Any], receipt: Receipt) -> None:
        say = speaker(interaction.locale.value)
        story = await self.cast.story_here(interaction.channel_id)
        message = interaction.message

        async def answered(submitted: discord.Interaction[Any], words: str) -> None:
            await self._attach(submitted, receipt, story, seed_of(words), message)

        await interaction.response.send_modal(
            Question(
                title=say(mark("Attach to the latest story here")),
                label=say(mark("Whose face is this?")),
                default=title_of(receipt),
                hint=say(mark("The story: {title}")).format(title=story.title),
                answered=answered,
            )
        )

    async def _attach(
        self,
        interaction: discord.Interaction[Any],
        receipt: Receipt,
        story: Story,
        name: str,
        message: discord.Message | None,
    ) -> None:
        await self._begin(interaction)
        picture, attributes = await self._face_below(receipt, message)
        await self.bot.store.album.attach(
            story_id=story.id,
            name=name,
            code=receipt.code,
            user_id=interaction.user.id,
            moderator=_moderates(interaction),
            picture=picture,
            attributes=attributes,
        )
        words = speaker(interaction.locale.value)(
            mark("📌 **{name}** has this face in **{story}** now. `/dream characters` shows them all.")
        ).format(name=_plain(name), story=story_name(story.title))
        await send(interaction, Answer(words=Words(words)))

    async def _face_below(self, receipt: Receipt, message: discord.Message | None) -> tuple[bytes, dict[str, str]]:
        """The face above the button and what is seen in it: as the message shows it where the present model would draw
        another."""
        again = await self.painter.again(receipt)
        face = again.dream.faces[0]
        shown = [file for file in message.attachments if file.filename.endswith(".png")] if message else []
        if again.same_bytes or not shown or shown[-1].size > MAX_PICTURE_BYTES:
            return face.png, face.attributes
        return await shown[-1].read(), {}

    # Drawing and showing

    async def _draw(self, interaction: discord.Interaction[Any], request: PortraitRequest | MorphRequest) -> None:
        await self._show(interaction, await self.painter.draw(request, interaction.user.id))

    async def _show(self, interaction: discord.Interaction[Any], dream: Dream, note: str = "") -> None:
        await send(interaction, answer_of(dream, speaker(interaction.locale.value), note))

    async def _end(self, interaction: discord.Interaction[Any], words: str) -> End:
        """The face behind words: a character's own where one was chosen. Raises EmptySeedError, NoStoryHereError,
        ChildFaceError."""
        if not words.startswith(CHARACTER):
            return End(seed=seed_of(words))
        story = await self.cast.story_here(interaction.channel_id)
        return await self.cast.end(story, seed_of(words.removeprefix(CHARACTER)))

    async def _begin(self, interaction: discord.Interaction[Any]) -> None:
        """Acknowledge. Raises TooFastError, before anything is promised."""
        self.pace.ask(user=interaction.user.id, guild=interaction.guild_id)
        await interaction.response.defer(thinking=True)  # Discord waits only 3 s


def _moderates(interaction: discord.Interaction[Any]) -> bool:
    return interaction.guild_id is not None and interaction.permissions.manage_messages


def _plain(text: str) -> str:
    return discord.utils.escape_markdown(text)
