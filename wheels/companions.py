"""Facts about the packages beside torch: which torchvision, torchaudio, torchcodec, torchao and bitsandbytes fit it.

Pure functions over `compatibility.json`; arguments are spelled as in `wheels.compatibility`.
"""

from __future__ import annotations

from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheels.compatibility import minor
from wheels.compatibility_data import numbers, table

LAST_NUMPY_1 = "1.26.4"
COMPANIONS = ("torchvision", "torchaudio", "torchcodec", "torchao")


def companion_requirement(package: str, torch: Version) -> str | None:
    """Return the specifier of the releases of one of COMPANIONS for this torch: "==0.28.*".

    None: not known. Nightlies of torch have companion nightlies without a fixed version number.
    """
    found: str | None = table()["companions"][package].get(minor(torch))
    return None if torch.is_prerelease else found


# -- bitsandbytes: one wheel for every torch, with one library for each CUDA version


def newest_bitsandbytes() -> str:
    return str(table()["bitsandbytes"]["newest"])


def bitsandbytes_cuda(bitsandbytes: Version) -> tuple[str, ...] | None:
    """Return the CUDA versions of the libraries in a release: ("11.8", ..., "13.0"). None: not known."""
    row = _bitsandbytes_row(bitsandbytes)
    return tuple(row["cuda"].split()) if row else None


def bitsandbytes_fault(bitsandbytes: Version, torch: Version, cuda: tuple[int, int]) -> str | None:
    """Return why a release does not work beside this torch with this CUDA, as a clause. None: it works, or is not known."""
    row = _bitsandbytes_row(bitsandbytes)
    if row is None:
        return None
    if torch.base_version not in SpecifierSet(row["torch"]):
        return f"requires torch{row['torch']}"
    contained = [numbers(version) for version in row["cuda"].split()]
    if cuda in contained or (row["same_major"] and any(each[0] == cuda[0] for each in contained)):
        return None
    return "has no library for CUDA {}.{}".format(*cuda)


def _bitsandbytes_row(bitsandbytes: Version) -> dict[str, Any] | None:
    rows: list[dict[str, Any]] = table()["bitsandbytes"]["releases"]
    return next((row for row in rows if bitsandbytes.base_version in SpecifierSet(row["versions"])), None)


# -- NumPy


def oldest_for_numpy_2(package: str) -> str | None:
    """Return the oldest release of a compiled package that was built for NumPy 2. None: not known."""
    found: str | None = table()["numpy_2"]["built_for_it_from"].get(package)
    return found


def refuses_numpy_2(specifier: str) -> bool:
    """Whether a requirement of NumPy accepts a 1.x but no 2.x, as "<2" does."""
    accepts = SpecifierSet(specifier).contains
    return accepts(LAST_NUMPY_1) and not any(accepts(f"2.{each}.0") for each in range(10))


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
