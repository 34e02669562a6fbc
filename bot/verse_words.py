"""What is said with a verse: its lines, its receipt. Knows neither Discord's objects nor a model."""

from discord.utils import escape_markdown

from bot.dreams import title_of
from bot.locales import Say, mark
from bot.store import Receipt
from bot.verses import Written, verse_of
from models.serving.short_requests import GeneratorKind, VerseForm

_MAX_TITLE_CHARS = 80  # of a seed above the verse; the whole of it stands in the receipt
FORM_NAMES: dict[VerseForm, str] = {
    "en": mark("English lines"),
    "zh5": mark("Chinese, five characters a line"),
    "zh7": mark("Chinese, seven characters a line"),
}
WRITER_NAMES: dict[GeneratorKind, str] = {
    "likelihood": mark("maximum likelihood"),
    "adversarial": mark("adversarial (the text GAN)"),
}
_RECEIPT = mark("-# Receipt `{code}`: `/dream receipt` writes it again.")
_SAME = mark("-# The same verse, character for character.")
_OTHER_MACHINE = mark(
    "-# The model is the same, `{version}`, but the verse is not: this machine may count differently from the one of "
    "that day."
)
_OTHER_VERSION = mark("-# The receipt is of `{old}`, and I have `{new}` now: this is what it makes of the same words.")


def verse_words(written: Written, say: Say, *, again: bool = False) -> str:
    """The verse as a quotation, with its receipt; `again` says how it compares with that of its day."""
    title = title_of(written.receipt)
    shown = title if len(title) <= _MAX_TITLE_CHARS else title[: _MAX_TITLE_CHARS - 1] + "…"
    lines = [f"📜 **{escape_markdown(shown)}**", *(f"> {escape_markdown(line)}" for line in written.verse.lines)]
    if again:
        lines.append(_compared(written, say))
    return "\n".join([*lines, say(_RECEIPT).format(code=written.receipt.code)])


def _compared(written: Written, say: Say) -> str:
    if written.same_lines:
        return say(_SAME)
    now = written.verse.model_version
    if written.same_version:
        return say(_OTHER_MACHINE).format(version=now)
    return say(_OTHER_VERSION).format(old=written.receipt.model_version, new=now)


def verse_receipt_words(receipt: Receipt, say: Say) -> str:
    """All that reproduces a verse."""
    recipe = verse_of(receipt)
    lines = [say(mark("🌱 **Receipt `{code}`**")).format(code=receipt.code)]

    def add(name: str, value: str) -> None:
        lines.append(say(mark("{name}: {value}")).format(name=name, value=value))

    add(say(mark("Seed words")), _code(recipe.seed))
    add(say(mark("Form")), say(FORM_NAMES[recipe.form]))
    add(say(mark("Lines")), str(recipe.lines))
    if recipe.begin:
        add(say(mark("Begins with")), _code(recipe.begin))
    chosen = say(mark("the better one")) if recipe.generator == "default" else say(WRITER_NAMES[recipe.generator])
    add(say(mark("Learned by")), chosen)
    add(say(mark("Model")), _code(receipt.model_version))
    add("SHA-256", _code(receipt.digest))
    lines.append(
        say(
            mark(
                "-# `/dream receipt code:{code}` writes the same verse for as long as I have this version of the model."
            )
        ).format(code=receipt.code)
    )
    return "\n".join(lines)


def _code(text: str) -> str:
    """Any text as inline code: Discord ends it at a backtick."""
    return f"`{text.replace('`', 'ˋ')}`"
