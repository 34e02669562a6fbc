"""What Discord accepts as the components of a message or a modal. Knows no message, no world and no interaction.

https://discord.com/developers/docs/components/reference
"""

from collections.abc import Callable, Iterator
from typing import Any

from bot.sandbox import limits
from bot.sandbox.errors import invalid_form, required, too_long
from bot.sandbox.wire import Json

ACTION_ROW, BUTTON, STRING_SELECT, TEXT_INPUT = 1, 2, 3, 4
USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT = 5, 6, 7, 8
SECTION, TEXT_DISPLAY, THUMBNAIL, MEDIA_GALLERY, FILE, SEPARATOR = 9, 10, 11, 12, 13, 14
CONTAINER, LABEL, FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX = 17, 18, 19, 21, 22, 23

SELECTS = frozenset({STRING_SELECT, USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT})
CLICKABLE = SELECTS | {BUTTON}
_IN_LABEL = SELECTS | {TEXT_INPUT, FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX}
_LINK_STYLE, _PREMIUM_STYLE = 5, 6


def walk(components: list[Json]) -> Iterator[Json]:
    """Every component, nested ones and accessories included, outermost first."""
    for component in components:
        yield component
        yield from walk(component.get("components") or [])
        for nested in ("accessory", "component"):
            if isinstance(component.get(nested), dict):
                yield from walk([component[nested]])


def media_items(components: list[Json]) -> Iterator[Json]:
    """Every `{"url": …}` of thumbnails, galleries and files."""
    for component in walk(components):
        if component["type"] == THUMBNAIL:
            yield component["media"]
        elif component["type"] == FILE:
            yield component["file"]
        elif component["type"] == MEDIA_GALLERY:
            yield from (item["media"] for item in component["items"])


def check_message_components(components: Any, *, v2: bool) -> list[Json]:
    """Raises RefusedError (50035) that names the field. Returns them with their numbers (`id`) filled in."""
    items = _list(components, "components", 0, limits.MAX_COMPONENTS if v2 else limits.MAX_ACTION_ROWS)
    for index, component in enumerate(items):
        path = f"components.{index}"
        allowed = _V2_TOP_LEVEL if v2 else {ACTION_ROW}
        _of_type(component, allowed, path)
        _CHECKS[component["type"]](component, path)
    everything = list(walk(items))
    if v2:
        if len(everything) > limits.MAX_COMPONENTS:
            raise invalid_form("components", "BASE_TYPE_MAX_LENGTH", f"At most {limits.MAX_COMPONENTS} components.")
        shown = sum(len(component["content"]) for component in everything if component["type"] == TEXT_DISPLAY)
        if shown > limits.MAX_DISPLAY_CHARS:
            raise invalid_form(
                "components",
                "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED",
                f"The total length of displayable text is over {limits.MAX_DISPLAY_CHARS}",
            )
    _unique_custom_ids(everything)
    return _numbered(items)


def check_modal(data: Any) -> Json:
    """A modal's `title`, `custom_id` and components. Raises RefusedError (50035)."""
    if not isinstance(data, dict):
        raise required("data")
    _text(data, "title", "data", 1, limits.MAX_MODAL_TITLE_CHARS)
    _text(data, "custom_id", "data", 1, limits.MAX_CUSTOM_ID_CHARS)
    items = _list(data.get("components"), "data.components", 1, limits.MAX_MODAL_COMPONENTS)
    for index, component in enumerate(items):
        path = f"data.components.{index}"
        _of_type(component, {ACTION_ROW, LABEL, TEXT_DISPLAY}, path)
        if component["type"] == ACTION_ROW:  # the older form: a text input that carries its own label
            inner = _list(component.get("components"), f"{path}.components", 1, 1)[0]
            _of_type(inner, {TEXT_INPUT}, f"{path}.components.0")
            _text(inner, "label", f"{path}.components.0", 1, limits.MAX_MODAL_LABEL_CHARS)
            _text_input(inner, f"{path}.components.0")
        else:
            _CHECKS[component["type"]](component, path)
    _unique_custom_ids(list(walk(items)))
    return {"title": data["title"], "custom_id": data["custom_id"], "components": _numbered(items)}


# --- one check for each kind


def _action_row(row: Json, path: str) -> None:
    items = _list(row.get("components"), f"{path}.components", 1, limits.MAX_BUTTONS_IN_ROW)
    for index, item in enumerate(items):
        inner = f"{path}.components.{index}"
        _of_type(item, CLICKABLE, inner)
        if item["type"] in SELECTS and len(items) > 1:
            raise invalid_form(inner, "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "A select takes a whole action row")
        _CHECKS[item["type"]](item, inner)


def _button(button: Json, path: str) -> None:
    style = button.get("style")
    if style not in range(1, 7):
        raise invalid_form(f"{path}.style", "BASE_TYPE_CHOICES", "Value must be one of {1, 2, 3, 4, 5, 6}.")
    _text(button, "label", path, 0, limits.MAX_BUTTON_LABEL_CHARS, optional=True)
    if style == _PREMIUM_STYLE:
        raise invalid_form(f"{path}.sku_id", "COMPONENT_SKU_ID_INVALID", "There is nothing to buy in the sandbox")
    if style == _LINK_STYLE:
        _text(button, "url", path, 1, limits.MAX_URL_CHARS)
        if not str(button["url"]).startswith(("http://", "https://", "discord://")):
            raise invalid_form(f"{path}.url", "URL_TYPE_INVALID_SCHEME", "Scheme must be one of http, https, discord.")
    else:
        _text(button, "custom_id", path, 1, limits.MAX_CUSTOM_ID_CHARS)
    if not button.get("label") and not button.get("emoji"):
        raise invalid_form(path, "BUTTON_COMPONENT_INVALID_LABEL", "A button needs a label or an emoji")


def _select(select: Json, path: str) -> None:
    _text(select, "custom_id", path, 1, limits.MAX_CUSTOM_ID_CHARS)
    _text(select, "placeholder", path, 0, limits.MAX_SELECT_PLACEHOLDER_CHARS, optional=True)
    most = _number(select, "max_values", path, 1, limits.MAX_SELECT_OPTIONS, default=1)
    least = _number(select, "min_values", path, 0, limits.MAX_SELECT_OPTIONS, default=1)
    if least > most:
        raise invalid_form(f"{path}.min_values", "SELECT_MIN_OVER_MAX", "min_values is over max_values")
    if select["type"] != STRING_SELECT:
        return
    options = _choices(select, path)
    if most > len(options):
        raise invalid_form(f"{path}.max_values", "NUMBER_TYPE_MAX", f"There are only {len(options)} options")


def _choices(component: Json, path: str, most: int = limits.MAX_SELECT_OPTIONS) -> list[Json]:
    options = _list(component.get("options"), f"{path}.options", 1, most)
    seen: set[str] = set()
    for index, option in enumerate(options):
        inner = f"{path}.options.{index}"
        _text(option, "label", inner, 1, limits.MAX_SELECT_TEXT_CHARS)
        _text(option, "value", inner, 1, limits.MAX_SELECT_TEXT_CHARS)
        _text(option, "description", inner, 0, limits.MAX_SELECT_TEXT_CHARS, optional=True)
        if option["value"] in seen:
            raise invalid_form(
                f"{inner}.value", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "The specified option value is used twice"
            )
        seen.add(option["value"])
    return options


def _text_input(field: Json, path: str) -> None:
    _text(field, "custom_id", path, 1, limits.MAX_CUSTOM_ID_CHARS)
    if field.get("style") not in (1, 2):
        raise invalid_form(f"{path}.style", "BASE_TYPE_CHOICES", "Value must be one of {1, 2}.")
    _text(field, "placeholder", path, 0, limits.MAX_TEXT_INPUT_PLACEHOLDER_CHARS, optional=True)
    _text(field, "value", path, 0, limits.MAX_TEXT_INPUT_CHARS, optional=True)
    least = _number(field, "min_length", path, 0, limits.MAX_TEXT_INPUT_CHARS, default=0)
    most = _number(field, "max_length", path, 1, limits.MAX_TEXT_INPUT_CHARS, default=limits.MAX_TEXT_INPUT_CHARS)
    if least > most:
        raise invalid_form(f"{path}.min_length", "TEXT_INPUT_MIN_OVER_MAX", "min_length is over max_length")


def _label(label: Json, path: str) -> None:
    _text(label, "label", path, 1, limits.MAX_MODAL_LABEL_CHARS)
    _text(label, "description", path, 0, limits.MAX_MODAL_DESCRIPTION_CHARS, optional=True)
    _of_type(label.get("component"), _IN_LABEL, f"{path}.component")
    inner = label["component"]
    _CHECKS[inner["type"]](inner, f"{path}.component")


def _file_upload(field: Json, path: str) -> None:
    _text(field, "custom_id", path, 1, limits.MAX_CUSTOM_ID_CHARS)
    _number(field, "min_values", path, 0, limits.MAX_FILES, default=1)
    _number(field, "max_values", path, 1, limits.MAX_FILES, default=1)


def _option_group(field: Json, path: str) -> None:
    _text(field, "custom_id", path, 1, limits.MAX_CUSTOM_ID_CHARS)
    _choices(field, path, most=10)


def _checkbox(field: Json, path: str) -> None:
    _text(field, "custom_id", path, 1, limits.MAX_CUSTOM_ID_CHARS)


def _section(section: Json, path: str) -> None:
    texts = _list(section.get("components"), f"{path}.components", 1, limits.MAX_SECTION_TEXTS)
    for index, text in enumerate(texts):
        _of_type(text, {TEXT_DISPLAY}, f"{path}.components.{index}")
        _text_display(text, f"{path}.components.{index}")
    _of_type(section.get("accessory"), {BUTTON, THUMBNAIL}, f"{path}.accessory")
    _CHECKS[section["accessory"]["type"]](section["accessory"], f"{path}.accessory")


def _text_display(display: Json, path: str) -> None:
    _text(display, "content", path, 1, limits.MAX_DISPLAY_CHARS)


def _thumbnail(thumbnail: Json, path: str) -> None:
    _media(thumbnail.get("media"), f"{path}.media")
    _text(thumbnail, "description", path, 0, limits.MAX_FILE_DESCRIPTION_CHARS, optional=True)


def _gallery(gallery: Json, path: str) -> None:
    for index, item in enumerate(_list(gallery.get("items"), f"{path}.items", 1, limits.MAX_GALLERY_ITEMS)):
        _thumbnail(item, f"{path}.items.{index}")


def _file(file: Json, path: str) -> None:
    _media(file.get("file"), f"{path}.file")
    if not file["file"]["url"].startswith("attachment://"):
        raise invalid_form(f"{path}.file.url", "URL_TYPE_INVALID_SCHEME", "Scheme must be attachment.")


def _separator(separator: Json, path: str) -> None:
    _number(separator, "spacing", path, 1, 2, default=1)


def _container(container: Json, path: str) -> None:
    items = _list(container.get("components"), f"{path}.components", 1, limits.MAX_COMPONENTS)
    for index, item in enumerate(items):
        _of_type(item, _V2_TOP_LEVEL - {CONTAINER}, f"{path}.components.{index}")
        _CHECKS[item["type"]](item, f"{path}.components.{index}")


_V2_TOP_LEVEL = frozenset({ACTION_ROW, SECTION, TEXT_DISPLAY, MEDIA_GALLERY, FILE, SEPARATOR, CONTAINER})
_CHECKS: dict[int, Callable[[Json, str], None]] = {
    ACTION_ROW: _action_row,
    BUTTON: _button,
    **dict.fromkeys(SELECTS, _select),
    TEXT_INPUT: _text_input,
    SECTION: _section,
    TEXT_DISPLAY: _text_display,
    THUMBNAIL: _thumbnail,
    MEDIA_GALLERY: _gallery,
    FILE: _file,
    SEPARATOR: _separator,
    CONTAINER: _container,
    LABEL: _label,
    FILE_UPLOAD: _file_upload,
    RADIO_GROUP: _option_group,
    CHECKBOX_GROUP: _option_group,
    CHECKBOX: _checkbox,
}


# --- fields


def _of_type(component: Any, allowed: frozenset[int] | set[int], path: str) -> None:
    if not isinstance(component, dict):
        raise required(path)
    kind = component.get("type")
    if not isinstance(kind, int) or kind not in allowed:
        raise invalid_form(
            f"{path}.type", "BASE_TYPE_CHOICES", f"Value must be one of {{{', '.join(map(str, sorted(allowed)))}}}."
        )


def _list(items: Any, path: str, least: int, most: int) -> list[Json]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise required(path)
    if not least <= len(items) <= most:
        raise invalid_form(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length.")
    return items


def _text(holder: Json, key: str, path: str, least: int, most: int, *, optional: bool = False) -> None:
    value = holder.get(key)
    if value is None and optional:
        return
    if not isinstance(value, str):
        raise required(f"{path}.{key}")
    if len(value) > most:
        raise too_long(f"{path}.{key}", most)
    if len(value) < least:
        raise required(f"{path}.{key}")


def _number(holder: Json, key: str, path: str, least: int, most: int, *, default: int) -> int:
    value = holder.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise invalid_form(f"{path}.{key}", "NUMBER_TYPE_RANGE", f"Must be between {least} and {most}.")
    return value


def _media(media: Any, path: str) -> None:
    if not isinstance(media, dict):
        raise required(path)
    _text(media, "url", path, 1, 2_048)
    if not media["url"].startswith(("http://", "https://", "attachment://")):
        raise invalid_form(f"{path}.url", "URL_TYPE_INVALID_SCHEME", "Scheme must be one of http, https, attachment.")


def _unique_custom_ids(components: list[Json]) -> None:
    custom_ids = [component["custom_id"] for component in components if component.get("custom_id")]
    if len(custom_ids) != len(set(custom_ids)):
        raise invalid_form(
            "components", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated in a message"
        )


def _numbered(items: list[Json]) -> list[Json]:
    """Every component has a number of its own (`id`); those that the bot gave stay. Fields that are null go."""
    taken = {component["id"] for component in walk(items) if component.get("id")}
    following = (number for number in range(1, 10_000) if number not in taken)
    for component in walk(items):
        if not component.get("id"):
            component["id"] = next(following)
        for part in (component, *(component.get("options") or [])):
            _drop_nulls(part)
    return items


def _drop_nulls(part: Json) -> None:
    for key in [key for key, value in part.items() if value is None]:
        del part[key]
    if isinstance(part.get("emoji"), dict):
        _drop_nulls(part["emoji"])
