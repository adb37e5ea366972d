"""Who may use the page, and who may not: foreign pages, rebound names, missing and wrong tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gui.access_control import HEADERS, AccessControl, Listener, is_loopback

DOOR = Listener("127.0.0.1", 8123, "a secret of & + signs")
COOKIE = "aios-gui-8123=a%20secret%20of%20%26%20%2B%20signs"
OWN: dict[str, Any] = {"host": "127.0.0.1:8123"}


def ask(listener: Listener, kind: str = "http", path: str = "/", query: str = "", **headers: str) -> Any:
    """The answer to a request: the messages that access control sends; "through" if the application got it."""
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        sent.append("through")
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "method": headers.pop("method", "GET"),
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    asyncio.run(AccessControl(application, listener)(scope, None, send))  # type: ignore[arg-type]
    return sent


def passes(listener: Listener = DOOR, kind: str = "http", **headers: str) -> bool:
    return bool(ask(listener, kind, **headers)[0] == "through")


def test_the_own_page_gets_through() -> None:
    assert passes(**OWN, cookie=COOKIE)
    assert passes(**OWN, cookie=f"other=1; {COOKIE}", origin="http://127.0.0.1:8123", method="POST")
    assert passes(kind="websocket", **OWN, cookie=COOKIE, origin="http://127.0.0.1:8123")
    assert passes(host="localhost:8123", cookie=COOKIE)
    assert passes(Listener("::1", 8123, DOOR.token), host="[::1]:8123", cookie=COOKIE)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": "aios-gui-8123=wrong"},
        {"cookie": "aios-gui-8123="},
        {"cookie": "aios-gui-9999=a%20secret%20of%20%26%20%2B%20signs"},
        {"cookie": "\x00;;;=="},
        {"cookie": COOKIE, "origin": "http://evil.example"},
        {"cookie": COOKIE, "origin": "null"},
        {"cookie": COOKIE, "origin": "https://127.0.0.1:8123"},
        {"cookie": COOKIE, "origin": "http://127.0.0.1:8124"},
        {"cookie": COOKIE, "host": "evil.example:8123"},
        {"cookie": COOKIE, "host": "evil.example:8123", "origin": "http://evil.example:8123"},
        {"cookie": COOKIE, "host": "127.0.0.1"},
        {"cookie": COOKIE, "host": "127.0.0.1:8124"},
        {"cookie": COOKIE, "host": "127.0.0.1.evil.example:8123"},
        {"cookie": COOKIE, "host": "user@127.0.0.1:8123"},
        {"cookie": COOKIE, "host": "192.168.1.5:8123"},
        {"cookie": COOKIE, "host": ""},
    ],
)
def test_an_attack_does_not(kind: str, headers: dict[str, Any]) -> None:
    given_headers: dict[str, Any] = {"origin": "http://127.0.0.1:8123", **OWN, **headers}
    first = ask(DOOR, kind, **given_headers)[0]
    assert first != "through"
    expected = ("websocket.close", None) if kind == "websocket" else ("http.response.start", 403)
    assert (first["type"], first.get("status")) == expected


def test_a_websocket_without_an_origin_is_refused() -> None:
    assert not passes(kind="websocket", **OWN, cookie=COOKIE)


def test_the_token_in_the_address_becomes_a_cookie_and_disappears() -> None:
    first = ask(DOOR, query="config=a%26b&token=a+secret+of+%26+%2B+signs", path="/train", **OWN)[0]
    headers = {name.decode(): value.decode() for name, value in first["headers"]}
    assert first["status"] == 303
    assert headers["location"] == "/train?config=a%26b"
    assert headers["set-cookie"] == f"{COOKIE}; HttpOnly; SameSite=Strict; Path=/"
    assert headers["referrer-policy"] == "no-referrer"
    assert passes(**OWN, cookie=headers["set-cookie"].partition(";")[0])


def test_the_redirection_stays_on_this_server() -> None:
    first = ask(DOOR, query="token=a+secret+of+%26+%2B+signs", path="//evil.example/", **OWN)[0]
    assert dict(first["headers"])[b"location"] == b"/evil.example/"


@pytest.mark.parametrize("query", ["token=", "token=wrong", "token=a+secret+of+%26+%2B+signs&token=wrong"])
def test_a_wrong_token_is_refused_with_an_explanation(query: str) -> None:
    start, body = ask(DOOR, query=query, **OWN)
    assert start["status"] == 403 and b"aios gui" in body["body"]


def test_the_refusal_contains_no_html_of_the_request() -> None:
    body = ask(DOOR, host="<script>alert(1)</script>:8123")[1]["body"]
    assert b"<script>" not in body and b"&lt;script&gt;" in body


def test_every_answer_forbids_what_the_page_does_not_need() -> None:
    _, start = ask(DOOR, **OWN, cookie=COOKIE)
    names = {name.decode() for name, _ in start["headers"]}
    assert names >= set(HEADERS)
    assert "http:" not in HEADERS["content-security-policy"] and "*" not in HEADERS["content-security-policy"]


def test_other_machines_name_the_server_by_its_address() -> None:
    """An IP address in the Host header cannot have been rebound; a name can."""
    listener = Listener("0.0.0.0", 8123, DOOR.token)
    assert passes(listener, host="192.168.1.5:8123", cookie=COOKIE)
    assert not passes(listener, host="evil.example:8123", cookie=COOKIE)
    assert listener.address.startswith("http://127.0.0.1:8123/?token=")


@given(st.text(st.characters(codec="latin-1"), max_size=30))
def test_no_foreign_name_is_taken_for_this_machine(name: str) -> None:
    if DOOR.knows_host(f"{name}:8123"):
        assert is_loopback(name.strip("[]").lower()) or name == ""


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *((name, True) for name in ("127.0.0.1", "127.8.9.1", "::1", "localhost")),
        *((name, False) for name in ("0.0.0.0", "192.168.1.5", "example.org", "::")),
    ],
)
def test_which_addresses_only_this_machine_reaches(host: str, local: bool) -> None:
    assert is_loopback(host) is local
