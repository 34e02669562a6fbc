"""Failures in a sentence for whoever met them."""

import pytest

from bot.locales import CATALOGUES, speaker
from bot.sentences import sentence
from models.serving.engine import EngineOverloadedError

FULL = {
    "user": ("You already have 1 story waiting. Let it finish first.", "You already have 3 stories waiting."),
    "guild": ("This server already has 1 story waiting.", "This server already has 3 stories waiting."),
    "server": ("Too many people are writing right now (1 waits).", "Too many people are writing right now (3 wait)."),
}


@pytest.mark.parametrize("scope", FULL)
def test_one_waiting_story_is_said_in_the_singular(scope: str) -> None:
    one, many = FULL[scope]
    assert sentence(EngineOverloadedError(scope, 1), speaker("en-US")).startswith(one)
    assert sentence(EngineOverloadedError(scope, 3), speaker("en-US")).startswith(many)
    for locale in CATALOGUES:
        assert "1" in sentence(EngineOverloadedError(scope, 1), speaker(locale))
