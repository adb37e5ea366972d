"""What `aios install` says: what it would do, or did, with each package. `--json` prints it; the schema is made from it."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field

from doctor.host import Frozen

Status = Literal[
    "planned", "unchanged", "nothing fits", "refused", "declined", "installed", "rolled back", "undone"
]


class PackageAnswer(Frozen):
    """One package. `install`: a file of this name, from there, with this hash; `keep`: what is there fits."""

    package: str
    action: Literal["install", "keep", "none"]
    version: str | None = Field(description="to be installed, or kept; null: none fits")
    installed: str | None = Field(description="what is there before; null: nothing")
    filename: str | None = None
    source: str | None = Field(default=None, description="an address, a file, or a package index")
    size: int | None = Field(default=None, description="bytes; null: not said beforehand")
    sha256: str | None = None
    reasons: tuple[str, ...] = ()


class InstallAnswer(Frozen):
    """`aios install --json` prints exactly this."""

    schema_version: Literal[1] = 1
    status: Status
    python: str = Field(description="the interpreter that is installed into")
    torch: str | None = Field(description="the torch that all of it is for")
    packages: tuple[PackageAnswer, ...] = ()
    also: tuple[str, ...] = Field(
        default=(), description="what these packages need besides: name and version"
    )
    fallback: str | None = Field(
        default=None, description="the next best attention, where no flash-attn fits"
    )
    message: str = Field(default="", description="why it did not go on")
    run: str | None = Field(default=None, description="the record of what was changed, in the folder of runs")


def to_json(answer: InstallAnswer) -> str:
    """ASCII, so that a pipe of any encoding can carry it."""
    return json.dumps(answer.model_dump(mode="json"), indent=2) + "\n"
