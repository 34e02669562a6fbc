"""Pictures on their way into a message, within Discord's limits. Knows no model."""

import io
from dataclasses import dataclass
from typing import Any

import discord

from bot.dream_buttons import one_child, one_face, several_faces
from bot.dream_words import Words, attached_words, dream_words
from bot.dreams import MAX_FILE_BYTES, Dream, PictureTooLargeForDiscordError, picture_of, title_of
from bot.locales import Say
from bot.store import StoryCharacter
from models.serving.short_requests import Morph, PortraitRequest


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One message. `pictures` are file names and bytes; their alt texts stand in `words`, in the same order."""

    words: Words
    pictures: tuple[tuple[str, bytes], ...] = ()
    view: discord.ui.View | None = None


def answer_of(dream: Dream, say: Say, note: str = "") -> Answer:
    """A picture with its receipt and buttons."""
    code, recipe = dream.receipt.code, picture_of(dream.receipt)
    words = dream_words(dream, say, note)
    if isinstance(dream.answer, Morph):
        pictures = ((f"morph-{code}.gif", dream.answer.gif), (f"child-{code}.png", dream.answer.child))
        return Answer(words=words, pictures=pictures, view=one_child(code, say))
    picture = ((f"portrait-{code}.png", dream.picture),)
    assert isinstance(recipe, PortraitRequest)
    if len(recipe.seeds) == 1:
        return Answer(words=words, pictures=picture, view=one_face(code, say))
    names = [title_of(dream.receipt, number) for number in range(len(recipe.seeds))]
    return Answer(words=words, pictures=picture, view=several_faces(code, names, say))


def answer_with_face(face: StoryCharacter, story: str, say: Say, *, child: bool) -> Answer:
    """The face that a character was given, with the buttons of its receipt."""
    return Answer(
        words=attached_words(face, story, say),
        pictures=((f"portrait-{face.code}.png", face.picture),),
        view=one_child(face.code, say) if child else one_face(face.code, say),
    )


async def send(interaction: discord.Interaction[Any], answer: Answer) -> None:
    """Show it in place of "thinking…". Raises PictureTooLargeForDiscordError, discord.HTTPException."""
    limit = min(interaction.filesize_limit or MAX_FILE_BYTES, MAX_FILE_BYTES)
    if any(len(data) > limit for _, data in answer.pictures):
        raise PictureTooLargeForDiscordError
    files = [
        discord.File(io.BytesIO(data), name, description=alt)
        for (name, data), alt in zip(answer.pictures, answer.words.alts, strict=True)
    ]
    extra: dict[str, Any] = {"view": answer.view} if answer.view is not None else {}
    await interaction.followup.send(
        answer.words.content, files=files, allowed_mentions=discord.AllowedMentions.none(), **extra
    )
