"""`aios gui` as it is served: its first page, and attacks over the network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from typer.testing import CliRunner

import aios
from gui import commands
from tests.gui.serving import Served, serving

pytest.importorskip("nicegui", reason="the extra gui is not installed")
UPGRADE: dict[str, Any] = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
POLLING = "/_nicegui_ws/socket.io/?EIO=4&transport=polling"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("ein Ordner mit ü")
    with serving(folder) as running:
        yield running


def test_the_first_page_has_its_language_and_loads_nothing_from_elsewhere(served: Served) -> None:
    text = served.text("/")
    assert '<html lang="en-US"' in text
    assert not re.findall(r"""(?:src|href|url\()=?["']?(?:https?:)?//[\w.]+""", text)


def test_the_address_leads_to_the_page_through_a_cookie(served: Served) -> None:
    answer = served.get(f"/?token={served.token}", cookie="")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert served.get("/", cookie=cookie).status == 200


@pytest.mark.parametrize(
    "path", ["/", "/doctor", "/no-such-page", "/_nicegui/1/static/x", "/files", POLLING, SOCKET]
)
@pytest.mark.parametrize(
    "attack",
    [
        {"cookie": ""},
        {"cookie": "aios-gui-1=x"},
        {"origin": "http://evil.example"},
        {"host": "evil.example"},
        {"host": "evil.example:80", "origin": "http://evil.example:80"},
    ],
)
def test_a_stranger_gets_nothing(served: Served, path: str, attack: dict[str, Any]) -> None:
    assert served.get(path, **attack).status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 101),
        ({"cookie": ""}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"host": "evil.example:1"}, 403),
    ],
)
def test_a_websocket_needs_the_cookie_and_the_own_page(
    served: Served, headers: dict[str, Any], status: int
) -> None:
    own: dict[str, Any] = {"origin": f"http://127.0.0.1:{served.port}"}
    assert served.get(SOCKET, **{**UPGRADE, **own, **headers}).status == status


def test_no_other_page_may_read_an_answer(served: Served) -> None:
    for path in ("/", POLLING):
        answer = served.get(path)
        assert answer.status == 200 and "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/files/../../etc/passwd",
        "/_nicegui/3.18.0/static/../../../../../../etc/passwd",
        "/_nicegui/3.18.0/static/..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    ],
)
def test_no_path_leads_out_of_what_is_served(served: Served, path: str) -> None:
    answer = served.get(path)
    assert answer.status in (403, 404) and b"root:" not in answer.body


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("log.txt", "log.txt"),
        ("../../../etc/cron.d/x", "x"),
        ("C:\\Windows\\x.txt", "x.txt"),
        ("..", "file"),
        ("", "file"),
        ("CON.txt", "_CON.txt"),
        ("<img src=x onerror=alert(1)>", "_img src=x onerror=alert(1)_"),
        ("日本語 ü.jsonl", "日本語 ü.jsonl"),
        ("a\x00b", "a_b"),
    ],
)
def test_a_dropped_file_stays_in_its_folder(served: Served, name: str, stored: str) -> None:
    answer = served.get(f"/files?name={quote(name)}", method="POST", body=b"content")
    assert answer.status == 200
    found = {
        path.relative_to(served.folder).as_posix()
        for path in served.folder.rglob("*")
        if path.is_file() and path.read_bytes() == b"content"
    }
    assert f"artifacts/uploads/{stored}" in found
    assert all(path.startswith("artifacts/uploads/") for path in found)


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(aios.app, ["gui", "--no-browser", *arguments], prog_name="aios")
    assert done.exit_code == 2
    return " ".join(done.output.replace("│", " ").split())


def test_other_machines_need_a_token() -> None:
    assert "choose a token with --token" in refused("--host", "0.0.0.0")
    assert "at least 16" in refused("--host", "0.0.0.0", "--token", "short")


def test_a_port_in_use_is_refused(served: Served) -> None:
    assert f"port {served.port}" in refused("--port", str(served.port))


def test_a_missing_package_is_named_with_the_command_that_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "find_spec", lambda name: None)
    text = refused()
    assert "nicegui is not installed" in text and "[gui]" in text


def test_nothing_went_wrong_in_the_server(served: Served) -> None:
    served.text("/doctor")
    assert "Traceback" not in (Path(served.folder) / "errors.txt").read_text(encoding="utf-8")
