"""The packages that aios chooses builds of, in the order of installation."""

from __future__ import annotations

from packaging.version import Version

# Each with the distributions that provide it. Two that provide the same package overwrite each other's files.
DISTRIBUTIONS = {
    "torch": ("torch",),
    "flash-attn": ("flash-attn",),
    "xformers": ("xformers",),
    "triton": ("triton", "triton-windows"),
}
PACKAGES = tuple(DISTRIBUTIONS)
# The distributions whose wheels a catalogue lists. PyTorch's own index lists torch, PyPI lists Triton for Linux.
CATALOGUED = ("flash-attn", "flash-attn-3", "xformers", "triton-windows", "sageattention")
# PyTorch's own packages that are built for one release of torch
TORCH_COMPANIONS = ("torchvision", "torchaudio")
OLDEST_TORCH = Version("2.6")  # pyproject.toml: the extra [train]


def distribution_of(package: str, system: str) -> str:
    """Return the distribution that provides a package on "windows" or "linux": "triton-windows" for Triton."""
    return "triton-windows" if package == "triton" and system == "windows" else package
