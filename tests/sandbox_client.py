"""A member of the sandbox's guild, acting over the page's own HTTP and WebSocket. Knows no bot and no page.

    async with Person.join(sandbox, "writer") as wren:
        await wren.slash("story prompt", prompt="The keeper found a letter")
        message = await wren.wait_message(lambda message: "Continue" in labels(message))
        await wren.click(message, "Continue")

Every act (slash, click, choose, menu, submit_modal, say, …) sets a mark; `wait_for` and `wait_message` look at what
arrived since the latest mark, then at what arrives, so that nothing is missed however fast the bot is.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

import aiohttp
from yarl import URL

from bot.sandbox import Sandbox

Json = dict[str, Any]
WAIT_S = 60.0
_SUBCOMMAND, _GROUP, _ATTACHMENT = 1, 2, 11


class File(NamedTuple):
    """A file for `say`, an attachment option or a modal's upload."""

    filename: str
    content: bytes


class RefusedToPersonError(AssertionError):
    """The sandbox refused an act; `sentence` is what the page shows."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(f"{status}: {sentence}")
        self.status, self.sentence = status, sentence


class NoAnswerError(AssertionError):
    """The bot did not acknowledge; `reason` is what the page shows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Event(NamedTuple):
    """A frame of the page's WebSocket."""

    t: str
    d: Json


def walk(components: list[Json]) -> list[Json]:
    """Every component, nested ones too."""
    found = []
    for component in components:
        found.append(component)
        found += walk(component.get("components", []))
        found += walk([component[key] for key in ("accessory", "component") if key in component])
    return found


def labels(message: Json) -> list[str]:
    """Labels of a message's buttons."""
    return [str(part["label"]) for part in walk(message["components"]) if part["type"] == 2 and part.get("label")]


class Person:
    """One of the sandbox's people: "writer", "co-author" or "admin". They act in `channel_id`, which `go` changes."""

    def __init__(self, page_url: str, user_id: str, http: aiohttp.ClientSession) -> None:
        self.id, self._url, self._http = user_id, page_url, http
        self.channel_id = ""
        self.events: list[Event] = []
        self._mark = 0
        self._arrived = asyncio.Condition()

    @classmethod
    @asynccontextmanager
    async def join(cls, sandbox: Sandbox, part: str = "writer", *, channel: str = "stories") -> AsyncIterator[Self]:
        async with cls.at(sandbox.page_url, part, channel=channel) as person:
            yield person

    @classmethod
    @asynccontextmanager
    async def at(cls, page_url: str, part: str = "writer", *, channel: str = "stories") -> AsyncIterator[Self]:
        """By the address alone, where the sandbox runs in another process."""
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{page_url}ui/state") as answer:
                users = (await _checked(answer))["users"]
            person = cls(page_url, next(user["id"] for user in users if user.get("part") == part), http)
            await person.go(channel)
            async with http.ws_connect(f"{page_url}ui/socket?as={person.id}") as socket:
                reader = asyncio.create_task(person._read(socket))
                try:
                    yield person
                finally:
                    reader.cancel()
                    await asyncio.gather(reader, return_exceptions=True)

    # --- looking

    async def state(self) -> Json:
        """`GET ui/state`: channels, threads, dms, commands, bot."""
        state: Json = await self._get(f"ui/state?as={self.id}")
        return state

    async def messages(self, channel_id: str = "", *, limit: int = 50) -> list[Json]:
        """Messages that this person sees in a channel (the current one by default), newest first."""
        found: list[Json] = await self._get(
            f"ui/channels/{channel_id or self.channel_id}/messages?as={self.id}&limit={limit}"
        )
        return found

    async def fetch(self, url: str) -> bytes:
        """An attachment's bytes, by the link that the page got."""
        async with self._http.get(URL(self._url).join(URL(url))) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()

    # --- moving

    async def go(self, channel: str) -> str:
        """Act in a text channel or thread, by name or id, from now on; its id."""
        state = await self.state()
        for place in [*state["channels"], *state["threads"], *state["dms"]]:
            if channel in (place["id"], place.get("name")):
                self.channel_id = str(place["id"])
                return self.channel_id
        raise AssertionError(f"{channel} is not among what this person sees")

    async def open_dm(self, user_id: str) -> str:
        """Open a DM and act in it; its id."""
        dm = await self._post("ui/channels", {"type": 1, "recipient": user_id})
        self.channel_id = str(dm["id"])
        return self.channel_id

    async def open_thread(self, name: str, *, message: Json | None = None, private: bool = False) -> Json:
        """Open a thread under the current channel (on `message` when given); act in it; the thread."""
        form: Json = {"type": 12 if private else 11, "name": name, "parent_id": self.channel_id}
        thread = await self._post("ui/channels", form | ({"message_id": message["id"]} if message else {}))
        self.channel_id = str(thread["id"])
        return thread

    # --- acting

    async def say(self, content: str, *files: File, reply_to: Json | None = None) -> Json:
        form: Json = {"content": content} | ({"reply_to": reply_to["id"]} if reply_to else {})
        return await self._post(f"ui/channels/{self.channel_id}/messages", form, list(files))

    async def type(self) -> None:
        await self._post(f"ui/channels/{self.channel_id}/typing", {})

    async def slash(self, name: str, /, *, acknowledged: bool = True, locale: str = "en-US", **options: Any) -> str:
        """Use a slash command, "story prompt" for a sub-command; the interaction's id. A `File` is an attachment.

        Raises RefusedToPersonError when the sandbox refuses, NoAnswerError when the bot is late (unless
        `acknowledged` is False: then it does not wait).
        """
        files: list[File] = []
        data = await self._command(name, options, files)
        return await self._interact(2, data, files, acknowledged=acknowledged, locale=locale)

    async def complete(self, name: str, /, **options: Any) -> list[Json]:
        """Choices that the bot offers while the last of `options` is being typed."""
        data = await self._command(name, options, [], focused=list(options)[-1])
        interaction_id = await self._interact(4, data, [], acknowledged=True)
        answered = "INTERACTION_AUTOCOMPLETE"
        event = await self.wait_for(lambda event: event.t == answered and event.d["id"] == interaction_id)
        choices: list[Json] = event.d["choices"]
        return choices

    async def menu(self, name: str, *, message: Json | None = None, user_id: str = "") -> str:
        """Use a context menu on a message or a user; the interaction's id."""
        kind, target = (3, message["id"]) if message else (2, user_id)
        command = await self._find(name, kind)
        return await self._interact(2, {"id": command["id"], "name": name, "type": kind, "target_id": target}, [])

    async def click(self, message: Json, label_or_custom_id: str, *, acknowledged: bool = True) -> str:
        """Press a button; the interaction's id."""
        for part in walk(message["components"]):
            if part["type"] == 2 and label_or_custom_id in (part.get("label"), part.get("custom_id")):
                data = {"component_type": 2, "custom_id": part.get("custom_id")}
                return await self._interact(3, data, [], message=message, acknowledged=acknowledged)
        raise AssertionError(f"no button {label_or_custom_id!r} among {labels(message)}")

    async def choose(self, message: Json, custom_id: str, *values: str) -> str:
        """Choose in a select; the interaction's id."""
        part = next(part for part in walk(message["components"]) if part.get("custom_id") == custom_id)
        data = {"component_type": part["type"], "custom_id": custom_id, "values": list(values)}
        return await self._interact(3, data, [], message=message)

    async def modal(self) -> Json:
        """The modal that the last act opened: `{id, custom_id, title, components}`."""
        return (await self.wait_for(lambda event: event.t == "INTERACTION_MODAL")).d

    async def submit_modal(self, modal: Json, answers: Mapping[str, Any]) -> str:
        """Answer a modal's fields, named by label or custom_id; the interaction's id. A File is uploaded, a list are
        values, anything else is a value."""
        files: list[File] = []
        fields = []
        for component in modal["components"]:
            field = component.get("component") or (component.get("components") or [{}])[0]
            label = component.get("label") or field.get("label")
            key = label if label in answers else field.get("custom_id")
            if key in answers:
                answer = answers[key]
                if isinstance(answer, File):
                    files.append(answer)
                    answer = [str(len(files) - 1)]
                shape = "values" if isinstance(answer, list) else "value"
                fields.append({"type": field["type"], "custom_id": field["custom_id"], shape: answer})
        data = {"custom_id": modal["custom_id"], "components": [{"type": 1, "components": fields}]}
        return await self._interact(5, data, files)

    # --- waiting

    async def wait_for(self, predicate: Callable[[Event], bool], timeout: float = WAIT_S) -> Event:
        """The first event since the latest act that fits. Raises AssertionError with what came instead."""
        position = self._mark
        try:
            async with asyncio.timeout(timeout), self._arrived:
                while True:
                    while position < len(self.events):
                        if predicate(self.events[position]):
                            return self.events[position]
                        position += 1
                    await self._arrived.wait()
        except TimeoutError:
            came = ", ".join(event.t for event in self.events[self._mark :]) or "nothing"
            raise AssertionError(f"waited {timeout} s in vain; since the latest act came: {came}") from None

    async def wait_message(self, predicate: Callable[[Json], bool] = lambda _: True, timeout: float = WAIT_S) -> Json:
        """The first message, new or changed since the latest act, that fits."""
        event = await self.wait_for(
            lambda event: event.t in ("MESSAGE_CREATE", "MESSAGE_UPDATE") and predicate(event.d), timeout
        )
        return event.d

    # --- inside

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in socket:
            async with self._arrived:
                event = json.loads(frame.data)
                self.events.append(Event(event["t"], event["d"]))
                self._arrived.notify_all()

    async def _find(self, name: str, kind: int) -> Json:
        for command in (await self.state())["commands"]:
            if command["name"] == name and command["type"] == kind:
                return dict(command)
        raise AssertionError(f"this person has no command {name!r}")

    async def _command(self, name: str, options: Json, files: list[File], focused: str | None = None) -> Json:
        first, *path = name.split()
        command = await self._find(first, 1)
        definitions = command["options"]
        for step in path:
            definition = next(option for option in definitions if option["name"] == step)
            assert definition["type"] in (_SUBCOMMAND, _GROUP), f"{step} is no sub-command"
            definitions = definition["options"]
        given = []
        for key, value in options.items():
            definition = next((option for option in definitions if option["name"] == key), {"type": 3})
            if isinstance(value, File):
                files.append(value)
                value = str(len(files) - 1)
            given.append({"type": definition["type"], "name": key, "value": value, "focused": key == focused})
        for depth, step in reversed(list(enumerate(path))):
            kind = _SUBCOMMAND if depth == len(path) - 1 else _GROUP
            given = [{"type": kind, "name": step, "options": given}]
        return {"id": command["id"], "name": first, "type": 1, "options": given}

    async def _interact(
        self,
        kind: int,
        data: Json,
        files: list[File],
        *,
        message: Json | None = None,
        acknowledged: bool = True,
        locale: str = "en-US",
    ) -> str:
        form: Json = {"type": kind, "channel_id": self.channel_id, "data": data, "locale": locale}
        if message is not None:
            form |= {"message_id": message["id"], "channel_id": message["channel_id"]}
        interaction_id = str((await self._post("ui/interactions", form, files))["id"])
        if acknowledged:
            names = ("INTERACTION_SUCCESS", "INTERACTION_FAILURE")
            event = await self.wait_for(lambda event: event.t in names and event.d["id"] == interaction_id)
            if event.t == "INTERACTION_FAILURE":
                raise NoAnswerError(event.d["reason"])
        return interaction_id

    async def _get(self, path: str) -> Any:
        async with self._http.get(self._url + path) as answer:
            return await _checked(answer)

    async def _post(self, path: str, form: Json, files: list[File] | None = None) -> Json:
        self._mark = len(self.events)
        form = form | {"as": self.id}
        body: Any
        if files:
            body = aiohttp.FormData(quote_fields=False)
            body.add_field("payload_json", json.dumps(form), content_type="application/json")
            for index, file in enumerate(files):
                body.add_field(f"files[{index}]", io.BytesIO(file.content), filename=file.filename)
            request = self._http.post(self._url + path, data=body)
        else:
            request = self._http.post(self._url + path, json=form)
        async with request as answer:
            checked: Json = await _checked(answer)
            return checked


async def _checked(answer: aiohttp.ClientResponse) -> Any:
    if answer.status == 204:
        return {}
    body = json.loads(await answer.text())
    if answer.status >= 400:
        raise RefusedToPersonError(answer.status, body["message"])
    return body
