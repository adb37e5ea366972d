"""Who may use the page: a token, kept in a cookie, and requests that come from the page itself.

Any web page can make a browser send requests to 127.0.0.1, and a domain can be rebound to that address. So each request, and each
WebSocket, must name this server as its host, must not come from another page, and must have the cookie.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from html import escape
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN = "token"  # the parameter of the address
READING = ("GET", "HEAD")
# Vue compiles its templates, hence unsafe-eval. Nothing is loaded from elsewhere.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
REFUSAL = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>aios: refused</title></head>
<body><h1>Refused</h1><p>{reason}</p><p>Open the address that <code>aios gui</code> printed: it contains the token.</p></body></html>
"""


@dataclass(frozen=True)
class Listener:
    """Where the server listens, and the secret that opens it."""

    host: str
    port: int
    token: str

    @property
    def address(self) -> str:
        """The address to open in a browser on this machine."""
        return f"http://{_in_url(self.reached_at)}:{self.port}/?{urlencode({TOKEN: self.token})}"

    @property
    def reached_at(self) -> str:
        """An address by which a browser reaches the server: 127.0.0.1 if it listens on all addresses."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    @property
    def cookie(self) -> str:
        """The name of the cookie. Browsers share cookies between the ports of a host, hence the port."""
        return f"aios-gui-{self.port}"

    def knows_host(self, header: str) -> bool:
        """Whether a Host header names this server. A name that an attacker may have rebound does not."""
        try:
            parts = urlsplit(f"//{header}")
            name, port = parts.hostname or "", parts.port or 80
        except ValueError:
            return False
        if port != self.port or parts.username is not None:
            return False
        if is_loopback(self.host):
            return is_loopback(name)
        names = {socket.gethostname().lower(), socket.getfqdn().lower(), self.host.lower(), "localhost"}
        return name in names or _is_ip(name)


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach a host name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class AccessControl:
    """An ASGI application in front of another one: lets through what `Listener` allows, and answers the rest itself."""

    def __init__(self, app: App, listener: Listener) -> None:
        self._app = app
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        refusal = self._foreign(scope, headers)
        if refusal is None and scope["type"] == "http" and scope["method"] in READING:
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            given = [value for name, value in query if name == TOKEN]
            if given and self._matches(given[-1]):
                await self._let_in(scope, [(name, value) for name, value in query if name != TOKEN], send)
                return
            if given:
                refusal = "The token in the address is wrong."
        if refusal is None and not self._has_cookie(headers):
            refusal = "The token is missing."
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal})
        else:
            await _refuse(send, refusal)

    def _foreign(self, scope: Scope, headers: dict[str, str]) -> str | None:
        """Why a request does not come from this server's own page."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._listener.knows_host(host):
            return f"This server is not called {host}."
        if origin is None:
            return (
                "A browser names the page that opens a WebSocket." if scope["type"] == "websocket" else None
            )
        if origin != f"http://{host}":
            return f"The request comes from another page: {origin}"
        return None

    def _has_cookie(self, headers: dict[str, str]) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._listener.cookie)
        except CookieError:
            return False
        return cookie is not None and self._matches(cookie.value)

    def _matches(self, given: str) -> bool:
        return hmac.compare_digest(
            given.encode("utf-8", "replace"), quote(self._listener.token).encode()
        ) or (hmac.compare_digest(given.encode("utf-8", "replace"), self._listener.token.encode()))

    async def _let_in(self, scope: Scope, query: list[tuple[str, str]], send: Send) -> None:
        """Set the cookie, and go to the same page without the token, which no history or log then has."""
        target = quote("/" + scope["path"].lstrip("/"), safe="/") + (f"?{urlencode(query)}" if query else "")
        value = quote(self._listener.token)
        cookie = f"{self._listener.cookie}={value}; HttpOnly; SameSite=Strict; Path=/"
        await _respond(
            send, 303, b"", {"location": target, "set-cookie": cookie, "cache-control": "no-store"}
        )


async def _refuse(send: Send, reason: str) -> None:
    body = REFUSAL.format(reason=escape(reason)).encode()
    await _respond(send, 403, body, {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"})


async def _respond(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    every = {**HEADERS, **headers, "content-length": str(len(body))}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in every.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        await send(message)

    return sending


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
