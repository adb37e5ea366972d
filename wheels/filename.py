"""What a wheel's file name says: PEP 427's fields, and the labels that publishers of CUDA extensions put into the version."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

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


class Label(NamedTuple):
    """What a version's label says: "cu130torch2.13"."""

    torch: str | None
    cuda: tuple[int, int | None] | None
    cxx11_abi: bool | None


def parse_wheel_name(filename: str) -> WheelName | None:
    """None where it is no wheel's name."""
    parts = filename.removesuffix(".whl").split("-")
    if not filename.endswith(".whl") or not 5 <= len(parts) <= 6 or not all(parts):
        return None
    package, version = parts[:2]
    if len(parts) == 6 and not parts[2][0].isdigit():  # a build number
        return None
    public, _, local = version.partition("+")
    label = _label(local)
    return WheelName(
        _normalised(package), public, label.torch, label.cuda, label.cxx11_abi,
        _split(parts[-3]), parts[-2], _split(parts[-1]),
    )  # fmt: skip


# A catalogue has thousands of names, and few different labels and tags


@lru_cache(4096)
def _label(local: str) -> Label:
    cuda, torch, abi = CUDA.search(local), TORCH.search(local), CXX11_ABI.search(local)
    return Label(
        torch=f"{torch[1] or torch[3]}.{torch[2] or torch[4]}" if torch else None,
        cuda=(int(cuda[1]), int(cuda[2]) if cuda[2] else None) if cuda else None,
        cxx11_abi=abi[1].lower() in ("true", "1") if abi else None,
    )


@lru_cache(1024)
def _normalised(package: str) -> str:
    return package.replace("_", "-").lower()


@lru_cache(1024)
def _split(tags: str) -> tuple[str, ...]:
    return tuple(tags.split("."))
