"""The words for a portrait's traits: those of the model, read aloud in the reader's language."""

from bot.locales import speaker
from bot.traits import TRAITS, described, missed, phrase
from models.gan.traits import TRAITS as MODEL_TRAITS

EN = speaker("en-US")


def test_every_trait_that_the_model_knows_has_words_and_no_other_can_be_asked_for() -> None:
    known = {trait.name: set(trait.words) for trait in MODEL_TRAITS}
    assert {name: set(values) - {"yes"} for name, values in TRAITS.items()} == {
        name: words - {"yes"} for name, words in known.items()
    }
    assert all("no" in known[name] for name, values in TRAITS.items() if "yes" in values)


def test_a_face_is_described_without_what_is_not_there() -> None:
    seen = {"background": "blue", "hat": "no", "hair": "long", "hair colour": "red", "glasses": "dark"}
    assert described(seen, EN) == "red hair, worn long, dark glasses, a blue background"
    assert described(seen, speaker("zh-CN")) == "红发、长发、戴墨镜、蓝色背景"
    assert "no hat" in described(seen, EN, absent=True)
    assert described({}, EN) == ""


def test_what_a_newer_model_sees_stands_as_it_is() -> None:
    assert described({"scar": "left", "hat": "crown"}, EN) == "hat: crown, scar: left"
    assert phrase("mouth", "open", EN) == "mouth: open"


def test_only_what_was_asked_for_and_is_seen_otherwise_is_missed() -> None:
    asked = {"glasses": "yes", "hat": "no", "skin": "tan", "mouth": "happy", "beard": "yes"}
    seen = {"glasses": "dark", "hat": "no", "skin": "beige", "beard": "no"}
    assert missed(asked, seen) == {"skin": "tan", "beard": "yes"}
