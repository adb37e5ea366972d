"""A server on loopback: a user's package index, PyTorch's own index, a publisher's files; with faults on demand."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

from tests.doctor.install.stand_ins import sha256


@dataclass
class Fault:
    """A fault of a file: the connection closes after some bytes, some times; or the content is another file's."""

    breaks_off_after: int | None = None
    times: int = 1
    resumable: bool = True
    content: bytes | None = None


@dataclass
class Server:
    """A server of `folder`: index/ and whl/<tag>/ are listed as simple indexes, files/ is served as it is."""

    folder: Path
    port: int = 0
    faults: dict[str, Fault] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path and Range
    when_asked: Callable[[str], None] | None = None
    down: bool = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """The environment variables that point programs to the server."""
        return {
            "PIP_INDEX_URL": f"{self.address}/index/simple/",
            "AIOS_PYTORCH_INDEX": f"{self.address}/whl",
            "PIP_CONFIG_FILE": "nul" if os.name == "nt" else "/dev/null",
            "PIP_RETRIES": "0",
            "PIP_NO_CACHE_DIR": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def ranges_of(self, name: str) -> list[str | None]:
        """The Range of each request for this file."""
        return [asked for path, asked in self.asked if path.endswith(name)]


def _metadata(wheel: Path) -> bytes:
    """PEP 658: the metadata of a wheel without the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")))


def _listing(server: Server, index: Path, project: str) -> bytes:
    links = []
    for file in sorted(index.glob("*.whl")):
        if re.sub(r"[-_.]+", "-", file.name.partition("-")[0]).lower() == project:
            where = "/" + quote(str(file.relative_to(server.folder)).replace("\\", "/"))
            metadata = hashlib.sha256(_metadata(file)).hexdigest()
            links.append(
                f'<a href="{where}#sha256={sha256(file)}" data-core-metadata="sha256={metadata}">{file.name}</a>'
            )
    return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def log_message(self, *args: object) -> None:
            """Print nothing."""

        def do_HEAD(self) -> None:
            self._answer(with_content=False)

        def do_GET(self) -> None:
            self._answer(with_content=True)

        def _answer(self, *, with_content: bool) -> None:
            path = unquote(self.path)
            if with_content:
                server.asked.append((path, self.headers.get("Range")))
                if server.when_asked:
                    server.when_asked(path)
            if server.down:
                self.send_error(503, "down")
                return
            if listed := re.fullmatch(r"/(index/simple|whl/[^/]+)/([^/]+)/", path):
                index = server.folder / listed[1].removesuffix("/simple")
                self._send(_listing(server, index, listed[2]), "text/html", with_content)
                return
            file = server.folder / path.lstrip("/").removesuffix(".metadata")
            if path.endswith(".metadata") and file.is_file():
                self._send(_metadata(file), "application/octet-stream", with_content)
                return
            if not file.is_file():
                self.send_error(404)
                return
            self._send_file(file, with_content)

        def _send(self, content: bytes, kind: str, with_content: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if with_content:
                self.wfile.write(content)

        def _send_file(self, file: Path, with_content: bool) -> None:
            fault = server.faults.get(file.name, Fault())
            content = fault.content if fault.content is not None else file.read_bytes()
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
            start = int(asked[1]) if asked and fault.resumable else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if not with_content:
                return
            end = len(content)
            if fault.breaks_off_after is not None and fault.times > 0:
                fault.times -= 1
                end = min(end, start + fault.breaks_off_after)
            self.wfile.write(content[start:end])

    return Handler


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve until the end of the block."""
    server = Server(folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(server)) as http:
        server.port = http.server_port
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
