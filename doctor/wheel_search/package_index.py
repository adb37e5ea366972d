"""The files of one package on a package index (PEP 503) or in a folder, with their hashes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from doctor.host.web import get_bytes
from doctor.wheel_search.install_error import InstallError
from wheels.filename import parse_wheel_name
from wheels.machine import Machine
from wheels.tags import fits_platform, fits_python

LARGEST_PAGE = 16 << 20  # bytes; PyPI's largest pages have a few


class NotFoundError(InstallError):
    """A package was not found on the index, or the index cannot be read."""


@dataclass(frozen=True)
class IndexFile:
    """One file. `sha256` None: the index does not state it."""

    filename: str
    url: str
    sha256: str | None


def files_on_index(index: str, package: str) -> tuple[IndexFile, ...]:
    """Read the files of a package from an index. Raises NotFoundError."""
    address = f"{index.rstrip('/')}/{canonicalize_name(package)}/"
    try:
        page = get_bytes(address, LARGEST_PAGE).decode("utf-8", "replace")
    except OSError as error:
        raise NotFoundError(
            f"{package} cannot be looked up: {error}. Check the network connection and the proxy (HTTPS_PROXY), or "
            "set AIOS_PYTORCH_INDEX to a mirror of PyTorch's index."
        ) from error
    return parse_listing(page, address)


def parse_listing(page: str, address: str) -> tuple[IndexFile, ...]:
    """Parse the links of an index page at this address. Links to anything but the web, such as `file:`, are left out."""
    links = _Links()
    links.feed(page)
    found = []
    for link in links.found:
        url, fragment = urldefrag(urljoin(address, link))
        if not url.startswith(("https://", "http://")):
            continue
        kind, _, digest = fragment.partition("=")
        found.append(IndexFile(unquote(url.rpartition("/")[2]), url, digest if kind == "sha256" else None))
    return tuple(found)


def files_in(folder: Path) -> tuple[IndexFile, ...]:
    """Return the wheels in a folder. Raises OSError."""
    return tuple(
        IndexFile(file.name, file.absolute().as_uri(), None) for file in sorted(folder.glob("*.whl"))
    )


def newest_fitting(
    files: Iterable[IndexFile], requirement: str, machine: Machine
) -> tuple[IndexFile, Version] | None:
    """Return the newest file that meets the requirement and fits this Python; None: there is none."""
    wanted = Requirement(requirement)
    fitting = []
    for file in files:
        name = parse_wheel_name(file.filename)
        try:
            package, version, build, _ = parse_wheel_filename(file.filename)
        except InvalidWheelFilename:
            continue
        if (
            name
            and package == canonicalize_name(wanted.name)
            and wanted.specifier.contains(version, prereleases=True)
            and fits_python(name, machine)
            and fits_platform(name, machine)
        ):
            fitting.append((version, build, file.filename, file))
    if not fitting:
        return None
    version, _, _, file = max(fitting)
    return file, version


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
