"""The compiled modules in site-packages that use torch's or CUDA's libraries."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Found, Reader, Reading, Unreadable
from doctor.probes.dll_imports import loadable_names
from doctor.probes.packages import torch_libraries
from doctor.probes.paths import join, system32

# The libraries of torch and CUDA. Others may come from folders that a package adds when it is imported.
LIBRARY = re.compile(
    r"(?:c10|torch|cudart|cublas|cudnn|cufft|curand|cusolver|cusparse|nvrtc|nvjitlink)\w*\.dll"
)
# Folders without extensions for torch, and those with a check of their own
SKIPPED = {"torch", "torchvision", "torchaudio", "xformers", "flash_attn", "nvidia", "__pycache__"}


@dataclass(frozen=True)
class Extension:
    """A compiled module.

    Attributes:
        package: the folder or module that it is imported as.
        libraries: the libraries of torch and CUDA that it imports.
        missing: those of them that Windows would not find.
    """

    package: str
    file: str
    libraries: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Extensions:
    """`unreadable`: why the imports of a module could not be read, by file."""

    modules: tuple[Extension, ...]
    unreadable: dict[str, str]


def _modules(host: Reader, folder: str, names: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Return the compiled modules in site-packages and in the folders directly below it: package, folder, file."""
    found = []
    for name in names:
        if name.endswith(".pyd") and not name.startswith("flash_attn_2_cuda"):
            found.append((name.partition(".")[0], folder, name))
        elif "." not in name and name not in SKIPPED:
            inside = join(host, folder, name)
            listed = host.list_directory(inside)
            files = listed.value if isinstance(listed, Found) else ()
            found += [(name, inside, file) for file in files if file.endswith(".pyd")]
    return found


def _from_nvidia_packages(host: Reader, folder: str) -> set[str]:
    """Return the DLLs of NVIDIA's own packages (nvidia-cuda-runtime-cu12 and others)."""
    root = join(host, folder, "nvidia")
    parts = host.list_directory(root)
    names: set[str] = set()
    for part in parts.value if isinstance(parts, Found) else ():
        listed = host.list_directory(join(host, root, part, "bin"))
        names |= set(map(str.lower, listed.value)) if isinstance(listed, Found) else set()
    return names


def _is_in_windows(host: Reader, name: str) -> bool:
    """Whether the library was copied to System32, where CUDA's installers put none."""
    return isinstance(host.binary(join(host, system32(host), name)), Found)


def _extensions(host: Reader) -> Reading[Extensions]:
    folder = host.identity.site_packages
    if host.identity.os != "windows":
        return Found(Extensions((), {}))
    names = host.list_directory(folder)
    if not isinstance(names, Found):
        return Unreadable(f"{folder}: {names.reason if isinstance(names, Unreadable) else 'does not exist'}")
    torch_lib = torch_libraries(host)
    if not isinstance(torch_lib, Found):
        return Unreadable("the libraries in torch/lib could not be listed")
    elsewhere = _from_nvidia_packages(host, folder) if "nvidia" in names.value else set()
    modules, unreadable = [], {}
    for package, place, file in _modules(host, folder, names.value):
        path = join(host, place, file)
        binary = host.binary(path)
        if isinstance(binary, Unreadable):
            unreadable[path] = binary.reason
        imports = binary.value.imports if isinstance(binary, Found) else ()
        libraries = tuple(filter(LIBRARY.fullmatch, imports))
        if not libraries:
            continue
        present = loadable_names(host, path, torch_lib.value) | elsewhere
        missing = tuple(n for n in libraries if n not in present and not _is_in_windows(host, n))
        modules.append(Extension(package, file, libraries, missing))
    return Found(Extensions(tuple(modules), unreadable))


EXTENSIONS = Probe("extensions", _extensions, timeout=30.0)
