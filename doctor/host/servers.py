"""Whether a server answers over TLS, and the issuer of its certificate, which shows a proxy that intercepts TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from doctor.host.base import NOT_TRUSTED, Reached
from doctor.host.readings import Absent, Found, Reading, Unreadable
from doctor.host.time_limit import with_time_limit

HTTPS = 443
NAMES_OF_AN_ISSUER = ("organizationName", "commonName")


def reach(url: str, timeout: float) -> Reading[Reached]:
    """Open a TLS connection to the server of `url`, and close it. `timeout` is the limit in seconds for the whole."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or HTTPS
    except ValueError as error:
        return Unreadable.because(error)
    if not host:
        return Unreadable("the URL has no host name")
    return with_time_limit(timeout, lambda: _shake_hands(host, port, timeout))


def _shake_hands(host: str, port: int, timeout: float) -> Reading[Reached]:
    try:
        with (
            socket.create_connection((host, port), timeout) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host) as connection,
        ):
            return Found(Reached(issuer=_issuer(connection.getpeercert() or {})))
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)):
            return Absent()
        return Unreadable(f"its name cannot be resolved: {error.strerror}")
    except ssl.SSLCertVerificationError as error:
        return Unreadable(f"{NOT_TRUSTED}: {error.verify_message}")
    except ssl.SSLError as error:
        return Unreadable(f"no TLS connection: {error.reason or error}")
    except ConnectionRefusedError:
        return Unreadable("the connection was refused")
    except ConnectionResetError:
        return Unreadable("the connection was reset")
    except TimeoutError:
        return Unreadable(f"no answer within {timeout:g} s")


def _issuer(certificate: dict[str, Any]) -> str:
    """The organization that signed the certificate, or its name if there is no organization."""
    parts: Iterable[Iterable[tuple[str, str]]] = certificate.get("issuer", ())
    names = dict(pair for part in parts for pair in part)
    return next((names[name] for name in NAMES_OF_AN_ISSUER if name in names), "unknown")
