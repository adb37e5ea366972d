"""Parse a wheel's file name: the fields of PEP 427, and the labels that publishers of CUDA extensions add to the version."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

CUDA = re.compile(r"(?<![a-z])cu\.?(\d{2})\.?(\d?)(?!\d)")  # cu130, cu13.0, cu.13.0; cu12: any CUDA 12
# torch2.13, torch.2.13, torch2.13.0; torch2130
TORCH = re.compile(r"torch\.?(\d+)\.(\d+)|torch(\d)(\d{1,2})\d(?!\d)")
CXX11_ABI = re.compile(r"cxx11abi(true|false|1|0)", re.IGNORECASE)


class WheelName(NamedTuple):
    """The parsed name of a wheel. None: the version's label does not state it."""

    package: str  # "flash-attn"
    version: str  # "2.8.3"
    torch: str | None  # minor: "2.13"
    cuda: tuple[int, int | None] | None  # (13, 0); (12, None): any CUDA 12
    cxx11_abi: bool | None
    pythons: tuple[str, ...]  # "cp312"
    abi: str  # "cp312", "cp313t", "abi3", "none"
    platforms: tuple[str, ...]  # "win_amd64", "manylinux_2_28_x86_64"


def parse_wheel_name(filename: str) -> WheelName | None:
    """Parse a file name; None if it is not the name of a wheel."""
    package, _, rest = filename.partition("-")
    version, _, rest = rest.partition("-")
    tags = _tags(rest)
    if not (package and version and tags):
        return None
    public, torch, cuda, cxx11_abi = _version(version)
    return WheelName(_normalized(package), public, torch, cuda, cxx11_abi, *tags)


# A catalogue has thousands of names, made from a few hundred versions and tags


@lru_cache(4096)
def _version(text: str) -> tuple[str, str | None, tuple[int, int | None] | None, bool | None]:
    """Return the public version, and torch, CUDA and C++ ABI from its label."""
    public, _, label = text.partition("+")
    cuda, torch, abi = CUDA.search(label), TORCH.search(label), CXX11_ABI.search(label)
    return (
        public,
        f"{torch[1] or torch[3]}.{torch[2] or torch[4]}" if torch else None,
        (int(cuda[1]), int(cuda[2]) if cuda[2] else None) if cuda else None,
        abi[1].lower() in ("true", "1") if abi else None,
    )


@lru_cache(4096)
def _tags(text: str) -> tuple[tuple[str, ...], str, tuple[str, ...]] | None:
    """Parse "cp312-cp312-win_amd64.whl", with or without a build number in front."""
    parts = text.removesuffix(".whl").split("-")
    if len(parts) == 4 and parts[0][:1].isdigit():
        parts = parts[1:]
    if not text.endswith(".whl") or len(parts) != 3 or not all(parts):
        return None
    return tuple(parts[0].split(".")), parts[1], tuple(parts[2].split("."))


@lru_cache(1024)
def _normalized(package: str) -> str:
    return package.replace("_", "-").lower()
