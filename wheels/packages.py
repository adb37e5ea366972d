"""The packages that aios chooses builds of, in the order of installation."""

from __future__ import annotations

from collections.abc import Collection

from packaging.version import Version

# Each with the distributions that provide it. Two that provide the same package overwrite each other's files.
DISTRIBUTIONS = {
    "torch": ("torch",),
    "flash-attn": ("flash-attn",),
    "xformers": ("xformers",),
    "triton": ("triton", "triton-windows"),
}
PACKAGES = tuple(DISTRIBUTIONS)
# Installed on request, each from a distribution of the same name
ON_REQUEST = ("torchvision", "torchaudio", "torchcodec", "bitsandbytes", "sageattention", "flash-attn-4")
INSTALLABLE = (*PACKAGES, *ON_REQUEST)
IMPORTING_TRITON = ("sageattention", "flash-attn-4")  # flash-attn-4 through quack-kernels
# The distributions whose wheels a catalogue lists. PyTorch's own index lists torch, PyPI lists Triton for Linux.
CATALOGUED = ("flash-attn", "flash-attn-3", "xformers", "triton-windows", "sageattention")
# PyTorch's own packages that are built for one release of torch
TORCH_COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
WITHOUT_A_GPU = ("torch", *TORCH_COMPANIONS)  # useful on a machine without an NVIDIA GPU
OLDEST_TORCH = Version("2.6")  # pyproject.toml: the extra [train]


def needed(packages: Collection[str]) -> tuple[str, ...]:
    """Return the packages in the order of installation, with Triton if one of them imports it."""
    wanted = {*packages}
    if not wanted.isdisjoint(IMPORTING_TRITON):
        wanted.add("triton")
    return tuple(name for name in INSTALLABLE if name in wanted)


def distribution_of(package: str, system: str) -> str:
    """Return the distribution that provides a package on "windows" or "linux": "triton-windows" for Triton."""
    return "triton-windows" if package == "triton" and system == "windows" else package
