"""Facts about flash-attn builds: the CUDA and torch versions they were built for, and their GPU architectures.

Pure functions over `compatibility.json`, which names its sources.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheels.compatibility import ComputeCapability
from wheels.compatibility_data import numbers, table


@dataclass(frozen=True)
class FlashAttnBuild:
    """What a flash-attn wheel was built for. None: not stated."""

    version: str
    torch: str | None  # minor: "2.8"
    cuda_major: int | None
    cuda_minor: int | None


def parse_flash_attn(version: str, url: str | None = None) -> FlashAttnBuild:
    """Parse the version ("2.8.3+cu128torch2.8"), or the URL that it was installed from."""
    public, _, local = version.partition("+")
    label = local or (url or "").rpartition("/")[2].replace("%2B", "+").replace("%2b", "+").partition("+")[2]
    torch = re.search(r"torch(\d+\.\d+)", label)
    cuda = re.search(r"cu(\d{2,3})(?!\d)", label)
    digits = cuda.group(1) if cuda else ""
    return FlashAttnBuild(
        version=public,
        torch=torch.group(1) if torch else None,
        cuda_major=int(digits[:2]) if digits else None,
        cuda_minor=int(digits[2:]) if digits[2:] else None,
    )


def flash_attn_minimum_capability() -> ComputeCapability:
    """Return the lowest compute capability with FlashAttention-2 kernels: (8, 0)."""
    major, minor_ = numbers(table()["flash_attn"]["compute_capability_from"])
    return major, minor_


def flash_attn_architectures(cuda: tuple[int, int], flash_attn: str) -> tuple[str, ...] | None:
    """Return the GPU architectures in a wheel of flash-attn "2.8.3" built with this CUDA; None: not known."""
    for row in table()["flash_attn"]["architectures"]:
        known = SpecifierSet(row.get("versions", ""), prereleases=True)
        if cuda >= numbers(row["cuda_from"]) and flash_attn in known:
            return tuple(row["contains"].split())
    return None


def fetches_cuda_12_wheel(flash_attn: Version, torch_cuda_major: int) -> bool:
    """Does the setup.py of this flash-attn download a CUDA 12 wheel next to a torch for CUDA 13?"""
    return torch_cuda_major >= 13 and flash_attn.public in SpecifierSet(
        table()["flash_attn"]["fetches_cuda_12_wheel"]
    )


def cute_on_windows_from() -> str:
    """Return the first nvidia-cutlass-dsl with Windows wheels; FlashAttention-4 is built on it."""
    return str(table()["flash_attn"]["cute_on_windows_from"])
