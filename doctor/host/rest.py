"""Asking a web API: its answer with status and headers, whatever the status is."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message

from doctor.host.web import AGENT, LARGEST_ANSWER, TIMEOUT


@dataclass(frozen=True)
class Reply:
    """`headers` by lower-case name."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def ask(url: str, headers: Mapping[str, str]) -> Reply:
    """Get `url`. Raises OSError where no answer comes, or none that ends."""
    if not url.startswith(("https://", "http://")):
        raise OSError(f"{url}: not an address of a web server")
    request = urllib.request.Request(url, headers={**AGENT, **headers})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return Reply(response.status, _lower(response.headers), response.read(LARGEST_ANSWER))
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, _lower(error.headers))
    except urllib.error.URLError as error:
        raise OSError(f"{url}: {error.reason}") from error
    except http.client.HTTPException as error:
        raise OSError(f"{url}: the answer broke off ({type(error).__name__})") from error


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in headers.items()}
