"""Which builds fit together and fit a machine. Pure functions over `compatibility.json`, which names its sources.

Spelling: `platform` is "windows" or "linux"; a CUDA tag is "cu130"; a compute capability is (8, 9); "2.13" is a torch
minor. Where the data has no answer, functions return None and never guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from wheels.compatibility_data import numbers, table

ComputeCapability = tuple[int, int]


def parse_version(text: str) -> Version | None:
    """Parse a version (PEP 440); None if the text is not one."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


def minor(version: Version) -> str:
    """ "2.13.0+cu130" -> "2.13"."""
    return f"{version.major}.{version.minor}"


# -- CUDA tags, drivers and GPUs


def cuda_tag(version: Version) -> str | None:
    """Return the CUDA tag in a local version: "2.13.0+cu130" -> "cu130"; "2.13.0+cpu" -> None."""
    match = re.search(r"\bcu\d{3}\b", version.local or "")
    return match.group() if match else None


def tag_of_cuda(cuda: str) -> str:
    """ "13.0" -> "cu130"."""
    return "cu" + "".join(cuda.split(".")[:2])


def cuda_of_tag(tag: str) -> tuple[int, int]:
    """ "cu130" -> (13, 0)."""
    return int(tag[2:-1]), int(tag[-1])


def minimum_driver(cuda_major: int, platform: str) -> str | None:
    """Return the oldest driver that runs programs built with this CUDA major, for example "528.33"."""
    found: str | None = table()["drivers"].get(platform, {}).get(str(cuda_major))
    return found


def driver_supports(driver: str, cuda_major: int, platform: str) -> bool | None:
    """Does this driver run programs built with this CUDA major? None: not known."""
    minimum = minimum_driver(cuda_major, platform)
    return None if minimum is None else numbers(driver) >= numbers(minimum)


def falls_back_to_system_memory(driver: str) -> bool:
    """Does this Windows driver fall back to system memory by default when GPU memory is exhausted?"""
    return bool(numbers(driver) >= numbers(table()["drivers"]["lends_system_memory_from"]))


def contains_code_for(architectures: Iterable[str], capability: ComputeCapability) -> bool:
    """Does a build with these architectures ("8.6", "12.0+PTX") run on this GPU?

    Machine code runs on the same major version with the same or a higher minor; PTX runs on every newer GPU.
    """
    for architecture in architectures:
        built_for = numbers(architecture)
        if architecture.endswith("+PTX") and capability >= built_for:
            return True
        if built_for[0] == capability[0] and built_for[1] <= capability[1]:
            return True
    return False


def torch_architectures(torch: Version, tag: str, platform: str) -> tuple[str, ...] | None:
    """Return the GPU architectures in PyTorch's own build for a CUDA tag; None: not known."""
    for build in table()["architectures"]["builds"]:
        if (build["platform"], build["cuda"]) == (platform, tag) and torch.base_version in SpecifierSet(
            build["torch"]
        ):
            return tuple(build["contains"].split())
    return None


def architectures_were_read(torch: Version) -> bool:
    """Is the list of architectures verified for this release? For later releases the table extrapolates."""
    return torch.release[:2] <= numbers(table()["architectures"]["read_up_to"])


def why_nvcc_cannot_target(nvcc: tuple[int, int], capability: ComputeCapability) -> str | None:
    """Why this CUDA cannot compile for such a GPU, as what it needs instead: "CUDA 12.8 or newer". None if it can."""
    for row in table()["nvcc_targets"]["for_gpus"]:
        if capability < numbers(row["compute_capability_from"]):
            continue
        if row["nvcc_from"] and nvcc < numbers(row["nvcc_from"]):
            return f"CUDA {row['nvcc_from']} or newer"
        if row["nvcc_below"] and nvcc >= numbers(row["nvcc_below"]):
            return f"a CUDA older than {row['nvcc_below']}"
        return None
    return None


# -- torch


def torch_pythons(torch: Version) -> tuple[str, ...] | None:
    """Return the Python minors with a Windows wheel of this torch release: ("3.10", ..., "3.14")."""
    release = table()["torch"]["releases"].get(torch.base_version)
    return tuple(release["windows_pythons"].split()) if release else None


def pythons_with_torch() -> tuple[str, ...]:
    """Return the Python minors with a Windows CUDA build of torch, oldest first."""
    known = {
        python
        for release in table()["torch"]["releases"].values()
        if release["windows_cuda"]
        for python in release["windows_pythons"].split()
    }
    return tuple(sorted(known, key=numbers))


def newest_torch(tag: str, python: str) -> str | None:
    """Return the newest torch release with a Windows build for this CUDA tag and Python minor."""
    fitting = [
        version
        for version, release in table()["torch"]["releases"].items()
        if tag in release["windows_cuda"].split() and python in release["windows_pythons"].split()
    ]
    return max(fitting, key=Version, default=None)


def torch_platforms() -> tuple[str, ...]:
    """Return the platforms with CUDA builds: "win_amd64"."""
    return tuple(table()["torch"]["platforms"])


def torch_releases() -> tuple[str, ...]:
    """Return every known release, newest first."""
    return tuple(sorted(table()["torch"]["releases"], key=Version, reverse=True))


def torch_cuda_tags(torch: Version, platform: str) -> tuple[str, ...]:
    """Return the CUDA tags of this release's builds for a platform: ("cu126", "cu130")."""
    release = table()["torch"]["releases"].get(torch.base_version)
    return tuple(release[f"{platform}_cuda"].split()) if release else ()


def torch_default_cuda_tag(torch: Version, platform: str) -> str | None:
    """Return the CUDA tag of the build on PyPI; None: a CPU build, or an unknown release."""
    release = table()["torch"]["releases"].get(torch.base_version)
    return release["linux_default"] if release and platform == "linux" else None


def linux_cxx11_abi(torch: Version, cuda: tuple[int, int]) -> bool:
    """Were the Linux wheels of this release for this CUDA built with the C++11 ABI?"""
    return torch.release >= (2, 7) or (torch.release >= (2, 6) and cuda == (12, 6))


def torch_longest_path(torch: Version) -> int | None:
    """Return the number of characters of the longest path in the Windows wheel of this torch release."""
    release = table()["torch"]["releases"].get(torch.base_version)
    return release["longest_path"] if release else None


def best_covered_first(tags: Iterable[str]) -> tuple[str, ...]:
    """Sort CUDA tags by how well other packages support them; tags without a preference come last, newest first."""
    preferred = table()["torch"]["preferred_cuda"]
    unknown = len(preferred)

    def place(tag: str) -> tuple[int, int]:
        return (preferred.index(tag) if tag in preferred else unknown), -int(tag[2:])

    return tuple(sorted(tags, key=place))


@dataclass(frozen=True)
class TorchFault:
    """Why a release of torch fails by itself, and what to do instead."""

    why: str
    use: str


def torch_faults(torch: Version, platform: str) -> tuple[TorchFault, ...]:
    """Return the known faults of this release on a platform."""
    return tuple(
        TorchFault(why=row["why"], use=row["use"])
        for row in table()["torch_known_faults"]["faults"]
        if row["platform"] == platform and torch.base_version in SpecifierSet(row["torch"])
    )
