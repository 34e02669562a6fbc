"""What goes wrong with pictures and verses, in one sentence each. `sentences` has the table for everything else."""

from collections.abc import Callable

from discord.utils import escape_markdown

from bot.dreams import (
    ChildFaceError,
    EmptySeedError,
    NoSuchNumberError,
    NotAPictureError,
    PainterBusyError,
    PainterDownError,
    PainterMissingError,
    PainterRefusedError,
    PictureTooLargeForDiscordError,
    StartingAgainError,
)
from bot.gallery import UnreadablePictureError
from bot.locales import Say, mark
from bot.store.errors import (
    CastFullError,
    CharacterNotFoundError,
    FaceTakenError,
    PictureTooLargeError,
    ReceiptNotFoundError,
    ReceiptNotYoursError,
)
from bot.story_cast import NoStoryHereError, UnknownCharacterError
from bot.verses import NotAVerseError, OpeningRefusedError, PoetBusyError, PoetDownError, PoetMissingError

_NUMBERS = {
    "count": mark("I draw 1, 4 or 9 faces at once."),
    "frames": mark("A morph has 2 to 48 frames."),
}
_MAX_NAMED = 12
_UNKNOWN = mark("This story doesn't name {name}.")
_KNOWN = mark("This story doesn't name {name}. I found: {names}.")


def _number(error: NoSuchNumberError, say: Say) -> str:
    return say(_NUMBERS[error.what])


def _unknown(error: UnknownCharacterError, say: Say) -> str:
    name = escape_markdown(error.name)  # what somebody typed may end in a message that all see
    if not error.names:
        return say(_UNKNOWN).format(name=name)
    names = say(mark(", ")).join(error.names[:_MAX_NAMED])
    return say(_KNOWN).format(name=name, names=names)


def _fixed(text: str) -> Callable[[BaseException, Say], str]:
    return lambda error, say: say(text)


DREAM_SENTENCES: tuple[tuple[type[BaseException], Callable[..., str]], ...] = (
    (NoSuchNumberError, _number),
    (EmptySeedError, _fixed(mark("Give me a name or a few words that can be seen, or leave them out."))),
    (PainterBusyError, _fixed(mark("Too many people want a picture right now. Try again in a minute."))),
    (
        PainterMissingError,
        _fixed(
            mark("My portrait model isn't here, or its file is damaged. The reason stands in my log, for an admin.")
        ),
    ),
    (PainterDownError, _fixed(mark("My portrait model can't answer right now. Try again, or tell the admin."))),
    (PainterRefusedError, _fixed(mark("My portrait model can't draw that. Leave out a trait, or use other words."))),
    (
        ChildFaceError,
        _fixed(mark("That face is itself a child between two others, and can't be the end of a morph.")),
    ),
    (NotAPictureError, _fixed(mark("That receipt is of a verse, not of a picture: `/dream receipt` writes it again."))),
    (StartingAgainError, _fixed(mark("I'm restarting. Ask again in a moment."))),
    (
        PictureTooLargeForDiscordError,
        _fixed(mark("That picture is larger than Discord takes. Ask for fewer frames or faces.")),
    ),
    (PoetBusyError, _fixed(mark("Too many people want a verse right now. Try again in a minute."))),
    (
        PoetMissingError,
        _fixed(mark("My verse model isn't here, or its file is damaged. The reason stands in my log, for an admin.")),
    ),
    (PoetDownError, _fixed(mark("My verse model can't answer right now. Try again, or tell the admin."))),
    (
        OpeningRefusedError,
        _fixed(
            mark(
                "A verse of this form can't begin with that: I don't know one of its characters, or it is too long for "
                "one line. Simplified Chinese characters for Chinese forms; at most four or five English words."
            )
        ),
    ),
    (NotAVerseError, _fixed(mark("That receipt is of a picture, not of a verse."))),
    (UnknownCharacterError, _unknown),
    (NoStoryHereError, _fixed(mark("There is no story in this channel yet. Begin one with /story."))),
    (
        ReceiptNotFoundError,
        _fixed(mark("I have nothing under that receipt: it is mistyped, or somebody made me forget it.")),
    ),
    (ReceiptNotYoursError, _fixed(mark("Somebody else asked for that: only they can make me forget it."))),
    (CharacterNotFoundError, _fixed(mark("Nobody of that name has a face in this story. See /dream characters."))),
    (
        FaceTakenError,
        _fixed(
            mark(
                "Somebody else gave this character a face. They can change it, and the story's author and moderators "
                "can."
            )
        ),
    ),
    (CastFullError, _fixed(mark("This story has as many faces as it can hold: /dream characters removes one."))),
    (PictureTooLargeError, _fixed(mark("That picture is too large to be kept with a story."))),
    (
        UnreadablePictureError,
        _fixed(mark("A face that is kept with this story can't be read any more. Attach it anew.")),
    ),
)
