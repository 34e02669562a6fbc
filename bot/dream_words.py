"""What is said with a picture: its caption, its alt text, its receipt. Knows neither Discord's objects nor a model."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from discord.utils import escape_markdown

from bot.dreams import Again, Dream, picture_of, title_of
from bot.locales import Say, mark, mark_counted
from bot.store import Receipt, StoryCharacter
from bot.traits import described, missed, phrase
from models.serving.short_requests import Look, MorphRequest, PortraitRequest

MAX_ALT_CHARS = 1_024  # Discord: of an attachment's description
_MAX_TITLE_CHARS = 80  # of a seed in a caption; the whole of it stands in the receipt
_MAX_STORY_CHARS = 40  # of a story's title, which is its first words
_SHOWN_NAMES = 12

_RECEIPT = mark("-# Receipt `{code}`: `/dream receipt` draws it again.")
_ALT = mark("Pixel-art portrait of {name}: {traits}.")
_ALT_GRID = mark_counted("{count} pixel-art portrait. {faces}", "{count} pixel-art portraits. {faces}")
_ALT_MORPH = mark("Animation: a pixel-art face turns from {start} into {end} and back.")
_ALT_CHILD = mark("Pixel-art portrait halfway between {start} and {end}: {traits}.")


class Words(NamedTuple):
    """A message's text, and the alt text of each picture in it."""

    content: str
    alts: tuple[str, ...] = ()


def dream_words(dream: Dream, say: Say, note: str = "") -> Words:
    """Of any picture, with its receipt; `note` stands between."""
    recipe = picture_of(dream.receipt)
    if isinstance(recipe, MorphRequest):
        said = _morph(dream, say)
    elif len(recipe.seeds) > 1:
        said = _grid(dream, recipe, say)
    else:
        said = _portrait(dream, recipe, say)
    lines = [said.content, *([note] if note else []), say(_RECEIPT).format(code=dream.receipt.code)]
    return Words("\n".join(lines), tuple(_cut(alt, MAX_ALT_CHARS) for alt in said.alts))


def _portrait(dream: Dream, recipe: PortraitRequest, say: Say) -> Words:
    face = dream.faces[0]
    content = f"🎨 **{_title(dream.receipt)}**"
    if lost := missed(recipe.attributes, face.attributes):
        words = say(mark(", ")).join(phrase(trait, value, say) for trait, value in lost.items())
        content += "\n" + say(
            mark("-# You asked for this and I can't see it: {traits}. Vary, or another name, may bring it.")
        ).format(traits=words)
    return Words(content, (face_alt(title_of(dream.receipt), face.attributes, say),))


def _grid(dream: Dream, recipe: PortraitRequest, say: Say) -> Words:
    names = [title_of(dream.receipt, number) for number in range(len(recipe.seeds))]
    faces = " ".join(
        _listed(number, _cut(name, 30), face.attributes, say)
        for number, (name, face) in enumerate(zip(names, dream.faces, strict=True), start=1)
    )
    lost = sum(bool(missed(recipe.attributes, face.attributes)) for face in dream.faces)
    if names[1].startswith(names[0]):  # the faces of one name
        content = f"🎨 **{_title(dream.receipt)}** (×{len(names)})"
    else:
        content = say(mark("🎨 **{count} faces**")).format(count=len(names))
    if lost:
        content += "\n" + say(mark("-# In {count} of them I can't see every trait that was asked for.")).format(
            count=lost
        )
    return Words(content, (_alt_grid(len(names), faces, say),))


def _alt_grid(count: int, faces: str, say: Say) -> str:
    return say.counted(_ALT_GRID, count).format(count=count, faces=faces)


def _morph(dream: Dream, say: Say) -> Words:
    start, end = title_of(dream.receipt, 0), title_of(dream.receipt, 1)
    child = dream.faces[0]
    content = say(mark("🧬 **{start}** becomes **{end}**; beside it their child, halfway.")).format(
        start=_shown(start), end=_shown(end)
    )
    traits = described(child.attributes, say) or say(_NO_TRAITS)
    return Words(
        content,
        (
            say(_ALT_MORPH).format(start=start, end=end),
            say(_ALT_CHILD).format(start=start, end=end, traits=traits),
        ),
    )


_NO_TRAITS = mark("nothing that I have words for")


def _listed(number: int, name: str, attributes: Mapping[str, str], say: Say) -> str:
    traits = described(attributes, say) or say(_NO_TRAITS)
    return say(mark("{number}. {name}: {traits}.")).format(number=number, name=name, traits=traits)


def face_alt(name: str, attributes: Mapping[str, str], say: Say) -> str:
    """The alt text of one face."""
    return _cut(say(_ALT).format(name=name, traits=described(attributes, say) or say(_NO_TRAITS)), MAX_ALT_CHARS)


def attached_words(face: StoryCharacter, story: str, say: Say) -> Words:
    """Of the face that somebody gave a character."""
    content = say(mark("🎨 **{name}**, as **{story}** knows this face.")).format(
        name=_shown(face.name), story=story_name(story)
    )
    receipt = say(_RECEIPT).format(code=face.code)
    return Words(f"{content}\n{receipt}", (face_alt(face.name, face.attributes, say),))


def gallery_words(faces: Sequence[StoryCharacter], story: str, named: Sequence[str], say: Say) -> Words:
    """Of all the faces of a story, in their order; `named` are names in its text."""
    having = {face.name.casefold() for face in faces}
    without = [name for name in named if name.casefold() not in having][:_SHOWN_NAMES]
    listed = say(mark(", ")).join(f"**{_shown(name)}**" for name in without)
    hint = say(mark("-# Without a face yet: {names}. `/dream character` draws one.")).format(names=listed)
    title = say(mark("🎭 The faces of **{story}**")).format(story=story_name(story))
    if not faces:
        nobody = say(mark("Nobody has a face here yet: draw one and press Attach to story."))
        return Words("\n".join([title, nobody, *([hint] if without else [])]))
    rows = "\n".join(f"{number}. {_shown(face.name)} · `{face.code}`" for number, face in enumerate(faces, start=1))
    alt = " ".join(_listed(number, face.name, face.attributes, say) for number, face in enumerate(faces, start=1))
    content = "\n".join([title, rows, *([hint] if without else [])])
    return Words(_cut(content, 2_000), (_cut(_alt_grid(len(faces), alt, say), MAX_ALT_CHARS),))


def again_note(again: Again, say: Say) -> str:
    """How the picture compares with that of its day."""
    receipt, now = again.dream.receipt, again.dream.answer.model_version
    if again.same_bytes:
        return say(mark("-# The same picture, byte for byte."))
    if again.same_version:
        return say(
            mark(
                "-# The model is the same, `{version}`, but the bytes are not: this machine may count differently "
                "from the one of that day."
            )
        ).format(version=now)
    return say(
        mark("-# The receipt is of `{old}`, and I have `{new}` now: this is what it makes of the same words.")
    ).format(old=receipt.model_version, new=now)


def receipt_words(receipt: Receipt, say: Say) -> str:
    """All that reproduces a picture."""
    recipe = picture_of(receipt)
    lines = [say(mark("🌱 **Receipt `{code}`**")).format(code=receipt.code)]

    def add(name: str, value: str) -> None:
        lines.append(say(mark("{name}: {value}")).format(name=name, value=value))

    seeds = recipe.seeds if isinstance(recipe, PortraitRequest) else (recipe.start, recipe.end)
    add(say(mark("Seed words")), " · ".join(_code(seed) for seed in seeds))
    if isinstance(recipe, PortraitRequest):
        asked = described(recipe.attributes, say, absent=True)
        add(say(mark("Traits asked for")), asked or say(mark("none")))
        if recipe.vary:
            add(say(mark("Varied by")), f"{recipe.vary:.0%} ({_code(recipe.vary_seed)})")
    else:
        for seed, look in ((recipe.start, recipe.start_look), (recipe.end, recipe.end_look)):
            if look != Look():
                add(_code(seed), _look(look, say))
        add(say(mark("Frames")), str(recipe.frames))
    add(say(mark("Variety")), f"{recipe.truncation:.0%}")
    add(say(mark("Model")), _code(receipt.model_version))
    add("SHA-256", _code(receipt.digest))
    lines.append(
        say(
            mark(
                "-# `/dream receipt code:{code}` draws the same bytes for as long as I have this version of the model."
            )
        ).format(code=receipt.code)
    )
    return _cut("\n".join(lines), 2_000)


def _look(look: Look, say: Say) -> str:
    """All that was asked of one end of a morph."""
    parts = [described(look.attributes, say, absent=True)] if look.attributes else []
    if look.truncation is not None:
        parts.append(f"{say(mark('Variety'))} {look.truncation:.0%}")
    if look.vary:
        parts.append(f"{say(mark('Varied by'))} {look.vary:.0%} ({_code(look.vary_seed)})")
    return say(mark(", ")).join(parts)


def _title(receipt: Receipt) -> str:
    return _shown(title_of(receipt))


def story_name(title: str) -> str:
    """A story's title within a sentence."""
    return escape_markdown(_cut(title, _MAX_STORY_CHARS))


def _shown(name: str) -> str:
    return escape_markdown(_cut(name, _MAX_TITLE_CHARS))


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"


def _code(text: str) -> str:
    """Any text as inline code: Discord ends it at a backtick."""
    return f"`{text.replace('`', 'ˋ')}`"
