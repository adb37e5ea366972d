"""Packages that depend on the torch release: torchvision, torchaudio, Triton; and gaps in Windows builds of torch.

Pure functions over `compatibility.json`; arguments are spelled as in `wheels.compatibility`.
"""

from __future__ import annotations

from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheels.compatibility import ComputeCapability, minor, triton_minor
from wheels.compatibility_data import numbers, table


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


# -- flash-attn and xformers


def fetches_cuda_12_wheel(flash_attn: Version, torch_cuda_major: int) -> bool:
    """Does the setup.py of this flash-attn download a CUDA 12 wheel next to a torch for CUDA 13?"""
    return torch_cuda_major >= 13 and flash_attn.public in SpecifierSet(
        table()["flash_attn"]["fetches_cuda_12_wheel"]
    )


def cute_on_windows_from() -> str:
    """Return the first nvidia-cutlass-dsl with Windows wheels; FlashAttention-4 is built on it."""
    return str(table()["flash_attn"]["cute_on_windows_from"])


def is_pure_python_xformers(xformers: Version) -> bool:
    """Is this a development build with its kernels in the package mslk?"""
    return xformers.is_devrelease and xformers >= Version(table()["xformers"]["pure_python_from"])


# -- Triton


def _covers(row: dict[str, Any], capability: ComputeCapability) -> bool:
    return numbers(row["capability_from"]) <= capability < numbers(row["capability_below"])


def triton_windows_serves(triton: Version, capability: ComputeCapability) -> bool:
    """Can this triton-windows generate code for this GPU? True unless a limit is known."""
    rows = [row for row in table()["triton"]["windows_gpus"] if _covers(row, capability)]
    return all(triton.base_version in SpecifierSet(row["triton"]) for row in rows)


def triton_windows_for_float8(triton: Version, capability: ComputeCapability) -> str | None:
    """Return the first triton-windows with float8 on this GPU, if this one is older."""
    row = table()["triton"]["windows_float8"]
    return row["triton_from"] if _covers(row, capability) and triton < Version(row["triton_from"]) else None


def triton_windows_has_compiler(triton: Version) -> bool:
    """Does this triton-windows contain a C compiler (TinyCC)?"""
    return triton >= Version(table()["triton"]["windows_own_compiler_from"])


def bitsandbytes_requirement(bitsandbytes: Version, torch: Version) -> str | None:
    """Return the specifier to upgrade to if this bitsandbytes imports triton.ops and torch's Triton has removed it."""
    triton, facts = triton_minor(torch), table()["triton"]
    if triton is None or numbers(triton) < numbers(facts["without_ops_from"]):
        return None
    wanted = str(facts["bitsandbytes_without_ops_from"])
    return f">={wanted}" if bitsandbytes < Version(wanted) else None
