"""`inkwell run`: builds everything, hands it in, and closes it in reverse order. The composition root."""

import asyncio
import contextlib
import logging
import signal
import sys
import time
import webbrowser
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import aiohttp
import discord
import msgspec

from bot.champions import champions_of, warn_of
from bot.client import StoryBot, invite_url
from bot.control import Act, listening
from bot.engines import engine_of, short_engine_of, why_unavailable
from bot.models_on_disk import fetch
from bot.promotion import Promoter
from bot.reloading import Reloader
from bot.sandbox import Sandbox, SandboxError, point_discord_at
from bot.settings import Settings
from bot.status import look
from bot.store import Store
from bot.store.errors import StoreFaultError
from bot.version_orders import VersionOrders
from models.serving.dispatcher import Dispatcher
from models.serving.engine import Engine, EngineUnavailableError
from models.serving.metrics import LOOPBACK, MetricsServer
from models.serving.short_engine import ShortEngine
from models.training.registry import Registry

log = logging.getLogger("inkwell")

STOPPED, FAILED = 0, 1


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the bot speaks: Discord, or the sandbox."""

    token: str = field(repr=False)
    page_url: str | None


class StartError(Exception):
    """The start can't go on; the message is one sentence for the operator."""


def start(settings: Settings) -> int:
    """Fetch the model if it is missing, then run until SIGTERM or Ctrl-C; the exit status."""
    if not settings.remote and (status := fetch(settings.story_model, settings.data_dir)):
        return status
    try:
        asyncio.run(serve(settings))
    except (StartError, StoreFaultError, SandboxError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    except EngineUnavailableError as error:
        sys.stderr.write(f"{why_unavailable(settings, error)}\n")
        return FAILED
    except Exception:
        log.critical("Inkwell met an error that it does not know", exc_info=True)
        sys.stderr.write("Inkwell had to stop; what was written is kept. The lines above say where: report them.\n")
        return FAILED
    return STOPPED


async def serve(settings: Settings) -> None:
    """Run until told to stop. Raises what `start` turns into a sentence."""
    began = time.monotonic()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    registry = Registry(settings.versions.absolute())
    champions = await asyncio.to_thread(champions_of, registry, settings)
    warn_of(champions)
    engine, short = await engine_of(settings, champions), short_engine_of(settings, champions)
    async with contextlib.AsyncExitStack() as open_things:
        store = await open_things.enter_async_context(Store.open(settings.database, key=settings.db_key))
        place = await open_things.enter_async_context(_place(settings))
        open_things.push_async_callback(engine.close, 0.0)
        open_things.push_async_callback(short.close)
        bot = StoryBot(settings=settings, store=store, engine=engine, short=short)
        await open_things.enter_async_context(bot)
        promoter = bot.promoter = bot.decisions.promoter = Promoter(bot, engine, short, registry, champions)
        reloader, orders = Reloader(bot, engine, promoter), VersionOrders(promoter)
        open_things.push_async_callback(reloader.close)
        open_things.push_async_callback(orders.close)
        await open_things.enter_async_context(_control(settings, bot, {"reload": reloader, "versions": orders}))
        stopping = asyncio.create_task(stop.wait(), name="stop")
        open_things.callback(stopping.cancel)
        if not await _started_with(promoter, engine, stopping):
            return
        await short.start()
        if settings.metrics_port:
            await open_things.enter_async_context(_metrics(engine, short, settings.metrics_port))
        running = asyncio.create_task(bot.start(place.token), name="discord")
        ready = asyncio.create_task(bot.wait_until_ready_or_dead(running), name="ready")
        try:
            await asyncio.wait((ready, stopping), return_when=asyncio.FIRST_COMPLETED)
            if ready.done() and not running.done():
                _greet(bot, place, settings, time.monotonic() - began)
            await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            if stop.is_set():
                log.info("stopping: running stories get %.0f s to finish", settings.shutdown_grace_s)
            await bot.close()
            await _end(running)


async def _started_with(promoter: Promoter, engine: Dispatcher, stopping: asyncio.Task[bool]) -> bool:
    """`_started`; where the workers can't load their champion, with what is shipped."""
    try:
        return await _started(engine, stopping)
    except EngineUnavailableError as error:
        if not await promoter.do_without(error):
            raise
        return await _started(engine, stopping)


async def _started(engine: Engine, stopping: asyncio.Task[bool]) -> bool:
    """Wait for the model, which may take minutes; False when told to stop meanwhile."""
    starting = asyncio.create_task(engine.start(), name="start the engine")
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        await starting
        return True
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    return False


@contextlib.asynccontextmanager
async def _place(settings: Settings) -> AsyncIterator[Place]:
    if settings.discord_token is not None:
        yield Place(token=settings.discord_token.get_secret_value(), page_url=None)
        return
    async with Sandbox(settings.data_dir, port=settings.sandbox_port) as sandbox:
        with point_discord_at(sandbox.base_url):
            yield Place(token=sandbox.bot_token, page_url=sandbox.page_url)


@contextlib.asynccontextmanager
async def _control(settings: Settings, bot: StoryBot, acts: Mapping[str, Act]) -> AsyncIterator[None]:
    """`inkwell status`, `inkwell reload` and `inkwell versions` ask here. Where no socket can be made (on some network
    file systems) the rest works without."""

    async def status() -> bytes:
        return msgspec.json.encode(await look(bot))

    async with contextlib.AsyncExitStack() as listening_there:
        try:
            await listening_there.enter_async_context(listening(settings.data_dir, {"status": status}, acts))
        except OSError as error:
            log.warning(
                "`inkwell status`, `reload` and `versions` will not reach this one, no socket can be made in %s: %s",
                settings.data_dir,
                error,
            )
        yield


@contextlib.asynccontextmanager
async def _metrics(engine: Engine, short: ShortEngine, port: int) -> AsyncIterator[None]:
    server = MetricsServer(engine, port, short=short)
    try:
        await server.__aenter__()
    except OSError as error:
        raise StartError(
            f"The metrics port {port} can't be opened ({error.strerror}): set another METRICS_PORT."
        ) from None
    try:
        log.info("metrics at http://%s:%d/metrics", LOOPBACK, port)
        yield
    finally:
        await server.__aexit__(None, None, None)


async def _end(running: asyncio.Task[None]) -> None:
    """Turn what ended the gateway into a sentence."""
    try:
        await running
    except asyncio.CancelledError:
        return
    except discord.LoginFailure:
        raise StartError(
            "Discord refuses DISCORD_TOKEN: make a new one in the Developer Portal (Bot, Reset Token) for .env."
        ) from None
    except discord.PrivilegedIntentsRequired:
        raise StartError(
            "Discord refuses a privileged intent: switch it on in the Developer Portal (your application, Bot, "
            "Privileged Gateway Intents), or set MESSAGE_CONTENT_INTENT=false and MEMBERS_INTENT=false."
        ) from None
    except (aiohttp.ClientError, discord.GatewayNotFound, discord.ConnectionClosed, OSError) as error:
        raise StartError(
            f"Discord can't be reached ({type(error).__name__}): check the network and try again."
        ) from None
    except discord.HTTPException as error:
        raise StartError(
            f"Discord refuses the start (status {error.status}): try again later, and look at https://discordstatus.com."
        ) from None


def _greet(bot: StoryBot, place: Place, settings: Settings, seconds: float) -> None:
    if place.page_url is None:
        assert bot.application_id is not None
        sys.stdout.write(
            f"\nInkwell is in Discord as {bot.user}, servers: {len(bot.guilds)} ({seconds:.1f} s to start).\n"
            f"Invite it with {invite_url(bot.application_id)}\nCtrl-C stops it.\n\n"
        )
    else:
        sys.stdout.write(
            f"\nInkwell is ready ({seconds:.1f} s to start). Open this page and type /story:\n\n"
            f"    {place.page_url}\n\n"
            "It is a small Discord on this machine only; for the real one put DISCORD_TOKEN into .env. "
            "Ctrl-C stops it.\n\n"
        )
        if settings.open_browser and sys.stdout.isatty():
            asyncio.get_running_loop().run_in_executor(None, webbrowser.open, place.page_url)
    sys.stdout.flush()
