"""A server on loopback that serves a test's pages as the APIs of GitHub and Hugging Face would."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Page:
    """The answer to one address; with an ETag, the second request gets 304."""

    content: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str | None = None
    next: str | None = None  # the path of the page after this one
    raw: bytes | None = None  # instead of `content` as JSON


class ListServer(ThreadingHTTPServer):
    """A server of `pages`, by path and query. `asked`: each requested path, and the ETag sent with it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str | None]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: ListServer

    def do_GET(self) -> None:
        tag = self.headers.get("If-None-Match")
        self.server.asked.append((self.path, tag))
        page = self.server.pages.get(self.path, Page([], 404))
        status = 304 if page.etag and tag == page.etag else page.status
        body = (
            b"" if status == 304 else page.raw if page.raw is not None else json.dumps(page.content).encode()
        )
        self.send_response(status)
        for name, value in page.headers.items():
            self.send_header(name, value)
        if page.etag:
            self.send_header("ETag", page.etag)
        if page.next and status == 200:
            self.send_header(
                "Link",
                f'<{self.server.address}{page.next}>; rel="next", <{self.server.address}/last>; rel="last"',
            )
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def list_server() -> Iterator[ListServer]:
    with ListServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
