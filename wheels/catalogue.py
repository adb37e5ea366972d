"""The catalogue: every wheel that its publishers list, from `catalogue.json` and from what `aios wheels refresh` added.

A row holds no more than cannot be told from the wheel's file name: publisher, release tag, size, hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from wheels.filename import WheelName, parse_wheel_name

SHIPPED = Path(__file__).with_name("catalogue.json")


class CatalogueError(ValueError):
    """A catalogue that cannot be used; the message says where it is and what is wrong with it."""


class Publisher(BaseModel):
    """Who publishes wheels, and where they lie: below `download`, which ends in a slash; None: on the package index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    download: str | None
    releases: str | None = Field(default=None, description="where GitHub lists its releases")
    files: str | None = Field(default=None, description="where Hugging Face lists its files")
    confirmed: bool = Field(default=True, description="false: addresses rebuilt from a pattern that was seen")


# file name, the publisher's place in the list, folder below `download` (a release tag), size in bytes, SHA-256
Row = tuple[str, int, str | None, int | None, Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None]


class Catalogue(BaseModel):
    """The file. Publishers come in the order of preference."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    as_of: str = Field(description="the day on which the lists were read")
    publishers: tuple[Publisher, ...]
    wheels: tuple[Row, ...]
    _taken_apart: dict[tuple[str, str], tuple[Wheel, ...]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _names_its_publishers(self) -> Catalogue:
        if any(not 0 <= row[1] < len(self.publishers) for row in self.wheels):
            raise ValueError("a wheel's publisher is not in the list of publishers")
        return self

    def of(self, package: str, platform: str = "") -> tuple[Wheel, ...]:
        """The wheels of a package, in the catalogue's order; with `platform` ("win_amd64") those for it alone."""
        if (package, platform) not in self._taken_apart:
            self._taken_apart[package, platform] = tuple(self._of(package, platform))
        return self._taken_apart[package, platform]

    def _of(self, package: str, platform: str) -> Iterator[Wheel]:
        start = package.replace("-", "_") + "-"
        end = f"_{platform.partition('_')[2]}.whl"  # manylinux_2_28_x86_64 is for linux_x86_64, too
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
        """As people write it: "13.0"; "12": any CUDA 12; empty where the label does not say."""
        return ".".join(str(part) for part in self.name.cuda or () if part is not None)

    @property
    def url(self) -> str | None:
        """The address, percent-encoded: a literal plus sign does not survive every tool."""
        if self.publisher.download is None:
            return None
        return self.publisher.download + quote("/".join(filter(None, (self.folder, self.filename))))


def read_catalogue(path: Path) -> Catalogue:
    """Read and validate a catalogue. Raises CatalogueError."""
    try:
        return Catalogue.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "file"
        raise CatalogueError(f"{path} is no catalogue of wheels: {place}: {first['msg']}") from error


def to_json(catalogue: Catalogue) -> str:
    """As it is shipped: one wheel a line, so that a change of the catalogue reads as a change of wheels."""
    content = catalogue.model_dump(mode="json", exclude_defaults=True) | {"schema_version": 1}
    rows = ",\n".join(json.dumps(row) for row in content.pop("wheels"))
    head = json.dumps({"schema_version": 1, **content}, indent=1)
    return head.removesuffix("\n}") + ',\n "wheels": [\n' + rows + "\n]}\n"


@cache
def shipped_catalogue() -> Catalogue:
    """The one that comes with aios."""
    return read_catalogue(SHIPPED)
