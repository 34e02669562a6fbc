"""A sandbox for a bot that has a token, as in Discord: the sandbox's own token looks like no real one, on purpose."""

import json
from pathlib import Path

from bot.sandbox.seed import first_world

# The shape of a bot token: its owner's id, a time, a signature. This one opens nothing.
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcdE.an-invented-signature-of-a-test-bot-00"
OTHER_TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcdE.another-one-that-nobody-ever-gave-out0"


def write_world(directory: Path) -> Path:
    """Makes a world in `directory` whose bot logs in with TOKEN; returns the directory, for `Sandbox`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "world.json").write_text(json.dumps(first_world() | {"bot_token": TOKEN}))
    return directory
