"""Reading from web servers: a large file from any byte on, a small answer whole. Proxies are those of the system."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

TIMEOUT = 60.0  # seconds without a byte
LARGEST_ANSWER = 64 * 2**20
CHUNK = 2**20
AGENT = {"User-Agent": "aios"}  # GitHub answers nobody who does not say who he is


@dataclass(frozen=True)
class Answer:
    """A server's answer before its content: `start` is the first byte that it sends, `size` that of the whole file."""

    start: int
    size: int | None
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


@contextmanager
def opened(url: str, start: int = 0) -> Iterator[Answer]:
    """Ask for a file, from a byte on. The server may begin at 0 all the same. Raises OSError; so do the chunks."""
    request = _request(url, start=start)
    with _errors_of(url), urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        sent = start if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        length = response.headers.get("Content-Length")
        size = sent + int(length) if length and length.isdigit() else None
        yield Answer(sent, size, dict(response.headers), _chunks(response))


def read_answer(url: str) -> bytes:
    """A small answer. Raises OSError."""
    with _errors_of(url), urllib.request.urlopen(_request(url), timeout=TIMEOUT) as response:
        return bytes(response.read(LARGEST_ANSWER))


def size_of(url: str) -> int | None:
    """What the server says that a file has in bytes; None: it does not say, or does not answer."""
    try:
        request = _request(url, method="HEAD")
        with _errors_of(url), urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            length = response.headers.get("Content-Length", "")
            return int(length) if length.isdigit() else None
    except OSError:
        return None


def _request(url: str, *, start: int = 0, method: str = "GET") -> urllib.request.Request:
    if not url.startswith(("https://", "http://")):
        raise OSError(f"{url}: not an address of a web server")
    headers = {**AGENT, "Range": f"bytes={start}-"} if start else AGENT
    return urllib.request.Request(url, headers=headers, method=method)


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while chunk := response.read(CHUNK):
        yield chunk


@contextmanager
def _errors_of(url: str) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            raise OSError(f"{url}: the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise OSError(f"{url}: {error.reason}") from error
    except http.client.HTTPException as error:
        raise OSError(f"{url}: the answer broke off ({type(error).__name__})") from error
