"""Facts about torchvision and torchaudio for a torch release, and about Windows builds of torch.

Pure functions over `compatibility.json`; arguments are spelled as in `wheels.compatibility`.
"""

from __future__ import annotations

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheels.compatibility import minor
from wheels.compatibility_data import table


def companion_requirement(package: str, torch: Version) -> str | None:
    """Return the specifier of the "torchvision" or "torchaudio" releases for this torch: "==0.28.*".

    None: not known. Nightlies of torch have companion nightlies without a fixed version number.
    """
    found: str | None = table()["companions"][package].get(minor(torch))
    return None if torch.is_prerelease else found


def exists_for_windows(torch_minor: str, tag: str) -> bool | None:
    """Does PyTorch publish a Windows build of this minor for this CUDA tag? None: not known."""
    releases = [
        release["windows_cuda"].split()
        for version, release in table()["torch"]["releases"].items()
        if minor(Version(version)) == torch_minor
    ]
    return any(tag in tags for tags in releases) if any(releases) else None


# -- what torch itself contains


def contains_flash_kernels(torch: Version, platform: str) -> bool:
    """Do PyTorch's CUDA builds of this release contain the FlashAttention kernels of SDPA?"""
    lacking = SpecifierSet(table()["torch_on_windows"]["without_flash_kernels"])
    return platform != "windows" or torch.base_version not in lacking
