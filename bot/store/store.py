"""Inkwell's memory: stories, jobs, settings, each method one transaction. Knows no Discord object and no model.

`async with Store.open(path) as store:` is the only way in, so that connections and lock are always given back.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store import rotation, settings, sqlite, teaching, tree, work
from bot.store.album import Album
from bot.store.ballots import Ballots
from bot.store.cancellation import to_its_end
from bot.store.errors import StoreKeyError
from bot.store.given_pictures import GivenPictures
from bot.store.keys import StoreKeys, derive_keys, load_keys, read_key_file
from bot.store.lock import exclusive
from bot.store.migrate import prepare
from bot.store.moods import Moods
from bot.store.people import People
from bot.store.person_key import with_person_key
from bot.store.rows import Counts, Job, OpenJob, Recipe, Setting, Story, TaughtSource, TaughtText, Turn, Undone
from bot.store.schema import stories, turns
from bot.store.steps import Steps
from bot.store.training import Training
from bot.store.training_runs import TrainingRuns
from models.serving.requests import DEFAULT_MODEL, Sampling

T = TypeVar("T")

MAX_TITLE_CHARS = 80


class Store:
    """An open store. Every method may also raise a `StoreFaultError` (disk full, file damaged, ...) and, after the
    context ended, StoreClosedError. A method whose caller is cancelled still ends its transaction.

    `user_id` arguments are Discord's; only their keyed hash is stored. A lone surrogate or NUL in any text becomes
    U+FFFD. `now` is taken from `clock` (Unix seconds). `moods` are the counts of sampled channels, `people` what
    members decided about their own words, `training` what follows from that for training, `given` drawings that
    they gave for it, `training_runs` what was learned from those who agreed, `ballots` blind votes on what came of it.
    """

    def __init__(self, database: sqlite.Database, keys: StoreKeys, clock: Callable[[], float]) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._steps = Steps(database, clock)
        self.moods = Moods(self._steps, keys.person_key)
        self.people = People(self._steps, keys.person_key)
        self.training = Training(self._steps, keys.person_key)
        self.given = GivenPictures(self._steps, keys.person_key)
        self.album = Album(self._read, self._write, keys.person_key)
        self.training_runs = TrainingRuns(self._steps)
        self.ballots = Ballots(self._steps, keys.person_key)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        key: SecretStr | None = None,
        key_file: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> AsyncIterator["Store"]:
        """Open the database, made or upgraded where needed, for this process alone.

        The master key is `key`, or the content of `key_file` (default: beside the database, ending in .key), which is
        made on the first start. Raises StoreInUseError, StoreKeyError, StoreTooNewError, StoreForeignError,
        StoreMigrationError, StoreReadOnlyError, StoreFullError, StoreDiskError, each before anything was changed.
        """
        key_file = key_file or path.with_suffix(".key")
        async with AsyncExitStack() as held:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(exclusive(path))
                # In a thread: deriving keys, fsync and migrations take their time. Not abandoned when cancelled: the
                # lock must not be given back under a running migration.
                keys = await to_its_end(asyncio.to_thread(_prepare, path, key, key_file))
            except OSError as error:
                raise sqlite.os_fault(path, error) from error
            database = sqlite.Database(path, keys)
            held.push_async_callback(lambda: to_its_end(database.close()))
            store = cls(database, keys, clock)
            await store._write(work.forget_tokens)
            yield store

    def person_key(self, user_id: int) -> str:
        """The pseudonym under which this store knows a Discord user: 64 hexadecimal characters."""
        return self._keys.person_key(user_id)

    # Stories

    async def begin_story(
        self,
        *,
        user_id: int,
        guild_id: int | None,
        channel_id: int,
        prompt: str,
        sampling: Sampling,
        application_id: int,
        interaction_token: str | None,
        locale: str,
        model: str = DEFAULT_MODEL,
        routed: bool = False,
        title: str = "",
        language: str = "",
    ) -> OpenJob:
        """A new story: its first turn (`prompt`, not blank), the open turn that will continue it, the job. `title`
        defaults to the prompt's first words; `routed`: nobody chose `model`."""
        if not prompt.strip():
            raise ValueError("a story begins with a text")
        asked = self._asked(
            user_id, guild_id, channel_id, sampling, application_id, interaction_token, locale, model, routed
        )
        return await self._write(
            work.begin_story,
            asked,
            prompt=prompt,
            title=title or " ".join(prompt.split())[:MAX_TITLE_CHARS],
            language=language,
            share=self.training.allowed,
        )

    async def continue_story(
        self,
        turn_id: str,
        *,
        user_id: int,
        guild_id: int | None,
        channel_id: int,
        sampling: Sampling,
        application_id: int,
        interaction_token: str | None,
        locale: str,
        model: str = DEFAULT_MODEL,
        routed: bool = False,
        text: str | None = None,
    ) -> OpenJob:
        """Go on from a turn, also from one in mid-story (a branch); `text` is what the member adds first. Raises
        TurnNotFoundError, TurnBusyError (of two who ask at once the first is served), TurnUndoneError,
        TurnWithoutTextError."""
        asked = self._asked(
            user_id, guild_id, channel_id, sampling, application_id, interaction_token, locale, model, routed
        )
        return await self._write(work.continue_story, asked, turn_id, text=text, share=self.training.allowed)

    async def retry(
        self,
        turn_id: str,
        *,
        user_id: int,
        guild_id: int | None,
        channel_id: int,
        sampling: Sampling,
        application_id: int,
        interaction_token: str | None,
        locale: str,
        model: str = DEFAULT_MODEL,
        routed: bool = False,
    ) -> OpenJob:
        """Another continuation beside this one, which stays as an alternative. A failed or undone turn can be retried
        as long as the turn before it stands; of a prompt, its continuation is retried. Raises TurnNotFoundError,
        TurnBusyError, TurnUndoneError (the turn before was undone too)."""
        asked = self._asked(
            user_id, guild_id, channel_id, sampling, application_id, interaction_token, locale, model, routed
        )
        return await self._write(work.retry, asked, turn_id)

    async def undo(self, turn_id: str, user_id: int, *, moderator: bool = False) -> Undone:
        """Take back a turn and what was built on it; the head moves to the turn before where it stood there. Asking
        twice changes nothing. For the story's author, who asked for the turn, and moderators. Raises
        TurnNotFoundError, NotYoursError, NothingToUndoError, TurnBusyError (stop that turn first)."""
        return await self._write(tree.undo, turn_id, person_key=self.person_key(user_id), moderator=moderator)

    async def story(self, story_id: str) -> Story:
        """Raises StoryNotFoundError."""
        return await self._read(tree.story, story_id)

    async def story_of_turn(self, turn_id: str) -> Story:
        """Raises TurnNotFoundError."""
        return await self._read(tree.story_of_turn, turn_id)

    async def latest_story(self, channel_id: int) -> Story | None:
        """The channel's story that changed last."""
        return await self._read(tree.latest_story, channel_id)

    async def stories_of(self, guild_id: int, user_id: int, limit: int = 200) -> tuple[Story, ...]:
        """The stories that somebody began in a server, the one that changed last first."""
        return await self._read(tree.stories_of, guild_id, self.person_key(user_id), limit)

    async def turn(self, turn_id: str) -> Turn:
        """Raises TurnNotFoundError."""
        return await self._read(tree.turn, turn_id)

    async def story_path(self, turn_id: str, limit: int = tree.MAX_PATH_TURNS) -> tuple[Turn, ...]:
        """The turns from the story's first to this one; of a longer path the last `limit`. Raises
        TurnNotFoundError."""
        return await self._read(tree.path, turn_id, limit)

    async def is_owner(self, turn_id: str, user_id: int) -> bool:
        """Whether this person began the story, wrote the turn, or asked for it. Raises TurnNotFoundError."""
        return await self._read(tree.is_owner, turn_id, person_key=self.person_key(user_id))

    async def alternatives(self, turn_id: str) -> tuple[Turn, ...]:
        """The turn and its siblings of its kind that have text and stand, oldest first. Raises TurnNotFoundError."""
        return await self._read(tree.alternatives, turn_id)

    # Jobs

    async def start_job(self, job_id: str) -> Job:
        """An engine gets the job: it runs, with one attempt more. Raises JobNotFoundError, JobStateError (it was
        written or ended meanwhile)."""
        return await self._write(work.start, job_id)

    async def attach_message(self, job_id: str, channel_id: int, message_id: int) -> None:
        """Remember the message in which the answer is being shown. Raises JobNotFoundError, JobStateError."""
        await self._write(work.attach_message, job_id, channel_id=channel_id, message_id=message_id)

    async def write_result(self, job_id: str, text: str, recipe: Recipe) -> Turn:
        """The final text: turn done, job written, head moved (unless the text is empty). Call it before showing
        anything as final. Raises JobNotFoundError, JobStateError (e.g. stopped meanwhile)."""
        return await self._write(work.write, job_id, state="done", text=text, recipe=recipe)

    async def cancel_job(self, job_id: str, partial_text: str = "", recipe: Recipe | None = None) -> Turn:
        """Somebody pressed Stop: what there is of the text stays, the turn is cancelled, the job written, the head
        moved (unless there is no text). Raises JobNotFoundError, JobStateError (e.g. it was done first)."""
        return await self._write(work.write, job_id, state="cancelled", text=partial_text, recipe=recipe)

    async def finish_job(self, job_id: str, message_ids: Sequence[int], channel_id: int | None = None) -> Turn:
        """The final messages stand in Discord: the job is done and its token forgotten. May be asked again. Raises
        JobNotFoundError, JobStateError (nothing was written yet, or it failed)."""
        return await self._write(work.finish, job_id, channel_id=channel_id, message_ids=tuple(message_ids))

    async def fail_job(self, job_id: str, error: str) -> Job:
        """No text will come: turn and job failed, the head stays. Of a written job: it couldn't be shown; the turn
        and its text stay. `error` is for operators. Raises JobNotFoundError, JobStateError."""
        return await self._write(work.fail, job_id, error=error)

    async def job(self, job_id: str) -> Job:
        """Raises JobNotFoundError."""
        return await self._read(work.job, job_id, now=self._clock())

    async def open_jobs(self) -> tuple[OpenJob, ...]:
        """What a start has to finish, oldest first: queued and running jobs need an engine, written ones only their
        final message."""
        return await self._read(work.open_jobs, now=self._clock())

    async def open_job_of_turn(self, turn_id: str) -> OpenJob | None:
        """The job that is writing this turn; None when it ended or never was."""
        return await self._read(work.open_job_of_turn, turn_id, now=self._clock())

    # What voices were taught

    async def add_taught_text(
        self, *, guild_id: int, user_id: int, source: TaughtSource, title: str, text: str
    ) -> TaughtText:
        """Keep a text (not blank) that the server's voice is about to learn. Raises TaughtTooMuchError."""
        return await self._write(
            teaching.add,
            guild_id=guild_id,
            author_key=self.person_key(user_id),
            source=source,
            title=title,
            text=text,
        )

    async def taught_text(self, guild_id: int, text_id: str) -> TaughtText:
        """Raises TaughtTextNotFoundError."""
        return await self._read(teaching.get, guild_id, text_id)

    async def taught_texts(self, guild_id: int) -> tuple[TaughtText, ...]:
        """What the server's voice was taught, newest first."""
        return await self._read(teaching.all_of, guild_id)

    async def words_to_learn(self, guild_id: int) -> tuple[str, ...]:
        """The words of every text that the server's voice is to know, oldest first."""
        return await self._read(teaching.words_of, guild_id)

    async def begin_forgetting(self, guild_id: int, text_id: str) -> TaughtText:
        """Drop the words of a text at once. The server stays among `unsettled_voices` until `settle_voice`. Raises
        TaughtTextNotFoundError."""
        return await self._write(teaching.begin_forgetting, guild_id, text_id)

    async def forgetting_texts(self, guild_id: int) -> tuple[str, ...]:
        """The ids of texts whose words are gone but that the server's voice may still know."""
        return await self._read(teaching.forgetting, guild_id)

    async def settle_voice(self, guild_id: int, forgotten: Sequence[str] = ()) -> None:
        """The server's voice knows its `words_to_learn` now, and no more what was among its `forgetting_texts` before
        those were read. Others that are being forgotten by now stay unsettled."""
        await self._write(teaching.settle, guild_id, forgotten)

    async def unsettled_voices(self) -> tuple[int, ...]:
        """Servers whose voice may know too much or too little: teaching or forgetting didn't end."""
        return await self._read(teaching.unsettled)

    # Settings, small state, the file

    async def guild_setting(self, guild_id: int, setting: Setting[T]) -> T:
        """The guild's value of a setting, or its default."""
        return await self._read(settings.get_setting, guild_id, setting)

    async def set_guild_setting(self, guild_id: int, setting: Setting[T], value: T | None) -> None:
        """Store a value; None goes back to the default. Raises msgspec.ValidationError for one of the wrong kind."""
        await self._write(settings.set_setting, guild_id, setting, value)

    async def get_value(self, key: str) -> str | None:
        """A piece of the bot's own small state, e.g. the hash of the commands last synced; None where there is none."""
        return await self._read(settings.get_value, key)

    async def set_value(self, key: str, value: str | None) -> None:
        """Store it; None removes it."""
        await self._write(settings.set_value, key, value)

    async def counts(self) -> Counts:
        """Numbers for `/inkwell status`."""
        found = await self._read(_count)
        return Counts(**found, file_bytes=self._database.file_bytes())

    async def fold_log(self) -> None:
        """Bring the write-ahead log into the file and empty it: what was erased then stands in neither."""
        await to_its_end(asyncio.to_thread(sqlite.fold_log, self._database.path, self._keys))

    async def check(self) -> tuple[str, ...]:
        """What is wrong with the file; empty when nothing is. Reads all of it: for `inkwell doctor`."""
        return await self._database.read(sqlite.check)

    def _asked(
        self,
        user_id: int,
        guild_id: int | None,
        channel_id: int,
        sampling: Sampling,
        application_id: int,
        interaction_token: str | None,
        locale: str,
        model: str,
        routed: bool,
    ) -> work.Asked:
        return work.Asked(
            user_key=self.person_key(user_id),
            guild_id=guild_id,
            channel_id=channel_id,
            application_id=application_id,
            interaction_token=interaction_token,
            locale=locale,
            sampling=sampling,
            model=model,
            routed=routed,
        )

    async def _write(self, step: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        return await self._steps.write(step, *arguments, **options)

    async def _read(self, step: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        return await self._steps.read(step, *arguments, **options)


def _prepare(path: Path, key: SecretStr | None, key_file: Path) -> StoreKeys:
    rotation.settle(path, key=key, key_file=key_file)
    keys = load_keys(path, key=key, key_file=key_file)
    fresh = not path.exists() or not path.stat().st_size
    try:
        prepare(path, keys)
    except StoreKeyError:
        if key is not None and key_file.exists() and rotation.opens(path, derive_keys(read_key_file(key_file))):
            raise StoreKeyError(
                f"DB_KEY is not the key of {path}, but {key_file} is: remove DB_KEY from .env and the environment."
            ) from None
        raise
    return with_person_key(path, keys, fresh=fresh)


async def _count(connection: AsyncConnection) -> dict[str, Any]:
    return {
        "stories": (await connection.execute(sa.select(sa.func.count()).select_from(stories))).scalar_one(),
        "turns": (await connection.execute(sa.select(sa.func.count()).select_from(turns))).scalar_one(),
        "jobs": await work.count(connection),
    }
