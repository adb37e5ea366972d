"""What a wheel's file name says: PEP 427's fields, and the labels that publishers of CUDA extensions put into the version."""

from __future__ import annotations

import re
from typing import NamedTuple

NAME = re.compile(
    r"(?P<name>[^-]+)-(?P<version>[^-+]+)(?:\+(?P<local>[^-]+))?(?:-\d[^-]*)?"
    r"-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl"
)
CUDA = re.compile(r"(?<![a-z])cu(\d{2})(\d?)(?!\d)")  # cu130; cu12: any CUDA 12
TORCH = re.compile(r"torch(\d+)\.(\d+)|torch(\d)(\d{1,2})\d(?!\d)")  # torch2.13, torch2.13.0; torch2130
CXX11_ABI = re.compile(r"cxx11abi(true|false|1|0)", re.IGNORECASE)


class WheelName(NamedTuple):
    """A wheel's name, taken apart. What the version's label does not say is None."""

    package: str  # "flash-attn"
    version: str  # "2.8.3"
    torch: str | None  # minor: "2.13"
    cuda: tuple[int, int | None] | None  # (13, 0); (12, None): any CUDA 12
    cxx11_abi: bool | None
    pythons: tuple[str, ...]  # "cp312"
    abi: str  # "cp312", "cp313t", "abi3", "none"
    platforms: tuple[str, ...]  # "win_amd64", "manylinux_2_28_x86_64"


def parse_wheel_name(filename: str) -> WheelName | None:
    """None where it is no wheel's name."""
    match = NAME.fullmatch(filename)
    if match is None:
        return None
    label = match["local"] or ""
    cuda, torch, abi = CUDA.search(label), TORCH.search(label), CXX11_ABI.search(label)
    return WheelName(
        package=match["name"].replace("_", "-").lower(),
        version=match["version"],
        torch=f"{torch[1] or torch[3]}.{torch[2] or torch[4]}" if torch else None,
        cuda=(int(cuda[1]), int(cuda[2]) if cuda[2] else None) if cuda else None,
        cxx11_abi=abi[1].lower() in ("true", "1") if abi else None,
        pythons=tuple(match["python"].split(".")),
        abi=match["abi"],
        platforms=tuple(match["platform"].split(".")),
    )
