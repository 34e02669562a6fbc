"""Who may talk to the sandbox at all: Host, Origin, the capability, the bot's token. Knows no route's meaning."""

import secrets

from aiohttp import web

from bot.sandbox.errors import RefusedError

# The page loads nothing from elsewhere and is shown nowhere else.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self'; connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A file that a person or the bot sent is shown as itself and can do nothing.
FILE_POLICY = "default-src 'none'; sandbox"


class Safety:
    """Checks for one sandbox on `port`. Raises RefusedError with a sentence."""

    def __init__(self, port: int, capability: str, bot_token: str) -> None:
        self._hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        self._origins = frozenset(f"http://{host}" for host in self._hosts)
        self._capability, self._bot_token = capability.encode(), bot_token.encode()
        sockets = " ".join(f"ws://{host}" for host in sorted(self._hosts))
        self.page_policy = _PAGE_POLICY.format(connect=f"'self' {sockets}")

    def check_host(self, request: web.Request) -> None:
        """A page elsewhere that resolves its own name to 127.0.0.1 still says its own name here."""
        if request.headers.get("Host", "") not in self._hosts:
            raise RefusedError(403, 0, "The sandbox answers only under 127.0.0.1 or localhost.")

    def check_page(self, request: web.Request) -> None:
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        if origin is not None and origin not in self._origins:
            raise RefusedError(403, 0, "Another site may not talk to the sandbox.")
        opening = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method == "GET"
        if site not in (None, "same-origin", "none") and not opening:
            raise RefusedError(403, 0, "Another site may not talk to the sandbox.")
        given = request.match_info.get("capability", "")
        if not secrets.compare_digest(given.encode("utf-8", "replace"), self._capability):
            raise RefusedError(404, 0, "There is nothing here. Open the address that Inkwell printed at its start.")

    def check_bot(self, request: web.Request) -> None:
        """A bot is no browser: it sends no Origin."""
        if "Origin" in request.headers:
            raise RefusedError(403, 0, "A browser may not use the bot's routes.")

    def check_token(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "")
        if not secrets.compare_digest(given.encode("utf-8", "replace"), b"Bot " + self._bot_token):
            raise RefusedError(401, 0, "401: Unauthorized")
