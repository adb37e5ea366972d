"""The wheels to choose from: the catalogue with what `aios wheels refresh` added, and the files in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from packaging.version import Version

from doctor.bounded import parse_json
from doctor.files import sha256_of
from doctor.host import Host
from doctor.host.web import get_bytes
from doctor.probes.wheel_catalogue import known_wheels
from doctor.wheel_search.install_error import InstallError
from doctor.wheel_search.package_index import NotFoundError
from wheels.catalogue import Catalogue, CatalogueError, Publisher, Row, Wheel
from wheels.compatibility import cuda_tag, parse_version, torch_default_cuda_tag
from wheels.filename import parse_wheel_name
from wheels.machine import Machine, TorchBuild
from wheels.packages import CATALOGUED
from wheels.tags import fits_platform, fits_python

MOST_ASKED = 3  # wheels whose publisher is asked for a hash


def candidates(host: Host) -> Catalogue:
    """Return the catalogue. Raises InstallError."""
    try:
        return known_wheels(host)
    except CatalogueError as error:
        raise InstallError(f"{error}. Recreate it with aios wheels refresh, or delete it.") from error


def with_folder(catalogue: Catalogue, folder: Path | None, *, alone: bool) -> Catalogue:
    """Return a catalogue with the wheels in `folder` first; `alone`: with those only. Raises InstallError."""
    files = tuple(_rows(folder)) if folder else ()
    if alone:
        catalogue = Catalogue(as_of=catalogue.as_of, publishers=(), wheels=())
    if not folder:
        return catalogue
    here = Publisher(id=str(folder), download=folder.absolute().as_uri() + "/")
    others = tuple((row[0], row[1] + 1, row[2], row[3], row[4]) for row in catalogue.wheels)
    return Catalogue(
        as_of=catalogue.as_of, publishers=(here, *catalogue.publishers), wheels=(*files, *others)
    )


def _rows(folder: Path) -> Iterator[Row]:
    try:
        for file in sorted(folder.iterdir()):
            name = parse_wheel_name(file.name)
            if name and name.package in CATALOGUED:
                yield file.name, 0, None, file.stat().st_size, sha256_of(file)
    except OSError as error:
        raise InstallError(f"--wheel-dir: {folder} cannot be read: {error.strerror or error}") from error


def torch_wheels_in(folder: Path | None, machine: Machine) -> tuple[tuple[str, TorchBuild], ...]:
    """Return version and build of the torch wheels in a folder that fit this Python, newest first."""
    found = []
    for file in folder.glob("torch-*.whl") if folder else ():
        name = parse_wheel_name(file.name)
        version = parse_version(unquote(file.name).split("-")[1])
        if name and version and fits_python(name, machine) and fits_platform(name, machine):
            public = Version(version.public)
            tag = cuda_tag(version) if version.local else torch_default_cuda_tag(public, machine.system)
            found.append((str(version), TorchBuild(public, tag)))
    return tuple(sorted(found, key=lambda each: Version(each[0]), reverse=True))


def published_hash(wheel: Wheel) -> str | None:
    """Return the wheel's SHA-256 from the catalogue, else from its publisher's release list; None: not published.

    Raises NotFoundError if the release list cannot be read.
    """
    if wheel.sha256 or not (wheel.publisher.releases and wheel.folder):
        return wheel.sha256
    try:
        release = parse_json(get_bytes(f"{wheel.publisher.releases}/tags/{quote(wheel.folder)}"))
        digests = {asset["name"]: asset.get("digest") or "" for asset in release["assets"]}
    except OSError as error:
        raise NotFoundError(
            f"the hash of {wheel.filename} is not in the catalogue, and its publisher's release list cannot be read: {error}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    kind, _, digest = digests.get(wheel.filename, "").partition(":")
    return digest if kind == "sha256" else None


def with_known_hash(wheels: tuple[Wheel, ...]) -> Wheel | None:
    """Return the best wheel that has a hash, with the hash filled in; None: none of the best has one.

    A wheel whose URL was derived from a pattern may not exist, so the next one is tried. Raises NotFoundError.
    """
    unread = None
    for wheel in wheels[:MOST_ASKED]:
        try:
            found = published_hash(wheel)
        except NotFoundError as error:
            if wheel.publisher.confirmed:
                raise
            unread = error
            continue
        if found:
            return wheel._replace(sha256=found)
    if unread:
        raise unread
    return None
