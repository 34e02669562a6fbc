"""A small local Discord over real sockets, for a bot without a token and for end-to-end tests. Knows no cog."""

from bot.sandbox.app import Sandbox
from bot.sandbox.attach import point_discord_at
from bot.sandbox.errors import SandboxError, SandboxPortTakenError
from bot.sandbox.limits import Pace, Timing

__all__ = ["Pace", "Sandbox", "SandboxError", "SandboxPortTakenError", "Timing", "point_discord_at"]
