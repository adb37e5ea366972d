"""The copies of CUDA's and OpenMP's DLLs that lie about on Windows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Found, Host, Reading
from doctor.probes.dll_imports import library_folders
from doctor.probes.packages import torch_libraries
from doctor.probes.paths import join, windows_folder

CUDA_DLL = re.compile(r"(?:cudart|cublas|cublaslt|cudnn)64_\d+\.dll", re.IGNORECASE)
OPENMP_DLL = "libiomp5md.dll"


@dataclass(frozen=True)
class CudaDlls:
    """The CUDA libraries by name (lower case): which torch brings, which its environment has, and which lie on PATH.

    Attributes:
        own: in torch/lib.
        beside: in Library\\bin of this environment, where conda puts them and torch looks, too.
        on_path: the folders of PATH that hold a copy, in PATH's order.
    """

    own: Reading[tuple[str, ...]]
    beside: tuple[str, ...]
    on_path: dict[str, tuple[str, ...]]


def _cuda_dlls(host: Host) -> CudaDlls:
    on_path: dict[str, list[str]] = {}
    for folder in _path_folders(host):
        for name in _matching(host.list_directory(folder)):
            on_path.setdefault(name, []).append(folder)
    libraries = torch_libraries(host)
    return CudaDlls(
        own=Found(_matching(libraries)) if isinstance(libraries, Found) else libraries,
        beside=tuple(
            name for folder in library_folders(host) for name in _matching(host.list_directory(folder))
        ),
        on_path={name: tuple(folders) for name, folders in on_path.items()},
    )


def _matching(names: Reading[tuple[str, ...]]) -> tuple[str, ...]:
    found = names.value if isinstance(names, Found) else ()
    return tuple(name.lower() for name in found if CUDA_DLL.fullmatch(name))


def _path_folders(host: Host) -> list[str]:
    """PATH's folders, each once, less those of Windows itself: thousands of files, and none of CUDA's."""
    windows = windows_folder(host).casefold()
    folders: dict[str, str] = {}
    for entry in (host.variable("PATH") or "").split(";"):
        folder = entry.strip().strip('"').rstrip("\\")
        if re.match(r"[A-Za-z]:\\", folder) and not folder.casefold().startswith(windows):
            folders.setdefault(folder.casefold(), folder)
    return list(folders.values())


@dataclass(frozen=True)
class OpenMpFacts:
    """Intel's OpenMP runtime.

    Attributes:
        copies: the folders that hold libiomp5md.dll.
        conda: is this a conda environment?
        duplicates_allowed: KMP_DUPLICATE_LIB_OK.
    """

    copies: Reading[tuple[str, ...]]
    conda: bool
    duplicates_allowed: str | None


def _openmp(host: Host) -> OpenMpFacts:
    libraries = torch_libraries(host)
    names = {
        "torch\\lib": libraries,
        **{folder: host.list_directory(folder) for folder in library_folders(host)},
    }
    copies = tuple(
        folder
        for folder, listed in names.items()
        if isinstance(listed, Found) and OPENMP_DLL in map(str.lower, listed.value)
    )
    return OpenMpFacts(
        copies=Found(copies) if isinstance(libraries, Found) else libraries,
        conda=isinstance(host.list_directory(join(host, host.identity.prefix, "conda-meta")), Found),
        duplicates_allowed=host.variable("KMP_DUPLICATE_LIB_OK"),
    )


CUDA_DLLS = Probe("cuda-dlls", _cuda_dlls, timeout=20.0)
OPENMP = Probe("openmp", _openmp)
