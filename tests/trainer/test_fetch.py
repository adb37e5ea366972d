"""`aios fetch` against a hub on the loopback interface: what it downloads, resumes, refuses and says."""

from __future__ import annotations

import errno
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from typer.testing import Result

from trainer import fetch
from trainer.errors import UserError
from trainer.models import hub

Call = Callable[..., Result]
ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = "some/model"
WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"a pickle",
    "modeling.py": b"import os",
    "original/consolidated.00.safetensors": b"the same weights once more",
}
LARGE = ("model.safetensors", "pytorch_model.bin", "original/consolidated.00.safetensors")


@dataclass
class Hub:
    """A hub that answers as huggingface_hub expects.

    Attributes:
        breaks_after: bytes of a file after which the connection breaks, once.
        status: of every answer, instead of 200.
        requests: method, path and Range header of each request.
    """

    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    stated: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    breaks_after: int | None = None
    status: int = 200
    error_code: str | None = None
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def info(self) -> dict[str, Any]:
        siblings = []
        for name, content in self.stated.items():
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            lfs = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            more = {"lfs": lfs} if name in LARGE else {}
            siblings.append({"rfilename": name, "size": len(content), "blobId": git, **more})
        card = {"license": "apache-2.0"}
        return {
            "id": MODEL,
            "sha": COMMIT,
            "tags": ["license:apache-2.0"],
            "cardData": card,
            "siblings": siblings,
        }

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.requests.append((request.command, request.path, wanted))
        if self.status != 200:
            headers = {"X-Error-Code": self.error_code} if self.error_code else {}
            return _send(request, self.status, headers, b"")
        if request.path.startswith("/api/models/"):
            return _send(request, 200, {"Content-Type": "application/json"}, json.dumps(self.info()).encode())
        found = re.fullmatch(rf"/{MODEL}/resolve/\w+/([^?]+)(\?.*)?", request.path)
        if not found or found[1] not in self.files:
            return _send(request, 404, {"X-Error-Code": "EntryNotFound"}, b"")
        content = self.files[found[1]]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        start = int(re.findall(r"\d+", wanted)[0]) if wanted else 0
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        _send(request, 206 if wanted else 200, headers, content[start:], self._cut(request, content))
        return None

    def _cut(self, request: http.server.BaseHTTPRequestHandler, content: bytes) -> int | None:
        if request.command != "GET" or self.breaks_after is None or len(content) <= self.breaks_after:
            return None
        cut, self.breaks_after = self.breaks_after, None
        return cut


def _send(
    request: http.server.BaseHTTPRequestHandler,
    status: int,
    headers: dict[str, str],
    body: bytes,
    cut: int | None = None,
) -> None:
    request.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(body)), "Connection": "close"}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(body[:cut])


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    found = Hub()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.answer(self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")[2]
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{{repo_id}}{template}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache ß"))
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the retries of huggingface_hub
    yield found
    server.shutdown()
    server.server_close()


def gets(found: Hub, name: str) -> list[str | None]:
    return [wanted for method, path, wanted in found.requests if method == "GET" and path.endswith(name)]


def test_only_the_files_that_training_reads_are_downloaded_and_the_model_is_found_by_name(
    loopback: Hub, call: Call
) -> None:
    result = call("fetch", MODEL, "--yes")
    assert result.exit_code == 0, result.output
    assert f"{MODEL} at {COMMIT}\nLicence: apache-2.0\nSize: 1.0 MiB, 3 files" in result.stdout
    loopback.requests.clear()
    folder = hub.local_copy(MODEL, "--name")
    assert loopback.requests == []
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    again = call("fetch", MODEL)  # nothing to download: no question
    assert again.exit_code == 0, again.output
    assert gets(loopback, ".safetensors") == []


def test_a_child_process_reads_hf_endpoint_and_prints_json(loopback: Hub, tmp_path: Path) -> None:
    command = [sys.executable, "-X", "utf8", "aios.py", "fetch", MODEL, "--json", "--yes"]
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "another ß")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["commit"], found["licence"], found["downloaded"]) == (COMMIT, "apache-2.0", True)
    assert found["bytes"] == sum(len(FILES[each["name"]]) for each in found["files"])
    assert Path(found["folder"]).is_relative_to(tmp_path / "another ß")
    assert (Path(found["folder"]) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_broken_connection_is_resumed_where_it_stopped(
    loopback: Hub, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    loopback.breaks_after = len(WEIGHTS) // 2
    with monkeypatch.context() as context:
        context.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
        context.setattr("time.sleep", stop)  # before huggingface_hub's own retry
        assert call("fetch", MODEL, "--yes").exit_code == 130
    resumed = call("fetch", MODEL, "--yes")
    assert resumed.exit_code == 0, resumed.output
    *_, wanted = gets(loopback, "model.safetensors")
    assert wanted is not None
    assert 0 < int(re.findall(r"\d+", wanted)[0]) <= len(WEIGHTS) // 2
    assert (hub.local_copy(MODEL, "--name") / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_with_a_wrong_hash_is_deleted_and_downloaded_again(
    loopback: Hub, call: Call, name: str
) -> None:
    right = loopback.files[name]
    loopback.files[name] = right[:-1] + b"!"
    result = call("fetch", MODEL, "--yes")
    assert result.exit_code == 1
    assert f"{name} was damaged on its way" in result.stderr
    with pytest.raises(UserError):
        hub.local_copy(MODEL, "--name")
    loopback.files[name] = right
    assert call("fetch", MODEL, "--yes").exit_code == 0
    assert (hub.local_copy(MODEL, "--name") / name).read_bytes() == right


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "GatedRepo", "accepted its licence"),
        (401, "RepoNotFound", "has no model some/model, or it is private"),
        (401, None, "hf auth login"),
        (404, "RevisionNotFound", "no such revision"),
    ],
)
def test_a_model_that_may_not_be_read_is_refused(
    loopback: Hub, call: Call, status: int, code: str | None, words: str
) -> None:
    loopback.status, loopback.error_code = status, code
    result = call("fetch", MODEL, "--yes")
    assert result.exit_code == 2, result.output
    assert words in result.stderr


def test_a_download_that_the_disk_has_no_space_for_is_not_begun(
    loopback: Hub, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 40, 1 << 40, 1 << 20))
    result = call("fetch", MODEL, "--yes")
    assert result.exit_code == 2
    assert "The download needs 1.0 MiB" in result.stderr
    assert "HF_HOME" in result.stderr
    assert gets(loopback, ".json") == []


def test_a_disk_that_fills_during_the_download_is_reported(
    loopback: Hub, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub.file_download, "http_get", full)
    result = call("fetch", MODEL, "--yes")
    assert result.exit_code == 1
    assert "is full" in result.stderr


def test_a_model_without_safetensors_is_refused(loopback: Hub, call: Call) -> None:
    del loopback.stated["model.safetensors"]
    result = call("fetch", MODEL, "--yes")
    assert result.exit_code == 2
    assert "weights in safetensors" in result.stderr


def test_nothing_is_downloaded_without_a_confirmation(loopback: Hub, call: Call) -> None:
    result = call("fetch", MODEL)
    assert result.exit_code == 2
    assert "Use --yes" in result.stderr
    assert gets(loopback, ".json") == []


@pytest.mark.parametrize("name", ["a/b/c/d", "some model"])
def test_a_name_that_is_no_id_is_refused(loopback: Hub, call: Call, name: str) -> None:
    result = call("fetch", name, "--yes")
    assert result.exit_code == 2, result.output
    assert "neither a folder nor the id of a model" in result.stderr


def test_fits_reads_the_configuration_alone(loopback: Hub) -> None:
    assert fetch.configuration(MODEL).read_bytes() == FILES["config.json"]
    assert gets(loopback, ".safetensors") == []


def test_a_pinned_revision_is_found_by_its_name(loopback: Hub, call: Call) -> None:
    assert call("fetch", f"{MODEL}@{COMMIT}", "--yes").exit_code == 0
    assert hub.local_copy(f"{MODEL}@{COMMIT}", "--name").name == COMMIT
    with pytest.raises(UserError, match="aios fetch some/model"):
        hub.local_copy(MODEL, "--name")
