"""The installed packages that matter for attention, read from their files: an import may be what is broken."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Distribution, Found, Host, Reading, Unreadable
from doctor.probes.dll_imports import missing_imports
from doctor.probes.paths import join
from doctor.probes.text_files import read_text, stated_version
from wheels.compatibility import parse_version, tag_of_cuda
from wheels.machine import TorchBuild


@dataclass(frozen=True)
class TorchFacts:
    """`build`: what torch/version.py says. The package's metadata cannot tell a CPU build from a CUDA build."""

    distribution: Reading[Distribution]
    build: Reading[TorchBuild]
    libraries: Reading[tuple[str, ...]]  # file names in torch/lib

    @property
    def installed(self) -> bool:
        return not isinstance(self.distribution, Absent)


@dataclass(frozen=True)
class FlashAttnFacts:
    distribution: Reading[Distribution]
    extensions: Reading[tuple[str, ...]]  # file names of the compiled module
    missing: Reading[tuple[str, ...]]  # DLLs that it needs and that are nowhere; Absent: it has no such table


@dataclass(frozen=True)
class XformersBuild:
    """What xformers/cpp_lib.json says that its kernels were built with."""

    torch: str  # "2.10.0+cu128"
    cuda: tuple[int, int] | None  # (12, 8)


@dataclass(frozen=True)
class XformersFacts:
    distribution: Reading[Distribution]
    build: Reading[XformersBuild]  # Absent: no compiled kernels inside
    missing: Reading[
        tuple[str, ...]
    ]  # DLLs that they need and that are nowhere; Absent: there is no such table
    mslk: Reading[Distribution]  # where development builds have their kernels


@dataclass(frozen=True)
class TritonFacts:
    triton: Reading[Distribution]
    triton_windows: Reading[Distribution]
    bitsandbytes: Reading[Distribution]


def parse_torch_version(text: str) -> Reading[TorchBuild]:
    """torch/version.py, as text."""
    version = stated_version(text)
    cuda = re.search(r"^cuda\b[^=]*=\s*(?:['\"](\d{1,3}\.\d{1,3})[\d.]*['\"]|None)", text, re.MULTILINE)
    if not version or not cuda:
        return Unreadable(f"torch/version.py does not state a version and a CUDA: {text.strip()[:60]!r}")
    parsed = parse_version(version)
    if parsed is None:
        return Unreadable(f"torch/version.py states {version!r}, which is not a version number")
    return Found(TorchBuild(parsed, tag_of_cuda(cuda.group(1)) if cuda.group(1) else None))


def parse_cpp_lib(content: bytes) -> Reading[XformersBuild]:
    """xformers/cpp_lib.json; its CUDA is a number: 1208 is 12.8."""
    try:
        version = json.loads(content)["version"]
        torch, cuda = str(version["torch"]), version["cuda"]
        return Found(XformersBuild(torch, divmod(cuda, 100) if isinstance(cuda, int) and cuda else None))
    except (ValueError, KeyError, TypeError, RecursionError):
        return Unreadable("xformers/cpp_lib.json does not state a torch and a CUDA version")


def torch_libraries(host: Host) -> Reading[tuple[str, ...]]:
    """The file names in torch/lib; Absent where torch is."""
    distribution = host.distribution("torch")
    if not isinstance(distribution, Found):
        return distribution
    return host.list_directory(join(host, distribution.value.location, "torch", "lib"))


def _torch(host: Host) -> TorchFacts:
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


def _flash_attn(host: Host) -> FlashAttnFacts:
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


def _xformers(host: Host) -> XformersFacts:
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


def _triton(host: Host) -> TritonFacts:
    return TritonFacts(*map(host.distribution, ("triton", "triton-windows", "bitsandbytes")))


TORCH = Probe("torch", _torch)
FLASH_ATTN = Probe("flash-attn", _flash_attn)
XFORMERS = Probe("xformers", _xformers)
TRITON = Probe("triton", _triton)
