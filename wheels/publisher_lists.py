"""Make a catalogue from publishers' lists (releases on GitHub, files on Hugging Face), and merge catalogues. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from wheels.catalogue import Catalogue, Publisher, Row
from wheels.filename import parse_wheel_name
from wheels.packages import CATALOGUED

PACKAGE_INDEX = "package index"
# Publishers that build for every release come first, then past ones, then lists of others' wheels
PREFERRED = ("Dao-AILab/flash-attention", "mjun0812/flash-attention-prebuild-wheels", PACKAGE_INDEX)
GITHUB, HUGGING_FACE = "https://api.github.com/", "https://huggingface.co/"


class ListError(ValueError):
    """A response is not a list of releases or files; the message quotes it."""


class ListedWheel(NamedTuple):
    """A wheel in a list. `url` None: it is on the package index. `confirmed`: the URL was seen, not derived."""

    filename: str
    url: str | None
    size: int | None = None
    sha256: str | None = None
    confirmed: bool = True


def github_releases(content: Any) -> Iterator[ListedWheel]:
    """Yield the files in GitHub's list of releases. Raises ListError."""
    for release in _list(content, "releases"):
        for asset in _list(release.get("assets"), "files of a release"):
            name, url = asset.get("name"), asset.get("browser_download_url")
            kind, _, digest = str(asset.get("digest") or "").partition(":")
            if isinstance(name, str) and isinstance(url, str):
                yield ListedWheel(name, url, _size(asset), _hash(digest if kind == "sha256" else ""))


def hugging_face_files(content: Any, download: str) -> Iterator[ListedWheel]:
    """Yield the files of a Hugging Face repository; large ones (LFS) have a SHA-256. Raises ListError."""
    for file in _list(content, "files"):
        path, large = file.get("path"), file.get("lfs")
        if isinstance(path, str):
            digest = str(large.get("oid")) if isinstance(large, dict) else ""
            yield ListedWheel(path.rpartition("/")[2], download + quote(path), _size(file), _hash(digest))


def _list(content: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise ListError(f"expected a list of {what}, got {str(content)[:60]!r}")
    return content


def _size(entry: dict[str, Any]) -> int | None:
    size = entry.get("size")
    return size if isinstance(size, int) and size >= 0 else None


def _hash(digest: str) -> str | None:
    return digest if len(digest) == 64 and set(digest) <= set("0123456789abcdef") else None


def make_catalogue(
    listed: Iterable[ListedWheel], as_of: str, listed_on: Mapping[str, str] | None = None
) -> Catalogue:
    """Make a catalogue of the listed wheels of catalogued packages, each URL once.

    `listed_on`: the date of each publisher's list, by its id; those of other publishers are left out.
    """
    found: dict[tuple[Publisher, str | None, str], tuple[int | None, str | None]] = {}
    for wheel in listed:
        download, folder, name = _place(wheel.url) if wheel.url else (None, None, wheel.filename)
        parsed = parse_wheel_name(name)
        if parsed and parsed.package in CATALOGUED:
            publisher = _publisher(download, wheel.confirmed)
            found.setdefault((publisher, folder, name), (wheel.size, wheel.sha256))

    def preference(publisher: Publisher) -> tuple[object, ...]:
        rank = PREFERRED.index(publisher.id) if publisher.id in PREFERRED else len(PREFERRED)
        return not publisher.confirmed, rank, -sum(key[0] == publisher for key in found), publisher.id

    publishers = sorted({key[0] for key in found}, key=preference)
    ranks = {publisher: rank for rank, publisher in enumerate(publishers)}
    rows = [
        (name, ranks[publisher], folder, size, sha256)
        for (publisher, folder, name), (size, sha256) in found.items()
    ]
    ids = sorted({publisher.id for publisher in publishers})
    dates = {name: (listed_on or {})[name] for name in ids if name in (listed_on or {})}
    return Catalogue(as_of=as_of, listed_on=dates, publishers=tuple(publishers), wheels=_sorted(rows))


def _sorted(rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: (row[0], row[1], row[2] or "")))


def _place(url: str) -> tuple[str, str | None, str]:
    """Split a URL into the base of the publisher's files, the folder below it, and the file name."""
    address = unquote(url)
    for mark in ("/releases/download/", "/resolve/main/"):
        start, found, rest = address.partition(mark)
        if found:
            folder, _, name = rest.rpartition("/")
            return start + mark, folder or None, name
    start, _, name = address.rpartition("/")
    return start + "/", None, name


def _publisher(download: str | None, confirmed: bool) -> Publisher:
    """Derive the publisher from its base URL: "https://github.com/owner/repository/releases/download/"."""
    if download is None:
        return Publisher(id=PACKAGE_INDEX, download=None)
    host, path = urlsplit(download).netloc, urlsplit(download).path.strip("/")
    repository = "/".join(path.split("/")[:2])
    releases = f"{GITHUB}repos/{repository}/releases" if host == "github.com" else None
    files = f"{HUGGING_FACE}api/models/{repository}/tree/main" if host == "huggingface.co" else None
    name = repository if releases or files else host
    return Publisher(id=name, download=download, releases=releases, files=files, confirmed=confirmed)


# -- merging


class Changed(NamedTuple):
    """A file whose hash differs between two catalogues: it was replaced at the same URL."""

    url: str
    before: str
    now: str


class Merged(NamedTuple):
    """`new`: number of URLs missing in `base`; `hashed`: number of URLs with a hash only in the addition."""

    catalogue: Catalogue
    new: int
    hashed: int
    changed: tuple[Changed, ...]


def merge(base: Catalogue, addition: Catalogue) -> Merged:
    """Merge two catalogues. A missing hash or size is filled in; a known hash is never replaced."""
    publishers = list(dict.fromkeys((*base.publishers, *addition.publishers)))
    publishers.sort(key=lambda publisher: not publisher.confirmed)
    ranks = {publisher: rank for rank, publisher in enumerate(publishers)}
    rows = {address(base, row): (base.publishers[row[1]], row) for row in base.wheels}
    new, hashed, changed = 0, 0, []
    for row in addition.wheels:
        key, publisher = address(addition, row), addition.publishers[row[1]]
        known = rows.get(key)
        if known is None:
            rows[key], new = (publisher, row), new + 1
            continue
        name, _, folder, size, sha256 = known[1]
        hashed += sha256 is None and row[4] is not None
        if sha256 and row[4] and sha256 != row[4]:
            changed.append(Changed(key, sha256, row[4]))
            continue
        seen = known[0] if known[0].confirmed else publisher
        rows[key] = seen, (name, 0, folder, size if size is not None else row[3], sha256 or row[4])
    catalogue = Catalogue(
        as_of=max(base.as_of, addition.as_of),
        listed_on=_newest(base.listed_on, addition.listed_on),
        includes=max(base.includes, addition.includes),
        publishers=tuple(publishers),
        wheels=_sorted(
            (name, ranks[publisher], folder, size, sha256)
            for publisher, (name, _, folder, size, sha256) in rows.values()
        ),
    )
    return Merged(catalogue, new, hashed, tuple(changed))


def _newest(*dates: Mapping[str, str]) -> dict[str, str]:
    """Return the newest date of each publisher's list."""
    names = sorted({name for each in dates for name in each})
    return {name: max(each[name] for each in dates if name in each) for name in names}


def address(catalogue: Catalogue, row: Row) -> str:
    """Return the wheel's URL, unquoted; for one on the package index its file name."""
    return "/".join(filter(None, ((catalogue.publishers[row[1]].download or "").rstrip("/"), row[2], row[0])))
