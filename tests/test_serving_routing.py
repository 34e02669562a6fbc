"""Who writes a story for which nobody chose a model."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.language.known_models import DEFAULT_SPEC, GEMMA_SPEC
from models.serving.requests import DEFAULT_MODEL
from models.serving.routing import chinese_writers_here, is_mainly_chinese, languages_of, writer_of
from models.training.teach import teach
from models.weights import GPT_FOLDER

HAN = st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF)


@pytest.mark.parametrize(
    ("story", "chinese"),
    [
        ("灯塔的灯在九点熄灭了。", True),
        ("燈塔的燈在九點熄滅了，守塔人 Christopher 走上樓梯。", True),
        ("The lamp went out at nine. 灯灭了。", False),
        ("灯塔的灯在九点熄灭了。Тогда она встала.", True),
        ("昔々あるところに、おじいさんとおばあさんが住んでいました。", False),
        ("옛날 옛적에 호랑이가 살았습니다.", False),
        ("She said 灯.", False),
        ("🐉 12345 !!!", False),
        ("", False),
    ],
)
def test_a_story_is_chinese_when_most_of_its_words_are(story: str, chinese: bool) -> None:
    assert is_mainly_chinese(story) is chinese


@given(han=st.text(HAN, min_size=1), latin=st.lists(st.text("abcdefg", min_size=1)))
def test_a_chinese_character_counts_as_a_word(han: str, latin: list[str]) -> None:
    assert is_mainly_chinese(f"{han} {' '.join(latin)}") is (len(han) > len(latin))


@given(st.text())
def test_any_text_gets_a_writer_that_is_there(story: str) -> None:
    assert writer_of(story, main_languages=("en",), others={"gpt"}) in (DEFAULT_MODEL, "gpt")
    assert writer_of(story, main_languages=("en",), others=()) == DEFAULT_MODEL


def test_only_a_chinese_story_leaves_a_main_model_and_only_one_that_is_known_not_to_write_it() -> None:
    chinese, english = "从前有一只狐狸。", "Once there was a fox."
    both = {"gpt", "house"}
    assert writer_of(chinese, main_languages=("en",), others=both) == "house"
    assert writer_of(chinese, main_languages=("en",), others={"gpt"}) == "gpt"
    assert writer_of(english, main_languages=("en",), others=both) == DEFAULT_MODEL
    assert writer_of(chinese, main_languages=("en", "zh"), others=both) == DEFAULT_MODEL
    assert writer_of(chinese, main_languages=None, others=both) == DEFAULT_MODEL


def test_the_languages_of_a_main_model_are_those_of_the_table() -> None:
    assert languages_of(DEFAULT_SPEC) == ("en",)
    assert "zh" in (languages_of(GEMMA_SPEC) or ())
    assert languages_of("./mine.gguf") is None


def test_the_house_voice_writes_where_it_was_taught_and_the_gpt_everywhere(tmp_path: Path) -> None:
    assert chinese_writers_here(tmp_path, "7") == {"gpt"}
    teach(["从前有一只狐狸，它想吃树上的葡萄。" * 20], tmp_path, "7", gpt_folder=GPT_FOLDER)
    assert chinese_writers_here(tmp_path, "7") == {"gpt", "house"}
    assert chinese_writers_here(tmp_path, "8") == {"gpt"}
