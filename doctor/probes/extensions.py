"""The compiled modules in site-packages that use torch's or CUDA's libraries."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath

from doctor.check import Probe
from doctor.host import Found, Reader, Reading, Unreadable
from doctor.probes.dll_imports import loadable_names
from doctor.probes.packages import torch_libraries
from doctor.probes.paths import join, system32

# The libraries of torch and CUDA. Others may come from folders that a package adds when it is imported.
TORCH_LIBRARY = r"(?:c10|torch)\w*\.dll|lib(?:c10|torch)\w*\.so"
CUDA_LIBRARY = (
    r"(?:cudart|cublas|cudnn|cufft|curand|cusolver|cusparse|nvrtc|nvjitlink)\w*\.dll"
    # Linux: those whose folders are known; a distribution may keep CUDA's others anywhere
    r"|lib(?:cudart|cublas)\w*\.so\.\d+"
)
LIBRARY = re.compile(f"{TORCH_LIBRARY}|{CUDA_LIBRARY}")
OF_TORCH = re.compile(TORCH_LIBRARY)
# Packages with checks of their own, and those with hundreds of modules that use neither torch nor CUDA
WITH_CHECKS = {"torch", "torchvision", "torchaudio", "xformers", "flash_attn"}
WITHOUT_CUDA = {"numpy", "scipy", "pandas", "sklearn", "skimage", "pyarrow", "matplotlib", "mypy"}
NVIDIA = "nvidia"  # the folder of NVIDIA's own packages (nvidia-cuda-runtime-cu12 and others)
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


def _modules(host: Reader, libraries: tuple[str, ...]) -> list[tuple[str, PurePosixPath]]:
    """Return the compiled modules among the libraries in site-packages: the package and the path of each."""
    windows = host.identity.os == "windows"
    # Packages choose among their libraries (libbitsandbytes_cuda128.so) by themselves
    module = re.compile(r".+\.pyd" if windows else r"(?!lib[^.]+\.so$).+\.so")
    found = []
    for path in map(PurePosixPath, libraries):
        package = path.parts[0].partition(".")[0]
        own_check = windows and path.name.startswith(FLASH_ATTN)
        if module.fullmatch(path.name) and package != NVIDIA and not own_check:
            found.append((package, path))
    return found


def _by_package(host: Reader, libraries: tuple[str, ...]) -> dict[str, set[str]]:
    """Return the names of the libraries of each package, also of those that its wheel has in NAME.libs."""
    names: dict[str, set[str]] = defaultdict(set)
    for path in map(PurePosixPath, libraries):
        name = path.name.lower() if host.identity.os == "windows" else path.name
        names[path.parts[0].partition(".")[0]].add(name)
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


def _in_toolkits(host: Reader) -> set[str]:
    """Return the libraries of the CUDA toolkits of Windows, which packages without torch look for."""
    variables = (host.variable(name) for name in host.variable_names("CUDA_PATH"))
    folders = (join(host, path, *sub) for path in variables if path for sub in (("bin",), ("bin", "x64")))
    return set(map(str.lower, set().union(*(_names(host, folder) for folder in folders))))


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
    libraries = host.libraries_below(folder, WITH_CHECKS | WITHOUT_CUDA)
    if not isinstance(libraries, Found):
        reason = libraries.reason if isinstance(libraries, Unreadable) else "does not exist"
        return Unreadable(f"{folder}: {reason}")
    torch_lib = torch_libraries(host)
    if not isinstance(torch_lib, Found):
        return Unreadable("the libraries in torch/lib could not be listed")
    by_package = _by_package(host, libraries.value)
    elsewhere = by_package[NVIDIA]
    if host.identity.os == "linux":
        elsewhere = {*elsewhere, *torch_lib.value, *_in_linux(host)}
    modules, unreadable = [], {}
    for package, relative in _modules(host, libraries.value):
        path = join(host, folder, *relative.parts)
        binary = host.binary(path)
        if isinstance(binary, Unreadable):
            unreadable[path] = binary.reason
        if isinstance(binary, Found) and (used := tuple(filter(LIBRARY.fullmatch, binary.value.imports))):
            missing = _missing(host, path, used, torch_lib.value, elsewhere | by_package[package])
            glibc = _newest_glibc(binary.value.symbol_versions)
            modules.append(Extension(package, relative.name, used, missing, glibc))
    return Found(Extensions(tuple(modules), unreadable))


def _missing(
    host: Reader, path: str, libraries: tuple[str, ...], torch_lib: tuple[str, ...], present: set[str]
) -> tuple[str, ...]:
    if host.identity.os == "linux":
        return tuple(name for name in libraries if name not in present)
    present = present | loadable_names(host, path, torch_lib)
    if not any(map(OF_TORCH.fullmatch, libraries)):
        present |= _in_toolkits(host)
    return tuple(name for name in libraries if name not in present and not _is_in_windows(host, name))


EXTENSIONS = Probe("extensions", _extensions, timeout=30.0)
