"""Rate limits as Discord counts and reports them: buckets by route and channel, headers on every answer, 429.

Knows no route's meaning.
"""

import hashlib
import time
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.sandbox.limits import Pace
from bot.sandbox.wire import json_response

_MESSAGE_ROUTES = frozenset(
    {
        ("POST", "/api/v10/channels/{channel_id}/messages"),
        ("PATCH", "/api/v10/channels/{channel_id}/messages/{message_id}"),
        ("POST", "/api/v10/webhooks/{application_id}/{token}"),
        ("PATCH", "/api/v10/webhooks/{application_id}/{token}/messages/{message_id}"),
    }
)
_MAJOR = ("channel_id", "guild_id", "token")  # what gives a route a bucket of its own
_MAX_BUCKETS = 5_000


@dataclass
class _Window:
    limit: int
    length_s: float
    began: float = 0.0
    used: int = 0

    def take(self, now: float) -> bool:
        if now - self.began >= self.length_s:
            self.began, self.used = now, 0
        if self.used >= self.limit:
            return False
        self.used += 1
        return True

    def left_s(self, now: float) -> float:
        return max(0.0, self.began + self.length_s - now)


class RateLimits:
    """Counts one bot's requests. `limited` says how many were answered 429."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._windows: dict[str, _Window] = {}
        self._everything = _Window(pace.everything, pace.everything_window_s)
        self.limited = 0

    async def enforce(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """aiohttp middleware's work, for one request under /api."""
        now = time.monotonic()
        resource = request.match_info.route.resource
        template = resource.canonical if resource is not None else request.path
        major = ":".join(request.match_info.get(key, "") for key in _MAJOR)
        kind = (request.method, template)
        bucket = hashlib.sha256(f"{request.method} {template}".encode()).hexdigest()[:32]
        window = self._window(f"{bucket}:{major}", messages=kind in _MESSAGE_ROUTES)
        # Discord does not count the answers to interactions among a bot's requests a second
        counted = not template.startswith(("/api/v10/interactions/", "/api/v10/webhooks/"))
        if counted and not self._everything.take(now):
            return self._refuse(self._everything, now, bucket, whole=True)
        if not window.take(now):
            return self._refuse(window, now, bucket, whole=False)
        response = await handler(request)
        response.headers.update(_headers(window, now, bucket))
        return response

    def _window(self, key: str, *, messages: bool) -> _Window:
        window = self._windows.pop(key, None)
        if window is None:
            pace = self._pace
            window = (
                _Window(pace.messages, pace.messages_window_s) if messages else _Window(pace.route, pace.route_window_s)
            )
        self._windows[key] = window  # the most recently used is the last
        while len(self._windows) > _MAX_BUCKETS:
            del self._windows[next(iter(self._windows))]
        return window

    def _refuse(self, window: _Window, now: float, bucket: str, *, whole: bool) -> web.Response:
        self.limited += 1
        wait_s = round(window.left_s(now) + 0.001, 3)
        body = {"message": "You are being rate limited.", "retry_after": wait_s, "global": whole}
        response = json_response(body, 429)
        response.headers["Retry-After"] = str(wait_s)
        response.headers["Via"] = "1.1 sandbox"  # without it discord.py takes a 429 for Cloudflare's ban
        response.headers["X-RateLimit-Scope"] = "global" if whole else "user"
        if whole:
            response.headers["X-RateLimit-Global"] = "true"
        else:
            response.headers.update(_headers(window, now, bucket))
        return response


def _headers(window: _Window, now: float, bucket: str) -> dict[str, str]:
    left_s = window.left_s(now)
    return {
        "X-RateLimit-Limit": str(window.limit),
        "X-RateLimit-Remaining": str(max(0, window.limit - window.used)),
        "X-RateLimit-Reset": f"{time.time() + left_s:.3f}",
        "X-RateLimit-Reset-After": f"{left_s:.3f}",
        "X-RateLimit-Bucket": bucket,
    }
