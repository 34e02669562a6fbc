"""`inkwell doctor`: looks at everything that Inkwell needs; each line says ok or what to do. Mends nothing. It opens
model and database as a start would: a database of an older version is copied and brought up to date.
"""

import asyncio
import contextlib
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import discord

from bot.champions import champions_of
from bot.client import NEEDED_PERMISSIONS, invite_url
from bot.control import NotRunningError, ask
from bot.engines import engine_of, short_engine_of, why_unavailable
from bot.models_on_disk import describe
from bot.settings import Settings, SettingsError, worker_environment
from bot.store import Store
from bot.store.errors import StoreError, StoreInUseError
from models.serving.engine import EngineError, EngineUnavailableError
from models.serving.short_requests import Mood, MoodRequest, PortraitRequest, Portraits, Verse, VerseRequest
from models.training.registry import Registry

_PROBE_S = 60.0  # importing a library from a slow disk; an nvidia-smi that hangs
LEAST_FREE_BYTES = 1_000_000_000  # model, database and a version of a retrained model
_MARKS = {"ok": "ok  ", "note": "note", "fix": "FIX "}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line: `fix` findings make the exit status 1."""

    verdict: Literal["ok", "note", "fix"]
    about: str
    words: str

    def __str__(self) -> str:
        return f"{_MARKS[self.verdict]} {self.about:<12} {self.words}"


Check = Callable[[Settings], Awaitable[list[Finding]]]


def examine(settings: Settings) -> int:
    """Print every finding as it is made; return the exit status."""
    return asyncio.run(_print_all(settings))


def refuse(error: SettingsError) -> int:
    """Print what is wrong with the settings, without which nothing else can be looked at; return the exit status."""
    for words in error.sentences:
        sys.stdout.write(f"{Finding(verdict='fix', about='settings', words=words)}\n")
    return 1


async def _print_all(settings: Settings) -> int:
    status = 0
    async for finding in findings(settings):
        sys.stdout.write(f"{finding}\n")
        sys.stdout.flush()
        status |= finding.verdict == "fix"
    return status


async def findings(settings: Settings) -> AsyncIterator[Finding]:
    """All checks in order; one that breaks is itself a finding."""
    for check in (
        _settings, _python, _engine, _disk, _model, _versions, _small_models, _gpu, _database, _port, _discord
    ):  # fmt: skip
        try:
            for finding in await check(settings):
                yield finding
        except Exception as error:
            about = check.__name__.strip("_")
            yield Finding(verdict="fix", about=about, words=f"could not be checked: {type(error).__name__}: {error}")


def _ok(about: str, words: str) -> list[Finding]:
    return [Finding(verdict="ok", about=about, words=words)]


def _note(about: str, words: str) -> list[Finding]:
    return [Finding(verdict="note", about=about, words=words)]


def _fix(about: str, words: str) -> list[Finding]:
    return [Finding(verdict="fix", about=about, words=words)]


async def _settings(settings: Settings) -> list[Finding]:
    return _ok("settings", "every one is known and well formed")


async def _python(settings: Settings) -> list[Finding]:
    return _ok("python", f"{platform.python_version()}, cores: {os.cpu_count()}")


async def _engine(settings: Settings) -> list[Finding]:
    if settings.story_engine == "transformers":
        missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
        if not missing:
            return _ok("engine", "transformers and torch are installed")
        return _fix(
            "engine", f"{' and '.join(missing)} missing; pip install 'inkwell[torch]', or set STORY_ENGINE=auto"
        )
    result = []
    if settings.story_engine != "openvino":
        reason = await _why_not("import xllamacpp")
        if reason:
            return _fix("engine", f"llama.cpp can't be loaded ({reason}); on Debian and Ubuntu: apt install libgomp1")
        result += _ok("engine", "llama.cpp loads")
    if settings.story_engine == "openvino" or (
        settings.story_engine == "auto" and importlib.util.find_spec("openvino_genai") is not None
    ):
        reason = await _why_not("from models.serving.quiet_runtimes import openvino_genai; openvino_genai()")
        if not reason:
            result += _ok("engine", "OpenVINO loads")
        elif settings.story_engine == "auto":
            result += _note("engine", f"OpenVINO can't be loaded ({reason}), so llama.cpp is used")
        else:
            result += _fix(
                "engine", f"OpenVINO can't be loaded ({reason}); pip install openvino-genai, or set STORY_ENGINE=auto"
            )
    return result


async def _why_not(program: str) -> str:
    """Why these lines of Python fail; "" when they don't. In a process of its own: the Discord side never loads a
    model's library, and a broken one may end whoever loads it."""
    answer = await _run(sys.executable, "-c", program)
    if answer.returncode == 0:
        return ""
    return (answer.stderr.strip().splitlines() or [f"it ended with status {answer.returncode}"])[-1]


async def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_PROBE_S,
        check=False,
        env=worker_environment(),
    )


async def _disk(settings: Settings) -> list[Finding]:
    folder = settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        return _fix("disk", f"{folder} is a file; set DATA_DIR to a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        return _fix("disk", f"{folder} can't be written; change its owner or set DATA_DIR to another folder")
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        return _fix("disk", f"only {free / 1e6:.0f} MB free at {folder}; free {LEAST_FREE_BYTES / 1e9:.0f} GB")
    return _ok("disk", f"{free / 1e9:.0f} GB free at {folder}")


async def _model(settings: Settings) -> list[Finding]:
    if settings.remote:
        return await _server(settings)
    good, words = await asyncio.to_thread(describe, settings.story_model, settings.data_dir, settings.story_adapter)
    return _ok("model", words) if good else _fix("model", words)


async def _versions(settings: Settings) -> list[Finding]:
    """Reads every byte of each champion."""
    champions = await asyncio.to_thread(champions_of, Registry(settings.versions), settings)
    if not champions.ids:
        return _note("versions", "none of those trained here is promoted; what Inkwell came with answers")
    result = []
    for family, version in champions.ids.items():
        if family in champions.folders:
            result += _ok("versions", f"{family}: {version} is whole and answers")
        else:
            advice = f"`inkwell versions rollback {family}`, or promote another one"
            result += _fix(
                "versions", f"{family}: what Inkwell came with answers. {champions.passed_over[family]} {advice}"
            )
    return result


async def _small_models(settings: Settings) -> list[Finding]:
    """Asks each once, in the process in which it would run."""
    champions = await asyncio.to_thread(champions_of, Registry(settings.versions), settings)
    short = short_engine_of(settings, champions)
    await short.start()
    try:
        return [
            *await _answers("moods", short.ask(MoodRequest(text="A good day."))),
            *await _answers("portraits", short.ask(PortraitRequest(seeds=("Ink",)))),
            *await _answers("verses", short.ask(VerseRequest(seed="Ink"))),
        ]
    finally:
        await short.close()


async def _answers(about: str, asked: "Coroutine[Any, Any, Mood | Portraits | Verse]") -> list[Finding]:
    try:
        async with asyncio.timeout(_PROBE_S):
            return _ok(about, (await asked).model_version)
    except EngineError as error:
        return _fix(about, f"no answer: {error}")
    except TimeoutError:
        return _fix(about, f"no answer within {_PROBE_S:.0f} s")


async def _server(settings: Settings) -> list[Finding]:
    """Ask for its models, with the key, as a start would."""
    engine = await engine_of(settings)
    try:
        await engine.start()
    except EngineUnavailableError as error:
        return _fix("server", why_unavailable(settings, error))
    finally:
        await engine.close(0.0)
    findings = _ok("server", f"{settings.story_base_url} answers")
    address = urlsplit(settings.story_base_url)
    if address.scheme == "http" and address.hostname not in ("127.0.0.1", "::1", "localhost"):
        findings += _note("server", "stories and the key travel unencrypted there; use https outside your own network")
    return findings


async def _gpu(settings: Settings) -> list[Finding]:
    program = shutil.which("nvidia-smi")
    if settings.remote:
        return []
    if program is None:
        return _note("gpu", "none; the CPU is used")
    broken = _fix("gpu", "nvidia-smi fails; repair the driver, or set STORY_ENGINE=llama_cpp to use the CPU")
    try:
        answer = await _run(program, "--query-gpu=name,memory.total", "--format=csv,noheader")
    except (OSError, subprocess.TimeoutExpired):
        return broken
    cards = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    if answer.returncode != 0 or not cards:
        return broken
    result = [finding for card in cards for finding in _ok("gpu", card)]
    if settings.story_engine == "auto" and importlib.util.find_spec("torch") is None:
        result += _note(
            "gpu", "torch is not installed, so the CPU is used; pip install 'inkwell[torch]' to use the GPU"
        )
    return result


async def _database(settings: Settings) -> list[Finding]:
    if not settings.database.exists():
        return _note("database", "none yet; the first start makes it, encrypted")
    try:
        async with Store.open(settings.database, key=settings.db_key) as store:
            damage = await store.check()
            counts = await store.counts()
    except StoreInUseError as error:
        return _note("database", f"in use by a running Inkwell (process {error.pid}); stop it to have it checked")
    except StoreError as error:
        return _fix("database", str(error))
    if damage:
        return _fix("database", f"is damaged ({damage[0]}); restore a backup of {settings.database}")
    return _ok("database", f"opens with its key and is whole; stories: {counts.stories}, turns: {counts.turns}")


async def _port(settings: Settings) -> list[Finding]:
    if not settings.in_sandbox or settings.sandbox_port == 0:
        return []
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", settings.sandbox_port))
        except OSError:
            with contextlib.suppress(NotRunningError):
                await ask(settings.data_dir, "status")
                return _note("port", f"{settings.sandbox_port} is the page of the Inkwell that runs on this folder")
            return _fix("port", f"{settings.sandbox_port} is taken; stop the other program or set SANDBOX_PORT=0")
    return _ok("port", f"{settings.sandbox_port} is free for the sandbox page")


async def _discord(settings: Settings) -> list[Finding]:
    if settings.discord_token is None:
        return _note("token", "none; Inkwell plays in its own page. For Discord, put DISCORD_TOKEN into .env")
    async with discord.Client(intents=discord.Intents(guilds=True)) as client:
        try:
            await client.login(settings.discord_token.get_secret_value())
            application = await client.application_info()
            guilds = await client.http.get_guilds(limit=200)  # discord.py's Guild leaves our permissions out
        except discord.LoginFailure:
            return _fix("token", "Discord refuses it; make a new one in the Developer Portal (Bot, Reset Token)")
        except (aiohttp.ClientError, discord.HTTPException, OSError) as error:
            return _fix("token", f"its shape is right, but Discord can't be reached: {type(error).__name__}")
        result = _ok("token", f"accepted: {client.user}")
    result += _intents(settings, application.flags)
    if not guilds:
        result += _note("servers", f"none yet; invite it with {invite_url(application.id)}")
    for guild in guilds:
        held = discord.Permissions(int(guild["permissions"]))
        missing = [name for name, needed in NEEDED_PERMISSIONS if needed and not getattr(held, name)]
        if missing and not held.administrator:
            result += _fix("permissions", f"{guild['name']}: give its role {', '.join(missing).replace('_', ' ')}")
        else:
            result += _ok("permissions", guild["name"])
    return result


def _intents(settings: Settings, flags: discord.ApplicationFlags) -> list[Finding]:
    """Of the privileged ones only the mood of channels needs one."""
    if not settings.message_content_intent:
        return _ok("intents", "none of the privileged ones is needed")
    if flags.gateway_message_content or flags.gateway_message_content_limited:
        return _ok("intents", "Message Content is switched on, for the mood of channels")
    return _fix(
        "intents",
        "MESSAGE_CONTENT_INTENT=true, but the Developer Portal (Bot, Privileged Gateway Intents) has it off; Discord "
        "would refuse the start",
    )
