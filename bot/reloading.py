"""`inkwell reload` on the side of the running Inkwell: reads the settings of the story model again and lets another
model answer, while running stories are finished by the former one. Knows no socket and no model.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator

import bot.settings as settings_module
from bot import logs
from bot.engines import why_unavailable
from bot.errand import ErrandError, Errands, Tell
from bot.models_on_disk import NotAcceptedError, made_ready
from bot.promotion import Configured, Promoter
from bot.settings import Settings, SettingsError
from models.language.weight_files import WeightsError
from models.serving.dispatcher import Dispatcher
from models.serving.engine import EngineClosedError, EngineUnavailableError

log = logging.getLogger(__name__)

_PROGRESS_S = 5.0
_PREFIX = "story_"  # what a reload takes over


class ReloadError(ErrandError):
    """Nothing was changed; the message is one sentence for the operator."""


class _GivenUpError(Exception):
    """Ends a download that nobody waits for any more."""


class Reloader:
    """One reload at a time. It goes on when whoever asked for it has gone."""

    def __init__(self, bot: Configured, engine: Dispatcher, promoter: Promoter) -> None:
        self._bot, self._engine, self._promoter = bot, engine, promoter
        self._errands = Errands("reload")

    def __call__(self, _: bytes = b"") -> AsyncGenerator[bytes, None]:
        """Steps as JSON, as they happen; the last one has `ended`."""
        return self._errands.told(self._reload)

    async def close(self) -> None:
        """A reload that is under way ends without a change."""
        await self._errands.close()

    async def _reload(self, tell: Tell) -> str:
        """What is to be said at the end. Raises ReloadError."""
        former = self._bot.settings
        try:
            found = await asyncio.to_thread(settings_module.load, data_dir=former.data_dir)
        except SettingsError as error:
            raise ReloadError(f"{error} Nothing was changed.") from None
        settings, later = with_story_model_of(found, former)
        logs.configure(settings.log_level, (*former.secrets, *settings.secrets))
        for name in later:
            tell(f"{name} counts from the next start.")
        if not settings.remote:
            await self._fetch(settings, tell)
        tell(f"Loading {settings.story_model} beside the model that answers now.")
        began = time.monotonic()
        try:
            await self._promoter.take_settings(settings)
        except EngineUnavailableError as error:
            words = why_unavailable(settings, error).rstrip(".")
            raise ReloadError(f"{words}. Nothing was changed: the former model goes on.") from None
        except EngineClosedError:
            raise ReloadError("Inkwell is shutting down.") from None
        workers = (await self._engine.health()).workers
        words = f"{workers[0].model_version} answers from now on, after {time.monotonic() - began:.1f} s."
        log.info("reloaded: %s", words)
        return words

    async def _fetch(self, settings: Settings, tell: Tell) -> None:
        said_at = 0.0
        given_up = threading.Event()

        def progress(what: str, done: int, total: int | None) -> None:
            nonlocal said_at
            if given_up.is_set():
                raise _GivenUpError
            if time.monotonic() - said_at > _PROGRESS_S:
                said_at = time.monotonic()
                tell(f"{what}: {done / 1e6:,.0f}{f' of {total / 1e6:,.0f}' if total else ''} MB")

        try:
            await asyncio.to_thread(made_ready, settings.story_model, settings.data_dir, progress)
        except asyncio.CancelledError:
            given_up.set()  # or Inkwell's end would wait for the whole download
            raise
        except (WeightsError, NotAcceptedError) as error:
            raise ReloadError(f"{str(error).rstrip('.')}. Nothing was changed: the former model goes on.") from None


def with_story_model_of(found: Settings, former: Settings) -> tuple[Settings, list[str]]:
    """`former` with the story model's settings from `found`, and the names of the others that differ. Not counted is
    what may stand on the command line of the start: DATA_DIR, and the token that `--sandbox` hides."""
    taken = {name: getattr(found, name) for name in Settings.model_fields if name.startswith(_PREFIX)}
    others = Settings.model_fields.keys() - taken.keys() - {"data_dir", "discord_token"}
    later = sorted(name.upper() for name in others if getattr(found, name) != getattr(former, name))
    return former.model_copy(update=taken), later
