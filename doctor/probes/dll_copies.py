"""Copies of the CUDA and OpenMP DLLs on Windows: in torch, in the environment, and on PATH."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Found, Reader, Reading
from doctor.probes.dll_imports import library_folders
from doctor.probes.packages import torch_libraries
from doctor.probes.paths import join, windows_folder

CUDA_DLL = re.compile(r"(?:cudart|cublas|cublaslt|cudnn)64_\d+\.dll", re.IGNORECASE)
OPENMP_DLL = "libiomp5md.dll"


@dataclass(frozen=True)
class CudaDlls:
    """The CUDA libraries, by name in lower case.

    Attributes:
        own: those in torch/lib.
        beside: those in Library\\bin of this environment, where conda puts them and torch also searches.
        on_path: for each name, the folders on PATH that contain a copy, in the order of PATH.
    """

    own: Reading[tuple[str, ...]]
    beside: tuple[str, ...]
    on_path: dict[str, tuple[str, ...]]


def cuda_dlls(host: Reader) -> CudaDlls:
    on_path: dict[str, list[str]] = {}
    for folder in path_folders(host):
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


def path_folders(host: Reader) -> list[str]:
    """The folders on PATH without duplicates. Windows' own folders are left out: thousands of files, none from CUDA."""
    windows = windows_folder(host).casefold()
    folders: dict[str, str] = {}
    for entry in (host.variable("PATH") or "").split(";"):
        folder = entry.strip().strip('"').rstrip("\\")
        if re.match(r"[A-Za-z]:\\", folder) and not folder.casefold().startswith(windows):
            folders.setdefault(folder.casefold(), folder)
    return list(folders.values())


@dataclass(frozen=True)
class OpenMpFacts:
    """Copies of Intel's OpenMP runtime.

    Attributes:
        copies: the folders that contain libiomp5md.dll.
        conda: whether this is a conda environment.
        duplicates_allowed: the variable KMP_DUPLICATE_LIB_OK.
    """

    copies: Reading[tuple[str, ...]]
    conda: bool
    duplicates_allowed: str | None


def _openmp(host: Reader) -> OpenMpFacts:
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


CUDA_DLLS = Probe("cuda-dlls", cuda_dlls, timeout=20.0)
OPENMP = Probe("openmp", _openmp)
