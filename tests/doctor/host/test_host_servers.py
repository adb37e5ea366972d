"""Reaching a server over TLS: the issuer of its certificate, and the different failures."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from doctor.host import Absent, Found, Host, Reached, Unreadable
from doctor.host.base import NOT_TRUSTED


def listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def address(server: socket.socket) -> str:
    return f"https://localhost:{server.getsockname()[1]}/simple/"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for localhost, followed by its key."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl, to make a certificate")
    key, signed = tmp_path / "key", tmp_path / "certificate"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key)]
    request += ["-out", str(signed), "-subj", "/CN=Test/O=Ćma Proxy Ltd", "-utf8"]
    request += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(request, check=True, capture_output=True)
    both = tmp_path / "both"
    both.write_bytes(signed.read_bytes() + key.read_bytes())
    return both


@pytest.fixture
def server(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with listen() as plain:

        def serve() -> None:
            try:
                connection, _ = plain.accept()
                with context.wrap_socket(connection, server_side=True) as secure:
                    secure.recv(1)
            except OSError:  # the client does not trust it
                pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield address(plain)
        thread.join(5)


def test_a_trusted_server_is_reached(
    host: Host, server: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert host.reach(server, 10) == Found(Reached(issuer="Ćma Proxy Ltd"))


def test_an_untrusted_certificate_is_distinguished_from_other_failures(host: Host, server: str) -> None:
    reading = host.reach(server, 10)
    assert isinstance(reading, Unreadable) and reading.reason.startswith(NOT_TRUSTED)
    assert "self" in reading.reason


def test_a_server_that_refuses_the_connection(host: Host) -> None:
    with listen() as server:
        url = address(server)
    assert host.reach(url, 10) == Unreadable("the connection was refused")


def test_a_silent_server_times_out(host: Host) -> None:
    with listen() as server:
        assert host.reach(address(server), 0.5) == Unreadable("no answer within 0.5 s")


def test_a_server_without_tls(host: Host) -> None:
    with listen() as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
                connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                connection.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        reading = host.reach(address(server), 10)
        thread.join()
    assert isinstance(reading, Unreadable)
    assert reading.reason.startswith(("no TLS connection", "the connection was reset"))


def test_a_name_that_does_not_resolve_is_absent(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object) -> None:
        raise socket.gaierror(number, "in the system's words")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    number = socket.EAI_NONAME
    assert host.reach("https://server.invalid/", 5) == Absent()
    number = socket.EAI_AGAIN
    reading = host.reach("https://server.invalid/", 5)
    assert reading == Unreadable("its name cannot be resolved: in the system's words")


def test_a_url_without_a_server_is_unreadable(host: Host) -> None:
    for url in ("https://", "C:/wheels", "https://a:port/"):
        assert isinstance(host.reach(url, 5), Unreadable)
