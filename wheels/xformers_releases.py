"""Facts about xformers releases: the torch and flash-attn that they require, their wheels, and known faults.

Pure functions over `compatibility.json`, which names its sources.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheels.companions import contains_flash_kernels
from wheels.compatibility import ComputeCapability
from wheels.compatibility_data import numbers, table


@dataclass(frozen=True)
class KnownFault:
    """Why a release is known not to work, and what to use instead: "xformers 0.0.31.post1"."""

    why: str
    use: str


def xformers_torch_requirement(xformers: Version) -> str | None:
    """Return the torch that a release requires: "==2.10.0" or ">=2.10"."""
    row = table()["xformers"]["releases"].get(xformers.public)
    return row["torch"] if row else None


def xformers_for_torch(torch: Version) -> str | None:
    """Return the newest release that accepts this torch."""
    fitting = [
        version
        for version, row in table()["xformers"]["releases"].items()
        if torch.base_version in SpecifierSet(row["torch"])
    ]
    return max(fitting, key=Version, default=None)


def xformers_accepting(torch: Version) -> tuple[str, ...]:
    """Return the releases that accept this torch, newest first."""
    fitting = (
        version
        for version, row in table()["xformers"]["releases"].items()
        if torch.base_version in SpecifierSet(row["torch"])
    )
    return tuple(sorted(fitting, key=Version, reverse=True))


def xformers_index_tags(xformers: Version, platform: str) -> tuple[str, ...]:
    """Return the CUDA tags for which PyTorch's own index has this release: ("cu126", "cu128")."""
    return tuple(_for_release(xformers, "index_builds")[platform].split())


@dataclass(frozen=True)
class IndexWheels:
    """The wheels of an xformers release on PyTorch's own index, the same for each CUDA tag."""

    tags: tuple[str, ...]  # "cp39-abi3-win_amd64"
    oldest_gpu: ComputeCapability


def xformers_index_wheels(xformers: Version) -> IndexWheels:
    row = _for_release(xformers, "index_wheels")
    platforms = table()["xformers"]["index_platforms"]
    major, minor_ = numbers(row["compute_capability_from"])
    tags = tuple(f"{tag}-{platform}" for tag in row["tags"].split() for platform in platforms)
    return IndexWheels(tags, (major, minor_))


def _for_release(xformers: Version, part: str) -> dict[str, str]:
    rows: list[dict[str, str]] = table()["xformers"][part]
    return next((row for row in rows if _includes(row, xformers)), rows[0])


def _includes(row: dict[str, str], xformers: Version) -> bool:
    """Whether a release is in a row's range. Post-releases count: 0.0.29.post3 is not below 0.0.29.post2."""
    return SpecifierSet(row["versions"]).contains(xformers.public, prereleases=True)


def accepted_flash_attn(xformers: Version) -> SpecifierSet | None:
    """Return the flash-attn releases beside which this xformers can be imported; None: any.

    It looks for the package flash_attn when it is imported, and raises an ImportError for any other release.
    """
    rows = table()["xformers"]["flash_attn_package"]
    return next((SpecifierSet(row["accepts"]) for row in rows if _includes(row, xformers)), None)


def bounds(versions: SpecifierSet) -> str:
    """Return the text of a range, the lower bound first: ">=2.7.1,<=2.8.2"."""
    return ",".join(sorted(map(str, versions), reverse=True))


def needed_flash_attn(
    xformers: Version, torch: Version, platform: str, capabilities: Iterable[ComputeCapability]
) -> SpecifierSet | None:
    """Return the flash-attn releases of which this xformers needs one on these GPUs; None: it needs none.

    On GPUs that its own kernels do not support, it can only use the kernels of flash-attn or torch.
    """
    strongest = max(capabilities, default=(0, 0))
    for row in table()["xformers"]["kernels"]:
        if _includes(row, xformers) and strongest > numbers(row["highest_capability"]):
            return None if contains_flash_kernels(torch, platform) else accepted_flash_attn(xformers)
    return None


def xformers_fault(
    xformers: Version, platform: str, capabilities: Iterable[ComputeCapability]
) -> KnownFault | None:
    """Return the known fault of this release on this platform and these GPUs, if any."""
    strongest = max(capabilities, default=(0, 0))
    for row in table()["xformers"]["known_bad"]:
        if (
            row["platform"] == platform
            and xformers.public in SpecifierSet(row["versions"], prereleases=True)
            and strongest >= numbers(row.get("compute_capability_from", "0.0"))
        ):
            return KnownFault(why=row["why"], use=row["use"])
    return None


def is_pure_python_xformers(xformers: Version) -> bool:
    """Is this a development build with its kernels in the package mslk?"""
    return xformers.is_devrelease and xformers >= Version(table()["xformers"]["pure_python_from"])
