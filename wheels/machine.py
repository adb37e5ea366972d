"""The machine that wheels are chosen for: its Python, torch, GPUs and driver."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from packaging.version import Version

from wheels.compatibility import ComputeCapability, cuda_of_tag, minor, parse_version
from wheels.compatibility_data import numbers


@dataclass(frozen=True)
class TorchBuild:
    """A build of torch, installed or available. `cuda_tag` is None for a CPU build and for AMD and Intel GPUs.

    The tag comes from the CUDA version that torch states; conda and source builds have no CUDA label in their version.
    """

    version: Version  # with its label, if it has one
    cuda_tag: str | None  # "cu130"

    @property
    def release(self) -> str:
        """ "2.13.0"."""
        return self.version.base_version

    @property
    def labelled(self) -> str:
        """The version of this build on PyTorch's own indexes: "2.13.0+cu130", "2.13.0+cpu"."""
        return f"{self.version.public}+{self.cuda_tag or 'cpu'}"

    @cached_property
    def minor(self) -> str:
        """ "2.13"."""
        return minor(self.version)

    @cached_property
    def cuda(self) -> tuple[int, int] | None:
        """(13, 0)."""
        return cuda_of_tag(self.cuda_tag) if self.cuda_tag else None

    @property
    def cuda_major(self) -> int | None:
        return self.cuda[0] if self.cuda else None

    @property
    def cuda_version(self) -> str | None:
        """ "13.0"."""
        return "{}.{}".format(*self.cuda) if self.cuda else None

    def __str__(self) -> str:
        """ "torch 2.13.0 for cu130", "for the CPU", "for rocm6.4" (AMD), "for xpu" (Intel); "torch 2.14.0.dev20260901 for cu130"."""
        label = self.version.local or ""
        other = label if label.startswith(("rocm", "xpu")) else "the CPU"
        return f"torch {self.version.public} for {self.cuda_tag or other}"


@dataclass(frozen=True)
class Machine:
    """What decides which wheels fit. None: not known, so it excludes nothing.

    WSL counts as Linux. A Linux with musl instead of glibc has the platform "musllinux_1_2_x86_64".
    """

    python: str  # "3.12"
    platform: str  # "win_amd64", "linux_x86_64", "linux_aarch64"
    free_threaded: bool = False
    glibc: tuple[int, int] | None = None
    torch: TorchBuild | None = None
    compute_capabilities: tuple[ComputeCapability, ...] | None = ()  # of the NVIDIA GPUs
    driver: str | None = None
    # Distributions that others may refuse: ("flash-attn", "2.8.3")
    installed: tuple[tuple[str, str], ...] = ()

    def installed_version(self, package: str) -> Version | None:
        """Return the version of an installed package; None: not installed, or not known."""
        return next((parse_version(text) for name, text in self.installed if name == package), None)

    @property
    def capabilities(self) -> tuple[ComputeCapability, ...]:
        """The known compute capabilities. A build must contain code for each of them."""
        return self.compute_capabilities or ()

    @property
    def has_no_gpu(self) -> bool:
        return self.compute_capabilities == ()

    @property
    def system(self) -> str:
        """As `wheels.compatibility` spells it: "windows" or "linux"."""
        return "windows" if self.platform.startswith("win") else "linux"

    @cached_property
    def python_release(self) -> tuple[int, int]:
        """(3, 12)."""
        major, minor_ = numbers(self.python)[:2]
        return major, minor_
