"""What Discord accepts as an application command. Knows no world and no interaction.

https://discord.com/developers/docs/interactions/application-commands
"""

import re
from typing import Any

from bot.sandbox import limits
from bot.sandbox.errors import RefusedError, invalid_form, required, too_long
from bot.sandbox.wire import Json

CHAT_INPUT, USER_MENU, MESSAGE_MENU = 1, 2, 3
SUBCOMMAND, GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(1, 12)
_WITH_CHOICES = frozenset({STRING, INTEGER, NUMBER})

# Letters, digits, dash and underscore of any script; Discord wants slash names without capitals.
_SLASH_NAME = re.compile(r"^[-_'\w]{1,32}$")
_LOCALES = frozenset(
    {"id", "da", "de", "en-GB", "en-US", "es-ES", "es-419", "fr", "hr", "it", "lt", "hu", "nl", "no", "pl", "pt-BR"}
    | {"ro", "fi", "sv-SE", "vi", "tr", "cs", "el", "bg", "ru", "uk", "hi", "th", "zh-CN", "ja", "zh-TW", "ko"}
)


def check_command(form: Any, path: str = "") -> Json:
    """A command as Discord would store it, ids and version aside. Raises RefusedError (50035)."""
    prefix = f"{path}." if path else ""
    if not isinstance(form, dict):
        raise required(f"{prefix}name")
    kind = form.get("type") or CHAT_INPUT
    if kind not in (CHAT_INPUT, USER_MENU, MESSAGE_MENU):
        raise invalid_form(f"{prefix}type", "BASE_TYPE_CHOICES", "Value must be one of {1, 2, 3}.")
    _name(form, prefix, slash=kind == CHAT_INPUT)
    command: Json = {
        "type": kind,
        "name": form["name"],
        "name_localizations": _localised(form, "name", prefix, limits.MAX_COMMAND_NAME_CHARS),
        "description": "",
        "description_localizations": None,
        "default_member_permissions": _permissions(form, prefix),
        "nsfw": form.get("nsfw") is True,
        "dm_permission": form.get("dm_permission") is not False,
        "contexts": _numbers(form, "contexts", {0, 1, 2}, prefix),
        "integration_types": _numbers(form, "integration_types", {0, 1}, prefix) or [0],
    }
    if kind == CHAT_INPUT:
        _description(form, prefix)
        command["description"] = form["description"]
        command["description_localizations"] = _localised(
            form, "description", prefix, limits.MAX_COMMAND_DESCRIPTION_CHARS
        )
        command["options"] = _options(form.get("options"), f"{prefix}options", depth=0)
    elif form.get("description"):
        raise invalid_form(
            f"{prefix}description", "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION", "Context menus have no description"
        )
    if _chars(command) > limits.MAX_COMMAND_CHARS:
        raise invalid_form(
            path or "name",
            "APPLICATION_COMMAND_TOO_LARGE",
            f"Command exceeds maximum size ({limits.MAX_COMMAND_CHARS})",
        )
    return command


def check_count(commands: list[Json]) -> None:
    """Raises RefusedError (30032, or 50035 for two of one name) for a set that is too large."""
    keys = [(command["type"], command["name"]) for command in commands]
    if len(keys) != len(set(keys)):
        raise invalid_form("0", "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
    for kind, most in (
        (CHAT_INPUT, limits.MAX_SLASH_COMMANDS),
        (USER_MENU, limits.MAX_MENU_COMMANDS),
        (MESSAGE_MENU, limits.MAX_MENU_COMMANDS),
    ):
        if sum(command["type"] == kind for command in commands) > most:
            raise RefusedError(400, 30032, f"Maximum number of application commands reached ({most})")


def _options(options: Any, path: str, *, depth: int) -> list[Json]:
    options = options or []
    if not isinstance(options, list) or len(options) > limits.MAX_OPTIONS:
        raise invalid_form(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limits.MAX_OPTIONS} or fewer in length.")
    checked = [_option(option, f"{path}.{index}", depth) for index, option in enumerate(options)]
    names = [option["name"] for option in checked]
    if len(names) != len(set(names)):
        raise invalid_form(path, "APPLICATION_COMMAND_OPTIONS_NAME_INVALID", "Option names must be unique")
    nested = [option["type"] in (SUBCOMMAND, GROUP) for option in checked]
    if any(nested) and not all(nested):
        raise invalid_form(
            path, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Sub-command and other options are mutually exclusive"
        )
    if [option.get("required", False) for option in checked] != sorted(
        (option.get("required", False) for option in checked), reverse=True
    ):
        raise invalid_form(
            path,
            "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
            "Required options must be placed before non-required options",
        )
    return checked


def _option(option: Any, path: str, depth: int) -> Json:
    if not isinstance(option, dict):
        raise required(path)
    kind = option.get("type")
    if not isinstance(kind, int) or kind not in range(1, 12):
        raise invalid_form(f"{path}.type", "BASE_TYPE_CHOICES", "Value must be one of {1, …, 11}.")
    deepest = {GROUP: 0, SUBCOMMAND: 1}.get(kind, 2)
    if depth > deepest:
        raise invalid_form(f"{path}.type", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Nested too deeply")
    _name(option, f"{path}.", slash=True)
    _description(option, f"{path}.")
    checked: Json = {
        "type": kind,
        "name": option["name"],
        "name_localizations": _localised(option, "name", f"{path}.", limits.MAX_COMMAND_NAME_CHARS),
        "description": option["description"],
        "description_localizations": _localised(
            option, "description", f"{path}.", limits.MAX_COMMAND_DESCRIPTION_CHARS
        ),
    }
    if kind in (SUBCOMMAND, GROUP):
        inner = _options(option.get("options"), f"{path}.options", depth=depth + 1 if kind == GROUP else 2)
        if kind == GROUP and not all(item["type"] == SUBCOMMAND for item in inner):
            raise invalid_form(f"{path}.options", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Only sub-commands")
        return checked | {"options": inner}
    checked["required"] = option.get("required") is True
    if option.get("autocomplete"):
        if kind not in _WITH_CHOICES or option.get("choices"):
            raise invalid_form(
                f"{path}.autocomplete", "APPLICATION_COMMAND_AUTOCOMPLETE_INVALID", "Choices and autocomplete clash"
            )
        checked["autocomplete"] = True
    if option.get("choices"):
        checked["choices"] = check_choices(option["choices"], kind, f"{path}.choices")
    for key in ("min_value", "max_value", "min_length", "max_length", "channel_types"):
        if option.get(key) is not None:
            checked[key] = option[key]
    return checked


def check_choices(choices: Any, kind: int, path: str) -> list[Json]:
    """Choices of an option, or of an autocomplete's answer."""
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise required(path)
    if len(choices) > limits.MAX_CHOICES:
        raise invalid_form(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limits.MAX_CHOICES} or fewer in length.")
    for index, choice in enumerate(choices):
        name, value = choice.get("name"), choice.get("value")
        if not isinstance(name, str) or not 1 <= len(name) <= limits.MAX_CHOICE_CHARS:
            raise (
                too_long(f"{path}.{index}.name", limits.MAX_CHOICE_CHARS) if name else required(f"{path}.{index}.name")
            )
        fits = isinstance(value, str) if kind == STRING else isinstance(value, int | float)
        if not fits:
            raise invalid_form(f"{path}.{index}.value", "BASE_TYPE_WRONG", "The value is not of the option's type.")
        if isinstance(value, str) and not 1 <= len(value) <= limits.MAX_CHOICE_CHARS:
            raise too_long(f"{path}.{index}.value", limits.MAX_CHOICE_CHARS)
    return choices


def _name(form: Json, prefix: str, *, slash: bool) -> None:
    names = [("name", form.get("name"))]
    names += [(f"name_localizations.{locale}", name) for locale, name in (form.get("name_localizations") or {}).items()]
    for key, name in names:
        if not isinstance(name, str) or not name:
            raise required(prefix + key)
        if len(name) > limits.MAX_COMMAND_NAME_CHARS:
            raise too_long(prefix + key, limits.MAX_COMMAND_NAME_CHARS)
        if slash and (not _SLASH_NAME.match(name) or name != name.lower()):
            raise invalid_form(
                prefix + key, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid: lower case, no spaces"
            )


def _description(form: Json, prefix: str) -> None:
    description = form.get("description")
    if not isinstance(description, str) or not description:
        raise required(f"{prefix}description")
    if len(description) > limits.MAX_COMMAND_DESCRIPTION_CHARS:
        raise too_long(f"{prefix}description", limits.MAX_COMMAND_DESCRIPTION_CHARS)


def _localised(form: Json, key: str, prefix: str, most: int) -> Json | None:
    texts = form.get(f"{key}_localizations")
    if not texts:
        return None
    for locale, text in texts.items():
        path = f"{prefix}{key}_localizations.{locale}"
        if locale not in _LOCALES:
            raise invalid_form(path, "ENUM_TYPE_COERCE", f"{locale} is no locale of Discord")
        if not isinstance(text, str) or not 1 <= len(text) <= most:
            raise too_long(path, most)
    return dict(texts)


def _permissions(form: Json, prefix: str) -> str | None:
    bits = form.get("default_member_permissions")
    if bits is None:
        return None
    if not str(bits).isdecimal():
        raise invalid_form(f"{prefix}default_member_permissions", "BITWISE_TYPE_COERCE", "Not a permission set")
    return str(bits)


def _numbers(form: Json, key: str, allowed: set[int], prefix: str) -> list[int] | None:
    numbers = form.get(key)
    if numbers is None:
        return None
    if not isinstance(numbers, list) or not numbers or not set(numbers) <= allowed:
        raise invalid_form(f"{prefix}{key}", "BASE_TYPE_CHOICES", f"Values must be among {sorted(allowed)}")
    return sorted(set(numbers))


def _chars(item: Json) -> int:
    """Names, descriptions and choice values, each in its longest localisation."""
    total = 0
    for key in ("name", "description"):
        texts = [item.get(key) or "", *(item.get(f"{key}_localizations") or {}).values()]
        total += max(len(text) for text in texts)
    for choice in item.get("choices") or []:
        total += len(choice["name"]) + len(str(choice["value"]))
    return total + sum(_chars(option) for option in item.get("options") or [])
