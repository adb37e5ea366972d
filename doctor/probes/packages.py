"""The installed attention packages, read from their files, because importing them may be what fails."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.bounded import parse_json
from doctor.check import Probe
from doctor.host import Absent, Distribution, Found, Reader, Reading, Unreadable
from doctor.probes.dll_imports import missing_imports
from doctor.probes.paths import join
from doctor.probes.text_files import read_text, stated_version
from wheels.compatibility import parse_version, tag_of_cuda
from wheels.machine import TorchBuild

LFS_POINTER = "version https://git-lfs.github.com/"
IS_POINTER = "torch/version.py is a Git LFS pointer"


@dataclass(frozen=True)
class TorchFacts:
    """The installed torch.

    Attributes:
        build: from torch/version.py, because the package's metadata does not distinguish CPU from CUDA builds.
        libraries: the file names in torch/lib.
    """

    distribution: Reading[Distribution]
    build: Reading[TorchBuild]
    libraries: Reading[tuple[str, ...]]

    @property
    def installed(self) -> bool:
        return not isinstance(self.distribution, Absent)


@dataclass(frozen=True)
class FlashAttnFacts:
    """flash-attn and its compiled module.

    Attributes:
        extensions: the file names of the compiled module.
        missing: the DLLs it imports that Windows would not find; Absent on other systems.
    """

    distribution: Reading[Distribution]
    extensions: Reading[tuple[str, ...]]
    missing: Reading[tuple[str, ...]]


@dataclass(frozen=True)
class XformersBuild:
    """The torch and CUDA versions that xformers' kernels were built with, from xformers/cpp_lib.json."""

    torch: str  # "2.10.0+cu128"
    cuda: tuple[int, int] | None  # (12, 8)


@dataclass(frozen=True)
class XformersFacts:
    """xformers and its kernels.

    Attributes:
        build: Absent if it contains no compiled kernels.
        missing: the DLLs its kernels import that Windows would not find; Absent on other systems.
        mslk: the package that contains the kernels of development builds.
    """

    distribution: Reading[Distribution]
    build: Reading[XformersBuild]
    missing: Reading[tuple[str, ...]]
    mslk: Reading[Distribution]


@dataclass(frozen=True)
class TritonFacts:
    triton: Reading[Distribution]
    triton_windows: Reading[Distribution]
    bitsandbytes: Reading[Distribution]


def parse_torch_version(text: str) -> Reading[TorchBuild]:
    """Return the build stated in torch/version.py."""
    if text.startswith(LFS_POINTER):
        return Unreadable(IS_POINTER)
    version = stated_version(text)
    cuda = re.search(r"^cuda\b[^=]*=\s*(?:['\"](\d{1,3}\.\d{1,3})[\d.]*['\"]|None)", text, re.MULTILINE)
    if not version or not cuda:
        return Unreadable(f"torch/version.py states no version and CUDA version: {text.strip()[:60]!r}")
    parsed = parse_version(version)
    if parsed is None:
        return Unreadable(f"torch/version.py states {version!r}, which is not a version number")
    return Found(TorchBuild(parsed, tag_of_cuda(cuda.group(1)) if cuda.group(1) else None))


def parse_cpp_lib(content: bytes) -> Reading[XformersBuild]:
    """Return the versions stated in xformers/cpp_lib.json, where CUDA 12.8 is the number 1208."""
    try:
        version = parse_json(content)["version"]
        torch, cuda = str(version["torch"]), version["cuda"]
        return Found(XformersBuild(torch, divmod(cuda, 100) if isinstance(cuda, int) and cuda else None))
    except (ValueError, KeyError, TypeError, RecursionError):
        return Unreadable("xformers/cpp_lib.json states no torch and CUDA version")


def torch_libraries(host: Reader) -> Reading[tuple[str, ...]]:
    """Return the file names in torch/lib; Absent if torch is not installed."""
    distribution = host.distribution("torch")
    if not isinstance(distribution, Found):
        return distribution
    return host.list_directory(join(host, distribution.value.location, "torch", "lib"))


def _torch(host: Reader) -> TorchFacts:
    distribution = host.distribution("torch")
    if not isinstance(distribution, Found):
        return TorchFacts(distribution, distribution, distribution)
    folder = join(host, distribution.value.location, "torch")
    source = read_text(host, join(host, folder, "version.py"))
    build: Reading[TorchBuild]
    if isinstance(source, Found):
        build = parse_torch_version(source.value)
    else:
        build = source if isinstance(source, Absent) else Unreadable(f"torch/version.py: {source.reason}")
    return TorchFacts(distribution, build, torch_libraries(host))


def _flash_attn(host: Reader) -> FlashAttnFacts:
    distribution = host.distribution("flash-attn")
    if not isinstance(distribution, Found):
        return FlashAttnFacts(distribution, distribution, Absent())
    folder = distribution.value.location
    names = host.list_directory(folder)
    if not isinstance(names, Found):
        return FlashAttnFacts(distribution, names, names)
    extensions = tuple(name for name in names.value if name.startswith("flash_attn_2_cuda"))
    readable = next((name for name in extensions if name.endswith(".pyd")), None)
    missing = (
        missing_imports(host, join(host, folder, readable), torch_libraries(host)) if readable else Absent()
    )
    return FlashAttnFacts(distribution, Found(extensions), missing)


def _xformers(host: Reader) -> XformersFacts:
    distribution = host.distribution("xformers")
    if not isinstance(distribution, Found):
        return XformersFacts(distribution, distribution, Absent(), Absent())
    folder = join(host, distribution.value.location, "xformers")
    content = host.read_file(join(host, folder, "cpp_lib.json"))
    missing: Reading[tuple[str, ...]] = Absent()
    if host.identity.os == "windows":
        missing = missing_imports(host, join(host, folder, "_C.pyd"), torch_libraries(host))
    return XformersFacts(
        distribution=distribution,
        build=parse_cpp_lib(content.value) if isinstance(content, Found) else content,
        missing=missing,
        mslk=host.distribution("mslk"),
    )


def _triton(host: Reader) -> TritonFacts:
    return TritonFacts(*map(host.distribution, ("triton", "triton-windows", "bitsandbytes")))


TORCH = Probe("torch", _torch)
FLASH_ATTN = Probe("flash-attn", _flash_attn)
XFORMERS = Probe("xformers", _xformers)
TRITON = Probe("triton", _triton)
