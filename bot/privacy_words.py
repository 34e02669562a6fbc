"""What Inkwell does with people's words, in plain words. Says only what the code beside it does."""

import discord

from bot.locales import Say, mark, mark_counted
from bot.settings import Settings
from bot.store.sharing import ConsentLevel

LEVELS: dict[ConsentLevel, str] = {
    "private": mark("private: my words train nothing (as at first)"),
    "library": mark("library: as private, but others may later find my stories in a list"),
    "training": mark("training: what I write in stories and moods that I correct may train Inkwell"),
}
IS_NOW = {
    "private": mark("Your words are **private**: they train nothing."),
    "library": mark(
        "Your level is **library**: your words train nothing, as with private. Inkwell has no list of a server's "
        "stories yet; once it has one, yours may stand in it."
    ),
    "training": mark(
        "Your level is **training**: what you write in stories from now on may train the models of this Inkwell, each "
        "part for at most {time}, and so may the moods that you correct or confirm, which I keep with your text "
        "for as long. A part counts only where everybody whose words stand before it agreed, too. Stories that you "
        "began to write in before stay out; `/privacy consent` with `story:` adds or leaves out single ones."
    ),
}
MAY_TRAIN = mark("Parts of stories of yours that may train: {count}.")
SINGLE = mark("You decided apart for:")
SINGLE_LINE = mark("• **{title}**: {level}; parts that may train: {shared} of {turns}")
MORE_SINGLE = mark("…and {count} more; `/privacy export` has them all.")
FOR_STORY = {
    "private": mark("In **{title}** your words stay **private**, whatever your general level: they train nothing."),
    "library": mark(
        "In **{title}** your level is **library**: your words train nothing. Once Inkwell has a list of a server's "
        "stories, this one may stand in it."
    ),
    "training": mark(
        "In **{title}** parts of yours that may train the models of this Inkwell: {shared} of {turns}, each for at "
        "most {time}. So may what you add. A part counts only where everybody whose words stand before it agreed, too."
    ),
}
AS_GENERAL = mark("In **{title}** your general level holds ({level}). Your parts that may train: {shared} of {turns}.")
TAKEN_BACK = mark(
    "What it no longer covers is deleted: parts of stories that might train: {turns}, moods: {corrections}."
)
DRAWINGS_DELETED = mark("Drawings that you gave, deleted: {count}.")
NOT_SWITCHED_ON = mark(
    "Whoever runs this Inkwell has not allowed training, so for now nothing is kept for it in any case."
)
_STORED = mark(
    "• Stories that you begin or continue with my commands and buttons, and where they stand: I need that to go on.\n"
    "• Texts that you teach a server's voice with `/teach`, until `/teach forget`.\n"
    "• Only after your yes, for at most {time}: that parts of your stories may train, moods that you correct, and "
    "drawings that you give (`/dream give`).\n"
    "• Receipts of your pictures and verses (`/dream`: the words and choices that make them again), and faces given to "
    "a story.\n"
    "• Your choices (consent, leaving channel moods, blind votes), settings of servers, and the last error of a failed "
    "story.\n"
    "You stand there only as a keyed hash, not by name or number. The file is encrypted."
)
_NOT_STORED = mark(
    "• Texts whose mood you ask for: read in memory, then forgotten; where training is allowed they wait in memory for "
    "your correction, at most 15 minutes.\n"
    "• Messages in channels. Where admins switched a channel's mood on, each is read once in memory; only numbers of "
    "at least 5 people are kept, for {time}. `/mood optout` leaves yours out."
)
_TRAINING = mark(
    "Off until the operator allows it ({allowed}), and then only on words of people who said yes: with `/privacy "
    "consent`, in general or for a story. A part trains only where everybody before it in its story agreed. For a run "
    "the words are copied into a sealed file, which is deleted after it. `/privacy trace` shows which versions of the "
    "models learned from you. A server's voice learns texts that somebody taught it; it lies on the operator's "
    "machine, not encrypted."
)
_ALLOWED, _NOT_ALLOWED = mark("here: yes"), mark("here: no")
_RIGHTS = mark(
    "`/privacy export` gives you all of it, `/privacy withdraw` takes your yes back, `/privacy erase` deletes what is "
    "kept of you and marks the versions that learned from it, so that none may be chosen again; the next training "
    "begins without it. Withdraw too when you leave a server: Discord need not tell me. Discord's own messages only "
    "Discord can delete. An encrypted copy from before the database's last upgrade stays with the operator until the "
    "next one, and so do the operator's own backups."
)
_DAYS = mark_counted("{count} day", "{count} days")
_NO_CONTACT = mark("The operator named none; ask those who manage the server that added Inkwell.")
ERASE_ASK = mark(
    "**Erase everything that I keep of you?**\n"
    "• Stories that only you wrote are deleted whole, the parts that I wrote in them too.\n"
    "• In stories with others your words become “…”; theirs and mine stay, so that they can go on. What I wrote may "
    "still echo your words.\n"
    "• Texts that you taught are forgotten, and the voices learn again without them.\n"
    "• Your consent, your corrected moods and all that might train are deleted, and so are the receipts of your "
    "pictures and verses, with every face that a story has from them.\n"
    "• Versions of the models that learned from you can't unlearn it. They are marked, so that none may be chosen "
    "again, and the next training begins without you.\n"
    "• If you left channel moods (`/mood optout`), that stays, or you would be counted again; `/mood optin` ends it.\n"
    "• Messages in Discord stay until somebody deletes them there.\n"
    "This can't be undone. `/privacy export` first gives you a copy."
)
ERASED = mark(
    "🧹 Erased: your consent · whole stories: {stories} · parts of stories with others: {turns} · taught texts: "
    "{taught} · corrected moods: {corrections} · receipts of pictures and verses: {pictures}"
)
MARKED = mark("Versions of the models that had learned from you, now marked: {versions}.")
RELEARNING = mark("The voices that knew your texts are learning again without them.")
EXPORTED = mark("What I keep of you: `inkwell.txt` to read, `inkwell.json` for programs.")
WITHDRAWN = mark(
    "Taken back: from now on your words train nothing. Corrected moods deleted: {corrections}; parts of stories that "
    "might train and no longer may: {turns}. The stories stay yours. `/privacy trace` lists versions of the models "
    "that learned before; `/privacy erase` has them marked."
)


def days(count: int, say: Say) -> str:
    """How long something is kept, for a place in a sentence."""
    return say.counted(_DAYS, count).format(count=count)


def policy(settings: Settings, say: Say) -> discord.Embed:
    """The whole policy in one embed."""
    embed = discord.Embed(title=say(mark("Inkwell and your words")))
    for name, words in (
        (mark("What is kept"), say(_STORED).format(time=days(settings.training_keep_days, say))),
        (mark("What is not"), say(_NOT_STORED).format(time=days(settings.mood_keep_days, say))),
        (
            mark("Training"),
            say(_TRAINING).format(allowed=say(_ALLOWED if settings.may_train else _NOT_ALLOWED)),
        ),
        (mark("What you can do"), say(_RIGHTS)),
        (mark("Whom to ask"), discord.utils.escape_markdown(settings.operator_contact) or say(_NO_CONTACT)),
    ):
        embed.add_field(name=say(name), value=words, inline=False)
    return embed
