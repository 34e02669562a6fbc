"""A small real HTTP server that speaks the OpenAI interface, with the bigram model behind it, and that misbehaves as
the story asks. Counts what is asked of it and who hangs up.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from models.serving.requests import Sampling, StoryRequest
from tests.bigram_model import BigramModel

KEY = "sk-very-secret"
MODEL = "bigram"


class RemoteServerDouble:
    """`async with` it; `url` is its base address. Faults are named in the prompt: see `_misbehave`."""

    def __init__(self, *, pause_s: float = 0.0) -> None:
        self.calls: list[dict] = []
        self.models_status = 200
        self.listed: dict = {}  # beside the model's name
        self.hung_up = 0
        self.served = 0
        self._failed: Counter[str] = Counter()
        self._pause_s = pause_s
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> "RemoteServerDouble":
        application = web.Application()
        application.router.add_get("/v1/models", self._models)
        application.router.add_post("/v1/completions", self._complete)
        application.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"message": f"the key {KEY} is not the one"}}, status=401)
        if self.models_status != 200:
            return web.json_response({"error": {"message": "not now"}}, status=self.models_status)
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"} | self.listed]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        call = await request.json()
        self.calls.append(call)
        chat = request.path.endswith("/chat/completions")
        prompt = call["messages"][-1]["content"] if chat else call["prompt"]
        if (refusal := await self._refuse(prompt)) is not None:
            return refusal
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            await self._stream(response, request, call, prompt, chat)
        except (ConnectionResetError, asyncio.CancelledError):
            self.hung_up += 1
            raise
        self.served += 1
        return response

    async def _refuse(self, prompt: str) -> web.Response | None:
        """[429] and the like: that status, always; [429 twice]: only the first two times."""
        for status in (400, 401, 404, 429, 500, 503):
            twice = f"[{status} twice]" in prompt
            if twice or f"[{status}]" in prompt:
                self._failed[prompt] += 1
                if not twice or self._failed[prompt] <= 2:
                    headers = {"Retry-After": "0.05"} if status == 429 else {}
                    error = {"error": {"message": f"on purpose, {KEY}"}}
                    return web.json_response(error, status=status, headers=headers)
        if "[never answers]" in prompt:
            await asyncio.Event().wait()
        return None

    async def _stream(self, response, request, call, prompt, chat) -> None:
        async def send(data: object) -> None:
            await response.write(b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n")

        head = {"id": "c", "object": "c", "created": 1, "model": MODEL}

        def event(text: str | None, reason: str | None = None) -> dict:
            piece = {"delta": {"content": text} if text else {}} if chat else {"text": text or ""}
            return {**head, "choices": [piece | {"index": 0, "finish_reason": reason}]}

        if chat:
            await send({**head, "choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]})
        if "[nothing]" in prompt:
            return
        if "[silent]" in prompt:
            await response.write(b": still here\n\n")
            await asyncio.Event().wait()
        count = 0
        tokens = 0
        async for text in self._text(call, prompt):
            count += len(text)
            tokens += 1
            await send(event(text))
            if count == 12:
                await self._misbehave(prompt, send, request, response)
                if "[ends]" in prompt:
                    return
        await send(event(None, "length"))
        if "stream_options" in call:
            usage = {
                "prompt_tokens": len(prompt),
                "completion_tokens": tokens,
                "total_tokens": len(prompt) + tokens,
                "prompt_tokens_details": {"cached_tokens": 3},
            }
            await send({**head, "choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")

    async def _misbehave(self, prompt: str, send: Callable, request, response) -> None:
        if "[closes]" in prompt:
            request.transport.abort()
            await asyncio.Event().wait()
        if "[garbage]" in prompt:
            await send(b"{this is no json")
        if "[bytes]" in prompt:
            await response.write(b"data: \xff\xfe\n\n")
        if "[shape]" in prompt:
            await send({"choices": 7})
        if "[error]" in prompt:
            await send({"error": {"message": f"out of memory, {KEY}"}})
        if "[stalls]" in prompt:
            await asyncio.Event().wait()

    async def _text(self, call: dict, prompt: str) -> AsyncIterator[str]:
        model = BigramModel()
        pieces: list[str] = []
        sampling = Sampling(max_new_tokens=call["max_tokens"], temperature=call["temperature"], seed=call["seed"])
        story = StoryRequest(request_id="r", story=prompt, sampling=sampling)
        model.generate(story, lambda text: not pieces.append(text))
        for piece in pieces:
            await asyncio.sleep(self._pause_s)
            yield piece
