"""The result of `aios install`: what it would do or did with each package. Printed by `--json`; has a schema."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from doctor.host import Frozen

Status = Literal[
    "planned",
    "unchanged",
    "nothing fits",
    "refused",
    "declined",
    "installed",
    "rolled back",
    "interrupted",
    "undone",
]


class PackageAnswer(Frozen):
    """One package. `install`: the file to install; `keep`: the installed build fits; `none`: no build fits."""

    package: str
    action: Literal["install", "keep", "none"]
    version: str | None = Field(description="the version to install or keep; null: none fits")
    installed: str | None = Field(description="the version installed before; null: not installed")
    filename: str | None = None
    source: str | None = Field(default=None, description="a URL, a file, or a package index")
    size: int | None = Field(default=None, description="bytes; null: not known in advance")
    sha256: str | None = None
    reasons: tuple[str, ...] = ()


class InstallAnswer(Frozen):
    """`aios install --json` prints exactly this."""

    schema_version: Literal[1] = 1
    status: Status
    python: str = Field(description="the Python interpreter to install into")
    torch: str | None = Field(description="the torch that the packages are for")
    packages: tuple[PackageAnswer, ...] = ()
    also: tuple[str, ...] = Field(default=(), description="their other dependencies: name and version")
    fallback: str | None = Field(default=None, description="the next best attention if no flash-attn fits")
    message: str = Field(default="", description="what happened and what to do next")
    run: str | None = Field(default=None, description="the name of the run that recorded the changes")
