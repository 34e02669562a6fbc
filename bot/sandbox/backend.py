"""The pieces of one running sandbox, put together. Knows no HTTP."""

from dataclasses import dataclass
from pathlib import Path

from bot.sandbox.attachments import Attachments
from bot.sandbox.broadcast import Broadcast
from bot.sandbox.channels import Channels
from bot.sandbox.command_access import CommandAccess
from bot.sandbox.gateway import Gateway
from bot.sandbox.interaction_requests import RequestReader
from bot.sandbox.interactions import Interactions
from bot.sandbox.limits import Timing
from bot.sandbox.messages import Messages
from bot.sandbox.page_sockets import PageSockets
from bot.sandbox.world import World


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What the routes of both faces work with."""

    world: World
    attachments: Attachments
    messages: Messages
    channels: Channels
    commands: CommandAccess
    requests: RequestReader
    interactions: Interactions
    broadcast: Broadcast
    gateway: Gateway
    pages: PageSockets
    timing: Timing


def build(world: World, directory: Path, base_url: str, timing: Timing, disallowed_intents: int) -> Backend:
    """`base_url` is where the sandbox will be reached, without a slash at its end."""
    pages = PageSockets()
    broadcast = Broadcast(world, pages, timing, disallowed_intents)
    gateway = Gateway(
        token=world.data.bot_token, audience=broadcast, timing=timing, disallowed_intents=disallowed_intents
    )
    gateway.url = base_url.replace("http", "ws", 1) + "/gateway/"
    attachments = Attachments(world, directory / "attachments", base_url)
    messages = Messages(world, attachments, broadcast, f"/{world.data.capability}")
    channels = Channels(world, attachments, broadcast)
    commands = CommandAccess(world)
    broadcast.gateway, broadcast.messages = gateway, messages
    broadcast.channels, broadcast.commands = channels, commands
    return Backend(
        world=world,
        attachments=attachments,
        messages=messages,
        channels=channels,
        commands=commands,
        requests=RequestReader(world, attachments, commands, messages),
        interactions=Interactions(world, messages, commands, broadcast, gateway, timing),
        broadcast=broadcast,
        gateway=gateway,
        pages=pages,
        timing=timing,
    )
