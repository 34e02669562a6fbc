"""The gate's findings as people read them."""

import pytest

from bot.locales import speaker
from bot.verdict_words import reason, reasons
from models.serving.training import Check
from tests.test_training_base_text import ROOT

ENGLISH = speaker("en-US")


def check(name: str, *, passed: bool = True, value: float = 1.0, limit: float = 2.0, before=None) -> Check:
    return Check(name=name, passed=passed, value=value, limit=limit, before=before)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            check("gain", value=1.607, limit=0.01, before=1.92),
            "✅ predicts your stories better: 1.92 → 1.61 bits per byte (at least 0.01 better asked)",
        ),
        (
            check("forgetting_en", passed=False, value=1.9312, limit=0.02, before=1.9),
            "❌ forgot some English: 1.900 → 1.931 bits per byte on stories it never saw (at most 0.020 worse allowed)",
        ),
        (
            check("characters", value=1_234_567, limit=2_000),
            "✅ learned from enough text: 1,234,567 characters (at least 2,000 asked)",
        ),
        (
            check("author_share", passed=False, value=0.913, limit=0.5),
            "❌ one person drowns out the others and wrote 91% of it (at most 50% allowed)",
        ),
        (
            check("first", passed=False, value=1e6, limit=4.5),
            "❌ can't predict your stories yet: ∞ bits per byte (at most 4.50 asked)",
        ),
        (check("kid", value=0.03, limit=0.05, before=0.04), "✅ kid: 0.04 → 0.03 (limit 0.05)"),
    ],
)
def test_a_check_reads_as_a_sentence_with_its_numbers(found: Check, words: str) -> None:
    assert reason(found, ENGLISH) == words


def test_what_failed_comes_first_and_nothing_is_left_out() -> None:
    checks = (check("gain"), check("loops", passed=False), check("toxicity"), check("exposure", passed=False))
    lines = reasons(checks, ENGLISH)
    assert [line[0] for line in lines] == ["❌", "❌", "✅", "✅"]
    assert "loops" in lines[0]
    assert "secrets" in lines[1]


@pytest.mark.parametrize("locale", ["zh-CN", "zh-TW"])
def test_chinese_hears_chinese(locale: str) -> None:
    line = reason(check("gain", value=1.61, limit=0.01, before=1.92), speaker(locale))
    assert "1.92 → 1.61" in line
    assert "故事" in line


def test_every_name_that_the_gate_gives_has_its_words() -> None:
    source = (ROOT / "models" / "training" / "gate.py").read_text("utf-8")
    names = {"gain", "first", "forgetting_en", "forgetting_zh", "loops", "distinct", "self_bleu", "copied_span",
             "copied_share", "exposure", "toxicity", "authors", "characters", "author_share"}  # fmt: skip
    assert all(f'"{name}"' in source or f'f"{name.rsplit("_", 1)[0]}_' in source for name in names)
    for name in names:
        for passed in (True, False):
            assert "limit" not in reason(check(name, passed=passed), ENGLISH).split(":")[0]
            assert not reason(check(name, passed=passed), ENGLISH)[2:].startswith(f"{name}:")
