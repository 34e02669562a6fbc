"""`/dream give` and `/dream given` on a simulated Discord: who may give, what is made of a file, how it goes again."""

import io
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import SecretStr

from bot.gifts import Gifts, NotAgreedError, NotAllowedHereError
from bot.given_picture import MAX_BYTES, MAX_SIDE, NotADrawingError, Reason, drawing_of
from bot.locales import speaker
from bot.privacy_export import export
from bot.store.errors import GivenPictureNotFoundError
from tests.test_dream_cog import Answer, Scene, scene

TOKEN = SecretStr("MTE.x.y")
YES, NO = "It is mine: give it", "Don't keep it"
COLOURS = ((250, 214, 20), (12, 20, 110))


def striped(size: tuple[int, int] = (16, 16), width: int = 4) -> Image.Image:
    image = Image.new("RGB", size, COLOURS[0])
    for left in range(0, size[0], 2 * width):
        image.paste(COLOURS[1], (left, 0, left + width, size[1]))
    return image


def written(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pixels(png: bytes) -> bytes:
    with Image.open(io.BytesIO(png)) as image:
        assert (image.size, image.mode) == ((16, 16), "RGB")
        return image.tobytes()


async def agree(at: Scene) -> None:
    await at.writer.slash(at.channel, "privacy consent", level="training")


async def give(at: Scene, data: bytes, name: str = "mara.png") -> Answer:
    return await at.dream("give", picture=(name, data))


async def kept(at: Scene) -> list[bytes]:
    return [picture.png for picture in await at.store.given.of(at.writer.id)]


async def test_who_did_not_agree_hears_how_and_nothing_is_kept(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        answer = await give(at, written(striped()))
        assert "`/privacy consent` with `level:` training" in answer.words
        assert at.met(NotAgreedError)
        assert answer.result.ephemeral
        assert await kept(at) == []


async def test_where_training_is_not_allowed_no_drawing_is_taken(tmp_path: Path) -> None:
    async with scene(tmp_path, discord_token=TOKEN) as at:
        await agree(at)
        assert "has not allowed training" in (await give(at, written(striped()))).words
        assert at.met(NotAllowedHereError)


async def test_a_drawing_is_shown_as_it_would_be_kept_and_kept_after_a_yes(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await agree(at)
        large = striped((320, 320), 80)
        answer = await give(at, written(large, exif=b"Exif\0\0somewhere at home"))
        assert answer.result.ephemeral
        assert "Is this your own drawing" in answer.words
        assert answer.labels == [YES, NO]
        with Image.open(io.BytesIO(answer.picture)) as shown:
            assert shown.size == (512, 512)
            assert {colour for _, colour in shown.getcolors() or ()} == set(COLOURS)
        assert await kept(at) == []
        await at.press(answer, YES)
        (png,) = await kept(at)
        assert pixels(png) == striped().tobytes()
        again = await give(at, written(striped()))
        await at.press(again, YES)
        assert len(await kept(at)) == 1
        listed = await at.dream("given")
        assert "(1)" in listed.words
        assert listed.picture.startswith(b"\x89PNG")


async def test_after_a_no_nothing_is_kept_and_nobody_answers_for_another(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await agree(at)
        await at.press(await give(at, written(striped())), NO)
        assert at.bot.gifts._waiting == {}
        answer = await give(at, written(striped()))
        (key,) = at.bot.gifts._waiting
        await at.reader.slash(at.channel, "privacy consent", level="training")
        waiting = at.bot.gifts._waiting[key]
        at.bot.gifts._waiting[key] = replace(waiting, user_id=at.reader.id)
        await at.press(answer, YES)
        assert at.bot.gifts._waiting[key].drawing == waiting.drawing
        assert await kept(at) == []
        assert await at.store.given.of(at.reader.id) == ()


async def test_who_withdraws_between_the_question_and_the_yes_gives_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await agree(at)
        answer = await give(at, written(striped()))
        await at.writer.slash(at.channel, "privacy withdraw")
        await at.press(answer, YES)
        assert await kept(at) == []


async def test_drawings_are_taken_back_one_by_one_all_at_once_and_with_the_consent(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await agree(at)
        for width in (1, 2, 4, 8):
            await at.press(await give(at, written(striped(width=width))), YES)
        first, *_ = await at.store.given.of(at.writer.id)
        (offered, *_) = await at.writer.autocomplete(at.channel, "dream given", "remove", "1.")
        assert offered["value"] == first.id
        assert "deleted: 1" in (await at.dream("given", remove=first.id)).words
        assert await at.store.training.pending() == ()  # training was told
        assert "no such drawing" in (await at.dream("given", remove=first.id)).words
        assert at.met(GivenPictureNotFoundError)
        export_of = await at.store.people.kept_of(at.writer.id)
        with zipfile.ZipFile(io.BytesIO(export(export_of, speaker("en-US"), now=0.0))) as file:
            names = [name for name in file.namelist() if name.startswith("drawings/")]
            assert len(names) == 3
            assert pixels(file.read(names[0])) == striped(width=2).tobytes()
        withdrawn = await Answer.of(await at.writer.slash(at.channel, "privacy withdraw"))
        assert "Drawings that you gave, deleted: 3." in withdrawn.words
        assert await kept(at) == []
        assert "no drawings" in (await at.dream("given")).words


async def test_a_file_that_is_no_drawing_gets_a_sentence(tmp_path: Path) -> None:
    async with scene(tmp_path, user_dreams_per_minute=100) as at:
        await agree(at)
        assert "can't read that as a picture" in (await give(at, b"not a picture at all")).words
        assert "at most 1 MiB" in (await give(at, b"\x89PNG" + bytes(MAX_BYTES))).words
        assert at.met(NotADrawingError, NotADrawingError)


def moving() -> bytes:
    return written(striped(), "GIF", save_all=True, append_images=[striped(width=8)], duration=100)


BAD: dict[Reason, bytes] = {
    "size": bytes(MAX_BYTES + 1),
    "format": b"GIF-like words",
    "animated": moving(),
    "pixels": written(Image.new("1", (MAX_SIDE + 1, 16))),
    "small": written(striped((15, 40))),
    "damaged": written(striped((64, 64), 1))[:80],
    "flat": written(Image.new("RGB", (64, 64), "red")),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_file_is_refused_for_what_is_wrong_with_it(reason: Reason) -> None:
    with pytest.raises(NotADrawingError) as refused:
        drawing_of(BAD[reason])
    assert refused.value.reason == reason


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    bomb = bytearray(written(Image.new("1", (16, 16))))
    bomb[16:24] = side.to_bytes(4, "big") * 2  # the header's width and height

    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    with pytest.raises(NotADrawingError) as refused:
        drawing_of(bytes(bomb))
    assert refused.value.reason == "pixels"


def test_transparent_parts_become_white_and_the_middle_of_a_wide_picture_counts() -> None:
    clear = striped((48, 16)).convert("RGBA")
    clear.paste((0, 0, 0, 0), (16, 0, 24, 16))
    with Image.open(io.BytesIO(drawing_of(written(clear)))) as small:
        assert small.getpixel((0, 0)) == (255, 255, 255)
        assert small.getpixel((8, 0)) == COLOURS[1]


async def test_a_drawing_waits_for_its_answer_a_quarter_of_an_hour(tmp_path: Path) -> None:
    now = 0.0
    gifts = Gifts(None, allowed=True, clock=lambda: now)  # type: ignore[arg-type]
    gifts.buttons(1, b"png", speaker("en-US"))
    assert len(gifts._waiting) == 1
    now = 15 * 60.0
    gifts.buttons(1, b"other", speaker("en-US"))
    assert [waiting.drawing for waiting in gifts._waiting.values()] == [b"other"]
