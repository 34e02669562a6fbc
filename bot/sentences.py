"""Every failure in one sentence for the person who met it. The cause goes to the log, never to them."""

import logging
from collections.abc import Callable

import discord
from discord import app_commands

from bot.consents import NotYourWordsError
from bot.dream_sentences import DREAM_SENTENCES
from bot.gifts import GIFT_SENTENCES
from bot.locales import Say, mark, mark_counted
from bot.mood_reading import MoodNotReadError
from bot.mood_story import ArcTooShortError
from bot.mood_words import not_read
from bot.pace import TooFastError
from bot.store.errors import (
    NothingToUndoError,
    NotYoursError,
    StoreError,
    StoreFullError,
    StoryNotFoundError,
    TaughtTextNotFoundError,
    TaughtTooMuchError,
    TurnBusyError,
    TurnNotFoundError,
    TurnUndoneError,
    TurnWithoutTextError,
)
from bot.store.moods import TooManyChannelsError
from bot.stories import EmptyPromptError
from bot.streaming import MessageGoneError
from bot.taught_file import NotTeachableError
from bot.teaching import NoStoryError, NoStoryOfYoursError, NotYourStoryError, NoVoicesError, TeachingFailedError
from bot.training_sentences import TRAIN_SENTENCES
from models.serving.engine import (
    DeadlineExceededError,
    EngineClosedError,
    EngineOverloadedError,
    EngineUnavailableError,
    ModelMissingError,
    RequestRefusedError,
    WorkerDiedError,
)

log = logging.getLogger(__name__)

_TOO_FAST = {
    "user": mark("That was quick! You can ask again in {seconds} s."),
    "guild": mark("This server is very busy right now. Try again in {seconds} s."),
}
_FULL = {
    "user": mark_counted(
        "You already have {count} story waiting. Let it finish first.",
        "You already have {count} stories waiting. Let one of them finish first.",
    ),
    "guild": mark_counted(
        "This server already has {count} story waiting. Try again in a minute.",
        "This server already has {count} stories waiting. Try again in a minute.",
    ),
}
_EVERYBODY = mark_counted(
    "Too many people are writing right now ({count} waits). Try again in a minute.",
    "Too many people are writing right now ({count} wait). Try again in a minute.",
)
_UNKNOWN = mark("Something went wrong on my side. Try again; if it stays, tell the admin this code: {code}.")
_NOT_TEACHABLE = {
    "name": mark("I learn only from .txt files. Save the text as one and attach that."),
    "size": mark("That file is too large: I learn from at most 5 MiB at once. Cut it into parts."),
    "empty": mark("There are no words in that file."),
    "archive": mark("That is an archive or an office document, not a text. Take the text out and save it as .txt."),
    "binary": mark("That file is not a text, whatever its name says. Save the text as .txt in UTF-8."),
    "encoding": mark("I can't read that file's encoding for sure. Save it again as UTF-8 (or GB18030)."),
}


def _too_fast(error: TooFastError, say: Say) -> str:
    return say(_TOO_FAST[error.scope]).format(seconds=round(error.retry_after_s))


def _overloaded(error: EngineOverloadedError, say: Say) -> str:
    return say.counted(_FULL.get(error.scope, _EVERYBODY), error.queued).format(count=error.queued)


def _not_teachable(error: NotTeachableError, say: Say) -> str:
    return say(_NOT_TEACHABLE[error.reason])


def _fixed(text: str) -> Callable[[BaseException, Say], str]:
    return lambda error, say: say(text)


# The first entry whose type fits speaks: narrower types stand above wider ones.
_TABLE: tuple[tuple[type[BaseException], Callable[..., str]], ...] = (
    *DREAM_SENTENCES,
    *GIFT_SENTENCES,
    *TRAIN_SENTENCES,
    (EmptyPromptError, _fixed(mark("Give me a few words to begin with: I saw nothing I could continue."))),
    (TooFastError, _too_fast),
    (NotTeachableError, _not_teachable),
    (MoodNotReadError, not_read),
    (ArcTooShortError, _fixed(mark("That story has a single part yet, and one part makes no arc. Continue it first."))),
    (
        TooManyChannelsError,
        _fixed(mark("As many channels as I can sample in one server are sampled. Switch one off first.")),
    ),
    (
        NotYourStoryError,
        _fixed(
            mark(
                "Somebody else wrote a part of this story, so it isn't yours to teach. I learn a story only from "
                "whoever wrote every part of it that I did not write."
            )
        ),
    ),
    (
        NotYourWordsError,
        _fixed(mark("You wrote in no story of that title. Choose one from the list.")),
    ),
    (
        NoStoryOfYoursError,
        _fixed(mark("None of your stories in this server has that title. Choose one from the list.")),
    ),
    (NoStoryError, _fixed(mark("There is no story in that channel. Begin one with /story, or name another channel."))),
    (
        NoVoicesError,
        _fixed(mark("Here a server elsewhere writes the stories, and it can't write in a voice taught here.")),
    ),
    (
        TeachingFailedError,
        _fixed(mark("The learning failed, and nothing was learned from it. Try again, or tell the admin.")),
    ),
    (TaughtTextNotFoundError, _fixed(mark("This server's voice was taught no such text. See /teach list."))),
    (
        TaughtTooMuchError,
        _fixed(mark("This server's voice holds as much as it can. Forget a text first: /teach forget.")),
    ),
    (EngineOverloadedError, _overloaded),
    (
        EngineClosedError,
        _fixed(mark("I'm restarting. What you wrote is kept, and I go on with it as soon as I'm back.")),
    ),
    (
        EngineUnavailableError,
        _fixed(mark("My story model can't answer right now. Your words are kept; an admin can run `inkwell doctor`.")),
    ),
    (
        ModelMissingError,
        _fixed(
            mark(
                "That model isn't ready here: nothing was taught to it yet, or a part is missing. Leave the model out, "
                "or ask an admin."
            )
        ),
    ),
    (RequestRefusedError, _fixed(mark("I can't continue this text. Try it shorter or in other words."))),
    (WorkerDiedError, _fixed(mark("My writing was interrupted twice. What you wrote is kept: press Retry."))),
    (DeadlineExceededError, _fixed(mark("The queue was too long and your turn came too late. Press Retry."))),
    (TurnBusyError, _fixed(mark("I'm still writing here. Wait for it, or press Stop."))),
    (TurnUndoneError, _fixed(mark("This part was undone. Go on from the newest message of the story."))),
    (TurnWithoutTextError, _fixed(mark("There is no text here yet to continue. Press Retry."))),
    (NothingToUndoError, _fixed(mark("This is where the story begins: there is nothing before it."))),
    (NotYoursError, _fixed(mark("Only the author of this story or a moderator can do that."))),
    (TurnNotFoundError, _fixed(mark("I no longer have this part of the story. Begin a new one with /story."))),
    (StoryNotFoundError, _fixed(mark("I no longer have this story. Begin a new one with /story."))),
    (StoreFullError, _fixed(mark("My disk is full, so I can't keep your words. Copy them, and tell the admin."))),
    (StoreError, _fixed(mark("I can't write to my database, so I'd rather not begin. Tell the admin."))),
    (MessageGoneError, _fixed(mark("The message was deleted, so I stopped writing."))),
    (app_commands.MissingPermissions, _fixed(mark("You don't have the permission for that here."))),
    (app_commands.BotMissingPermissions, _fixed(mark("I don't have the permission for that here. Ask an admin."))),
    (app_commands.NoPrivateMessage, _fixed(mark("That only works in a server."))),
    (discord.Forbidden, _fixed(mark("Discord doesn't let me write here. Ask an admin to check my permissions."))),
)


def sentence(error: BaseException, say: Say) -> str:
    """What to tell the person. An error that the table does not know gets a code that stands in the log beside its
    traceback."""
    cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
    for kind, words in _TABLE:
        if isinstance(cause, kind):
            log.info("told somebody about %s: %s", type(cause).__name__, cause)
            return words(cause, say)
    code = f"E{abs(id(cause)) % 0xFFFFF:05X}"
    log.error("unexpected error %s", code, exc_info=cause)
    return say(_UNKNOWN).format(code=code)
