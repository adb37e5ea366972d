"""HTTP requests: a large file from any byte on, a small one whole, a web API. Proxies are those of the system."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message

TIMEOUT = 60.0  # seconds without a byte
LONGEST = 300.0  # seconds for a whole small answer
LARGEST_BODY = 64 * 2**20
CHUNK = 2**20
AGENT = {"User-Agent": "aios"}  # GitHub rejects requests without one


@dataclass(frozen=True)
class Stream:
    """The body of a response in chunks. `start` is the position of its first byte, `size` that of the whole file."""

    start: int
    size: int | None
    chunks: Iterator[bytes]


@dataclass(frozen=True)
class Response:
    """A whole response. The names in `headers` are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@contextmanager
def open_stream(url: str, start: int = 0) -> Iterator[Stream]:
    """Request a file from byte `start` on; the server may start at 0 instead. Raises OSError, and so do the chunks."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    with _opened(url, headers) as response:
        first = start if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        length = response.headers.get("Content-Length", "")
        size = first + int(length) if length.isdigit() else None
        yield Stream(first, size, _chunks(response))


def get_bytes(url: str, most: int = LARGEST_BODY) -> bytes:
    """Return the content of a small file. Raises OSError, also if it has more than `most` bytes."""
    with _opened(url) as response:
        return _whole(response, url, most)


def get(url: str, headers: Mapping[str, str]) -> Response:
    """Return the response of a web API, whatever its status. Raises OSError if there is no complete response."""
    try:
        with _opened(url, headers) as response:
            return Response(
                response.status, _by_lower_name(response.headers), _whole(response, url, LARGEST_BODY)
            )
    except HTTPStatusError as error:
        return Response(error.status, error.headers)


def content_length(url: str) -> int | None:
    """Return the size of a file in bytes as the server states it; None if it does not."""
    try:
        with _opened(url, method="HEAD") as response:
            length = response.headers.get("Content-Length", "")
            return int(length) if length.isdigit() else None
    except OSError:
        return None


class HTTPStatusError(OSError):
    """The server responded with an error status."""

    def __init__(self, url: str, error: urllib.error.HTTPError) -> None:
        super().__init__(f"{url}: the server answers {error.code} {error.reason}")
        self.status = error.code
        self.headers = _by_lower_name(error.headers)


@contextmanager
def _opened(
    url: str, headers: Mapping[str, str] | None = None, *, method: str = "GET"
) -> Iterator[http.client.HTTPResponse]:
    """Send a request. Every error here and while the response is read becomes an OSError that names `url`."""
    if not url.startswith(("https://", "http://")):
        raise OSError(f"{url}: not an HTTP or HTTPS URL")
    request = urllib.request.Request(url, headers={**AGENT, **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            yield response
    except urllib.error.HTTPError as error:
        with error:
            raise HTTPStatusError(url, error) from error
    except urllib.error.URLError as error:
        raise OSError(f"{url}: {error.reason}") from error
    except http.client.HTTPException as error:
        raise OSError(f"{url}: the response is incomplete ({type(error).__name__})") from error


def _whole(response: http.client.HTTPResponse, url: str, most: int) -> bytes:
    """The body of a response. Raises OSError for a large one, and for a server that sends it too slowly."""
    deadline = time.monotonic() + LONGEST
    announced = response.length
    content = bytearray()
    while (announced is None or len(content) < announced) and (chunk := response.read1(CHUNK)):
        content += chunk
        if len(content) > most:
            raise OSError(f"{url}: the answer has more than {most} bytes")
        if time.monotonic() > deadline:
            raise OSError(f"{url}: the answer takes longer than {LONGEST:.0f} seconds")
    if announced is not None and len(content) < announced:
        raise http.client.IncompleteRead(bytes(content), announced - len(content))
    return bytes(content)


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while chunk := response.read(CHUNK):
        yield chunk


def _by_lower_name(headers: Message) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in headers.items()}
