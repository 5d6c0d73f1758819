"""A real server on this machine that can break off, forget Range, be busy, or send something else."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ddpm.engine import transfer

CONTENT = bytes(range(256)) * 4000


@dataclass
class Served:
    """What the server sends under one path."""

    content: bytes
    ranges: bool = True
    errors: list[int] = field(default_factory=list)
    """Of the first answers."""
    breaks: int = 0
    """So many answers end in the middle."""
    stalls: bool = False
    """They do not end then, but are silent until the client gives up."""
    shift: int = 0
    """Bytes that a continued answer is off by."""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen.append(self)
        served = self.server.served.get(self.path)
        if served is None or served.errors:
            self.send_error(404 if served is None else served.errors.pop(0))
            return
        asked = self.headers.get("Range") if served.ranges else None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) + served.shift if asked else 0
        if asked and start >= len(served.content):
            self.send_error(416)
            return
        self.send_response(206 if asked else served.status)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(served.content) - 1}/{len(served.content)}")
        for key, value in served.headers.items():
            self.send_header(key, value)
        rest = served.content[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if served.breaks:
            served.breaks -= 1
            self.wfile.write(rest[: len(rest) // 2])
            if served.stalls:
                self.rfile.read(1)
            return
        self.wfile.write(rest)

    def log_message(self, *_: object) -> None:
        pass


class Site(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.served: dict[str, Served] = {}
        self.seen: list[Handler] = []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def serve(self, path: str, content: bytes = CONTENT, **how: Any) -> str:
        """Send `content` under a path, in the way of `Served`; the address."""
        self.served[path] = Served(content, **how)
        return f"{self.address}{path}"

    def asked(self, header: str) -> list[str | None]:
        return [request.headers.get(header) for request in self.seen]

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what some tests are about."""


@pytest.fixture
def site(monkeypatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> list[float]:
    """How long a download waited between its tries, in seconds; here it does not."""
    seconds: list[float] = []
    monkeypatch.setattr(transfer.time, "sleep", seconds.append)
    return seconds


@pytest.fixture
def silent(monkeypatch) -> str:
    """An address where nobody listens."""
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"
