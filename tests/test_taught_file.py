"""Which files are text, and what is said of those that aren't."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile

import pytest
from PIL import Image

from bot.taught_file import MAX_BYTES, NotTeachableError, check_outside, text_of

CHINESE = "从前有一个渔夫，他和他的妻子住在海边的一间小屋里。每天他都去海边钓鱼。\r\n"
TALE = "The keeper climbed the stairs.\n"


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("tale.txt", TALE)
    return target.getvalue()


def tarred() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        entry = tarfile.TarInfo("tale.txt")
        entry.size = len(TALE)
        archive.addfile(entry, io.BytesIO(TALE.encode()))
    return target.getvalue()


def picture() -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (8, 8)).save(target, "BMP")
    return target.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("times", [1, 50])
def test_utf_8_and_gb18030_are_read_to_the_same_text(encoding: str, times: int) -> None:
    assert text_of((CHINESE * times).encode(encoding)) == "\n".join([CHINESE.strip()] * times)


def test_chinese_among_english_is_read_in_gb18030_too() -> None:
    mixed = "He said “你好” to the 渔夫 and walked away along the long shore. " * 3
    assert "渔夫" in text_of(mixed.encode("gb18030"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \n\t\xef\xbb\xbf", "empty"),
        ("—…!?12".encode(), "empty"),
        (zipped(), "archive"),
        (tarred(), "archive"),
        (gzip.compress(TALE.encode(), mtime=0), "archive"),
        (bz2.compress(TALE.encode()), "archive"),
        (lzma.compress(TALE.encode()), "archive"),
        (b"%PDF-1.7\n" + TALE.encode(), "binary"),
        (picture(), "binary"),
        (TALE.encode() + b"\x00", "binary"),
        (b"\x1b[31m\x07\x08" + TALE.encode(), "binary"),
        (TALE.encode("utf-16"), "encoding"),
        (("從前有一個漁夫，他和他的妻子住在海邊的一間小屋裡。" * 3).encode("big5"), "encoding"),
        (("昔々あるところに、おじいさんとおばあさんが住んでいました。" * 3).encode("shift_jis"), "encoding"),
        (("Es war einmal ein Mädchen, das hieß Rotkäppchen und hörte süße Töne. " * 3).encode("cp1252"), "encoding"),
        (b"a" * (MAX_BYTES + 1), "size"),
    ],
)
def test_whatever_is_no_text_gets_its_own_reason(data: bytes, reason: str) -> None:
    with pytest.raises(NotTeachableError) as refused:
        text_of(data)
    assert refused.value.reason == reason


def test_noise_is_refused_and_never_a_crash() -> None:
    chance = random.Random(1)
    for length in (1, 2, 3, 10, 1_000):
        for _ in range(20):
            try:
                text = text_of(chance.randbytes(length))
            except NotTeachableError:
                continue
            assert length < 10
            assert text


def test_name_and_size_are_looked_at_before_the_file_is_fetched() -> None:
    check_outside("Tale.TXT", MAX_BYTES)
    for name, size, reason in (("tale.docx", 5, "name"), ("a.txt", MAX_BYTES + 1, "size"), ("a.txt", 0, "empty")):
        with pytest.raises(NotTeachableError) as refused:
            check_outside(name, size)
        assert refused.value.reason == reason


def test_a_file_of_the_largest_size_is_read() -> None:
    data = (CHINESE * (MAX_BYTES // len(CHINESE.encode("gb18030")))).encode("gb18030")
    assert len(text_of(data)) > 2_000_000
