"""REST: answers to interactions and messages sent with their tokens; the token in the path is the only credential."""

from aiohttp import web

from bot.sandbox.backend import Backend
from bot.sandbox.wire import json_response, no_content, read_body

_YES = ("1", "true", "True")


class InteractionRoutes:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._interactions, self._messages = backend.interactions, backend.messages

    def routes(self) -> list[web.RouteDef]:
        webhook = "/webhooks/{application_id}/{token}"
        message = f"{webhook}/messages/{{message_id}}"
        return [
            web.post("/interactions/{interaction_id}/{token}/callback", self.callback),
            web.post(webhook, self.follow_up),
            web.get(message, self.get),
            web.patch(message, self.edit),
            web.delete(message, self.delete),
        ]

    async def callback(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        answered = self._interactions.respond(request.match_info["interaction_id"], request.match_info["token"], body)
        return json_response(answered) if request.query.get("with_response") in _YES else no_content()

    async def follow_up(self, request: web.Request) -> web.Response:
        record = self._interactions.by_token(request.match_info["application_id"], request.match_info["token"])
        message = self._interactions.follow_up(record, await read_body(request))
        return json_response(self._messages.for_bot(message))  # for an interaction Discord always waits

    async def get(self, request: web.Request) -> web.Response:
        record = self._interactions.by_token(request.match_info["application_id"], request.match_info["token"])
        message = self._interactions.message_of(record, request.match_info["message_id"])
        return json_response(self._messages.for_bot(message))

    async def edit(self, request: web.Request) -> web.Response:
        record = self._interactions.by_token(request.match_info["application_id"], request.match_info["token"])
        message = self._interactions.message_of(record, request.match_info["message_id"])
        changed = self._interactions.edit(message, await read_body(request))
        return json_response(self._messages.for_bot(changed))

    async def delete(self, request: web.Request) -> web.Response:
        record = self._interactions.by_token(request.match_info["application_id"], request.match_info["token"])
        self._messages.delete(self._interactions.message_of(record, request.match_info["message_id"]))
        return no_content()
