"""Two small servers on loopback: a package index for pip and a Hugging Face hub, each serving files given as bytes and
able to stop in the middle of one. Know nothing of models.
"""

import hashlib
import json
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import urlsplit


def wheel_with(member: str, content: bytes, *, project: str = "tiny-gguf", version: str = "1.0") -> tuple[str, bytes]:
    """Name and bytes of a wheel that holds `content` as `member`."""
    stem = f"{project.replace('-', '_')}-{version}"
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n")
        archive.writestr(
            f"{stem}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return f"{stem}-py3-none-any.whl", packed.getvalue()


class FileServer(ThreadingHTTPServer):
    """Serves `files` (path -> bytes). While `stall` is set, a file in `stalling` is sent by half, `halfway` is set, and
    the rest waits until `stall` is cleared by `go_on` (or the other side hangs up)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.headers_of: dict[str, dict[str, str]] = {}
        self.errors_of: dict[str, str] = {}
        self.stalling: set[str] = set()
        self.halfway, self.go_on = threading.Event(), threading.Event()
        self.sent: Counter[str] = Counter()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed hangs up: no news."""


class _Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = urlsplit(self.path).path
        content = self.server.files.get(path)
        if content is None:
            self.send_response(404)
            if code := self.server.errors_of.get(path):
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        whole, start = len(content), 0
        if wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(wanted[1])
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        for name, value in self.server.headers_of.get(path, {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(whole - start))
        self.end_headers()
        if not body:
            return
        if path in self.server.stalling and not self.server.go_on.is_set():
            middle = (start + whole) // 2
            self.wfile.write(content[start:middle])
            self.wfile.flush()
            self.server.halfway.set()
            self.server.go_on.wait(60)
            start = middle
        self.wfile.write(content[start:])
        self.server.sent[path] += 1

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def _serving(server: FileServer) -> Iterator[FileServer]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def package_index(wheels: dict[str, bytes]) -> Iterator[FileServer]:
    """An index in PEP 503's simple form. pip finds it through PIP_INDEX_URL=`address`/simple."""
    server = FileServer()
    for name, content in wheels.items():
        project = name.split("-")[0].replace("_", "-")
        server.files[f"/simple/{project}/"] = f'<!DOCTYPE html><a href="/files/{name}">{name}</a>'.encode()
        server.headers_of[f"/simple/{project}/"] = {"Content-Type": "text/html"}
        server.files[f"/files/{name}"] = content
    with _serving(server):
        yield server


@contextmanager
def hub(repo: str, files: dict[str, bytes], *, licence: str = "apache-2.0") -> Iterator[FileServer]:
    """The part of the Hugging Face hub's API by which one repository is looked up and downloaded."""
    server, commit = FileServer(), "c0ffee" + "0" * 34
    large = {name for name in files if name.endswith((".safetensors", ".gguf"))}

    def sums(name: str) -> dict[str, object]:
        sha256 = hashlib.sha256(files[name]).hexdigest()
        pointer = {"lfs": {"sha256": sha256, "oid": sha256, "size": len(files[name]), "pointerSize": 134}}
        blob = hashlib.sha1(files[name]).hexdigest()
        return {"size": len(files[name]), "blobId": blob, "oid": blob, **(pointer if name in large else {})}

    def put(path: str, value: object) -> None:
        server.files[path] = json.dumps(value).encode()
        server.headers_of[path] = {"Content-Type": "application/json"}

    model = {
        "_id": "1",
        "id": repo,
        "sha": commit,
        "cardData": {"license": licence},
        "siblings": [{"rfilename": name, **sums(name)} for name in files],
    }
    put(f"/api/models/{repo}", model)
    put(f"/api/models/{repo}/revision/main", model)
    put(f"/api/models/{repo}/revision/{commit}", model)
    put(f"/api/models/{repo}/tree/{commit}", [{"type": "file", "path": name, **sums(name)} for name in files])
    for name, content in files.items():
        path = f"/{repo}/resolve/{commit}/{name}"
        server.files[path] = content
        etag = hashlib.sha256(content).hexdigest()
        server.headers_of[path] = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
    with _serving(server):
        yield server
