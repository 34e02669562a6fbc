"""Log lines for the operator, in which no secret stands. Knows nothing of what is logged."""

import logging
import sys
from collections.abc import Iterable

_REDACTED = "[secret]"
_SHORTEST_SECRET = 6  # shorter ones would blank ordinary words


class RedactingFormatter(logging.Formatter):
    """Formats a record, tracebacks included, and blanks every secret that it was given."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        self._secrets = sorted({s for s in secrets if len(s) >= _SHORTEST_SECRET}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        for secret in self._secrets:
            line = line.replace(secret, _REDACTED)
        return line


def configure(level: str, secrets: Iterable[str]) -> None:
    """Send all logging to standard error, once, without secrets."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(RedactingFormatter(secrets))
    root = logging.getLogger()
    root.handlers[:] = [stream]
    root.setLevel(level.upper())
    for chatty in ("discord", "aiosqlite", "asyncio", "alembic", "httpx", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
