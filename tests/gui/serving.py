"""Starts `aios gui` as a user does, in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from doctor.capability import default_path
from gui.jobs import kill

ROOT = Path(__file__).parents[2]
HOME = "aios home"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes


class Served:
    """A running `aios gui`: its address, and requests to it."""

    def __init__(self, address: str, folder: Path) -> None:
        parts = urlsplit(address)
        self.address, self.folder = address, folder
        self.port = int(parts.port or 0)
        self.token = parse_qs(parts.query)["token"][0]
        self.cookie = f"aios-gui-{self.port}={self.token}"

    def get(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """Send a request with the cookie; `headers` replace those that a browser sends."""
        given = {"Cookie": self.cookie, **{name.title(): value for name, value in headers.items()}}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path, skip_host="Host" in given)
        for name, value in given.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        with closing(connection), closing(connection.getresponse()) as answer:
            upgraded = answer.status == 101
            return Answer(answer.status, answer.headers, b"" if upgraded else answer.read())

    def text(self, path: str) -> str:
        return self.get(path).body.decode("utf-8")


@contextmanager
def serving(folder: Path, *options: str, variables: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Serve from a folder, with an AIOS_HOME in it, and with more environment variables."""
    environment = {**os.environ, **(variables or {}), "AIOS_HOME": str(folder / HOME), "PYTHONUTF8": "1"}
    proven, own = default_path(), folder / HOME / "capability.json"
    if proven.is_file() and not own.exists():  # else the first training proves the backends again
        own.parent.mkdir(exist_ok=True)
        shutil.copy(proven, own)
    environment.pop("PYTEST_CURRENT_TEST", None)  # NiceGUI behaves differently where it finds it
    command = [sys.executable, str(ROOT / "aios.py"), "gui", "--no-browser", *options]
    errors = (folder / "errors.txt").open("wb")
    with (
        errors,
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        assert process.stdout
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        try:
            line = process.stdout.readline().decode()
            assert "aios is at " in line, (folder / "errors.txt").read_text(encoding="utf-8")
            watchdog.cancel()
            yield Served(line.split()[-1], folder)
        finally:
            watchdog.cancel()
            process.terminate()
            process.wait(60)
            for record in folder.glob(f"{HOME}/gui/jobs/*/job.json"):  # they would outlive the test
                kill(json.loads(record.read_text(encoding="utf-8"))["pid"])
