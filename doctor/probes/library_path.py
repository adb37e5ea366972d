"""The libraries of CUDA and C++ in the folders of LD_LIBRARY_PATH, which programs load before their own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Found, Reader

VERSIONED = re.compile(
    r"(lib(?:cudnn|nccl|nvJitLink|cublas|cublasLt|cusparse|cusolver|cufft|stdc\+\+))\.so\.(\d+(?:\.\d+)+)"
)
SYSTEM_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")
STANDARD_LIBRARY = "libstdc++"


@dataclass(frozen=True)
class Library:
    """A library whose file name states its version: libcudnn.so.9.1.0."""

    name: str
    version: tuple[int, ...]
    folder: str


@dataclass(frozen=True)
class LibraryPathFacts:
    """`libraries`: those in the folders of the variable, in its order. `system`: the system's C++ library."""

    value: str | None
    libraries: tuple[Library, ...]
    system: Library | None


def _libraries(host: Reader, folder: str) -> list[Library]:
    listed = host.list_directory(folder)
    found = map(VERSIONED.fullmatch, listed.value if isinstance(listed, Found) else ())
    return [Library(each[1], tuple(map(int, each[2].split("."))), folder) for each in found if each]


def _library_path(host: Reader) -> LibraryPathFacts:
    value = host.variable("LD_LIBRARY_PATH")
    folders = dict.fromkeys(
        folder.rstrip("/") for folder in (value or "").split(":") if folder.startswith("/")
    )
    if not folders or host.identity.os != "linux":
        return LibraryPathFacts(value, (), None)
    system = [
        each
        for folder in SYSTEM_FOLDERS
        for each in _libraries(host, folder)
        if each.name == STANDARD_LIBRARY
    ]
    libraries = tuple(
        each for folder in folders if folder not in SYSTEM_FOLDERS for each in _libraries(host, folder)
    )
    return LibraryPathFacts(value, libraries, max(system, key=lambda each: each.version, default=None))


LIBRARY_PATH = Probe("library-path", _library_path)
