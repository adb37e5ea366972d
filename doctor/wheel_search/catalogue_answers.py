"""What `aios wheels list` and `aios wheels refresh` print with `--json`. The JSON Schemas are generated from these models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from packaging.version import Version
from pydantic import Field

from doctor.host import Frozen
from wheels.catalogue import Catalogue, Wheel


class PublisherCount(Frozen):
    """The wheels of a package that a publisher has."""

    publisher: str
    wheels: int
    listed_on: str | None = Field(description="the date of the publisher's list; null: not known")


class PackageWheels(Frozen):
    """The wheels of a package in the catalogue."""

    package: str
    newest: str
    wheels: int
    publishers: tuple[PublisherCount, ...]


class ListedWheel(Frozen):
    """A wheel in the catalogue."""

    filename: str
    publisher: str
    url: str | None
    size: int | None = Field(description="bytes; null: not known")
    sha256: str | None


class WheelList(Frozen):
    """`aios wheels list --json` prints exactly this; `files` only with `--package`."""

    schema_version: Literal[1] = 1
    as_of: str
    packages: tuple[PackageWheels, ...]
    files: tuple[ListedWheel, ...] = ()


class RefreshAnswer(Frozen):
    """`aios wheels refresh --json` prints exactly this. Addresses of private mirrors are hidden."""

    schema_version: Literal[1] = 1
    catalogue: str = Field(description="the file that was written")
    read: bool = Field(description="whether any list could be read")
    new: int
    hashed: int = Field(description="wheels whose hash was filled in")
    wheels: int
    without_hash: int
    changed: tuple[str, ...] = Field(description="files whose hash has changed; they will not be installed")
    old: tuple[str, ...] = Field(description="lists that are more than 30 days old")
    problems: tuple[str, ...] = Field(description="lists that could not be read, each with the reason")


def packages_of(catalogue: Catalogue) -> tuple[str, ...]:
    """Return the packages that the catalogue has wheels of, sorted."""
    return tuple(sorted({row[0].partition("-")[0].replace("_", "-") for row in catalogue.wheels}))


def wheel_list(catalogue: Catalogue, package: str | None) -> WheelList:
    """List the wheels by package and publisher; with `package`, only this one, and its files."""
    names = packages_of(catalogue) if package is None else (package,)
    return WheelList(
        as_of=str(catalogue.as_of),
        packages=tuple(_package(name, catalogue) for name in names),
        files=() if package is None else tuple(_files(catalogue.of(package))),
    )


def _package(name: str, catalogue: Catalogue) -> PackageWheels:
    wheels = catalogue.of(name)
    counted = Counter(wheel.publisher.id for wheel in wheels).most_common()
    return PackageWheels(
        package=name,
        newest=str(max((wheel.name.version for wheel in wheels), key=Version)),
        wheels=len(wheels),
        publishers=tuple(
            PublisherCount(publisher=publisher, wheels=count, listed_on=catalogue.listed_on.get(publisher))
            for publisher, count in counted
        ),
    )


def _files(wheels: Iterable[Wheel]) -> Iterable[ListedWheel]:
    for wheel in wheels:
        yield ListedWheel(
            filename=wheel.filename,
            publisher=wheel.publisher.id,
            url=wheel.url,
            size=wheel.size,
            sha256=wheel.sha256,
        )
