"""The compiled modules in site-packages that use torch's or CUDA's libraries."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Found, Reader, Reading, Unreadable
from doctor.probes.dll_imports import loadable_names
from doctor.probes.packages import torch_libraries
from doctor.probes.paths import join, parent, system32

# The libraries of torch and CUDA. Others may come from folders that a package adds when it is imported.
LIBRARY = re.compile(
    r"(?:c10|torch|cudart|cublas|cudnn|cufft|curand|cusolver|cusparse|nvrtc|nvjitlink)\w*\.dll"
    # Linux: those whose folders are known; a distribution may keep CUDA's others anywhere
    r"|lib(?:c10|torch)\w*\.so|lib(?:cudart|cublas)\w*\.so\.\d+"
)
# Folders without extensions for torch, and those with a check of their own
SKIPPED = {"torch", "torchvision", "torchaudio", "xformers", "flash_attn", "nvidia", "__pycache__"}
FLASH_ATTN = "flash_attn_2_cuda"  # has a check of its own, which does not read the C library
SYSTEM_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/opt/cuda/lib64",
)


@dataclass(frozen=True)
class Extension:
    """A compiled module.

    Attributes:
        package: the folder or module that it is imported as.
        libraries: the libraries of torch and CUDA that it imports.
        missing: those of them that would not be found.
        glibc: Linux: the newest version of the C library that it needs.
    """

    package: str
    file: str
    libraries: tuple[str, ...]
    missing: tuple[str, ...]
    glibc: tuple[int, int] | None = None


@dataclass(frozen=True)
class Extensions:
    """`unreadable`: why the imports of a module could not be read, by file."""

    modules: tuple[Extension, ...]
    unreadable: dict[str, str]


def _modules(host: Reader, folder: str, names: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Return the compiled modules in site-packages and in the folders directly below it: package, folder, file."""
    found = []
    windows = host.identity.os == "windows"
    # Packages choose among their libraries (libbitsandbytes_cuda128.so) by themselves
    module = re.compile(r".+\.pyd" if windows else r"(?!lib[^.]+\.so$).+\.so")
    for name in names:
        if module.fullmatch(name) and not (windows and name.startswith(FLASH_ATTN)):
            found.append((name.partition(".")[0], folder, name))
        elif "." not in name and name not in SKIPPED:
            inside = join(host, folder, name)
            listed = host.list_directory(inside)
            files = listed.value if isinstance(listed, Found) else ()
            found += [(name, inside, file) for file in files if module.fullmatch(file)]
    return found


def _from_nvidia_packages(host: Reader, folder: str) -> set[str]:
    """Return the libraries of NVIDIA's own packages (nvidia-cuda-runtime-cu12 and others)."""
    root = join(host, folder, "nvidia")
    parts = host.list_directory(root)
    windows = host.identity.os == "windows"
    names: set[str] = set()
    for part in parts.value if isinstance(parts, Found) else ():
        listed = _names(host, join(host, root, part, "bin" if windows else "lib"))
        names |= set(map(str.lower, listed)) if windows else listed
    return names


def _names(host: Reader, folder: str) -> set[str]:
    listed = host.list_directory(folder)
    return set(listed.value) if isinstance(listed, Found) else set()


def _in_linux(host: Reader) -> set[str]:
    """Return the libraries in the folders that Linux searches for a module, outside of site-packages."""
    variable = (host.variable("LD_LIBRARY_PATH") or "").split(":")
    toolkits = (
        join(host, "/usr/local", name, "lib64")
        for name in _names(host, "/usr/local")
        if name.startswith("cuda")
    )
    folders = (*filter(None, variable), *toolkits, join(host, host.identity.prefix, "lib"), *SYSTEM_FOLDERS)
    return set().union(*(_names(host, folder) for folder in folders))


def _newest_glibc(symbol_versions: tuple[str, ...]) -> tuple[int, int] | None:
    found = (re.fullmatch(r"GLIBC_(\d+)\.(\d+)", name) for name in symbol_versions)
    return max(((int(each[1]), int(each[2])) for each in found if each), default=None)


def _is_in_windows(host: Reader, name: str) -> bool:
    """Whether the library was copied to System32, where CUDA's installers put none."""
    return isinstance(host.binary(join(host, system32(host), name)), Found)


def _extensions(host: Reader) -> Reading[Extensions]:
    folder = host.identity.site_packages
    if host.identity.os == "macos":
        return Found(Extensions((), {}))
    names = host.list_directory(folder)
    if not isinstance(names, Found):
        return Unreadable(f"{folder}: {names.reason if isinstance(names, Unreadable) else 'does not exist'}")
    torch_lib = torch_libraries(host)
    if not isinstance(torch_lib, Found):
        return Unreadable("the libraries in torch/lib could not be listed")
    elsewhere = _from_nvidia_packages(host, folder) if "nvidia" in names.value else set()
    if host.identity.os == "linux":
        elsewhere |= {*torch_lib.value, *_in_linux(host)}
    modules, unreadable = [], {}
    for package, place, file in _modules(host, folder, names.value):
        path = join(host, place, file)
        binary = host.binary(path)
        if isinstance(binary, Unreadable):
            unreadable[path] = binary.reason
        if isinstance(binary, Found) and (
            libraries := tuple(filter(LIBRARY.fullmatch, binary.value.imports))
        ):
            missing = _missing(host, path, libraries, torch_lib.value, elsewhere)
            glibc = _newest_glibc(binary.value.symbol_versions)
            modules.append(Extension(package, file, libraries, missing, glibc))
    return Found(Extensions(tuple(modules), unreadable))


def _missing(
    host: Reader, path: str, libraries: tuple[str, ...], torch_lib: tuple[str, ...], elsewhere: set[str]
) -> tuple[str, ...]:
    if host.identity.os == "linux":
        beside = _names(host, parent(host, path))
        return tuple(name for name in libraries if name not in elsewhere | beside)
    present = loadable_names(host, path, torch_lib) | elsewhere
    return tuple(name for name in libraries if name not in present and not _is_in_windows(host, name))


EXTENSIONS = Probe("extensions", _extensions, timeout=30.0)
