"""Reading the publishers' lists again, as far as they let us, into a catalogue of this user's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

from doctor.host.web import Response
from wheels.catalogue import Catalogue, Publisher
from wheels.publisher_lists import (
    GITHUB,
    HUGGING_FACE,
    Listed,
    ListError,
    Merged,
    github_releases,
    hugging_face_files,
    make_catalogue,
    merge,
)

Ask: TypeAlias = Callable[[str, Mapping[str, str]], Response]
Tell: TypeAlias = Callable[[str], None]
MOST_PAGES = 100
OK, UNCHANGED, FORBIDDEN, TOO_MANY = 200, 304, 403, 429
JSON_TYPE = {"Accept": "application/vnd.github+json"}  # Hugging Face sends JSON anyway


@dataclass(frozen=True)
class Page:
    """What a page was when it was read: the server says by the tag whether it still is."""

    etag: str
    next: str | None


@dataclass(frozen=True)
class Refreshed:
    """`complaints`: the lists, or the parts of them, that could not be read, and why."""

    merged: Merged
    pages: Mapping[str, Page]
    complaints: tuple[str, ...]
    without_hash: int
    read_any: bool  # at least one page, or a server's word that it is unchanged


class UnreadableListError(Exception):
    """A list that cannot be read on; the message is for people."""


@dataclass
class Reading:
    """Lists as they are read. `github` and `hugging_face` are the services, or mirrors of them."""

    ask: Ask
    now: datetime
    github: str = GITHUB
    hugging_face: str = HUGGING_FACE
    known: Mapping[str, Page] = field(default_factory=dict)
    seen: dict[str, Page] = field(default_factory=dict)

    def wheels(self, publisher: Publisher) -> Iterator[Listed]:
        """Everything on the pages that changed since they were read last. Raises UnreadableListError, OSError."""
        for content in self._pages(self._address(publisher)):
            try:
                if publisher.releases:
                    yield from github_releases(content)
                else:
                    yield from hugging_face_files(content, publisher.download or "")
            except ListError as error:
                raise UnreadableListError(str(error)) from error

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
                yield json.loads(reply.body)
            except (ValueError, RecursionError) as error:
                raise UnreadableListError("it is no JSON") from error
            following = _next(reply, start)
            if etag := reply.headers.get("etag"):
                self.seen[url] = Page(etag, following)
            url = following


def refresh(known: Catalogue, reading: Reading, tell: Tell) -> Refreshed:
    """Ask every publisher in `known`. What was read before something went wrong counts."""
    found: list[Listed] = []
    complaints = []
    publishers = {p.releases or p.files: p for p in known.publishers if p.releases or p.files}
    for publisher in publishers.values():
        before = len(found)
        try:
            for wheel in reading.wheels(publisher):
                if publisher.download and wheel.url and wheel.url.startswith(publisher.download):
                    found.append(wheel)
        except (UnreadableListError, OSError) as error:
            complaints.append(f"{publisher.id}: {error}")
        tell(f"{publisher.id}: {len(found) - before} files")
    addition = make_catalogue(found, reading.now.strftime("%Y-%m-%d"))
    without_hash = sum(row[4] is None for row in addition.wheels)
    return Refreshed(
        merge(known, addition),
        {**reading.known, **reading.seen},
        tuple(complaints),
        without_hash,
        read_any=bool(found or reading.seen),
    )


def _next(reply: Response, start: str) -> str | None:
    """The page after this one, by the header Link; only where this list lies."""
    for address, relation in re.findall(r'<([^<>]+)>\s*;[^,]*rel="?(\w+)', reply.headers.get("link", "")):
        if relation == "next" and _server(address) == _server(start):
            return str(address)
    return None


def _server(url: str) -> str:
    return "/".join(url.split("/")[:3])


def _why(reply: Response, now: datetime) -> str:
    """Why an answer is none, and when to ask again."""
    exhausted = reply.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in reply.headers
    if reply.status != TOO_MANY and not (reply.status == FORBIDDEN and exhausted):
        return f"the server answers {reply.status}"
    when = _reset(reply.headers, now)
    again = f"try again after {when:%Y-%m-%d %H:%M} UTC" if when else "try again in an hour"
    return f"it was asked too often from this address: {again}"


def _reset(headers: Mapping[str, str], now: datetime) -> datetime | None:
    try:
        if "retry-after" in headers:
            return now + timedelta(seconds=int(headers["retry-after"]))
        return datetime.fromtimestamp(int(headers["x-ratelimit-reset"]), timezone.utc)
    except (KeyError, ValueError, OverflowError, OSError):
        return None
