"""Sealed files: what went in comes out; a wrong key, a cut, an exchange and a change are found."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.sealed_file import DamagedFileError, SealedWriter, WrongKeyError, new_key, read_sealed

FRAMES = [b"The keeper found a letter.", "狐狸说：我爱深夜的故事。".encode() * 40, b"\x00" * 3]
KEY = "ab" * 32


def written(path: Path, key: str, frames: list[bytes] = FRAMES) -> Path:
    with SealedWriter(path, key) as writer:
        for frame in frames:
            writer.write(frame)
    return path


@pytest.mark.parametrize("key", [KEY, ""], ids=["sealed", "plain"])
def test_frames_come_back_in_order_and_the_file_is_its_owners_alone(tmp_path: Path, key: str) -> None:
    path = written(tmp_path / "a", key)
    assert list(read_sealed(path, key)) == FRAMES
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(read_sealed(written(tmp_path / "empty", key, []), key)) == []


def test_no_word_is_on_the_disk_and_equal_files_look_unlike(tmp_path: Path) -> None:
    first, second = (written(tmp_path / name, KEY).read_bytes() for name in "ab")
    assert b"keeper" not in first
    assert "狐狸".encode() not in first
    assert first[48:] != second[48:]


def test_a_wrong_key_and_a_missing_one_are_told_from_damage(tmp_path: Path) -> None:
    sealed, plain = written(tmp_path / "a", KEY), written(tmp_path / "b", "")
    with pytest.raises(WrongKeyError, match="another key"):
        list(read_sealed(sealed, new_key()))
    with pytest.raises(WrongKeyError, match="give its key"):
        list(read_sealed(sealed, ""))
    with pytest.raises(WrongKeyError, match="has no key"):
        list(read_sealed(plain, KEY))
    for no_key in ("secret", "ab" * 31, "zz" * 32):
        with pytest.raises(ValueError, match="64 hexadecimal"):
            SealedWriter(tmp_path / "c", no_key)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("key", [KEY, ""], ids=["sealed", "plain"])
def test_a_file_that_was_cut_anywhere_is_no_whole_file(tmp_path: Path, key: str) -> None:
    path = written(tmp_path / "a", key, [b"one", b"two"])
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedFileError):
            list(read_sealed(path, key))
    path.write_bytes(whole + b"x")
    with pytest.raises(DamagedFileError, match="after its end"):
        list(read_sealed(path, key))


@pytest.mark.parametrize("key", [KEY, ""], ids=["sealed", "plain"])
def test_any_changed_byte_is_found(tmp_path: Path, key: str) -> None:
    path = written(tmp_path / "a", key, [b"one", b"two"])
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises((DamagedFileError, WrongKeyError)):
            list(read_sealed(path, key))


def test_frames_that_change_places_or_come_from_another_file_are_found(tmp_path: Path) -> None:
    path = written(tmp_path / "a", KEY, [b"one", b"two"])
    whole, frame = path.read_bytes(), 4 + 3 + 16
    head, first, second, end = whole[:64], whole[64 : 64 + frame], whole[64 + frame : 64 + 2 * frame], whole[-20:]
    other = written(tmp_path / "b", KEY, [b"one", b"two"]).read_bytes()
    for forged in (
        head + second + first + end,
        head + first + first + end,
        head + first + end,
        head + other[64 : 64 + frame] + second + end,
    ):
        path.write_bytes(forged)
        with pytest.raises(DamagedFileError):
            list(read_sealed(path, KEY))
    path.write_bytes(head + first + second + end)
    assert list(read_sealed(path, KEY)) == [b"one", b"two"]


def test_a_writing_that_failed_leaves_no_file_that_reads_as_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(OSError, match="disk"), SealedWriter(path, KEY) as writer:
        writer.write(b"one")
        raise OSError("disk full")
    with pytest.raises(DamagedFileError):
        list(read_sealed(path, KEY))


def test_an_empty_frame_and_one_without_end_are_refused(tmp_path: Path) -> None:
    with SealedWriter(tmp_path / "a", KEY) as writer:
        for frame in (b"", b"x" * (64 * 2**20)):
            with pytest.raises(ValueError, match="a frame has"):
                writer.write(frame)


@given(frames=st.lists(st.binary(min_size=1, max_size=200), max_size=5), sealed=st.booleans())
@settings(max_examples=40, deadline=None)
def test_whatever_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, frames: list[bytes], sealed: bool):
    key = KEY if sealed else ""
    path = written(tmp_path_factory.mktemp("sealed") / "a", key, frames)
    assert list(read_sealed(path, key)) == frames
