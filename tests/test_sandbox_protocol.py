"""The sandbox's written protocol names every call and event of its page, and no other."""

import re
from pathlib import Path

import bot.sandbox
from bot.sandbox import Sandbox
from bot.sandbox.page_api import PageRoutes

FOLDER = Path(bot.sandbox.__file__).parent
PROTOCOL = (FOLDER / "PROTOCOL.md").read_text("utf-8")
_FIXED = re.compile(r"page|attachments|ui|state|socket|channels|messages|typing|interactions")


def shape(path: str) -> str:
    """A path below the capability with every changing part as *."""
    parts = path.strip("/").split("/")[1:]
    return "/".join(part if _FIXED.fullmatch(part) else "*" for part in parts if part)


async def test_every_call_of_the_page_is_written_down_and_every_written_one_is_there(tmp_path: Path) -> None:
    async with Sandbox(tmp_path) as sandbox:
        routes = PageRoutes(sandbox.backend, lambda: "").routes()
        there = {(route.method, shape(route.path)) for route in routes}
    written = {
        ({"WS": "GET"}.get(method, method), shape(path))
        for method, path in re.findall(r"`(GET|POST|DELETE|WS) (/<cap>/[^ `?]*)", PROTOCOL)
    }
    assert written == there


def test_every_event_that_the_page_listens_to_is_written_down() -> None:
    script = (FOLDER / "page" / "session.js").read_text("utf-8")  # where every frame arrives
    listened = set(re.findall(r"\b(?:MESSAGE|TYPING|CHANNEL|COMMANDS|BOT|INTERACTION)_[A-Z]{3,}\b", script))
    written = set(re.findall(r"\b[A-Z]+_[A-Z]+\b", PROTOCOL))
    assert len(listened) > 8
    assert listened <= written
