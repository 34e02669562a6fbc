"""Where the command line asks a running Inkwell: a socket in DATA_DIR that only its owner may open. Knows nothing of
the answers.
"""

import contextlib
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

import aiohttp
from aiohttp import web

NAME = "inkwell.sock"
_MAX_PATH_BYTES = 100  # of a socket's address: 108 on Linux, 104 on macOS, with a zero at the end
_ANSWER_S = 5.0
_NEXT_LINE_S = 60.0  # of an act, which gives a sign of life more often than that

Answer = Callable[[], Awaitable[bytes]]
Act = Callable[[bytes], AsyncGenerator[bytes, None]]


class NotRunningError(Exception):
    """Nobody answers there. The message is one sentence for the operator. `nobody`: because none runs."""

    def __init__(self, words: str, *, nobody: bool = False) -> None:
        super().__init__(words)
        self.nobody = nobody


@contextlib.asynccontextmanager
async def listening(
    data_dir: Path, answers: Mapping[str, Answer], acts: Mapping[str, Act] | None = None
) -> AsyncIterator[None]:
    """Answer "GET /NAME" with what `answers[NAME]` gives, as JSON, and "POST /NAME" with what `acts[NAME]`, called with
    the body, tells as it goes on, a line of JSON each, for as long as the context lasts. The caller holds the
    database's lock, so a socket that is there already is left over from a kill. Raises OSError."""
    application = web.Application()

    def route(answer: Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def respond(_: web.Request) -> web.Response:
            try:
                return web.Response(body=await answer(), content_type="application/json")
            except TimeoutError:
                return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)

        return respond

    for name, answer in answers.items():
        application.router.add_get(f"/{name}", route(answer))
    for name, act in (acts or {}).items():
        application.router.add_post(f"/{name}", _telling(act))
    path = data_dir / NAME
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with _reachable(path) as address:
            listener.bind(address)
        path.chmod(0o600)  # before it listens: until then nobody can connect
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            yield
        finally:
            await runner.cleanup()  # before the socket closes under its event loop
            path.unlink(missing_ok=True)


def _telling(act: Act) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        async with contextlib.aclosing(act(await request.read())) as lines:
            async for line in lines:
                await response.write(line + b"\n")
        return response

    return respond


async def ask(data_dir: Path, name: str) -> bytes:
    """The answer of the Inkwell that runs on `data_dir`. Raises NotRunningError."""
    async with _reached(data_dir, "GET", name, aiohttp.ClientTimeout(total=_ANSWER_S)) as answer:
        return await answer.read()


async def order(data_dir: Path, name: str, body: bytes = b"") -> AsyncIterator[bytes]:
    """What the Inkwell that runs on `data_dir` tells, line by line, while it does it. Raises NotRunningError."""
    timeout = aiohttp.ClientTimeout(total=None, sock_read=_NEXT_LINE_S)
    async with _reached(data_dir, "POST", name, timeout, body) as answer:
        async for line in answer.content:
            yield line


@contextlib.asynccontextmanager
async def _reached(
    data_dir: Path, method: str, name: str, timeout: aiohttp.ClientTimeout, body: bytes = b""
) -> AsyncIterator[aiohttp.ClientResponse]:
    path = data_dir / NAME
    try:
        with _reachable(path) as address:
            connector = aiohttp.UnixConnector(address)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
                http.request(method, f"http://inkwell/{name}", data=body or None) as answer,
            ):
                if answer.status != HTTPStatus.OK:
                    raise NotRunningError(f"The running Inkwell gives no {name} now ({answer.status}); see its log.")
                yield answer
    except TimeoutError:
        seconds = timeout.total or timeout.sock_read or 0.0
        raise NotRunningError(f"Inkwell runs, but did not answer within {seconds:.0f} s; see its log.") from None
    except (FileNotFoundError, aiohttp.ClientError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, PermissionError):
            raise NotRunningError(f"Only the user who runs Inkwell may ask it ({path}).") from None
        raise NotRunningError(
            f"Inkwell is not running on {data_dir}: start it with `inkwell run`, or name another folder "
            "with --data-dir.",
            nobody=isinstance(cause, FileNotFoundError | ConnectionRefusedError),
        ) from None


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """An address for `path` that is short enough. Raises FileNotFoundError, OSError."""
    address = str(path.absolute())
    if len(os.fsencode(address)) <= _MAX_PATH_BYTES:
        yield address
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
