"""The catalogue: every wheel in the publishers' lists, from `catalogue.json` and `aios wheels refresh`.

A row holds what the wheel's file name does not state: publisher, release tag, size, hash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from wheels.filename import WheelName, parse_wheel_name

OLD = 30  # days after which a list may lack new wheels
SHIPPED = Path(__file__).with_name("catalogue.json")


class CatalogueError(ValueError):
    """A catalogue cannot be used; the message names the file and the problem."""


class Publisher(BaseModel):
    """A publisher of wheels. `download`: the URL of its files, with a trailing slash; None: the package index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    download: str | None
    releases: str | None = Field(default=None, description="URL of its list of releases on GitHub")
    files: str | None = Field(default=None, description="URL of its list of files on Hugging Face")
    confirmed: bool = Field(
        default=True, description="false: URLs are derived from a known pattern, and were not seen in a list"
    )


# file name, index of the publisher, folder below `download` (a release tag), size in bytes, SHA-256
Row = tuple[str, int, str | None, int | None, Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None]


class Catalogue(BaseModel):
    """The catalogue file. Publishers are in order of preference."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    as_of: str = Field(description="the date on which this catalogue was made")
    listed_on: dict[str, str] = Field(
        default_factory=dict,
        description="the date of each publisher's list, by its id; a publisher without a dated list is missing",
    )
    includes: str = Field(
        default="", description="`as_of` of the catalogue shipped with aios that this one contains"
    )
    publishers: tuple[Publisher, ...]
    wheels: tuple[Row, ...]
    _wheels: dict[tuple[str, str], tuple[Wheel, ...]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _names_its_publishers(self) -> Catalogue:
        if any(not 0 <= row[1] < len(self.publishers) for row in self.wheels):
            raise ValueError("a wheel's publisher is not in the list of publishers")
        return self

    def of(self, package: str, platform: str = "") -> tuple[Wheel, ...]:
        """Return the wheels of a package in the catalogue's order; with `platform` ("win_amd64") only those for it."""
        if (package, platform) not in self._wheels:
            self._wheels[package, platform] = tuple(self._of(package, platform))
        return self._wheels[package, platform]

    def newest_list(self, package: str, platform: str = "") -> tuple[str, str] | None:
        """Return date and publisher of the newest list that has wheels of a package; None: no list is dated."""
        publishers = {wheel.publisher.id for wheel in self.of(package, platform)} or {
            wheel.publisher.id for wheel in self.of(package)
        }
        dated = ((self.listed_on[name], name) for name in publishers if name in self.listed_on)
        return max(dated, default=None)

    def old_lists(self, today: date) -> tuple[str, ...]:
        """Return the publishers whose list was read more than 30 days ago, with its date, the oldest first."""
        before = (today - timedelta(days=OLD)).isoformat()
        old = sorted((day, name) for name, day in self.listed_on.items() if day < before)
        return tuple(f"{name} ({day})" for day, name in old)

    def _of(self, package: str, platform: str) -> Iterator[Wheel]:
        start = package.replace("-", "_") + "-"
        end = f"_{platform.partition('_')[2]}.whl"  # manylinux_2_28_x86_64 is for linux_x86_64
        for filename, rank, folder, size, sha256 in self.wheels:
            if not filename.startswith(start) or (platform and not filename.endswith(end)):
                continue
            if name := parse_wheel_name(filename):
                yield Wheel(filename, name, self.publishers[rank], rank, folder, size, sha256)


class Wheel(NamedTuple):
    """One published wheel."""

    filename: str
    name: WheelName
    publisher: Publisher
    rank: int  # of the publisher; 0 is preferred
    folder: str | None
    size: int | None
    sha256: str | None

    @property
    def cuda(self) -> str:
        """The CUDA version: "13.0"; "12": any CUDA 12; "": not stated."""
        return ".".join(str(part) for part in self.name.cuda or () if part is not None)

    @property
    def url(self) -> str | None:
        """The URL, percent-encoded: some tools turn a plus sign into a space."""
        if self.publisher.download is None:
            return None
        return self.publisher.download + quote("/".join(filter(None, (self.folder, self.filename))))


def read_catalogue(path: Path, read: Callable[[Path], bytes] = Path.read_bytes) -> Catalogue:
    """Read and validate a catalogue. `read` reads a file that is not part of aios. Raises CatalogueError."""
    try:
        return Catalogue.model_validate_json(read(path))
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "file"
        raise CatalogueError(f"{path} is not a valid catalogue of wheels: {place}: {first['msg']}") from error


def to_json(catalogue: Catalogue) -> str:
    """Return the JSON as it is shipped: one wheel a line, so that diffs show changed wheels."""
    content = catalogue.model_dump(mode="json", exclude_defaults=True) | {"schema_version": 1}
    rows = ",\n".join(json.dumps(row) for row in content.pop("wheels"))
    head = json.dumps({"schema_version": 1, **content}, indent=1)
    return head.removesuffix("\n}") + ',\n "wheels": [\n' + rows + "\n]}\n"


@cache
def shipped_catalogue() -> Catalogue:
    """Return the catalogue that is part of aios."""
    return read_catalogue(SHIPPED)
