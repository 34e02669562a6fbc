"""Messages as they are made, changed, removed and shown. Knows the world's rules about them; tells the broadcast."""

import copy
import re
from typing import TYPE_CHECKING

from bot.sandbox import markdown
from bot.sandbox.attachments import Attachments, safe_filename
from bot.sandbox.components import TEXT_DISPLAY, media_items, walk
from bot.sandbox.errors import invalid_form
from bot.sandbox.message_form import EPHEMERAL, LOADING, MessageForm
from bot.sandbox.permissions import Permission
from bot.sandbox.wire import Json, timestamp
from bot.sandbox.world import DM, World

if TYPE_CHECKING:
    from bot.sandbox.broadcast import Broadcast

DEFAULT, REPLY, CHAT_INPUT_COMMAND, THREAD_STARTER, CONTEXT_MENU_COMMAND = 0, 19, 20, 21, 23
# Kept with a message and never shown to the bot.
_PRIVATE = ("attachment_ids", "ephemeral_for", "enforced_nonce")


class Messages:
    """Every message passes through here, whoever wrote it. Permissions are the callers' business: they differ."""

    def __init__(self, world: World, attachments: Attachments, broadcast: "Broadcast", page_prefix: str) -> None:
        self._world, self._attachments, self._broadcast = world, attachments, broadcast
        self._page_prefix = page_prefix

    # --- making and changing

    def create(
        self,
        author_id: str,
        channel: Json,
        form: MessageForm,
        *,
        kind: int = DEFAULT,
        ephemeral_for: str | None = None,
        loading: bool = False,
        extra: Json | None = None,
    ) -> Json:
        """A new message, kept and told. `extra` are fields of an interaction's answer."""
        world = self._world
        if form.nonce and form.enforce_nonce and (twin := self._with_nonce(channel["id"], author_id, form.nonce)):
            return twin
        reference = self._resolve_reference(channel, form)
        message: Json = {
            "id": world.new_id(),
            "channel_id": channel["id"],
            "type": REPLY if reference else kind,
            "author": {"id": author_id},
            "content": form.content or "",
            "timestamp": timestamp(),
            "edited_timestamp": None,
            "tts": form.tts,
            "pinned": False,
            "embeds": self._own_links(form.embeds or []),
            "components": form.components or [],
            "flags": form.flags & ~EPHEMERAL | (EPHEMERAL if ephemeral_for else 0) | (LOADING if loading else 0),
            "attachment_ids": self._keep_uploads(channel["id"], form),
            **(extra or {}),
        }
        if reference:
            message["message_reference"] = {
                "type": 0,
                "channel_id": channel["id"],
                "message_id": reference,
                **({"guild_id": channel["guild_id"]} if "guild_id" in channel else {}),
            }
        if form.nonce is not None:
            message["nonce"] = form.nonce
            message["enforced_nonce"] = form.enforce_nonce
        if ephemeral_for:
            message["ephemeral_for"] = ephemeral_for
        self._mention(message, form, author_id, channel)
        for dropped in world.add_message(message):
            self._attachments.remove(dropped["attachment_ids"])
        self._broadcast.message("MESSAGE_CREATE", message)
        return message

    def edit(self, message: Json, form: MessageForm, *, silent: bool = False) -> Json:
        """`message` changed by what the form gives. Not told when `silent` (the caller tells it otherwise)."""
        channel = self._world.channel(message["channel_id"])
        if form.content is not None:
            message["content"] = form.content
            self._mention(message, form, message["author"]["id"], channel)
        if form.embeds is not None:
            message["embeds"] = self._own_links(form.embeds)
        if form.components is not None:
            message["components"] = form.components
        before = message["attachment_ids"]
        if form.kept_attachments is not None or form.uploads:
            referenced = self._referenced(message)
            kept = [
                attachment_id
                for attachment_id in before
                if form.kept_attachments is None
                or attachment_id in form.kept_attachments
                or self._name_of(attachment_id) in referenced
            ]
            message["attachment_ids"] = kept + self._keep_uploads(channel["id"], form)
            self._attachments.remove([gone for gone in before if gone not in message["attachment_ids"]])
        if not message["flags"] & LOADING:  # the text that a deferred reply waited for is not an edit
            message["edited_timestamp"] = timestamp()
        message["flags"] = (message["flags"] | form.flags & ~EPHEMERAL) & ~LOADING
        self._world.touch()
        if not silent:
            self._broadcast.message("MESSAGE_UPDATE", message)
        return message

    def delete(self, message: Json) -> None:
        self._world.remove_message(message)
        self._attachments.remove(message["attachment_ids"])
        self._broadcast.message("MESSAGE_DELETE", message)

    def filenames(self, message: Json) -> frozenset[str]:
        return frozenset(self._name_of(attachment_id) for attachment_id in message["attachment_ids"])

    # --- showing

    def for_bot(self, message: Json, *, with_content: bool = True, in_gateway: bool = False) -> Json:
        """As Discord sends it. Without the Message Content intent the texts of others are withheld."""
        shown = self._present(message, page_prefix=None, nested=True)
        if in_gateway and "guild_id" in (channel := self._world.channel(message["channel_id"])):
            shown["guild_id"] = channel["guild_id"]
            if message["author"]["id"] in self._world.data.members:
                shown["member"] = self._world.data.members[message["author"]["id"]]
            for user in shown["mentions"]:
                if user["id"] in self._world.data.members:
                    user["member"] = self._world.data.members[user["id"]]
        if not with_content and not self._meant_for_bot(message):
            shown |= {"content": "", "embeds": [], "attachments": [], "components": []}
        return shown

    def for_page(self, message: Json) -> Json:
        """With `html` beside every text, links under the capability, and `ephemeral_for`."""
        shown = self._present(message, page_prefix=self._page_prefix, nested=True)
        for part in (shown, shown.get("referenced_message")):
            if part is not None:
                self._add_html(part, message if part is shown else None)
        if "ephemeral_for" in message:
            shown["ephemeral_for"] = message["ephemeral_for"]
        return shown

    def _present(self, message: Json, *, page_prefix: str | None, nested: bool) -> Json:
        world = self._world
        shown = copy.deepcopy({key: value for key, value in message.items() if key not in _PRIVATE})
        shown["author"] = world.data.users.get(message["author"]["id"], message["author"])
        shown["mentions"] = [dict(world.data.users[user_id]) for user_id in message["mentions"]]
        ephemeral = "ephemeral_for" in message
        files = {}
        for attachment_id in message["attachment_ids"]:
            if record := self._attachments.get(attachment_id):
                files[record["filename"]] = self._attachments.present(
                    record, page_prefix=page_prefix, ephemeral=ephemeral
                )
        referenced = self._referenced(message)
        # a file shown inside an embed or a component is not listed a second time
        shown["attachments"] = [file for name, file in files.items() if name not in referenced]
        for media in _media_of(shown):
            file = files.get(safe_filename(media["url"][13:])) if media["url"].startswith("attachment://") else None
            if file is not None:
                keys = ("url", "proxy_url", "width", "height", "content_type")
                media |= {key: file[key] for key in keys if key in file} | {"attachment_id": file["id"]}
        if nested and "message_reference" in message:
            target = world.data.messages.get(message["channel_id"], {}).get(message["message_reference"]["message_id"])
            shown["referenced_message"] = (
                self._present(target, page_prefix=page_prefix, nested=False) if target is not None else None
            )
        if message["id"] in world.data.channels:
            shown["thread"] = world.data.channels[message["id"]]
            shown["flags"] |= 1 << 5  # HAS_THREAD
        for key in ("interaction", "interaction_metadata"):
            if key in shown:
                self._name_users(shown[key])
        return shown

    def _name_users(self, metadata: Json) -> None:
        """Whole users in place of the ids that are kept."""
        for key in ("user", "target_user"):
            if key in metadata:
                metadata[key] = self._world.data.users[metadata[key]["id"]]
        if "triggering_interaction_metadata" in metadata:
            self._name_users(metadata["triggering_interaction_metadata"])

    def _add_html(self, shown: Json, message: Json | None) -> None:
        names = markdown.Names(
            users={user_id: self._display_name(user_id) for user_id in self._world.data.users},
            channels={key: channel["name"] for key, channel in self._world.data.channels.items() if "name" in channel},
            roles={role_id: role["name"] for role_id, role in self._world.data.roles.items()},
            pings_everyone=bool(message and message["mention_everyone"]),
        )
        shown["html"] = markdown.render(shown["content"], names)
        for embed in shown["embeds"]:
            if embed.get("title"):
                embed["title_html"] = markdown.render_inline(str(embed["title"]), names)
            if embed.get("description"):
                embed["description_html"] = markdown.render(str(embed["description"]), names)
            for field in embed.get("fields") or []:
                field["name_html"] = markdown.render_inline(str(field["name"]), names)
                field["value_html"] = markdown.render(str(field["value"]), names)
        for component in walk(shown["components"]):
            if component["type"] == TEXT_DISPLAY:
                component["html"] = markdown.render(component["content"], names)

    def _display_name(self, user_id: str) -> str:
        user = self._world.data.users[user_id]
        nick = self._world.data.members.get(user_id, {}).get("nick")
        return str(nick or user["global_name"] or user["username"])

    # --- parts

    def _with_nonce(self, channel_id: str, author_id: str, nonce: str) -> Json | None:
        for message in self._world.history(channel_id):
            if message.get("nonce") == nonce and message["author"]["id"] == author_id and message["enforced_nonce"]:
                return message
        return None

    def _resolve_reference(self, channel: Json, form: MessageForm) -> str | None:
        if form.reference is None:
            return None
        target = self._world.data.messages.get(channel["id"], {}).get(form.reference["message_id"])
        if target is not None and "ephemeral_for" not in target:
            return str(form.reference["message_id"])
        if form.reference["fail_if_not_exists"]:
            raise invalid_form("message_reference", "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "Unknown message")
        return None

    def _keep_uploads(self, channel_id: str, form: MessageForm) -> list[str]:
        return [
            self._attachments.add(channel_id, upload, description=description)["id"]
            for upload, description in form.uploads
        ]

    def _own_links(self, embeds: list[Json]) -> list[Json]:
        """A link that we made ourselves (a bot may send back an embed it was shown) becomes attachment:// again."""
        for embed in embeds:
            for media in _embed_media(embed):
                if (record := self._attachments.own_link(media["url"])) is not None:
                    media["url"] = f"attachment://{record['filename']}"
        return embeds

    def _referenced(self, message: Json) -> set[str]:
        return {
            safe_filename(media["url"][13:]) for media in _media_of(message) if media["url"].startswith("attachment://")
        }

    def _name_of(self, attachment_id: str) -> str:
        record = self._attachments.get(attachment_id)
        return str(record["filename"]) if record else ""

    def _mention(self, message: Json, form: MessageForm, author_id: str, channel: Json) -> None:
        """Who is pinged: whoever the content names, within what the sender allows and may do."""
        content, world, allowed = message["content"], self._world, form.allowed_mentions
        parse = {"users", "roles", "everyone"} if allowed is None else set(allowed["parse"])
        may_ping_all = world.may(author_id, Permission.MENTION_EVERYONE, channel)
        users = [
            user_id
            for user_id in dict.fromkeys(re.findall(r"<@!?(\d+)>", content))
            if user_id in world.data.users and ("users" in parse or user_id in (allowed or {}).get("users", ()))
        ]
        replied_to = (message.get("message_reference") or {}).get("message_id")
        if replied_to and (allowed is None or allowed["replied_user"]):
            target = world.data.messages.get(channel["id"], {}).get(replied_to)
            if target is not None and target["author"]["id"] not in users:
                users.append(target["author"]["id"])
        message["mentions"] = users
        message["mention_roles"] = [
            role_id
            for role_id in dict.fromkeys(re.findall(r"<@&(\d+)>", content))
            if role_id in world.data.roles
            and ("roles" in parse or role_id in (allowed or {}).get("roles", ()))
            and (may_ping_all or world.data.roles[role_id]["mentionable"])
        ]
        calls_all = re.search(r"@(everyone|here)\b", content) is not None
        message["mention_everyone"] = calls_all and "everyone" in parse and may_ping_all

    def _meant_for_bot(self, message: Json) -> bool:
        channel = self._world.channel(message["channel_id"])
        in_its_dm = channel["type"] == DM and self._world.bot_id in channel["recipient_ids"]
        own = message["author"]["id"] == self._world.bot_id
        return own or in_its_dm or self._world.bot_id in message["mentions"]


def _embed_media(embed: Json) -> list[Json]:
    return [embed[key] for key in ("image", "thumbnail") if (embed.get(key) or {}).get("url")]


def _media_of(message: Json) -> list[Json]:
    embedded = [media for embed in message["embeds"] for media in _embed_media(embed)]
    return embedded + list(media_items(message["components"]))
