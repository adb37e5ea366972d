"""Read the publishers' lists into a new catalogue; lists that cannot be read are reported and skipped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

from doctor.bounded import parse_json
from doctor.host.web import Response
from doctor.wheel_search.package_index import parse_listing
from wheels.catalogue import Catalogue, Publisher
from wheels.publisher_lists import (
    GITHUB,
    HUGGING_FACE,
    ListedWheel,
    ListError,
    Merged,
    github_releases,
    hugging_face_files,
    make_catalogue,
    merge,
)

Ask: TypeAlias = Callable[[str, Mapping[str, str]], Response]
Say: TypeAlias = Callable[[str], None]
MOST_PAGES = 100
OK, UNCHANGED, FORBIDDEN, TOO_MANY = 200, 304, 403, 429
JSON_TYPE = {"Accept": "application/vnd.github+json"}  # Hugging Face ignores it


@dataclass(frozen=True)
class Page:
    """A page of a list that was read. `etag`: lets the server say that it has not changed."""

    etag: str
    next: str | None


@dataclass(frozen=True)
class Refreshed:
    """The result. `problems`: the lists that could not be read completely, and why."""

    merged: Merged
    pages: Mapping[str, Page]
    problems: tuple[str, ...]
    without_hash: int
    read_any: bool  # at least one page was read, or has not changed


class UnreadableListError(Exception):
    """A list cannot be read any further; the message says why."""


@dataclass
class Reading:
    """Reads lists. `github` and `hugging_face`: the services, or mirrors of them. `known`: pages read before.

    `package_index`: the index that pip is configured with; None: not known.
    """

    ask: Ask
    now: datetime
    github: str = GITHUB
    hugging_face: str = HUGGING_FACE
    package_index: str | None = None
    known: Mapping[str, Page] = field(default_factory=dict)
    seen: dict[str, Page] = field(default_factory=dict)

    def wheels(self, publisher: Publisher) -> Iterator[ListedWheel]:
        """Yield the wheels on the pages that changed since they were last read. Raises UnreadableListError, OSError."""
        if not (publisher.releases or publisher.files):
            yield from self._on_a_page(publisher.download or "")
            return
        for content in self._pages(self._address(publisher)):
            try:
                if publisher.releases:
                    yield from github_releases(content)
                else:
                    yield from hugging_face_files(content, publisher.download or "")
            except ListError as error:
                raise UnreadableListError(str(error)) from error

    def on_the_index(self, package: str) -> Iterator[ListedWheel]:
        """Yield the wheels of a package on the package index. Raises UnreadableListError, OSError."""
        if self.package_index is None:
            raise UnreadableListError("the index that pip uses is not known: set PIP_INDEX_URL")
        for wheel in self._on_a_page(f"{self.package_index.rstrip('/')}/{package}/"):
            yield wheel._replace(url=None)

    def _on_a_page(self, url: str) -> Iterator[ListedWheel]:
        """Yield the wheels linked on a page of a package index (PEP 503)."""
        reply = self.ask(url, {"Accept": "text/html"})
        if reply.status != OK:
            raise UnreadableListError(_why(reply, self.now))
        for file in parse_listing(reply.body.decode("utf-8", "replace"), url):
            yield ListedWheel(file.filename, file.url, None, file.sha256)

    def _address(self, publisher: Publisher) -> str:
        if publisher.releases:
            return publisher.releases.replace(GITHUB, self.github, 1) + "?per_page=100"
        return (publisher.files or "").replace(HUGGING_FACE, self.hugging_face, 1) + "?recursive=true"

    def _pages(self, start: str) -> Iterator[Any]:
        url: str | None = start
        asked: set[str] = set()
        while url and url not in asked and len(asked) < MOST_PAGES:
            asked.add(url)
            before = self.known.get(url)
            reply = self.ask(url, {**JSON_TYPE, **({"If-None-Match": before.etag} if before else {})})
            if before and reply.status == UNCHANGED:
                self.seen[url] = before
                url = before.next
                continue
            if reply.status != OK:
                raise UnreadableListError(_why(reply, self.now))
            try:
                yield parse_json(reply.body)
            except ValueError as error:
                raise UnreadableListError("the response is not JSON") from error
            following = _next(reply, start)
            if etag := reply.headers.get("etag"):
                self.seen[url] = Page(etag, following)
            url = following


def refresh(known: Catalogue, reading: Reading, say: Say) -> Refreshed:
    """Read the lists of every publisher in `known`. What was read before an error counts."""
    found: list[ListedWheel] = []
    problems = []
    today = reading.now.strftime("%Y-%m-%d")
    publishers = {p.releases or p.files or p.download: p for p in known.publishers}
    read = {publisher.id: today for publisher in publishers.values()}
    for publisher in publishers.values():
        before = len(found)
        try:
            for wheel in _wheels(publisher, known, reading):
                found.append(wheel)
        except (UnreadableListError, OSError) as error:
            problems.append(f"{publisher.id}: {error}")
            read.pop(publisher.id, None)
        say(f"{publisher.id}: {len(found) - before} files")
    addition = make_catalogue(found, today).model_copy(update={"listed_on": read})
    without_hash = sum(row[4] is None for row in addition.wheels)
    return Refreshed(
        merge(known, addition),
        {**reading.known, **reading.seen},
        tuple(problems),
        without_hash,
        read_any=bool(found or reading.seen),
    )


def _wheels(publisher: Publisher, known: Catalogue, reading: Reading) -> Iterator[ListedWheel]:
    if publisher.download is None:
        rank = known.publishers.index(publisher)
        for package in sorted({row[0].partition("-")[0] for row in known.wheels if row[1] == rank}):
            yield from reading.on_the_index(package.replace("_", "-"))
        return
    for wheel in reading.wheels(publisher):
        if wheel.url and wheel.url.startswith(publisher.download):
            yield wheel


def _next(reply: Response, start: str) -> str | None:
    """Return the next page from the Link header; only on the same server."""
    for address, relation in re.findall(r'<([^<>]+)>\s*;[^,]*rel="?(\w+)', reply.headers.get("link", "")):
        if relation == "next" and _server(address) == _server(start):
            return str(address)
    return None


def _server(url: str) -> str:
    return "/".join(url.split("/")[:3])


def _why(reply: Response, now: datetime) -> str:
    """Return why a response is an error, and when to retry."""
    exhausted = reply.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in reply.headers
    if reply.status != TOO_MANY and not (reply.status == FORBIDDEN and exhausted):
        return f"the server answered {reply.status}"
    when = _reset(reply.headers, now)
    again = f"try again after {when:%Y-%m-%d %H:%M} UTC" if when else "try again in an hour"
    return f"rate limit exceeded: {again}"


def _reset(headers: Mapping[str, str], now: datetime) -> datetime | None:
    try:
        if "retry-after" in headers:
            return now + timedelta(seconds=int(headers["retry-after"]))
        return datetime.fromtimestamp(int(headers["x-ratelimit-reset"]), timezone.utc)
    except (KeyError, ValueError, OverflowError, OSError):
        return None
