"""Log lines for the operator, in which no secret stands. Knows nothing of what is logged."""

import asyncio
import json
import logging
import re
import sys
import threading
from collections.abc import Iterable
from types import TracebackType
from urllib.parse import quote

_REDACTED = "[secret]"
_SHORTEST_SECRET = 6  # shorter ones would blank ordinary words
# What Discord's secrets look like wherever they come from: a bot token (three base64url parts), and the token of an
# interaction in the address that it opens for 15 minutes.
_BOT_TOKEN = re.compile(r"\b[\w-]{23,30}\.[\w-]{6}\.[\w-]{27,}")
_ADDRESS = re.compile(r"(/(?:webhooks|interactions)/\d+/)[\w%.-]+")

log = logging.getLogger(__name__)


class RedactingFormatter(logging.Formatter):
    """Formats a record, tracebacks included, and blanks every secret that it was given, however it is quoted."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        spelled = {spelling for secret in secrets for spelling in _spellings(secret)}
        self._secrets = sorted((s for s in spelled if len(s) >= _SHORTEST_SECRET), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        for secret in self._secrets:
            line = line.replace(secret, _REDACTED)
        return _ADDRESS.sub(rf"\1{_REDACTED}", _BOT_TOKEN.sub(_REDACTED, line))


def _spellings(secret: str) -> Iterable[str]:
    """A secret as it is, and as repr, JSON and an address would write it."""
    for text in {secret, secret.strip()}:
        yield from (text, repr(text)[1:-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
        yield quote(text, safe="", errors="replace")


class _AboutVoice(logging.Filter):
    """discord.py warns at every start that its voice libraries are missing; Inkwell never speaks."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "voice will NOT be supported" not in str(record.msg)


def configure(level: str, secrets: Iterable[str]) -> None:
    """Send all logging to standard error, once, without secrets; and with it what would be printed past it: warnings,
    and the traceback of an error that nobody caught."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(RedactingFormatter(secrets))
    root = logging.getLogger()
    root.handlers[:] = [stream]
    root.setLevel(level.upper())
    for chatty in ("discord", "aiosqlite", "asyncio", "alembic", "httpx", "httpx2", "openai", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("discord.client").addFilter(_AboutVoice())
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | asyncio.CancelledError):
        return  # somebody pressed Ctrl-C: no news
    log.critical("Inkwell met an error that it does not know", exc_info=(kind, error, trace))


def _uncaught_in_thread(met: threading.ExceptHookArgs) -> None:
    name = met.thread.name if met.thread is not None else "?"
    error = met.exc_value
    log.critical("the thread %s met an error that it does not know", name, exc_info=error)
