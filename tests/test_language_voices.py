"""Voices: taught at once, added to, found by a guild, mixed with the GPT."""

from pathlib import Path

import pytest

from models.language.house_story import HouseStoryModel
from models.language.ngram import NGram
from models.language.ngram_story import NGramStoryModel
from models.language.story_model import StoryModelMissingError
from models.language.voice_cache import KEPT, VoiceCache
from models.language.voices import CHARACTERS, TOKENS, find_voice, replaced, voice_folder
from models.training.teach import teach
from models.weights import GPT_FOLDER
from tests.serving_reader import ask

COMMUNITY = "Zorblax the grocer polished his nine brass umbrellas, and nobody in Quillhaven dared to sneeze. " * 30


def write(model, story: str, **sampling):
    emitted: list[str] = []

    def emit(text: str) -> bool:
        emitted.append(text)
        return True

    guild = sampling.pop("guild", "")
    output = model.generate(ask("r", story, guild=guild, **sampling), emit)
    assert "".join(emitted).startswith(output.text)
    return output


def test_a_voice_is_taught_and_added_to_and_writes_what_it_learned(tmp_path: Path) -> None:
    first = teach([COMMUNITY], tmp_path, "house", gpt_folder=None)
    assert (first.characters, first.mixture) == (len(COMMUNITY.strip()), False)
    model = NGramStoryModel(tmp_path)
    assert write(model, "Zorblax the", temperature=0, max_new_tokens=12).text.startswith(" grocer polished his")
    teach(["狐狸说：我爱深夜的故事。" * 20], tmp_path, "house", gpt_folder=None)
    assert write(model, "狐狸说：", temperature=0, max_new_tokens=8).text.startswith("我爱深夜的故事")
    assert write(model, "Zorblax the", temperature=0, max_new_tokens=12).text.startswith(" grocer polished his")
    seeds = [write(model, "Zorblax", seed=seed, temperature=4, top_p=1, max_new_tokens=40).text for seed in (1, 1, 2)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_a_story_in_a_voice_can_be_stopped(tmp_path: Path) -> None:
    teach([COMMUNITY], tmp_path, "house", gpt_folder=None)
    output = NGramStoryModel(tmp_path).generate(ask("r", "Zorblax the", max_new_tokens=400), lambda text: False)
    assert (output.finish_reason, output.new_tokens) == ("cancelled", 1)


def test_a_guild_writes_in_its_own_voice_and_else_in_the_houses(tmp_path: Path) -> None:
    model = NGramStoryModel(tmp_path)
    with pytest.raises(StoryModelMissingError, match="nothing was taught"):
        write(model, "Zorblax the", guild="1")
    (tmp_path / "voices").mkdir()
    house, own = (tmp_path / "voices" / name / CHARACTERS for name in ("house", "42"))
    for folder in (house, own):
        with replaced(folder) as new:
            (new / "ngram.json").write_text("{}", encoding="utf-8")
    assert find_voice(tmp_path, "42", CHARACTERS) == own
    assert find_voice(tmp_path, "43", CHARACTERS) == house
    assert find_voice(tmp_path, "../42", CHARACTERS) == house
    assert find_voice(tmp_path, "42", TOKENS) is None
    with pytest.raises(ValueError, match="a voice's name"):
        voice_folder(tmp_path, "../house")


def test_teaching_that_fails_leaves_the_voice_as_it_was(tmp_path: Path) -> None:
    teach([COMMUNITY], tmp_path, "house", gpt_folder=None)
    with pytest.raises(ValueError, match="no text"):
        teach([" \n\u200b"], tmp_path, "house", gpt_folder=None)
    folder = voice_folder(tmp_path, "house") / CHARACTERS
    with pytest.raises(OSError, match="disk"), replaced(folder) as new:
        (new / "ngram.json").write_text("half", encoding="utf-8")
        raise OSError("disk full")
    assert NGram.load(folder).counts.length == len(COMMUNITY.strip())
    assert [path.name for path in folder.parent.iterdir()] == [CHARACTERS]


def test_the_cache_loads_again_what_was_replaced_and_lets_go_of_the_oldest(tmp_path: Path) -> None:
    loaded: list[str] = []

    def load(folder: Path) -> str:
        loaded.append(folder.name)
        return (folder / "ngram.json").read_text(encoding="utf-8")

    cache = VoiceCache(load)
    folders = [tmp_path / str(number) for number in range(KEPT + 1)]
    for folder in folders:
        with replaced(folder) as new:
            (new / "ngram.json").write_text("old", encoding="utf-8")
        assert [cache.get(folder), cache.get(folder)] == ["old", "old"]
    assert loaded == [folder.name for folder in folders]
    with replaced(folders[-1]) as new:
        (new / "ngram.json").write_text("new", encoding="utf-8")
    assert cache.get(folders[-1]) == "new"
    assert cache.get(folders[0]) == "old"
    assert loaded[-2:] == [folders[-1].name, folders[0].name]


def test_the_house_voice_mixes_the_gpt_with_what_was_taught(tmp_path: Path) -> None:
    import torch

    from models.language.gpt import GPT

    torch.set_num_threads(1)
    gpt = GPT.load(GPT_FOLDER)
    model = HouseStoryModel(gpt, tmp_path, version="house")
    with pytest.raises(StoryModelMissingError, match="nothing was taught"):
        write(model, "Zorblax the")
    assert teach([COMMUNITY], tmp_path, "house", gpt_folder=GPT_FOLDER).mixture
    output = write(model, "Zorblax the", temperature=0.3, seed=1, max_new_tokens=24)
    assert output.text.startswith(" grocer")
    again = write(model, "Zorblax the", temperature=0.3, seed=1, max_new_tokens=24)
    assert (again.text, again.new_tokens) == (output.text, output.new_tokens)
    assert output.model_version.startswith("house+house@")
