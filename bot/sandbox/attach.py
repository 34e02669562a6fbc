"""Points discord.py at another base URL, and back. Knows nothing of what answers there."""

from collections.abc import Iterator
from contextlib import contextmanager

import yarl
from discord.asset import Asset
from discord.gateway import DiscordWebSocket
from discord.http import Route


@contextmanager
def point_discord_at(base_url: str) -> Iterator[None]:
    """Within the block every client of discord.py in this process talks to `base_url` (no slash at its end).

    It sets exactly three class attributes and puts them back: `Route.BASE` (REST, webhooks and interaction answers),
    `DiscordWebSocket.DEFAULT_GATEWAY` (where a client without shards connects, and where one goes after its session
    was invalidated; sharded clients ask /gateway/bot) and `Asset.BASE` (avatars and icons). Files of messages carry
    absolute links and need nothing. Clients must be started and closed inside the block.
    """
    gateway = yarl.URL(base_url.replace("http", "ws", 1) + "/gateway/")
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY, Asset.BASE
    Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY, Asset.BASE = f"{base_url}/api/v10", gateway, base_url
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY, Asset.BASE = before
