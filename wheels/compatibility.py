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


# -- Triton


def triton_minor(torch: Version) -> str | None:
    """Return the Triton minor that this torch requires: "3.7"."""
    for known, release in table()["torch"]["releases"].items():
        if minor(Version(known)) == minor(torch):
            return str(release["triton"])
    return None


def triton_windows_minor(torch: Version) -> str | None:
    """Return the minor of the triton-windows that works with this torch: "3.7"."""
    row = table()["triton_windows"]["for_torch"].get(minor(torch))
    return str(row["triton"]) if row else None


def triton_windows_requirement(torch: Version) -> str | None:
    """Return the pip requirement on Windows: "triton-windows>=3.7,<3.8"; None: no matching release is published."""
    row = table()["triton_windows"]["for_torch"].get(minor(torch))
    return row["requirement"] if row else None


# -- xformers


@dataclass(frozen=True)
class KnownFault:
    """Why a release is known not to work, and the release to use instead."""

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


def xformers_windows_cuda(xformers: Version) -> str | None:
    """The CUDA tag of the Windows wheel that a plain `pip install` of this release takes."""
    row = table()["xformers"]["releases"].get(xformers.public)
    return row.get("windows_built_with") if row else None


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
    return next(
        (row for row in rows if SpecifierSet(row["versions"]).contains(xformers.base_version)), rows[0]
    )


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


# -- flash-attn


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


# -- MSVC


def msvc_accepted_by_nvcc(nvcc: tuple[int, int]) -> range | None:
    """Return the _MSC_VER values (1941 is MSVC 14.41) that this nvcc accepts; None: not known."""
    for row in table()["msvc"]["accepted_by_nvcc"]:
        if numbers(row["nvcc_from"]) <= nvcc < numbers(row["nvcc_below"]):
            return range(row["msc_ver_from"], row["msc_ver_below"])
    return None
