"""What Discord accepts as the body of a message. Knows no world: who may send it where is decided elsewhere."""

from dataclasses import dataclass
from typing import Any

from bot.sandbox import limits
from bot.sandbox.attachments import safe_filename
from bot.sandbox.components import check_message_components, media_items
from bot.sandbox.errors import RefusedError, empty_message, invalid_form, required, too_long
from bot.sandbox.wire import Body, Json, Upload

# Message flags: https://discord.com/developers/docs/resources/message#message-object-message-flags
SUPPRESS_EMBEDS, EPHEMERAL, LOADING = 1 << 2, 1 << 6, 1 << 7
SUPPRESS_NOTIFICATIONS, COMPONENTS_V2 = 1 << 12, 1 << 15
_SETTABLE = SUPPRESS_EMBEDS | EPHEMERAL | SUPPRESS_NOTIFICATIONS | COMPONENTS_V2


@dataclass(frozen=True, kw_only=True)
class MessageForm:
    """A checked body. None stands for a field that was not given (an edit leaves it as it is)."""

    content: str | None = None
    embeds: list[Json] | None = None
    components: list[Json] | None = None
    flags: int = 0
    kept_attachments: list[str] | None = None  # ids of those an edit keeps; None keeps all
    uploads: tuple[tuple[Upload, str | None], ...] = ()  # with their descriptions
    allowed_mentions: Json | None = None
    reference: Json | None = None
    nonce: str | None = None
    enforce_nonce: bool = False
    tts: bool = False

    @property
    def v2(self) -> bool:
        return bool(self.flags & COMPONENTS_V2)


def check_message(body: Body, *, editing: Json | None = None, filenames: frozenset[str] = frozenset()) -> MessageForm:
    """Raises RefusedError. `editing` is the message that an edit changes, `filenames` those of its files."""
    payload = body.form
    flags = payload.get("flags") or 0
    if not isinstance(flags, int) or isinstance(flags, bool):
        raise invalid_form("flags", "BASE_TYPE_INTEGER", "Must be an integer.")
    flags &= _SETTABLE
    if editing is not None:
        flags |= editing["flags"] & COMPONENTS_V2  # can be added by an edit, never taken back
    v2 = bool(flags & COMPONENTS_V2)

    content = payload.get("content")
    if content is not None and not isinstance(content, str):
        raise invalid_form("content", "BASE_TYPE_STRING", "Must be a string.")
    if "content" in payload:
        content = (content or "").strip()
        if len(content) > limits.MAX_CONTENT_CHARS:
            raise too_long("content", limits.MAX_CONTENT_CHARS)
    embeds = _checked_embeds(payload.get("embeds")) if "embeds" in payload else None
    if v2 and (content or embeds):
        field = "content" if content else "embeds"
        raise invalid_form(
            field,
            "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
            f"The '{field}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2",
        )

    uploads, kept = _attachments(payload, body.files, editing)
    components = None
    if "components" in payload:
        components = check_message_components(payload["components"] or [], v2=v2)
        names = filenames | {safe_filename(upload.filename) for upload, _ in uploads}
        for media in media_items(components):
            if media["url"].startswith("attachment://") and safe_filename(media["url"][13:]) not in names:
                raise invalid_form(
                    "components",
                    "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND",
                    f"The attachment {media['url'][13:100]} was not sent along",
                )
    return MessageForm(
        content=content if "content" in payload else None,
        embeds=embeds,
        components=components,
        flags=flags,
        kept_attachments=kept,
        uploads=uploads,
        allowed_mentions=_allowed_mentions(payload.get("allowed_mentions")),
        reference=_reference(payload.get("message_reference")),
        nonce=_nonce(payload.get("nonce")),
        enforce_nonce=payload.get("enforce_nonce") is True,
        tts=payload.get("tts") is True,
    )


def require_something(form: MessageForm) -> None:
    """Raises RefusedError (50006): a new message must show something."""
    if not (form.content or form.embeds or form.uploads or form.components):
        raise empty_message()


def _nonce(nonce: Any) -> str | None:
    if nonce is None:
        return None
    if not isinstance(nonce, str | int) or len(str(nonce)) > limits.MAX_NONCE_CHARS:
        raise too_long("nonce", limits.MAX_NONCE_CHARS)
    return str(nonce)


def _reference(reference: Any) -> Json | None:
    if reference is None:
        return None
    if not isinstance(reference, dict) or "message_id" not in reference:
        raise required("message_reference.message_id")
    if reference.get("type"):
        raise RefusedError(400, 50035, "Invalid Form Body: forwards are not part of the sandbox")
    return {
        "message_id": str(reference["message_id"]),
        "fail_if_not_exists": reference.get("fail_if_not_exists") is not False,
    }


def _allowed_mentions(allowed: Any) -> Json | None:
    if allowed is None:
        return None
    if not isinstance(allowed, dict):
        raise required("allowed_mentions")
    parse = allowed.get("parse") or []
    for key in ("users", "roles"):
        ids = allowed.get(key) or []
        if not isinstance(ids, list) or len(ids) > 100:
            raise invalid_form(f"allowed_mentions.{key}", "BASE_TYPE_MAX_LENGTH", "Must be 100 or fewer in length.")
        if ids and key in parse:
            raise invalid_form("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", f"parse and {key} clash")
    return {
        "parse": [kind for kind in parse if kind in ("users", "roles", "everyone")],
        "users": [str(user_id) for user_id in allowed.get("users") or []],
        "roles": [str(role_id) for role_id in allowed.get("roles") or []],
        "replied_user": allowed.get("replied_user") is True,
    }


def _attachments(
    payload: Json, files: dict[str, Upload], editing: Json | None
) -> tuple[tuple[tuple[Upload, str | None], ...], list[str] | None]:
    """New files with their descriptions, and the ids of old ones to keep (None: all)."""
    listed = payload.get("attachments")
    if listed is None:
        return tuple((upload, None) for upload in files.values()), None
    if not isinstance(listed, list) or not all(isinstance(item, dict) and "id" in item for item in listed):
        raise required("attachments.0.id")
    described: dict[str, str | None] = {}
    kept = []
    for index, item in enumerate(listed):
        key, description = str(item["id"]), item.get("description")
        if description is not None and len(str(description)) > limits.MAX_FILE_DESCRIPTION_CHARS:
            raise too_long(f"attachments.{index}.description", limits.MAX_FILE_DESCRIPTION_CHARS)
        if key in files:
            described[key] = None if description is None else str(description)
        elif editing is not None and key in editing["attachment_ids"]:
            kept.append(key)
        else:
            raise invalid_form(f"attachments.{index}.id", "ATTACHMENT_NOT_FOUND", f"Attachment {key} was not sent")
    if len(files) + len(kept) > limits.MAX_FILES:
        raise invalid_form("attachments", "BASE_TYPE_MAX_LENGTH", f"Must be {limits.MAX_FILES} or fewer in length.")
    return tuple((upload, described.get(key)) for key, upload in files.items()), kept


def _checked_embeds(embeds: Any) -> list[Json]:
    embeds = [] if embeds is None else embeds
    if not isinstance(embeds, list) or not all(isinstance(embed, dict) for embed in embeds):
        raise invalid_form("embeds", "LIST_TYPE_CONVERT", "Must be a list of objects.")
    if len(embeds) > limits.MAX_EMBEDS:
        raise invalid_form("embeds", "BASE_TYPE_MAX_LENGTH", f"Must be {limits.MAX_EMBEDS} or fewer in length.")
    total = sum(_embed_chars(embed, f"embeds.{index}") for index, embed in enumerate(embeds))
    if total > limits.MAX_EMBED_CHARS:
        raise invalid_form(
            "embeds", "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {limits.MAX_EMBED_CHARS}"
        )
    return [{"type": "rich"} | embed for embed in embeds]


def _embed_chars(embed: Json, path: str) -> int:
    """Characters that count towards the limit over all embeds. Raises RefusedError for a field over its own."""
    fields = embed.get("fields") or []
    if len(fields) > limits.MAX_EMBED_FIELDS:
        raise invalid_form(
            f"{path}.fields", "BASE_TYPE_MAX_LENGTH", f"Must be {limits.MAX_EMBED_FIELDS} or fewer in length."
        )
    parts = [
        ("title", embed.get("title"), limits.MAX_EMBED_TITLE_CHARS),
        ("description", embed.get("description"), limits.MAX_EMBED_DESCRIPTION_CHARS),
        ("footer.text", (embed.get("footer") or {}).get("text"), limits.MAX_EMBED_FOOTER_CHARS),
        ("author.name", (embed.get("author") or {}).get("name"), limits.MAX_EMBED_AUTHOR_CHARS),
    ]
    for index, field in enumerate(fields):
        for key, most in (
            ("name", limits.MAX_EMBED_FIELD_NAME_CHARS),
            ("value", limits.MAX_EMBED_FIELD_VALUE_CHARS),
        ):
            if not str(field.get(key) or "").strip():
                raise required(f"{path}.fields.{index}.{key}")
            parts.append((f"fields.{index}.{key}", field[key], most))
    for key in ("image", "thumbnail"):
        url = (embed.get(key) or {}).get("url")
        if url is not None and not str(url).startswith(("http://", "https://", "attachment://")):
            raise invalid_form(f"{path}.{key}.url", "URL_TYPE_INVALID_SCHEME", "Scheme must be one of http, https.")
    for key, text, most in parts:
        if text is not None and len(str(text)) > most:
            raise too_long(f"{path}.{key}", most)
    return sum(len(str(text)) for _, text, _ in parts if text is not None)
